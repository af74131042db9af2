"""The largest magnitude of every tensor, seen while the net runs in float32 on sample data."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import EngineError
from ._net import Net
from .onnxruntime import _import_runtime, _library_errors

__all__ = ["peaks", "runs"]

# Tensors that are looked at in one run, in bytes; a run more costs the time of the net, a tensor
# more costs memory that is not given back before the run ends.
_GROUP_BYTES = 256 << 20
# What a tensor is taken to need if its shape cannot be inferred.
_UNKNOWN_BYTES = 64 << 20
# Larger models go to ONNX Runtime through files; a protobuf ends at 2 GiB.
_IN_MEMORY_BYTES = 3 << 29
_LOG_FATAL_ONLY = 4


def peaks(
    net: Net,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    *,
    threads: int = 1,
    group_bytes: int = _GROUP_BYTES,
) -> dict[str, float]:
    """Run a net in float32 and look at every float32 tensor outside of loops and branches.

    Args:
        net: any net.
        feeds: inputs by name, one set for each run.
        threads: threads that work on one operator, 1 or more.
        group_bytes: tensors that are held in memory at once, in bytes; each further group is
            another run.

    Returns:
        Largest magnitude by name of the tensor; Inf if a value is not finite. Empty without feeds.

    Raises:
        EngineError: ONNX Runtime cannot run the net on these feeds, or the net itself puts out
            values that are not finite. Infinite values on the way are allowed: masks are made so.
    """
    if not feeds:
        return {}
    given = [one.name for one in net.model.graph.input]
    found = {name: _peak(feed[name] for feed in feeds) for name in given if name in feeds[0]}
    found = {name: peak for name, peak in found.items() if net.is_float(name)}
    made = [name for node in net.nodes for name in node.output if net.is_float(name)]
    for group in _groups(net, made, feeds[0], group_bytes):
        for results in runs(net.whole(group), feeds, threads=threads):
            for name, values in results.items():
                found[name] = max(found.get(name, 0.0), _peak([values]))
    if any(found.get(one.name) == np.inf for one in net.model.graph.output):
        first = next(name for name in (*given, *made) if found.get(name) == np.inf)
        raise EngineError(
            f"the net itself gives values that are not finite; {first!r} is the first of them",
            hint="are the inputs what the net was trained on?",
        )
    return found


def _peak(arrays: Iterator[NDArray[Any]] | Sequence[NDArray[Any]]) -> float:
    largest = [float(np.abs(one).max()) for one in arrays if one.size]
    return float(max(largest, default=0.0)) if np.isfinite(largest).all() else np.inf


def _groups(
    net: Net, names: Sequence[str], feed: Mapping[str, NDArray[Any]], limit: int
) -> Iterator[list[str]]:
    """Cut the names into pieces whose tensors need about this many bytes."""
    known = net.inferred({name: array.shape for name, array in feed.items()})
    group: list[str] = []
    total = 0
    for name in names:
        dims = [one.dim_value for one in known[name].shape.dim] if name in known else []
        sure = name in known and known[name].HasField("shape") and all(dims)
        size = 4 * int(np.prod(dims, dtype=np.int64)) if sure else _UNKNOWN_BYTES
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group


def runs(
    model: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    *,
    threads: int = 1,
    optimise: bool = True,
    in_memory_bytes: int = _IN_MEMORY_BYTES,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Run a model on the CPU.

    Args:
        model: may be changed: its weights go into a file if they are too large for memory.
        feeds: inputs by name, one set for each run.
        threads: threads that work on one operator, 1 or more.
        optimise: let ONNX Runtime rewrite the graph.
        in_memory_bytes: models with more weights than this go through a file.

    Yields:
        Outputs by name, for each set of inputs.

    Raises:
        EngineError: ONNX Runtime cannot run it.
    """
    runtime = _import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL_ONLY  # the error itself is raised
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with _source(model, in_memory_bytes) as source:
        try:
            session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            names = [one.name for one in session.get_outputs()]
            for feed in feeds:
                yield dict(zip(names, session.run(names, dict(feed)), strict=True))
        except _library_errors() as error:
            raise EngineError(f"ONNX Runtime cannot run the net: {str(error).strip()}") from error


@contextlib.contextmanager
def _source(model: onnx.ModelProto, limit: int) -> Iterator[bytes | str]:
    if sum(len(one.raw_data) for one in model.graph.initializer) <= limit:
        yield model.SerializeToString()
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        onnx.save_model(model, file, save_as_external_data=True, location="weights")
        yield str(file)
