"""The ranges of tensors: histograms of what a net really computes, and three ways to read a range out of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ._net import Net
from ._range import runs

__all__ = ["METHODS", "Histogram", "Method", "observe"]

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = get_args(Method)
"""``minmax``: the largest magnitude seen. ``entropy``: where cutting off loses least information, as
TensorRT's and ONNX Runtime's calibrators have it. ``percentile``: what 0.01 % of the values exceed."""

# As many as TensorRT's own calibrator has; of magnitudes, so twice as fine as of signed values.
_BINS = 2048
_LEVELS = 128  # magnitudes of INT8, zero among them
# Bins between two cuts that entropy is computed of: a range need not be known better than to 1 %.
_STRIDE = 16
# Of values that are not zero; ModelOpt's and ONNX Runtime's defaults are 99.99 and 99.999 %.
_PERCENTILE = 99.99
_START = 2.0**-10  # where a histogram begins to grow


class Histogram:
    """Magnitudes of a tensor, in bins from zero to a limit that doubles when it is exceeded.

    Zeros are left out: they cost no precision, and after a ReLU they would hide the rest.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._limit = _START
        self._largest = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of one run; all must be finite."""
        sizes = np.abs(values[values != 0]).astype(np.float32, copy=False)
        if not sizes.size:
            return
        largest = float(sizes.max())
        while largest >= self._limit:
            pairs = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.concatenate([pairs, np.zeros(_BINS // 2, np.int64)])
            self._limit *= 2
        bins = (sizes * np.float32(_BINS / self._limit)).astype(np.int32)
        self._counts += np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)
        self._largest = max(self._largest, largest)

    def largest(self, method: Method) -> float:
        """The magnitude that becomes 127; 0 where nothing but zeros was seen."""
        if method == "minmax" or not self._counts.any():
            return self._largest
        cut = self._percentile() if method == "percentile" else self._entropy()
        return min(self._largest, cut * self._limit / _BINS)

    def _percentile(self) -> int:
        """The number of bins below the percentile."""
        share = np.cumsum(self._counts) / self._counts.sum()
        return int(np.searchsorted(share, _PERCENTILE / 100)) + 1

    def _entropy(self) -> int:
        """The number of bins with the least divergence between all values and the rounded ones."""
        used = int(np.flatnonzero(self._counts)[-1]) + 1
        if used <= _LEVELS:
            return used
        cuts = [*range(_LEVELS, used, _STRIDE), used]
        losses = [_divergence(self._counts, cut) for cut in cuts]
        best: int = cuts[int(np.argmin(losses))]
        return best


def _divergence(counts: NDArray[np.int64], cut: int) -> float:
    """Kullback-Leibler divergence of a histogram cut off at a bin from its 128 levels."""
    real = counts[:cut].astype(np.float64)
    kept = real.copy()
    real[-1] += counts[cut:].sum()  # what is cut off becomes the largest value
    level = np.arange(cut) * _LEVELS // cut
    filled = real > 0
    sums = np.bincount(level, weights=kept, minlength=_LEVELS)
    places = np.bincount(level, weights=filled, minlength=_LEVELS)
    spread = np.where(filled, (sums / np.maximum(places, 1))[level], 0.0)
    if not spread.any():
        return np.inf
    p, q = real[filled] / real.sum(), spread[filled] / spread.sum()
    # A level may be empty where the histogram is not: it holds what was cut off alone.
    return float(np.sum(p * np.log(p / np.maximum(q, np.finfo(np.float64).tiny))))


def observe(
    net: Net,
    tensors: Collection[str],
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    threads: int,
) -> dict[str, Histogram]:
    """Run a net in float32 and count the values of some tensors.

    Args:
        net: any net.
        tensors: float32, made by nodes of it.
        feeds: inputs by name, one set for each run.
        threads: of ONNX Runtime, 1 or more.

    Raises:
        EngineError: ONNX Runtime cannot run it.
    """
    found = {name: Histogram() for name in tensors}
    model = net.whole()
    own = {one.name for one in model.graph.output}
    for name in found:
        if name not in own:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
            model.graph.output[-1].type.tensor_type.elem_type = TensorProto.FLOAT
    for results in runs(model, feeds, threads=threads):
        for name, histogram in found.items():
            histogram.add(results[name])
    return found
