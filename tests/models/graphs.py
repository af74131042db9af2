"""Small ONNX graphs for the tests beside it, and how to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ffswap.engines import OrtCpuSession

Dims = Sequence[int | str]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names are given in one text, an underscore alone is an input left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), **attributes)


def value(name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, dims)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    weights: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    integers: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of float32 inputs and outputs; weights that are lists of integers are int64."""

    def info(name: str, dims: Dims) -> onnx.ValueInfoProto:
        return value(name, dims, TensorProto.INT64 if name in integers else TensorProto.FLOAT)

    tensors = [
        numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()
    ]
    made = helper.make_graph(
        nodes, "g", [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()], tensors,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model


def weights(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Random weights, float32."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a model in ONNX Runtime."""
    with OrtCpuSession(model.SerializeToString(), name="test") as session:
        return session.run(dict(feeds))


def kinds(model: onnx.ModelProto) -> list[str]:
    """Operators of the graph, in order."""
    return [node.op_type for node in model.graph.node]
