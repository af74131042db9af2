"""Walks, partial copies and shape inference of ONNX graphs, for the modules beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ModelError
from ..onnx_nodes import subgraphs

__all__ = [
    "DEFAULT_DOMAINS",
    "LARGEST_FILE",
    "Used",
    "copied",
    "copy_fields",
    "default_opset",
    "free_name",
    "inferred",
    "node_label",
    "read_inside",
    "size_of",
    "small_constants",
    "walk",
    "without_weights",
]

LARGEST_FILE = 2**31 - 1
"""Bytes. Protobuf, of which an ONNX file is made, reads and writes messages of at most this size."""

# Both name the operators of the ONNX standard itself.
DEFAULT_DOMAINS = ("", "ai.onnx")

# Values. Larger initialisers cannot be shapes, axes or the like, and inference does without them.
_LARGEST_CONSTANT = 4096


def walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of bodies too."""
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from walk(body)


def read_inside(node: onnx.NodeProto) -> set[str]:
    """Names that the bodies of a node may read from the graph around it.

    A body may use a name again for a tensor of its own; such a name is in the set, too, which is
    safe for everybody who only wants to know what must stay.
    """
    bodies = list(subgraphs(node))
    return {name for body in bodies for inner in walk(body) for name in inner.input} | {
        result.name for body in bodies for result in body.output
    }


def node_label(node: onnx.NodeProto) -> str:
    """For messages: name and operator."""
    return f"node {node.name!r} ({node.op_type})"


def default_opset(model: onnx.ModelProto) -> int | None:
    """Version of the standard operators, or None if the model does not say."""
    found = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    return max(found) if found else None


def size_of(tensor: onnx.TensorProto) -> int:
    """Bytes of the values (more than there are, for types of less than a byte)."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims) * dtype.itemsize)


def free_name(wish: str, taken: Collection[str]) -> str:
    """The wish, with a number behind it if it is taken."""
    name, number = wish, 1
    while name in taken:
        name, number = f"{wish}_{number}", number + 1
    return name


def copy_fields(source: Any, target: Any, *, but: Collection[str] = ()) -> None:
    """Copy all fields of a message that are set, but for some."""
    for field, value in source.ListFields():
        if field.name in but:
            continue
        if hasattr(value, "MergeFrom"):  # a message, or a list of anything
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of everything but the initialisers, and of no inferred shapes."""
    bare = onnx.ModelProto()
    copy_fields(model, bare, but={"graph"})
    copy_fields(model.graph, bare.graph, but={"initializer", "value_info"})
    return bare


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without inferred shapes; weights are copied one by one, so that 2 GB are no limit."""
    copy = without_weights(model)
    for tensor in model.graph.initializer:
        copy.graph.initializer.add().CopyFrom(tensor)
    return copy


class Used:
    """What a graph reads and how often, bodies included.

    Attributes:
        names: read by a node or given out by the graph.
        pinned: read by a body or given out, so that another name will not do.
    """

    def __init__(self, nodes: Iterable[onnx.NodeProto], outputs: Iterable[str]) -> None:
        nodes = list(nodes)
        self.pinned = {name for node in nodes for name in read_inside(node)} | set(outputs)
        self.names = {name for node in nodes for name in node.input} | self.pinned


def small_constants(tensors: Iterable[onnx.TensorProto]) -> dict[str, NDArray[Any]]:
    """Values of the initialisers that may be shapes, axes and the like, by name."""
    return {
        t.name: onnx.numpy_helper.to_array(t)
        for t in tensors
        if math.prod(t.dims) <= _LARGEST_CONSTANT
    }


def inferred(
    bare: onnx.ModelProto, weights: Iterable[onnx.TensorProto]
) -> dict[str, tuple[np.dtype[Any] | None, tuple[int | str, ...]]]:
    """Type and shape of every tensor that ONNX can infer.

    The large weights take no part, only their shapes do, so it is quick and models of more than
    2 GB work.

    Args:
        bare: a model without initialisers; it is not changed.
        weights: its initialisers.

    Returns:
        By name: type (None where it is none of a number) and dimensions; a dimension that is not
        known is a name, or ``?``.

    Raises:
        ModelError: shapes contradict each other, with the node at which they do.
    """
    model = onnx.ModelProto()
    model.CopyFrom(bare)
    # Before version 4, initialisers had to be inputs, and inference does not see others.
    model.ir_version = max(model.ir_version, 4)
    del model.graph.value_info[:]
    shapes: dict[str, tuple[np.dtype[Any] | None, tuple[int | str, ...]]] = {}
    for tensor in weights:
        if math.prod(tensor.dims) <= _LARGEST_CONSTANT:
            model.graph.initializer.add().CopyFrom(tensor)
        else:
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        shapes[tensor.name] = (_number(tensor.data_type), tuple(tensor.dims))
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        said = " ".join(str(error).split())
        raise ModelError(f"its shapes contradict each other: {said}") from error
    for info in (*graph.value_info, *graph.input, *graph.output):
        kind = info.type.tensor_type
        if kind.HasField("shape"):
            shapes[info.name] = (_number(kind.elem_type), tuple(map(_dimension, kind.shape.dim)))
    return shapes


def _number(kind: int) -> np.dtype[Any] | None:
    return onnx.helper.tensor_dtype_to_np_dtype(kind) if kind else None


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
