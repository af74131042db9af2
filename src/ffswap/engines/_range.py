"""The largest magnitude of every tensor, seen while the net runs in float32 on sample data."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ..errors import EngineError
from ._net import Net
from .onnxruntime import import_runtime, library_errors

__all__ = ["peaks", "runs"]

# Larger models go to ONNX Runtime through files; a protobuf ends at 2 GiB.
_IN_MEMORY_BYTES = 3 << 29
_LOG_FATAL_ONLY = 4


def peaks(
    net: Net, feeds: Sequence[Mapping[str, NDArray[Any]]], *, threads: int = 1
) -> dict[str, float]:
    """Run a net in float32 and look at every float32 tensor outside of loops and branches.

    The largest values are found inside of the run, so that no tensor is held longer than the net
    itself needs it.

    Args:
        net: any net.
        feeds: inputs by name, one set for each run.
        threads: threads that work on one operator, 1 or more.

    Returns:
        Largest magnitude by name of the tensor; Inf if a value is not finite. Empty without feeds.

    Raises:
        EngineError: ONNX Runtime cannot run the net on these feeds, or the net itself puts out
            values that are not finite. Infinite values on the way are allowed: masks are made so.
    """
    if not feeds:
        return {}
    given = [one.name for one in net.model.graph.input if net.is_float(one.name)]
    found = {name: 0.0 for name in given if name in feeds[0]}
    outputs = [one.name for one in net.model.graph.output]
    model, bounds = _watched(net)
    for feed, results in zip(feeds, runs(model, feeds, threads=threads), strict=True):
        seen = {name: [feed[name]] for name in given if name in feed}
        seen |= {name: [results[one] for one in ends] for name, ends in bounds.items()}
        # Not every build of a reduction passes on what is not a number.
        for name in outputs:
            if net.is_float(name):
                seen[name] = [*seen.get(name, ()), results[name]]
        for name, arrays in seen.items():
            found[name] = max(found.get(name, 0.0), _peak(arrays))
    if any(found.get(name) == np.inf for name in outputs):
        first = next(name for name in (*given, *bounds, *outputs) if found.get(name) == np.inf)
        raise EngineError(
            f"the net itself gives values that are not finite; {first!r} is the first of them",
            hint="are the inputs what the net was trained on?",
        )
    return found


def _peak(arrays: Sequence[NDArray[Any]]) -> float:
    largest = [float(np.abs(one).max()) for one in arrays if one.size]
    return max(largest, default=0.0) if np.isfinite(largest).all() else np.inf


def _watched(net: Net) -> tuple[onnx.ModelProto, dict[str, tuple[str, str]]]:
    """The net with the largest and the smallest value of every tensor as outputs.

    Returns:
        The model, and the names of the two outputs for each tensor, in the order of the graph.
    """
    free = "_" * (1 + max(map(len, net.names())))  # longer than any name that is taken
    model = net.whole()
    graph = model.graph
    del graph.node[:]
    # A zero more: a tensor may be empty, or have no dimension.
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), f"{free}zero"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), f"{free}flat"))
    bounds: dict[str, tuple[str, str]] = {}
    for node in net.nodes:
        graph.node.append(node)
        for name in node.output:
            if not net.is_float(name):
                continue
            flat, more = f"{free}f{len(bounds)}", f"{free}m{len(bounds)}"
            bounds[name] = (f"{free}low{len(bounds)}", f"{free}high{len(bounds)}")
            low, high = bounds[name]
            make = onnx.helper.make_node
            graph.node.append(make("Reshape", [name, f"{free}flat"], [flat]))
            graph.node.append(make("Concat", [flat, f"{free}zero"], [more], axis=0))
            graph.node.append(make("ReduceMin", [more], [low], keepdims=0))
            graph.node.append(make("ReduceMax", [more], [high], keepdims=0))
    for name in (one for ends in bounds.values() for one in ends):
        graph.output.add(name=name).type.tensor_type.elem_type = TensorProto.FLOAT
    return model, bounds


def runs(
    model: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    threads: int = 1,
    optimise: bool = True,
    in_memory_bytes: int = _IN_MEMORY_BYTES,
) -> Generator[dict[str, NDArray[Any]], None, None]:
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
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # In the order of the graph, so that what only looks at a tensor lets go of it at once. The
    # default order runs such nodes last: 5.1 GB instead of 2.7 for a replica of GFPGAN.
    options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    options.log_severity_level = _LOG_FATAL_ONLY  # the error itself is raised
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with _source(model, in_memory_bytes) as source:
        try:
            session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            names = [one.name for one in session.get_outputs()]
            for feed in feeds:
                yield dict(zip(names, session.run(names, dict(feed)), strict=True))
        except library_errors() as error:
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
