"""The converter on graphs made by hand, against the definition of each operator in NHWC."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from ffswap.engines import OrtCpuSession
from tools.embedded.convert import convert, same_padding
from tools.embedded.tflite_graph import Operator, Tensor, TfliteGraph, UnsupportedError

RNG = np.random.default_rng(5)


def run(operators: list[Operator], tensors: list[Tensor], image: NDArray[Any]) -> NDArray[Any]:
    """Tensor 0 is the input, the last one the output; NHWC in, NHWC or (N, values) out."""
    graph = TfliteGraph(tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))
    last = tensors[-1]
    data = convert(graph, name="g", inputs={tensors[0].name: "x"}, outputs={last.name: "y"})
    with OrtCpuSession(data) as session:
        out = session.run({"x": np.ascontiguousarray(image.transpose(0, 3, 1, 2))})["y"]
    return out


def flattened(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The activation that the operator under test makes, and it reshaped to rows of channels."""
    return Tensor("a", shape), Tensor("y", (1, shape[1] * shape[2], shape[3]))


def through(op: Operator, constants: list[Tensor], shape: tuple[int, ...], image: NDArray[Any]):
    """Run one operator and a RESHAPE behind it: (N, H * W, C)."""
    tensors = [Tensor("x", (1, *image.shape[1:])), *constants, *flattened(shape)]
    n = len(tensors)
    first = Operator(op.kind, op.inputs, (n - 2,), op.options)
    return run([first, Operator("RESHAPE", (n - 2,), (n - 1,))], tensors, image)


def slow_convolution(
    image: NDArray[Any], kernel: NDArray[Any], stride: int, dilation: int, same: bool
) -> NDArray[Any]:
    """NHWC image, kernel (O, kh, kw, I): TensorFlow's definition, one output at a time."""
    _, height, width, _ = image.shape
    _, kh, kw, _ = kernel.shape
    extent = ((kh - 1) * dilation + 1, (kw - 1) * dilation + 1)
    if same:
        size = (-(-height // stride), -(-width // stride))
    else:
        size = ((height - extent[0]) // stride + 1, (width - extent[1]) // stride + 1)
    sizes = zip(size, extent, (height, width), strict=True)
    need = [max((o - 1) * stride + e - i, 0) for o, e, i in sizes]
    before = [n // 2 if same else 0 for n in need]
    out = np.zeros((len(image), *size, len(kernel)))
    for y, x, dy, dx in np.ndindex(*size, kh, kw):
        row = y * stride + dy * dilation - before[0]
        column = x * stride + dx * dilation - before[1]
        if 0 <= row < height and 0 <= column < width:
            out[:, y, x] += image[:, row, column] @ kernel[:, dy, dx].T
    return out


def rows(array: NDArray[Any]) -> NDArray[Any]:
    """NHWC to (N, H * W, C)."""
    return array.reshape(len(array), -1, array.shape[-1])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [
        *((192, 3, 2, 1, (0, 1)), (191, 3, 2, 1, (1, 1)), (7, 3, 1, 1, (1, 1))),
        *((8, 2, 2, 1, (0, 0)), (8, 3, 1, 2, (2, 2)), (5, 2, 1, 1, (0, 1)), (4, 1, 3, 1, (0, 0))),
    ],
)
def test_same_padding(
    size: int, kernel: int, stride: int, dilation: int, expected: tuple[int, int]
):
    assert same_padding(size, kernel, stride, dilation) == expected


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
def test_convolution(padding: str, stride: int, dilation: int, activation: str):
    image = RNG.normal(size=(2, 8, 7, 3)).astype(np.float32)
    kernel = RNG.normal(size=(4, 3, 2, 3)).astype(np.float16)
    bias = RNG.normal(size=4).astype(np.float32)
    want = slow_convolution(image, kernel.astype(float), stride, dilation, padding == "SAME") + bias
    if activation != "NONE":
        want = want.clip(0, 6 if activation == "RELU6" else None)
    options: dict[str, Any] = {"padding": padding, "activation": activation}
    options |= {"stride": (stride, stride), "dilation": (dilation, dilation)}
    tensors = [
        Tensor("x", (1, 8, 7, 3)),
        *(Tensor("w16", kernel.shape, kernel), Tensor("w", kernel.shape), Tensor("b", (4,), bias)),
        *flattened(want.shape),
    ]
    operators = [
        Operator("DEQUANTIZE", (1,), (2,)),
        Operator("CONV_2D", (0, 2, 3), (4,), options),
        Operator("RESHAPE", (4,), (5,)),
    ]
    np.testing.assert_allclose(run(operators, tensors, image), rows(want), atol=1e-4)


def test_depthwise_convolution():
    image = RNG.normal(size=(2, 5, 6, 3)).astype(np.float32)
    kernel = RNG.normal(size=(1, 3, 3, 3)).astype(np.float32)
    full = np.zeros((3, 3, 3, 3))
    for c in range(3):
        full[c, :, :, c] = kernel[0, :, :, c]
    want = slow_convolution(image, full, 2, 1, True)
    options = {"padding": "SAME", "activation": "NONE", "stride": (2, 2), "dilation": (1, 1)}
    op = Operator("DEPTHWISE_CONV_2D", (0, 1, -1), (2,), options)
    got = through(op, [Tensor("w", kernel.shape, kernel)], want.shape, image)
    np.testing.assert_allclose(got, rows(want), atol=1e-5)


def test_max_pool():
    image = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32) - 5  # padding must not win as zero
    options = {"padding": "SAME", "activation": "NONE", "stride": (2, 2), "kernel": (2, 2)}
    got = through(Operator("MAX_POOL_2D", (0,), (1,), options), [], (1, 2, 3, 3), image)
    np.testing.assert_array_equal(got, rows(image.reshape(2, 2, 2, 3, 2, 3).max((2, 4))))


def test_prelu_pad_and_add():
    image = RNG.normal(size=(2, 3, 3, 2)).astype(np.float32)
    slope = np.array([[[0.25, -2]]], np.float16)
    pads = np.array([[0, 0], [1, 0], [0, 2], [0, 1]], np.int32)
    shape = (1, 4, 5, 3)
    tensors = [
        *(Tensor("x", (1, 3, 3, 2)), Tensor("s16", (1, 1, 2), slope), Tensor("s", (1, 1, 2))),
        *(Tensor("p", (1, 3, 3, 2)), Tensor("pads", (4, 2), pads), Tensor("q", shape)),
        *(Tensor("sum", shape), *flattened(shape)[1:]),
    ]
    operators = [
        *(Operator("DEQUANTIZE", (1,), (2,)), Operator("PRELU", (0, 2), (3,))),
        Operator("PAD", (3, 4), (5,)),
        Operator("ADD", (5, 5), (6,), {"activation": "NONE"}),
        Operator("RESHAPE", (6,), (7,)),
    ]
    want = np.pad(np.where(image < 0, image * slope, image), pads) * 2
    np.testing.assert_allclose(run(operators, tensors, image), rows(want), atol=1e-6)


def test_split_prelu_is_the_same_function():
    image = RNG.normal(size=(2, 3, 3, 4)).astype(np.float32)
    slope = np.array([[[0.25, -2, 3, 1]]], np.float16)
    graph = TfliteGraph(
        (
            *(Tensor("x", (1, 3, 3, 4)), Tensor("s16", (1, 1, 4), slope), Tensor("s", (1, 1, 4))),
            *flattened((1, 3, 3, 4)),
        ),
        (
            Operator("DEQUANTIZE", (1,), (2,)),
            Operator("PRELU", (0, 2), (3,)),
            Operator("RESHAPE", (3,), (4,)),
        ),
        *((0,), (4,)),
    )
    data = convert(graph, name="g", inputs={"x": "x"}, outputs={"y": "y"}, split_prelu=True)
    assert "PRelu" not in {n.op_type for n in onnx.load_from_string(data).graph.node}
    with OrtCpuSession(data) as session:
        got = session.run({"x": np.ascontiguousarray(image.transpose(0, 3, 1, 2))})["y"]
    want = rows(np.where(image < 0, image * slope, image))
    # Two roundings of values up to 3 times as large as the input's.
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(image).max())


def test_mean_fully_connected_and_logistic():
    image = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    weights = RNG.normal(size=(2, 4)).astype(np.float16)
    bias = np.array([0.5, -1], np.float32)
    tensors = [
        *(Tensor("x", (1, 3, 5, 4)), Tensor("axes", (2,), np.array([1, 2], np.int32))),
        *(Tensor("m", (1, 4)), Tensor("w16", (2, 4), weights), Tensor("w", (2, 4))),
        *(Tensor("b", (2,), bias), Tensor("f", (1, 2)), Tensor("y", (1, 2))),
    ]
    operators = [
        Operator("MEAN", (0, 1), (2,), {"keep_dims": False}),
        Operator("DEQUANTIZE", (3,), (4,)),
        Operator("FULLY_CONNECTED", (2, 4, 5), (6,), {"activation": "NONE"}),
        Operator("LOGISTIC", (6,), (7,)),
    ]
    linear = image.mean((1, 2)) @ weights.astype(np.float32).T + bias
    np.testing.assert_allclose(run(operators, tensors, image), 1 / (1 + np.exp(-linear)), atol=1e-6)


def test_concatenation_of_rows():
    image = RNG.normal(size=(2, 2, 3, 4)).astype(np.float32)
    tensors = [
        *(Tensor("x", (1, 2, 3, 4)), Tensor("a", (1, 6, 4)), Tensor("b", (1, 12, 2))),
        *(Tensor("c", (1, 12, 2)), Tensor("y", (1, 24, 2))),
    ]
    operators = [
        *(Operator("RESHAPE", (0,), (2,)), Operator("RESHAPE", (0,), (3,))),
        Operator("CONCATENATION", (2, 3), (4,), {"axis": 1, "activation": "NONE"}),
    ]
    want = np.tile(image.reshape(2, 12, 2), (1, 2, 1))
    np.testing.assert_array_equal(run(operators, tensors, image), want)


@pytest.mark.parametrize(
    ("kind", "shapes", "options", "message"),
    [
        ("MEAN", ((1, 2, 2, 4), (1, 1, 1, 4)), {"keep_dims": True}, "MEAN over axes"),
        ("FULLY_CONNECTED", ((1, 2, 2, 4), (1, 4)), {"activation": "NONE"}, "FULLY_CONNECTED of"),
        ("CONCATENATION", ((1, 2, 2, 4), (1, 2, 2, 4)), {"axis": 3}, "CONCATENATION to"),
    ],
)
def test_shapes_that_are_not_known_are_refused(kind: str, shapes, options, message: str):
    tensors = (
        *(Tensor("x", shapes[0]), Tensor("c", (2,), np.array([1, 2], np.int32))),
        Tensor("y", shapes[1]),
    )
    graph = TfliteGraph(tensors, (Operator(kind, (0, 1), (2,), options),), (0,), (2,))
    with pytest.raises(UnsupportedError, match=message):
        convert(graph, name="g", inputs={"x": "in"}, outputs={"y": "out"})


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"align_corners": False, "half_pixel": True}, [0, 0.75, 2.25, 3]),
        ({"align_corners": False, "half_pixel": False}, [0, 1.5, 3, 3]),
        ({"align_corners": True, "half_pixel": False}, [0, 1, 2, 3]),
    ],
)
def test_resize(mode: dict[str, bool], expected: list[float]):
    image = np.array([0, 3], np.float32).reshape(1, 1, 2, 1)
    got = through(Operator("RESIZE_BILINEAR", (0,), (1,), mode), [], (1, 1, 4, 1), image)
    np.testing.assert_allclose(got.ravel(), expected, atol=1e-6)


def test_flat_output_free_batch_and_stable_bytes():
    graph = TfliteGraph(
        (Tensor("x", (1, 1, 1, 4)), Tensor("y", (1, 1, 1, 4))),
        (Operator("RELU", (0,), (1,)),), (0,), (1,),
    )  # fmt: skip
    data = convert(graph, name="g", inputs={"x": "in"}, outputs={"y": "out"})
    assert data == convert(graph, name="g", inputs={"x": "in"}, outputs={"y": "out"})
    value = onnx.load_from_string(data).graph.output[0].type.tensor_type
    assert [d.dim_param or d.dim_value for d in value.shape.dim] == ["N", 4]


@pytest.mark.parametrize(
    ("kind", "out", "outputs", "message"),
    [
        ("SOFTMAX", (1, 1, 1, 4), {"y": "out"}, "operator SOFTMAX; known: .*ADD"),
        ("RELU", (1, 2, 2, 4), {"y": "out"}, r"output y of shape \(1, 2, 2, 4\)"),
        ("RELU", (1, 1, 1, 4), {"z": "out"}, r"inputs and outputs are \['x', 'y'\]"),
        ("RESHAPE", (2, 2), {"y": "out"}, r"RESHAPE to \(2, 2\)"),
    ],
)
def test_what_is_not_known_is_refused(
    kind: str, out: tuple[int, ...], outputs: dict[str, str], message: str
):
    graph = TfliteGraph(
        (Tensor("x", (1, 1, 1, 4)), Tensor("y", out)), (Operator(kind, (0,), (1,)),), (0,), (1,)
    )
    with pytest.raises(UnsupportedError, match=message):
        convert(graph, name="g", inputs={"x": "in"}, outputs=outputs)


def test_weights_that_are_activations_are_refused():
    op = Operator("PRELU", (0, 1), (2,))
    with pytest.raises(UnsupportedError, match="slope is not a constant"):
        through(op, [Tensor("slope", (1, 1, 2))], (1, 1, 1, 2), np.zeros((1, 1, 1, 2), np.float32))
