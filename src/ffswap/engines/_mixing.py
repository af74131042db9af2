"""Writes a net with some nodes in FP16 and some in float32: types, casts, weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ..onnx_nodes import subgraphs
from ._net import Net, captured
from ._ports import MOVES, Port, Ports

__all__ = ["Mixer", "single_nodes"]

_SUFFIXES: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}


def single_nodes(
    net: Net, ports: Sequence[Ports | None], islands: Collection[int], *, half_io: bool
) -> set[int]:
    """All nodes that work in float32: the islands, and those that only hand on float32 values.

    A Reshape between two islands in FP16 would round, and overflow, what the islands keep. A node
    that decides (ArgMax, Greater) or looks at a shape takes its inputs as they are.

    Args:
        net: any net.
        ports: of its nodes.
        islands: indices of the nodes that must compute in float32.
        half_io: inputs and outputs of the net are FP16.
    """
    # What each node makes in float32.
    floats = [[name for name in node.output if net.is_float(name)] for node in net.nodes]
    moving = {
        index
        for index, node in enumerate(net.nodes)
        if (node.op_type in MOVES or node.op_type == "Cast")
        and ports[index] is not None
        and floats[index]
        and index not in islands
    }
    border = {one.name for one in net.model.graph.output} if not half_io else set()
    single = {*islands, *moving}

    def is_single(name: str) -> bool:
        maker = net.producer(name)
        if maker is None:
            return name in net.weights or not half_io
        maker_ports = ports[maker]
        place = list(net.nodes[maker].output).index(name)
        fixed = maker_ports is not None and maker_ports.outputs[place] is Port.SINGLE
        return maker in single or fixed

    def read_single(name: str) -> bool:
        readers = net.readers(name)
        # Nobody is hurt by float32 where no reader computes with it.
        return (bool(readers) or name in border) and all(
            reader in single or not floats[reader] for reader in readers
        )

    while wrong := [
        index
        for index in moving & single
        if not all(is_single(one) for one in net.nodes[index].input if net.is_float(one))
        or not all(read_single(one) for one in floats[index])
    ]:
        single.difference_update(wrong)
    for index, node in enumerate(net.nodes):
        used = [name for name in node.input if net.is_float(name) and name not in net.weights]
        if used and not floats[index] and any(is_single(name) for name in used):
            single.add(index)
    return single


class Mixer:
    """Builds the mixed model.

    Args:
        net: in float32; its nodes are taken over and changed.
        ports: of its nodes; None: in float32.
        single: indices of the nodes that work in float32.
        half_io: float32 inputs and outputs of the net become FP16.

    Attributes:
        casts: how many were inserted.
    """

    def __init__(
        self, net: Net, ports: Sequence[Ports | None], single: Collection[int], *, half_io: bool
    ) -> None:
        self._net, self._ports, self._single = net, ports, single
        self._border = TensorProto.FLOAT16 if half_io else TensorProto.FLOAT
        self._taken = net.names()
        self._copies: dict[tuple[str, int], str] = {}  # (tensor, type): its name in the result
        self._wanted: dict[str, dict[int, str]] = {}  # weight: its name in each type
        self._kinds: dict[str, int] = {}  # type of each float tensor under its own name
        self._nodes: list[onnx.NodeProto] = []
        self.casts = 0

    def build(self) -> onnx.ModelProto:
        """The mixed model; to be called once."""
        graph = self._net.model.graph
        self._start()
        outputs = {one.name for one in graph.output if self._net.is_float(one.name)}
        for index, node in enumerate(self._net.nodes):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            self._read(index, copy)
            self._nodes.append(copy)
            self._make(index, copy, outputs)
        result = onnx.ModelProto()
        result.CopyFrom(self._net.model)
        del result.graph.node[:]
        result.graph.node.extend(self._nodes)
        result.graph.initializer.extend(self._weights())
        for value in (*result.graph.input, *result.graph.value_info, *result.graph.output):
            if self._net.is_float(value.name) and value.type.HasField("tensor_type"):
                kind = self._kinds.get(value.name, TensorProto.FLOAT)
                value.type.tensor_type.elem_type = kind
        return result

    def _start(self) -> None:
        for value in self._net.model.graph.input:
            if self._net.is_float(value.name):
                # A weight that can be overridden stays what it is.
                known = TensorProto.FLOAT if value.name in self._net.weights else self._border
                self._set(value.name, known, value.name)
        for value in self._net.model.graph.output:
            if self._net.weight_is_fixed(value.name) and self._net.is_float(value.name):
                self._wanted[value.name] = {self._border: value.name}
                self._set(value.name, self._border, value.name)
        for sparse in self._net.model.graph.sparse_initializer:
            self._set(sparse.values.name, TensorProto.FLOAT, sparse.values.name)

    def _set(self, name: str, kind: int, held: str) -> None:
        self._copies[name, kind] = held
        if name == held:
            self._kinds[name] = kind

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _place(self, index: int, place: int) -> int:
        """The type that a node wants its float input `place` in."""
        ports = self._ports[index]
        if index in self._single or ports is None or ports.inputs[place] is Port.SINGLE:
            return TensorProto.FLOAT
        return TensorProto.FLOAT16

    def _read(self, index: int, node: onnx.NodeProto) -> None:
        """Give a node its inputs in the types that it wants."""
        for place, name in enumerate(node.input):
            if self._net.is_float(name):
                node.input[place] = self._copy(name, self._place(index, place))
        inner = {
            name: self._copy(name, TensorProto.FLOAT)
            for name in captured(node)
            if self._net.is_float(name)
        }
        for body in subgraphs(node):
            _rename(body, inner)

    def _make(self, index: int, node: onnx.NodeProto, outputs: Collection[str]) -> None:
        """Note the types of a node's outputs; cast what leaves the net in another."""
        ports = self._ports[index]
        for place, name in enumerate(node.output):
            if not self._net.is_float(name):
                continue
            fixed = ports is None or ports.outputs[place] is Port.SINGLE
            single = fixed or index in self._single
            kind = TensorProto.FLOAT if single else TensorProto.FLOAT16
            if node.op_type == "Cast":  # of the net itself, to float32
                next(one for one in node.attribute if one.name == "to").i = kind
            if name not in outputs or kind == self._border:
                self._set(name, kind, name)
                continue
            held = self._fresh(f"{name}_{_SUFFIXES[kind]}")
            node.output[place] = held
            self._set(name, kind, held)
            self._set(name, self._border, name)
            self._cast(held, name, self._border)

    def _copy(self, name: str, kind: int) -> str:
        """The name under which a tensor is there in a type; makes it if it is not there yet."""
        if (name, kind) in self._copies:
            return self._copies[name, kind]
        if self._net.weight_is_fixed(name):
            kinds = self._wanted.setdefault(name, {})
            held = name if not kinds else self._fresh(f"{name}_{_SUFFIXES[kind]}")
            kinds[kind] = self._copies[name, kind] = held
            return held
        other = next(one for one in _SUFFIXES if one != kind)
        held = self._fresh(f"{name}_{_SUFFIXES[kind]}")
        self._cast(self._copies[name, other], held, kind)
        self._copies[name, kind] = held
        return held

    def _cast(self, source: str, target: str, kind: int) -> None:
        name = self._fresh(f"Cast_{target}")
        self._nodes.append(onnx.helper.make_node("Cast", [source], [target], name=name, to=kind))
        self.casts += 1

    def _weights(self) -> Iterator[TensorProto]:
        for name, weight in self._net.weights.items():
            kinds = self._wanted.get(name, {weight.data_type: name})
            for kind, held in kinds.items():
                if kind == TensorProto.FLOAT16 != weight.data_type:
                    with np.errstate(over="ignore"):  # an open bound of Clip becomes infinite
                        values = numpy_helper.to_array(weight).astype(np.float16)
                    yield numpy_helper.from_array(values, held)
                else:
                    copy = TensorProto()
                    copy.CopyFrom(weight)
                    copy.name = held
                    yield copy


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Change what a graph inside a node reads from outside; names inside are never the same."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for body in subgraphs(node):
            _rename(body, names)
    for value in graph.output:
        value.name = names.get(value.name, value.name)
