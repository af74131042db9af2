"""What a model weighs and costs, without running it and without copying its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import shape_inference

__all__ = ["Report", "report"]

SMALL = 1024  # initialisers of so many numbers may be shapes, which shape inference reads
FREE = 64  # pixels: stands for a free height or width


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of one model.

    Attributes:
        parameters: numbers in initialisers that some node reads.
        gflop: of one run of batch 1: two for each multiply-accumulate of convolutions and matrix
            products, in billions.
        nodes: of the graph.
    """

    parameters: int
    gflop: float
    nodes: int


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every value, from a model in which large initialisers are inputs without content."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for info in [*light.graph.input, *light.graph.output]:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param == "?":
                dim.dim_value = FREE
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    graph = shape_inference.infer_shapes(light, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in [*graph.input, *graph.value_info, *graph.output]:
        found[info.name] = tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
    return found


def _multiplications(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    output = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return output * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        return output * shapes[node.input[0]][-1]
    return 0


def report(model: onnx.ModelProto) -> Report:
    """Count."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    shapes = _shapes(model)
    return Report(
        parameters=sum(math.prod(t.dims) for t in graph.initializer if t.name in used),
        gflop=2e-9 * sum(_multiplications(node, shapes) for node in graph.node),
        nodes=len(graph.node),
    )
