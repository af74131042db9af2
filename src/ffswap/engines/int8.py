"""Finds the ranges and the layers of an INT8 net, by running it on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..closing import Closing
from ..errors import ModelError
from ._layers import Layer, Left, find_layers
from ._net import Net
from ._range import runs
from ._switched import SwitchedNet, tensors_of
from .int8_figures import MethodFigures, SweepFigures
from .observe import METHODS, Histogram, Method, observe
from .opset import at_least_opset
from .quantise import OLDEST_OPSET, WeightScales, quantise, scale_of

__all__ = ["SWEEP_GROUPS", "Int8Choice", "Int8Search"]

Feeds = Mapping[str, NDArray[Any]]

SWEEP_GROUPS = 24
"""The most groups of neighbouring layers that a sweep begins with: its time is bounded by the number
of runs, so that it finds the same on every machine. A net of up to as many layers is swept layer by
layer; of a larger one the `_SPLIT` costliest groups are then swept layer by layer."""

_SPLIT = 4


@dataclass(frozen=True, kw_only=True)
class Int8Choice:
    """Layers that are to be INT8, and the scales of what they read.

    Attributes:
        layers: names, in the order of the net.
        returned: names of the others that INT8 suits, costliest first.
        share: of the multiplications of all convolutions that are INT8.
    """

    layers: tuple[str, ...]
    returned: tuple[str, ...]
    share: float


class Int8Search(Closing):
    """A net on the CPU, its ranges and what each layer costs.

    Args:
        model: in float32; an opset below 13 is raised.
        weights: scales of kernels.
        leave: names of nodes that stay as they are.
        fences: see `find_layers`.
        threads: of ONNX Runtime, 1 or more.
        check: is called before each run, and may raise.

    Attributes:
        left: convolutions that INT8 does not suit.
        layers: that it suits.
        weights: scales of kernels.
        scales: of what they read, once ranges are chosen.

    Raises:
        ModelError: it suits none, or the opset cannot be raised.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        weights: WeightScales,
        leave: Collection[str] = (),
        fences: bool = False,
        threads: int = 1,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = at_least_opset(model, OLDEST_OPSET)
        self._net = Net(self._model)
        self.weights, self._threads, self._check = weights, threads, check
        self.layers: tuple[Layer, ...]
        self.left: tuple[Left, ...]
        self.layers, self.left = find_layers(self._net, leave, fences=fences)
        if not self.layers:
            kinds = [one.reason for one in self.left]
            counts = ", ".join(f"{kind}: {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
            raise ModelError(
                f"the net has no layer that INT8 suits, of {len(kinds)} convolutions"
                + (f" ({counts})" if counts else ""),
                hint="build it with --fp16",
            )
        self._switched = SwitchedNet(self._net, self.layers, weights=weights, threads=threads)
        self._work: dict[str, float] = {}
        self._histograms: dict[str, Histogram] = {}
        self.scales: dict[str, NDArray[np.float32]] = {}

    def close(self) -> None:
        """Let go of the net; closing twice is allowed."""
        self._switched.close()

    def observe(self, feeds: Sequence[Feeds]) -> None:
        """See what values the net computes; to be called first.

        Args:
            feeds: inputs, one row each.

        Raises:
            EngineError: ONNX Runtime cannot run it.
        """

        def checked() -> Iterator[Feeds]:
            for feed in feeds:
                self._check()
                yield feed

        tensors = tensors_of(self.layers)
        self._histograms = observe(self._net, tensors, checked(), threads=self._threads)
        self._work = _multiplications(self._net, feeds[0], self._threads)

    def use(self, method: Method) -> None:
        """Take the ranges that a method finds."""
        self.scales = {
            name: scale_of(np.float64(found.largest(method)))
            for name, found in self._histograms.items()
        }

    def run(self, feeds: Feeds, on: Collection[str]) -> dict[str, NDArray[Any]]:
        """Outputs with some layers rounding as INT8 does.

        Args:
            feeds: inputs.
            on: names of the layers.
        """
        self._check()
        return self._switched.run(feeds, on, self.scales)

    def error(self, rows: Sequence[tuple[Feeds, Feeds]], on: Collection[str]) -> float:
        """Norm of the difference by the norm, over rows, of the worst output.

        Args:
            rows: inputs and FP32 outputs, one row each.
            on: names of the layers that round.
        """
        off: dict[str, float] = {}
        size: dict[str, float] = {}
        for feeds, wanted in rows:
            for name, got in self.run(feeds, on).items():
                want = wanted[name].astype(np.float64)
                off[name] = off.get(name, 0.0) + float(((got - want) ** 2).sum())
                size[name] = size.get(name, 0.0) + float((want**2).sum())
        return max(float(np.sqrt(off[name] / (size[name] or 1.0))) for name in off)

    def try_methods(
        self, rows: Sequence[tuple[Feeds, Feeds]], methods: Sequence[Method] = METHODS
    ) -> tuple[MethodFigures, ...]:
        """The error of each method with all layers in INT8; the best one is used from now on."""
        every = [one.node for one in self.layers]
        found = []
        for method in methods:
            self.use(method)
            found.append(MethodFigures(method=method, error=self.error(rows, every)))
        self.use(min(found, key=lambda one: one.error).method)
        return tuple(found)

    def sweep(self, rows: Sequence[tuple[Feeds, Feeds]]) -> tuple[SweepFigures, ...]:
        """What INT8 costs in each layer, or each group of neighbours, alone.

        Returns:
            Costliest first: by the square of the error for the share of the multiplications.
        """
        names = [one.node for one in self.layers]
        size = -(-len(names) // SWEEP_GROUPS)
        groups = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
        found = sorted((self._cost(rows, one) for one in groups), key=_costliest)
        if size > 1:
            split = [name for group in found[:_SPLIT] for name in group.layers]
            found = [*found[_SPLIT:], *(self._cost(rows, (name,)) for name in split)]
        return tuple(sorted(found, key=_costliest))

    def _cost(self, rows: Sequence[tuple[Feeds, Feeds]], group: tuple[str, ...]) -> SweepFigures:
        return SweepFigures(layers=group, error=self.error(rows, group), share=self.share(group))

    def share(self, layers: Collection[str]) -> float:
        """Of the multiplications of all convolutions those of some layers."""
        return sum(self._work[name] for name in layers) / sum(self._work.values())

    def without(self, sweep: Sequence[SweepFigures], count: int) -> Int8Choice:
        """All layers but those of the costliest groups of a sweep.

        Args:
            sweep: of `sweep`.
            count: groups that stay in FP16.
        """
        returned = tuple(name for group in sweep[:count] for name in group.layers)
        layers = tuple(one.node for one in self.layers if one.node not in returned)
        return Int8Choice(layers=layers, returned=returned, share=self.share(layers))

    def build(self, choice: Int8Choice) -> onnx.ModelProto:
        """The net with pairs of Q and DQ at the chosen layers, in float32."""
        chosen = [one for one in self.layers if one.node in choice.layers]
        scales = {name: self.scales[name] for name in tensors_of(chosen)}
        return quantise(self._model, chosen, scales, weights=self.weights)


def _costliest(figures: SweepFigures) -> float:
    """The order of a sweep: what gives back most quality for the speed that it costs comes first."""
    return -(figures.error**2) / figures.share


def _multiplications(net: Net, feeds: Feeds, threads: int) -> dict[str, float]:
    """Multiplications of each convolution for one row, by its name."""
    free = "_" * (1 + max(map(len, net.names())))  # longer than any name that is taken
    model = net.whole()
    del model.graph.output[:]
    convs = [node for node in net.nodes if node.op_type == "Conv" and not node.domain]
    for place, node in enumerate(convs):
        for what, tensor in (("out", node.output[0]), ("kernel", node.input[1])):
            name = f"{free}{what}{place}"
            model.graph.node.append(onnx.helper.make_node("Shape", [tensor], [name]))
            model.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.INT64
    shapes = next(runs(model, [feeds], threads=threads))
    return {
        node.name: float(
            np.prod(shapes[f"{free}out{place}"]) * np.prod(shapes[f"{free}kernel{place}"][1:])
        )
        for place, node in enumerate(convs)
    }
