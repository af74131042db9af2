"""Builds the graph of a replica in place, in the idioms of the exporters that wrote the published files.

Weights are initialisers; small constants (shapes, factors, epsilons) are Constant nodes, as PyTorch
writes them. Every value knows its channels, so that a layer only says how many it gives.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["LEAKY_SLOPE", "GraphBuilder"]

IR_VERSION = 8  # of the ONNX release that brought opset 17
LEAKY_SLOPE = 0.2
RELU_GAIN = math.sqrt(2)
"""Keeps the variance through a layer that a ReLU follows (He et al., 2015)."""
BIAS_STD = 0.02  # not zero: a bias of zeros might be dropped by an optimiser

Dims = Sequence["int | str"]


class GraphBuilder:
    """A model under construction.

    Args:
        name: of the graph.
        opset: 11 to 17; decides whether some arguments are attributes or inputs.
        seed: of all random weights, together with the name.

    Attributes:
        model: what has been built so far; complete once its outputs are named.
        rng: source of the weights.
        dtype: of the weights and constants made from now on.
        channels: of each value: its second dimension, or the last one of a matrix.
    """

    def __init__(self, name: str, *, opset: int, seed: int = 0) -> None:
        self.opset = opset
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.dtype: type[np.floating[Any]] = np.float32
        self.channels: dict[str, int] = {}
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="ffswap tools.replicas")
        self.model.opset_import.add(domain="", version=opset)
        self.model.metadata_props.add(key="replica", value="1")
        self.model.graph.name = f"{name} replica"
        self._count = 0

    # -- ports -----------------------------------------------------------------------------

    def input(self, name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> str:
        """A graph input."""
        self.model.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
        if len(dims) > 1 and isinstance(dims[1], int):
            self.channels[name] = dims[1]
        return name

    def output(self, value: str, name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> None:
        """Make a value a graph output and give it its published name."""
        for node in self.model.graph.node:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    if found == value:
                        names[index] = name
        self.model.graph.output.append(helper.make_tensor_value_info(name, kind, dims))

    # -- nodes and constants ---------------------------------------------------------------

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def node(self, kind: str, *inputs: str, channels: int | None = None, **attributes: Any) -> str:
        """A node with one output, which has the channels of its first input unless told otherwise."""
        return self.nodes(kind, *inputs, outputs=1, channels=channels, **attributes)[0]

    def nodes(
        self,
        kind: str,
        *inputs: str,
        outputs: int,
        channels: int | None = None,
        **attributes: Any,
    ) -> tuple[str, ...]:
        """A node with several outputs."""
        name = self._name(kind)
        results = tuple(f"{name}_{index}" if index else f"{name}_out" for index in range(outputs))
        made = helper.make_node(kind, list(inputs), list(results), name=name, **attributes)
        self.model.graph.node.append(made)
        if channels is None and inputs:
            channels = self.channels.get(inputs[0])
        if channels is not None:
            self.channels.update(dict.fromkeys(results, channels))
        return results

    def parameter(self, array: NDArray[Any], name: str | None = None) -> str:
        """An initialiser, written in place: no copy of it is kept."""
        name = name or self._name("weight")
        tensor = self.model.graph.initializer.add(name=name, dims=array.shape)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.raw_data = array.tobytes()
        return name

    def normal(self, *shape: int, std: float, mean: float = 0.0) -> str:
        """An initialiser of normally distributed numbers."""
        values = self.rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(std)
        values += np.float32(mean)
        return self.parameter(values.astype(self.dtype, copy=False))

    def uniform(self, *shape: int, low: float, high: float) -> str:
        """An initialiser of evenly distributed numbers."""
        return self.parameter(np.asarray(self.rng.uniform(low, high, shape), self.dtype))

    def number(self, value: float | Sequence[float] | NDArray[Any]) -> str:
        """A Constant node of floating-point numbers."""
        return self._constant(np.asarray(value, self.dtype))

    def integers(self, values: int | Sequence[int]) -> str:
        """A Constant node of 64-bit integers."""
        return self._constant(np.asarray(values, np.int64))

    def _constant(self, array: NDArray[Any]) -> str:
        return self.node("Constant", value=onnx.numpy_helper.from_array(array))

    # -- layers ----------------------------------------------------------------------------

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        pad: int | None = None,
        group: int = 1,
        bias: bool = True,
        mean: float = 0.0,
        gain: float = RELU_GAIN,
    ) -> str:
        """A convolution.

        Args:
            x: its input.
            channels: of its output.
            kernel: side.
            stride: along both axes.
            pad: on all sides; default: half the kernel.
            group: groups.
            bias: whether it has one.
            mean: of the bias.
            gain: standard deviation of the output by that of the input.
        """
        fan = self.channels[x] // group * kernel**2
        weights = [self.normal(channels, fan // kernel**2, kernel, kernel, std=gain / fan**0.5)]
        if bias:
            weights.append(self.normal(channels, std=BIAS_STD, mean=mean))
        return self.node(
            "Conv",
            x,
            *weights,
            channels=channels,
            group=group,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2 if pad is None else pad] * 4,
        )

    def deconv(
        self, x: str, channels: int, kernel: int, stride: int, pad: int = 0, gain: float = RELU_GAIN
    ) -> str:
        """A transposed convolution."""
        fan = self.channels[x] * kernel**2 // stride**2
        weight = self.normal(self.channels[x], channels, kernel, kernel, std=gain / fan**0.5)
        return self.node(
            "ConvTranspose",
            x,
            weight,
            self.normal(channels, std=BIAS_STD),
            channels=channels,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
        )

    def gemm(self, x: str, channels: int, *, gain: float = 1.0, mean: float = 0.0) -> str:
        """A fully connected layer on a matrix."""
        fan = self.channels[x]
        weight = self.normal(channels, fan, std=gain / fan**0.5)
        bias = self.normal(channels, std=BIAS_STD, mean=mean)
        return self.node("Gemm", x, weight, bias, channels=channels, transB=1)

    def linear(self, x: str, channels: int, *, gain: float = 1.0) -> str:
        """A fully connected layer on anything: MatMul and Add."""
        fan = self.channels[x]
        y = self.node("MatMul", x, self.normal(fan, channels, std=gain / fan**0.5))
        self.channels[y] = channels
        return self.node("Add", y, self.normal(channels, std=BIAS_STD))

    def batch_norm(self, x: str) -> str:
        """Batch normalisation with statistics as if it had been trained."""
        count = self.channels[x]
        scale, variance = (self.uniform(count, low=0.8, high=1.2) for _ in range(2))
        bias, mean = (self.normal(count, std=0.1) for _ in range(2))
        return self.node("BatchNormalization", x, scale, bias, mean, variance, epsilon=1e-5)

    def instance_norm(self, x: str) -> str:
        """The operator, without learnt factors."""
        ones, zeros = (np.full(self.channels[x], fill, self.dtype) for fill in (1, 0))
        scale, bias = self.number(ones), self.number(zeros)
        return self.node("InstanceNormalization", x, scale, bias, epsilon=1e-5)

    def group_norm(self, x: str, groups: int, side: int) -> str:
        """Group normalisation of a square map, as PyTorch exports it."""
        count = self.channels[x]
        y = self.reshape(x, [0, groups, -1], channels=groups)
        y = self.reshape(self.instance_norm(y), [1, count, side, side], channels=count)
        y = self.node("Mul", y, self.uniform(count, 1, 1, low=0.8, high=1.2))
        return self.node("Add", y, self.normal(count, 1, 1, std=0.1))

    def layer_norm(self, x: str) -> str:
        """Layer normalisation over the last axis, in primitives."""
        count = self.channels[x]
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1], keepdims=1))
        square = self.node("Pow", centred, self.number(2.0))
        variance = self.node("ReduceMean", square, axes=[-1], keepdims=1)
        spread = self.node("Sqrt", self.node("Add", variance, self.number(1e-5)))
        y = self.node("Mul", self.node("Div", centred, spread), self.normal(count, std=0.1, mean=1))
        return self.node("Add", y, self.normal(count, std=0.1))

    # -- activations -----------------------------------------------------------------------

    def relu(self, x: str) -> str:
        """ReLU."""
        return self.node("Relu", x)

    def leaky(self, x: str, slope: float = LEAKY_SLOPE) -> str:
        """Leaky ReLU."""
        return self.node("LeakyRelu", x, alpha=slope)

    def prelu(self, x: str) -> str:
        """ReLU with one slope for each channel."""
        return self.node("PRelu", x, self.uniform(self.channels[x], 1, 1, low=0.1, high=0.4))

    def silu(self, x: str) -> str:
        """Sigmoid linear unit, in primitives."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def gelu(self, x: str) -> str:
        """Gaussian error linear unit by the error function, in primitives."""
        y = self.node("Erf", self.node("Div", x, self.number(math.sqrt(2))))
        y = self.node("Mul", x, self.node("Add", y, self.number(1.0)))
        return self.node("Mul", y, self.number(0.5))

    # -- shapes ----------------------------------------------------------------------------

    def add(self, a: str, b: str) -> str:
        """Sum."""
        return self.node("Add", a, b)

    def mul(self, a: str, b: str) -> str:
        """Product."""
        return self.node("Mul", a, b)

    def concat(self, parts: Sequence[str], axis: int = 1) -> str:
        """Side by side along an axis."""
        count = sum(self.channels[part] for part in parts) if axis == 1 else None
        return self.node("Concat", *parts, axis=axis, channels=count)

    def reshape(self, x: str, shape: Sequence[int], *, channels: int | None = None) -> str:
        """Reshape to a constant shape."""
        return self.node("Reshape", x, self.integers(shape), channels=channels)

    def slice(self, x: str, start: int, end: int, axis: int = 1) -> str:
        """A piece along one axis, with step 1."""
        bounds = [self.integers([value]) for value in (start, end, axis, 1)]
        return self.node("Slice", x, *bounds, channels=end - start if axis == 1 else None)

    def unsqueeze(self, x: str, axes: Sequence[int]) -> str:
        """New axes of one."""
        if self.opset < 13:
            return self.node("Unsqueeze", x, axes=list(axes))
        return self.node("Unsqueeze", x, self.integers(axes))

    def reduce_sum(self, x: str, axes: Sequence[int]) -> str:
        """Sum over axes, which stay as ones."""
        if self.opset < 13:
            return self.node("ReduceSum", x, axes=list(axes), keepdims=1)
        return self.node("ReduceSum", x, self.integers(axes), keepdims=1)

    def mean_2d(self, x: str) -> str:
        """Mean over rows and columns."""
        return self.node("ReduceMean", x, axes=[2, 3], keepdims=1)

    def reflect(self, x: str, pixels: int) -> str:
        """Reflection padding on all four sides."""
        return self.node(
            "Pad", x, self.integers([0, 0, pixels, pixels, 0, 0, pixels, pixels]), mode="reflect"
        )

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Greatest value of each window."""
        return self.node(
            "MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def average_pool(self, x: str) -> str:
        """Half the size."""
        return self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])

    def l2_normalise(self, x: str) -> str:
        """Rows of length one, as PyTorch's normalize is exported."""
        length = self.node("ReduceL2", x, axes=[1], keepdims=1)
        length = self.node("Clip", length, self.number(1e-12))
        return self.node("Div", x, self.node("Expand", length, self.node("Shape", x)))

    def resize(
        self, x: str, scale: float, mode: str = "nearest", coordinates: str | None = None
    ) -> str:
        """Larger or smaller by a factor."""
        scales = self._constant(np.asarray([1, 1, scale, scale], np.float32))
        return self.node("Resize", x, self._no_region(), scales, **_rules(mode, coordinates))

    def resize_to(
        self, x: str, like: str, mode: str = "nearest", coordinates: str | None = None
    ) -> str:
        """To the height and width of another value, found at run time."""
        first, last = (
            self.node("Slice", self.node("Shape", value), *map(self.integers, ([a], [b], [0])))
            for value, a, b in ((x, 0, 2), (like, 2, 4))
        )
        sizes = self.node("Concat", first, last, axis=0)
        no_scales = self._no_region()
        rules = _rules(mode, coordinates)
        return self.node("Resize", x, self._no_region(), no_scales, sizes, **rules)

    def _no_region(self) -> str:
        """An argument that is left out; opset 11 wants an empty tensor instead."""
        return self._constant(np.zeros(0, np.float32)) if self.opset < 13 else ""


def _rules(mode: str, coordinates: str | None) -> dict[str, Any]:
    if mode == "nearest":
        rule = coordinates or "asymmetric"
        return {"mode": mode, "coordinate_transformation_mode": rule, "nearest_mode": "floor"}
    return {"mode": mode, "coordinate_transformation_mode": coordinates or "half_pixel"}
