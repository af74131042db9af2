"""Which tensors of an operator may be FP16: read from the operator's own definition in ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import onnx
from onnx import TensorProto

from ..onnx_nodes import attribute, subgraphs

__all__ = ["MOVES", "Port", "Ports", "has_body", "inferred_outputs", "ports_of"]

# Operators that pass values on as they are.
MOVES = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip

# Operators whose definition allows FP16 but whose results do not: sample positions and running
# sums need more than 11 bits; the others take the type of their output from an attribute or, if it
# is not given, from their input.
_UNSUITABLE = frozenset({
    "AffineGrid", "Bernoulli", "CumSum", "EyeLike", "GridSample", "RandomNormalLike",
    "RandomUniformLike", "RoiAlign",
})  # fmt: skip

# Every value of these is exact in FP16, which is exact for integers up to 2048.
_EXACT = frozenset({TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT16})


class Port(Enum):
    """What one input or output of a node is."""

    OTHER = 0  # not float32, or left out
    SINGLE = 1  # always float32
    EITHER = 2  # float32, or float16 if the node computes in FP16


@dataclass(frozen=True)
class Ports:
    """Of one node, in the order of its inputs and outputs."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def has_body(node: onnx.NodeProto) -> bool:
    """Whether it holds graphs of its own, as If, Loop and Scan do."""
    return any(True for _ in subgraphs(node))


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in opsets:
        return None
    try:
        found = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated else found


def _formals(formals: Sequence[Any], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(type, name) of each; a type is a variable such as ``T``, or one such as ``tensor(float)``."""
    for index, name in enumerate(names):
        if formals:  # the last may stand for any number
            yield formals[min(index, len(formals) - 1)].type_str, name


def inferred_outputs(
    node: onnx.NodeProto, opsets: Mapping[str, int], types: Mapping[str, int]
) -> dict[str, int]:
    """Element types of the outputs, as far as the operator's definition gives them.

    Args:
        node: any node.
        opsets: version of each domain.
        types: of the tensors that are known.
    """
    if node.op_type == "Cast" and not node.domain:
        return {node.output[0]: attribute(node, "to")}
    schema = _schema(node, opsets)
    if schema is None or has_body(node):
        return {}
    known = {kind: types.get(name) for kind, name in _formals(schema.inputs, node.input)}
    known["tensor(float)"] = TensorProto.FLOAT
    known["tensor(int64)"] = TensorProto.INT64
    known["tensor(bool)"] = TensorProto.BOOL
    found = {name: known.get(kind) for kind, name in _formals(schema.outputs, node.output)}
    return {name: kind for name, kind in found.items() if name and kind is not None}


def _cast_ports(node: onnx.NodeProto, types: Mapping[str, int]) -> Ports:
    source, wanted = types[node.input[0]], attribute(node, "to")
    into = Port.EITHER if source == TensorProto.FLOAT else Port.OTHER
    if wanted != TensorProto.FLOAT:
        return Ports((into,), (Port.OTHER,))
    exact = source == TensorProto.FLOAT or source in _EXACT
    return Ports((into,), (Port.EITHER if exact else Port.SINGLE,))


def ports_of(
    node: onnx.NodeProto, opsets: Mapping[str, int], types: Mapping[str, int]
) -> Ports | None:
    """What the inputs and outputs of a node are, or None if the node must stay in float32.

    It must if it holds graphs, is not an operator of ONNX, has a tensor of unknown type, or its
    definition knows no FP16.

    Args:
        node: any node.
        opsets: version of each domain.
        types: element type of each tensor that has one.
    """
    schema = _schema(node, opsets)
    used = [name for name in (*node.input, *node.output) if name]
    if schema is None or has_body(node) or any(name not in types for name in used):
        return None
    if node.op_type == "Cast" and not node.domain:
        return _cast_ports(node, types)
    if node.op_type in _UNSUITABLE:
        return None
    half = {
        one.type_param_str
        for one in schema.type_constraints
        if "tensor(float16)" in one.allowed_type_strs
    }
    into, fed = [], set()
    for kind, name in _formals(schema.inputs, node.input):
        port = _port(kind, name, half, types)
        if port is None:
            return None
        into.append(port)
        if port is Port.EITHER:
            fed.add(kind)
    out = []
    for kind, name in _formals(schema.outputs, node.output):
        port = _port(kind, name, half, types)
        if port is None:
            return None
        # A type that no input has comes from an attribute, as with ConstantOfShape.
        out.append(Port.SINGLE if port is Port.EITHER and kind not in fed else port)
    return Ports(tuple(into), tuple(out))


def _port(kind: str, name: str, half: set[str], types: Mapping[str, int]) -> Port | None:
    if not name or types[name] != TensorProto.FLOAT:
        return Port.OTHER
    if kind == "tensor(float)":
        return Port.SINGLE
    return Port.EITHER if kind in half else None
