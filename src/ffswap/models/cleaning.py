"""A graph without what no engine needs: weights are plain, names unique, nothing is computed twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from ..errors import ModelError
from ..onnx_nodes import attribute, constant
from ._proto import (
    DEFAULT_DOMAINS,
    Used,
    default_opset,
    free_name,
    node_label,
    read_inside,
    walk,
    without_weights,
)

__all__ = ["clean"]

# Types whose conversions NumPy does exactly as ONNX says.
_FOLDED = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL, TensorProto.INT8,
    TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8,
}  # fmt: skip
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}

# Since this opset Dropout is told by an input whether it trains; before 7, by an attribute.
_DROPOUT_INPUT, _DROPOUT_ATTRIBUTE = 12, 7


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Prepare a graph for the steps that follow; it computes exactly what it did.

    - Constants, and initialisers behind a Cast or an Identity, become initialisers.
    - Identity and the Dropout of inference are taken out.
    - Initialisers are no inputs, and those that nothing reads are gone (some swappers keep a matrix
      for their caller in one: read it before).
    - Nodes that lead to no output are gone; the others have names of their own.

    Bodies of If, Loop and Scan stay as they are. Versions of operators and format do not change.

    Args:
        model: with all its weights; it is not changed.

    Returns:
        A copy.

    Raises:
        ModelError: a node reads what is not there, or two nodes write one tensor.
    """
    cleaner = _Cleaner(model)
    cleaner.check()
    cleaner.fold()
    cleaner.join()
    cleaner.drop()
    cleaner.name()
    return cleaner.result()


class _Cleaner:
    """The graph while it changes; the weights are the model's own until the end."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.bare = without_weights(model)
        self.opset = default_opset(model) or 0
        self.nodes: list[NodeProto] = list(self.bare.graph.node)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = [value.name for value in model.graph.output]
        inputs = [v for v in model.graph.input if v.name not in self.weights]
        self.inputs = {value.name for value in inputs}
        del self.bare.graph.input[:]
        self.bare.graph.input.extend(inputs)
        self.pinned = Used(self.nodes, self.outputs).pinned

    def check(self) -> None:
        sparse = {tensor.values.name for tensor in self.bare.graph.sparse_initializer}
        known = {"", *self.inputs, *self.weights, *sparse}
        for node in self.nodes:
            for name in node.input:
                if name not in known:
                    raise ModelError(
                        f"{node_label(node)} reads {name!r}, which nothing before it makes"
                    )
            for name in filter(None, node.output):
                if name in known:
                    raise ModelError(f"{node_label(node)} writes {name!r}, which is there already")
                known.add(name)
        for name in self.outputs:
            if name not in known:
                raise ModelError(f"nothing makes the output {name!r}")

    def fold(self) -> None:
        """Turn nodes that only give weights another form into weights."""
        kept: list[NodeProto] = []
        other: dict[str, str] = {}  # name -> the weight that replaces it
        cast: dict[tuple[str, int], str] = {}
        for node in self.nodes:
            _rename(node.input, other)
            name = node.output[0] if node.output else ""
            if name in self.outputs or node.domain not in DEFAULT_DOMAINS:
                kept.append(node)
            elif node.op_type == "Constant" and (tensor := constant(node, name)) is not None:
                self.weights[name] = tensor
            elif node.op_type == "Identity" and node.input[0] in self.weights:
                self._alias(name, node.input[0], other)
            elif node.op_type == "Cast" and self._casts(node):
                key = (node.input[0], attribute(node, "to"))
                if key in cast:
                    self._alias(name, cast[key], other)
                else:
                    self.weights[name] = _as_type(self.weights[key[0]], key[1], name)
                    cast[key] = name
            else:
                kept.append(node)
        self.nodes = kept

    def _alias(self, name: str, weight: str, other: dict[str, str]) -> None:
        if name in self.pinned:
            self.weights[name] = _named(self.weights[weight], name)
        else:
            other[name] = weight

    def _casts(self, node: NodeProto) -> bool:
        """Whether a Cast changes a weight in a way that does not depend on the machine."""
        weight, to = self.weights.get(node.input[0]), attribute(node, "to")
        if weight is None or not {weight.data_type, to} <= _FOLDED:
            return False
        return weight.data_type not in _FLOATS or to in _FLOATS or to == TensorProto.BOOL

    def join(self) -> None:
        """Take out nodes that give what they are given."""
        made = {name: node for node in self.nodes for name in node.output if name}
        other: dict[str, str] = {}
        kept: list[NodeProto] = []
        for node in self.nodes:
            _rename(node.input, other)
            if not self._passes(node):
                kept.append(node)
                continue
            source, name = node.input[0], node.output[0]
            if name not in self.pinned:
                other[name] = source
            elif name in self.outputs and source in made and source not in self.pinned:
                # The output's name must stay, so the one who makes it takes it over.
                _rename(made[source].output, {source: name})
                for reader in kept:
                    _rename(reader.input, {source: name})
                made[name] = made[source]
                other[source] = name
            else:
                kept.append(node)
        self.nodes = kept

    def _passes(self, node: NodeProto) -> bool:
        if node.domain not in DEFAULT_DOMAINS:
            return False
        if node.op_type == "Identity":
            return True
        if node.op_type != "Dropout":
            return False
        if len(node.output) > 1 and node.output[1] in Used(self.nodes, self.outputs).names:
            return False  # somebody reads which values were dropped
        if self.opset < _DROPOUT_ATTRIBUTE:
            return bool(attribute(node, "is_test", 0))
        if self.opset < _DROPOUT_INPUT or len(node.input) < 3 or not node.input[2]:
            return True
        training = self.weights.get(node.input[2])
        return training is not None and not onnx.numpy_helper.to_array(training).any()

    def drop(self) -> None:
        """Leave out what leads to no output."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed |= {*node.input, *read_inside(node)}
                kept.append(node)
        self.nodes = kept[::-1]
        self.weights = {name: t for name, t in self.weights.items() if name in needed}

    def name(self) -> None:
        """Give every node a name of its own, and keep those that are."""
        taken = {node.name for node in walk(self.bare.graph)}
        seen: set[str] = {""}
        for index, node in enumerate(self.nodes):
            if node.name in seen:
                node.name = free_name(f"{node.op_type}_{index}", taken)
                taken.add(node.name)
            seen.add(node.name)

    def result(self) -> onnx.ModelProto:
        nodes = [_copied(node) for node in self.nodes]
        del self.bare.graph.node[:]
        self.bare.graph.node.extend(nodes)
        for tensor in self.weights.values():
            self.bare.graph.initializer.add().CopyFrom(tensor)
        return self.bare


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _rename(names: Any, other: dict[str, str]) -> None:
    """Replace names in a node's list of inputs or outputs."""
    for index, name in enumerate(names):
        while name in other:
            name = other[name]
        if name != names[index]:
            names[index] = name


def _named(tensor: TensorProto, name: str) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _as_type(tensor: TensorProto, to: int, name: str) -> TensorProto:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to)
    # A value beyond the new type's range becomes infinite, as in ONNX.
    with np.errstate(over="ignore"):
        values = onnx.numpy_helper.to_array(tensor).astype(dtype)
    return onnx.numpy_helper.from_array(values, name)
