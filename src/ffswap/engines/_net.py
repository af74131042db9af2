"""A net while it is worked on: nodes in order, weights beside them, an element type for each tensor."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ..errors import ModelError
from ..onnx_nodes import constant, subgraphs
from ._ports import inferred_outputs

__all__ = ["Net", "captured"]

# Shape inference reads the values of shapes, axes and scales, which have a few elements; of larger
# weights it needs the shape only, and a protobuf ends at 2 GB.
_READ_BY_INFERENCE = 1024


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the graphs inside a node read from outside of them."""
    for body in subgraphs(node):
        inner = {one.name for one in (*body.input, *body.initializer)}
        inner |= {name for one in body.node for name in one.output}
        read = [name for one in body.node for name in (*one.input, *captured(one))]
        read += [one.name for one in body.output]
        yield from (name for name in read if name and name not in inner)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of everything but the weights."""
    bare = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        opset_import=model.opset_import,
        metadata_props=model.metadata_props,
        functions=model.functions,
    )
    graph = model.graph
    bare.graph.name, bare.graph.doc_string = graph.name, graph.doc_string
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(bare.graph, field).extend(getattr(graph, field))
    return bare


class Net:
    """A copy of a model to be read and changed.

    Args:
        model: is not changed; its weights are shared, not copied.

    Attributes:
        model: everything but the weights; each node has a name, and comes after those that it
            reads from. Constants are weights.
        weights: by name.
        opsets: version of each domain; the default domain is the empty text.
        types: element type of each tensor that is known, a `TensorProto.DataType`.

    Raises:
        ModelError: a node reads what nothing makes, or nodes read one another in a circle.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = _bare(model)
        self.weights: dict[str, TensorProto] = {one.name: one for one in model.graph.initializer}
        self.opsets = {
            "" if one.domain == "ai.onnx" else one.domain: one.version for one in model.opset_import
        }
        self._lift_constants()
        self._sort()
        self._name_nodes()
        self.types = self._types()
        self._producers = {
            name: index for index, node in enumerate(self.nodes) for name in node.output if name
        }
        readers: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            for name in dict.fromkeys((*node.input, *captured(node))):
                readers[name].append(index)
        self._readers = dict(readers)

    @property
    def nodes(self) -> Sequence[onnx.NodeProto]:
        """In the order in which they can run."""
        nodes: Sequence[onnx.NodeProto] = self.model.graph.node
        return nodes

    def producer(self, name: str) -> int | None:
        """Index of the node that makes a tensor; None for inputs and weights."""
        return self._producers.get(name)

    def readers(self, name: str) -> Sequence[int]:
        """Indices of the nodes that read a tensor."""
        return self._readers.get(name, ())

    def weight_is_fixed(self, name: str) -> bool:
        """Whether a tensor is a weight, and not one that can be overridden as an input."""
        return name in self.weights and all(one.name != name for one in self.model.graph.input)

    def weight(self, name: str) -> NDArray[Any] | None:
        """The values of a weight; None if the tensor is something else or can be overridden."""
        return numpy_helper.to_array(self.weights[name]) if self.weight_is_fixed(name) else None

    def add_weight(self, name: str, values: NDArray[Any]) -> None:
        """Add a weight, or replace one."""
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        self.types[name] = self.weights[name].data_type

    def is_float(self, name: str) -> bool:
        """Whether a tensor is float32."""
        return self.types.get(name) == TensorProto.FLOAT

    def names(self) -> set[str]:
        """Every name of a tensor or node, those inside of nodes included."""
        found = {one.name for one in (*self.model.graph.input, *self.model.graph.output)}
        found |= self.weights.keys() | self.types.keys()
        graphs = [self.model.graph]
        while graphs:
            graph = graphs.pop()
            found |= {one.name for one in (*graph.input, *graph.initializer)}
            for node in graph.node:
                found |= {node.name, *node.input, *node.output}
                graphs += subgraphs(node)
        return found

    def whole(self) -> onnx.ModelProto:
        """A model with all weights."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.initializer.extend(self.weights.values())
        return model

    def _inferred(self) -> dict[str, int]:
        """Element types by ONNX's own inference, for tensors where it finds any."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name, weight in self.weights.items():
            if np.prod(weight.dims, dtype=np.int64) <= _READ_BY_INFERENCE:
                model.graph.initializer.append(weight)
            else:
                model.graph.initializer.add(name=name, dims=weight.dims, data_type=weight.data_type)
        try:
            graph = onnx.shape_inference.infer_shapes(model).graph
        except onnx.shape_inference.InferenceError:  # then the operators' definitions alone say
            graph = model.graph
        values = (*graph.input, *graph.value_info, *graph.output)
        return {
            one.name: one.type.tensor_type.elem_type
            for one in values
            if one.type.HasField("tensor_type") and one.type.tensor_type.elem_type
        }

    def _types(self) -> dict[str, int]:
        types = self._inferred()
        types |= {name: one.data_type for name, one in self.weights.items()}
        for sparse in self.model.graph.sparse_initializer:
            types[sparse.values.name] = sparse.values.data_type
        for node in self.nodes:
            for name, kind in inferred_outputs(node, self.opsets, types).items():
                types.setdefault(name, kind)
        return types

    def _lift_constants(self) -> None:
        kept = []
        for node in self.nodes:
            standard = node.op_type == "Constant" and not node.domain
            made = constant(node, node.output[0]) if standard else None
            if made is None:
                kept.append(node)
            else:
                self.weights[made.name] = made
        self._replace_nodes(kept)

    def _replace_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        fresh = onnx.GraphProto(node=nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(fresh.node)

    def _sort(self) -> None:
        graph = self.model.graph
        there = {one.name for one in graph.input} | self.weights.keys() | {""}
        there |= {one.values.name for one in graph.sparse_initializer}
        makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
        missing: list[int] = []
        waiting: dict[int, list[int]] = defaultdict(list)
        for index, node in enumerate(graph.node):
            needs = {name for name in (*node.input, *captured(node)) if name not in there}
            if unknown := sorted(name for name in needs if name not in makers):
                raise ModelError(f"node {node.name!r} reads {unknown[0]!r}, which nothing makes")
            before = {makers[name] for name in needs}
            missing.append(len(before))
            for maker in before:
                waiting[maker].append(index)
        ready = [index for index, count in enumerate(missing) if not count]
        order = []
        while ready:  # the earliest first: what is sorted stays as it is
            order.append(heapq.heappop(ready))
            for index in waiting[order[-1]]:
                missing[index] -= 1
                if not missing[index]:
                    heapq.heappush(ready, index)
        if len(order) < len(graph.node):
            stuck = next(
                node.name for node, count in zip(graph.node, missing, strict=True) if count
            )
            raise ModelError(f"node {stuck!r} and others read one another in a circle")
        self._replace_nodes([graph.node[index] for index in order])

    def _name_nodes(self) -> None:
        taken = {node.name for node in self.nodes}
        for index, node in enumerate(self.nodes):
            if not node.name:
                node.name = f"{node.op_type}_{index}"
                while node.name in taken:
                    node.name += "_"
                taken.add(node.name)
