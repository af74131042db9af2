"""FP16 where a net bears it, float32 where it does not, written into the graph as types and casts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from ..errors import InternalError, ModelError, OptionError
from ._batchnorm import fold
from ._islands import LIMIT, Island, find_islands, find_named, ports_of_all
from ._mixing import Mixer, single_nodes
from ._net import Net
from ._range import peaks

__all__ = ["Island", "Mixed", "check_names", "to_mixed_fp16"]

CONVERTER = 2
"""Goes up whenever the same net could be given to a builder otherwise: engines of before are built again."""

# Before opset 6 a Cast names its type by a text.
_OLDEST_OPSET = 6
# A protobuf ends at 2 GiB, and the checker takes a model as one.
_CHECKED_BYTES = (2 << 30) - (64 << 20)


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A net with FP16 and float32 nodes.

    Attributes:
        model: with the same inputs and outputs by name and order, opset and IR version.
        islands: the nodes that compute in float32, in the order of the graph.
        casts: how many Cast nodes were inserted.
    """

    model: onnx.ModelProto
    islands: tuple[Island, ...]
    casts: int


def to_mixed_fp16(
    model: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[Any]]] = (),
    *,
    keep: Collection[str] = (),
    half_io: bool = False,
    threads: int = 1,
) -> Mixed:
    """Turn a float32 net into one that computes in FP16 wherever that is safe.

    A tensor has the type of the node that makes it. Where a node wants the other type there is one
    Cast for each tensor, before the first node that wants it; no value goes from float32 to FP16
    and back between two float32 nodes. Weights are converted, and are there twice where nodes of
    both types read them. Nodes with graphs inside (If, Loop, Scan) stay in float32 with all that
    is in them. Batch normalisation with constant statistics becomes scale and shift.

    Without `feeds` islands of the kind ``range`` are found only where integers become floats.

    Args:
        model: is not changed. Nodes need no order and no names.
        feeds: float32 inputs for sample runs on the CPU, typical of what the net will see.
        keep: names of nodes to keep in float32 besides those that are found.
        half_io: float32 inputs and outputs of the net become FP16.
        threads: threads that work on one operator in sample runs, 1 or more.

    Raises:
        OptionError: `keep` names no node, or with `half_io` a sample input or output leaves FP16.
        ModelError: the graph cannot be sorted, or its opset is older than 6.
        EngineError: the net cannot be run on the samples, or gives values that are not finite.
    """
    net = Net(model)
    opset = net.opsets.get("", _OLDEST_OPSET)
    if opset < _OLDEST_OPSET:
        raise ModelError(
            f"the net has opset {opset}; allowed: {_OLDEST_OPSET} or newer",
            hint="export it again with opset 17",
        )
    fold(net)
    largest = peaks(net, feeds, threads=threads)
    if half_io:
        _check_border(net, largest)
    ports = ports_of_all(net)
    islands = find_islands(net, ports, largest, keep)
    mixer = Mixer(net, ports, single_nodes(net, ports, islands, half_io=half_io), half_io=half_io)
    mixed = mixer.build()
    _check(mixed, model)
    return Mixed(model=mixed, islands=tuple(islands.values()), casts=mixer.casts)


def check_names(model: onnx.ModelProto, keep: Collection[str]) -> None:
    """See that nodes which are to be kept in float32 are there.

    Raises:
        OptionError: one is not.
    """
    find_named(model.graph.node, keep)


def _check_border(net: Net, largest: Mapping[str, float]) -> None:
    for value in (*net.model.graph.input, *net.model.graph.output):
        if largest.get(value.name, 0.0) > LIMIT:
            raise OptionError(
                f"{value.name!r} holds values up to {largest[value.name]:.3g}; FP16 inputs and"
                f" outputs: at most {LIMIT:.0f} on sample data",
                hint="keep inputs and outputs in float32",
            )


def _check(mixed: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """See that ONNX itself finds nothing wrong; a fault of the source is the source's."""
    fault = _fault(mixed)
    if fault is None:
        return
    own = _fault(source)
    if own is not None:
        raise ModelError(f"not valid ONNX: {own}")
    raise InternalError(f"the FP16 net is not valid ONNX: {fault}")


def _fault(model: onnx.ModelProto) -> str | None:
    """What the checker says; None: nothing, or the model is too large for it."""
    if sum(len(one.raw_data) for one in model.graph.initializer) > _CHECKED_BYTES:
        return None
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error).strip()
    return None
