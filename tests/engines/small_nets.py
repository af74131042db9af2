"""Small nets for tests: a line for each node, weights as arrays; and questions to nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ffswap.engines import _range
from ffswap.engines.precision import Mixed

Dims = Sequence[int | str]

ROW: dict[str, list[int | str]] = {"x": ["N", 4]}
IMAGE: dict[str, list[int | str]] = {"x": ["N", 4, 8, 8]}


def node(line: str, **attributes: Any) -> onnx.NodeProto:
    """``"name: Op a b -> c"``; ``_`` is an input that is left out."""
    name, _, rest = line.partition(":")
    call, _, outs = rest.partition("->")
    kind, *ins = call.split()
    names = ["" if one == "_" else one for one in ins]
    return helper.make_node(kind, names, outs.split(), name=name.strip(), **attributes)


def net(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    weights: Mapping[str, Any] | None = None,
    *,
    kinds: Mapping[str, int] | None = None,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model; inputs and outputs are float32 unless `kinds` says otherwise."""
    kinds = kinds or {}

    def values(dims: Mapping[str, Dims]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
            for name, shape in dims.items()
        ]

    held = [numpy_helper.from_array(values, name) for name, values in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "g", values(inputs), values(outputs), held)
    opsets = [helper.make_opsetid(*one) for one in {"": opset, **(domains or {})}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def floats(*values: float) -> NDArray[np.float32]:
    """A vector, or a number of no dimension if there is one value only."""
    array = np.array(values, np.float32)
    return array.reshape(()) if len(values) == 1 else array


def ints(*values: int) -> NDArray[np.int64]:
    """A vector of 64-bit integers."""
    return np.array(values, np.int64)


def adain(data: str, out: str, prefix: str = "") -> list[onnx.NodeProto]:
    """`out` is `data` with mean 0 and variance 1 over each plane; wants weights ``eps`` and ``one``."""
    p = prefix
    return [
        node(f"{p}mean: ReduceMean {data} -> {p}m", axes=[2, 3], keepdims=1),
        node(f"{p}centre: Sub {data} {p}m -> {p}d"),
        node(f"{p}square: Mul {p}d {p}d -> {p}s"),
        node(f"{p}variance: ReduceMean {p}s -> {p}v", axes=[2, 3], keepdims=1),
        node(f"{p}guard: Add {p}v eps -> {p}g"),
        node(f"{p}root: Sqrt {p}g -> {p}r"),
        node(f"{p}inverse: Div one {p}r -> {p}i"),
        node(f"{p}apply: Mul {p}d {p}i -> {out}"),
    ]


ADAIN = ("mean", "centre", "square", "variance", "guard", "root", "inverse", "apply")
EPS = {"eps": floats(1e-8), "one": floats(1.0)}


def adain_net() -> onnx.ModelProto:
    """Two convolutions with a normalisation of values around 600 between them."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) * 150,
        "w2": rng.normal(size=(3, 8, 3, 3)).astype(np.float32) / 8,
        **EPS,
    }
    nodes = [
        node("conv1: Conv x w1 -> a", pads=[1] * 4),
        *adain("a", "n"),
        node("relu: Relu n -> b"),
        node("conv2: Conv b w2 -> y", pads=[1] * 4),
    ]
    return net(nodes, {"x": ["N", 3, 16, 16]}, {"y": ["N", 3, 16, 16]}, weights)


def adain_feed(rows: int = 2) -> dict[str, NDArray[Any]]:
    """What `adain_net` takes."""
    rng = np.random.default_rng(1)
    return {"x": rng.normal(size=(rows, 3, 16, 16)).astype(np.float32)}


def relative_error(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Relative L2; Inf if a value is not finite."""
    wide = got.astype(np.float64)
    if not np.isfinite(wide).all():
        return float("inf")
    return float(np.linalg.norm(wide - want) / np.linalg.norm(want.astype(np.float64)))


def in_fp32(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What ONNX Runtime makes of a net as it is."""
    return next(_range.runs(model, [feeds]))


def reasons(mixed: Mixed) -> dict[str, str]:
    """Why nodes are islands, by name."""
    return {island.node: island.reason for island in mixed.islands}


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every weight and of every tensor that inference knows."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {one.name: one.type.tensor_type.elem_type for one in values}
    return found | {one.name: one.data_type for one in graph.initializer}


def casts(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """All Cast nodes."""
    return [one for one in model.graph.node if one.op_type == "Cast"]


def pairs(model: onnx.ModelProto) -> list[str]:
    """Casts that read from casts."""
    made = {one.output[0] for one in casts(model)}
    return [one.name for one in casts(model) if one.input[0] in made]


def by_name(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node of this name."""
    found: onnx.NodeProto = next(one for one in model.graph.node if one.name == name)
    return found


def row_net(*nodes: onnx.NodeProto, **weights: NDArray[Any]) -> onnx.ModelProto:
    """A net from x (N, 4) to y (N, 4)."""
    return net(nodes, ROW, {"y": ["N", 4]}, weights)
