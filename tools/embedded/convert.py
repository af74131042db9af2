"""TFLite to ONNX for the embedded nets: NHWC to NCHW, batch 1 to symbolic, float16 kept.

Every activation of four dimensions is NCHW in the ONNX graph. Kernels that are float16 in the
source stay float16 in the file and are cast to float32 by a node, which is exact; the arithmetic is
float32. Biases and slopes, which are few, are written as float32: TensorRT's parser wants the bias
of a convolution whose kernel is computed to be an initializer. The same source gives the same bytes.

Only the operators that the embedded nets use are known; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .tflite_graph import Operator, TfliteGraph, UnsupportedError

__all__ = ["BATCH", "IR_VERSION", "OPSET", "convert", "same_padding"]

OPSET = 17  # the newest that TensorRT 8.6 reads
IR_VERSION = 8  # of the ONNX release that brought opset 17
BATCH = "N"  # name of the symbolic batch dimension


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME padding along one axis, in samples.

    The output has ceil(size / stride) samples; of an odd total the larger half comes after.
    """
    extent = (kernel - 1) * dilation + 1
    out = -(-size // stride)
    total = max((out - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


class _Converter:
    """State of one conversion: the source graph and the ONNX parts made so far."""

    def __init__(self, graph: TfliteGraph, names: Mapping[int, str], split_prelu: bool) -> None:
        self.graph = graph
        self.split_prelu = split_prelu
        self.names = dict(names)
        self.constants = {i: t.data for i, t in enumerate(graph.tensors) if t.data is not None}
        self.sources: dict[int, int] = {}  # dequantised constant -> its float16 source
        self.emitted: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    # -- names and constants ---------------------------------------------------------------

    def name(self, tensor: int) -> str:
        """Name of an activation in the ONNX graph."""
        return self.names.get(tensor, self.graph.tensors[tensor].name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor in the source, NHWC."""
        return self.graph.tensors[tensor].shape

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        """Append a node that is named after its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def initializer(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant once; the name for reading it."""
        if name not in self.emitted:
            self.emitted.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def constant(self, tensor: int) -> NDArray[Any]:
        """Value of a tensor that must be a constant, in the type in which it is stored."""
        source = self.sources.get(tensor, tensor)
        if source not in self.constants:
            raise UnsupportedError(f"{self.graph.tensors[tensor].name} is not a constant")
        return self.constants[source]

    def vector(self, tensor: int, shape: tuple[int, ...]) -> str:
        """Add a constant of one value per channel as float32; the name for reading it."""
        value = self.constant(tensor).astype(np.float32).reshape(shape)
        return self.initializer(self.graph.tensors[tensor].name, value)

    def kernel(self, tensor: int, order: tuple[int, ...]) -> str:
        """Add a kernel with its axes in a new order, and a cast if it is float16; its name."""
        value = self.constant(tensor).transpose(order)
        name = self.graph.tensors[tensor].name
        if value.dtype == np.float32:
            return self.initializer(name, value)
        stored = self.initializer(self.graph.tensors[self.sources[tensor]].name, value)
        if name not in self.emitted:
            self.emitted.add(name)
            self.node("Cast", [stored], name, to=TensorProto.FLOAT)
        return name

    # -- parts of operators ----------------------------------------------------------------

    def spatial_padding(self, op: Operator, kernel: tuple[int, int]) -> list[int]:
        """ONNX pads (top, left, bottom, right) of a convolution or a pooling."""
        if op.options["padding"] == "VALID":
            return [0, 0, 0, 0]
        _, height, width, _ = self.shape(op.inputs[0])
        stride, dilation = op.options["stride"], op.options.get("dilation", (1, 1))
        top, bottom = same_padding(height, kernel[0], stride[0], dilation[0])
        left, right = same_padding(width, kernel[1], stride[1], dilation[1])
        return [top, left, bottom, right]

    def with_activation(self, op: Operator, kind: str, inputs: list[str], **attrs: Any) -> None:
        """Append a node and, behind it, the activation that TFLite fused into it."""
        output = self.name(op.outputs[0])
        activation = op.options["activation"]
        if activation == "NONE":
            self.node(kind, inputs, output, **attrs)
            return
        linear = output + "/linear"
        self.node(kind, inputs, linear, **attrs)
        if activation == "RELU":
            self.node("Relu", [linear], output)
        else:
            low = self.initializer("relu6/low", np.array(0, np.float32))
            high = self.initializer("relu6/high", np.array(6, np.float32))
            self.node("Clip", [linear, low, high], output)

    # -- operators -------------------------------------------------------------------------

    def dequantize(self, op: Operator) -> None:
        """float16 constant to float32: no node; `kernel` and `vector` read the source."""
        if self.constant(op.inputs[0]).dtype != np.float16:
            raise UnsupportedError("DEQUANTIZE of another type than float16")
        self.sources[op.outputs[0]] = op.inputs[0]

    def convolution(self, op: Operator) -> None:
        """CONV_2D (weights O,H,W,I) and DEPTHWISE_CONV_2D (weights 1,H,W,channels)."""
        depthwise = op.kind == "DEPTHWISE_CONV_2D"
        order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)  # both become O,I,H,W
        _, height, width, _ = self.shape(op.inputs[1])
        inputs = [self.name(op.inputs[0]), self.kernel(op.inputs[1], order)]
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            inputs.append(self.vector(op.inputs[2], (-1,)))
        self.with_activation(
            op,
            "Conv",
            inputs,
            kernel_shape=[height, width],
            strides=list(op.options["stride"]),
            dilations=list(op.options["dilation"]),
            pads=self.spatial_padding(op, (height, width)),
            group=self.shape(op.inputs[0])[3] if depthwise else 1,
        )

    def max_pool(self, op: Operator) -> None:
        """MAX_POOL_2D."""
        kernel = op.options["kernel"]
        self.with_activation(
            op,
            "MaxPool",
            [self.name(op.inputs[0])],
            kernel_shape=list(kernel),
            strides=list(op.options["stride"]),
            pads=self.spatial_padding(op, kernel),
        )

    def add(self, op: Operator) -> None:
        """ADD of two activations."""
        self.with_activation(op, "Add", [self.name(i) for i in op.inputs])

    def relu(self, op: Operator) -> None:
        """RELU."""
        self.node("Relu", [self.name(op.inputs[0])], self.name(op.outputs[0]))

    def prelu(self, op: Operator) -> None:
        """PRELU with one slope per channel: (1, 1, C) becomes (C, 1, 1)."""
        if self.shape(op.inputs[1])[:2] != (1, 1):
            raise UnsupportedError(f"PRELU slope of shape {self.shape(op.inputs[1])}")
        if self.split_prelu:
            self.prelu_as_convolutions(op)
            return
        slope = self.vector(op.inputs[1], (-1, 1, 1))
        self.node("PRelu", [self.name(op.inputs[0]), slope], self.name(op.outputs[0]))

    def prelu_as_convolutions(self, op: Operator) -> None:
        """PRELU as a * x + (1 - a) * relu(x), both products 1 x 1 depthwise convolutions.

        ONNX Runtime's PRelu on the CPU is slow and leaves the blocked layout that its convolutions
        work in. Measured on one core with ONNX Runtime 1.32: palm detection from 9.0 to 3.6 ms.
        """
        x, output = self.name(op.inputs[0]), self.name(op.outputs[0])
        slope = self.vector(op.inputs[1], (-1, 1, 1, 1))
        rest = 1 - self.constant(op.inputs[1]).astype(np.float32).reshape(-1, 1, 1, 1)
        shape: dict[str, Any] = {"kernel_shape": [1, 1], "group": len(rest)}
        self.node("Relu", [x], output + "/positive")
        added = [output + "/positive", self.initializer(output + "/rest", rest)]
        self.node("Conv", added, output + "/added", **shape)
        self.node("Conv", [x, slope], output + "/scaled", **shape)
        self.node("Add", [output + "/added", output + "/scaled"], output)

    def pad(self, op: Operator) -> None:
        """PAD with zeros: rows (before, after) per NHWC axis become all befores, all afters."""
        pads = self.constant(op.inputs[1])[[0, 3, 1, 2]].astype(np.int64).T.reshape(-1)
        output = self.name(op.outputs[0])
        amounts = self.initializer(output + "/pads", pads)
        self.node("Pad", [self.name(op.inputs[0]), amounts], output)

    def resize(self, op: Operator) -> None:
        """RESIZE_BILINEAR to a constant size."""
        if op.options["align_corners"]:
            mode = "align_corners"
        else:
            mode = "half_pixel" if op.options["half_pixel"] else "asymmetric"
        _, height, width, _ = self.shape(op.inputs[0])
        _, out_height, out_width, _ = self.shape(op.outputs[0])
        output = self.name(op.outputs[0])
        ratios = np.array([1, 1, out_height / height, out_width / width], np.float32)
        self.node(
            "Resize",
            [self.name(op.inputs[0]), "", self.initializer(output + "/scales", ratios)],
            output,
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    def reshape(self, op: Operator) -> None:
        """RESHAPE of NHWC to (1, rows, values): back to NHWC first, so that rows keep their order."""
        target = self.shape(op.outputs[0])
        if len(target) > 3 or target[0] != 1:
            raise UnsupportedError(f"RESHAPE to {target}")
        output = self.name(op.outputs[0])
        self.node("Transpose", [self.name(op.inputs[0])], output + "/nhwc", perm=[0, 2, 3, 1])
        # 0 copies the batch from the input.
        shape = self.initializer(output + "/shape", np.array([0, *target[1:]], np.int64))
        self.node("Reshape", [output + "/nhwc", shape], output)

    def concatenation(self, op: Operator) -> None:
        """CONCATENATION of activations (1, rows, values), which keep their axes."""
        if len(self.shape(op.outputs[0])) != 3 or op.options["axis"] not in (1, -2):
            raise UnsupportedError(f"CONCATENATION to {self.shape(op.outputs[0])}")
        self.with_activation(op, "Concat", [self.name(i) for i in op.inputs], axis=1)

    def mean(self, op: Operator) -> None:
        """MEAN over rows and columns, (1, H, W, C) to (1, C)."""
        axes = sorted(self.constant(op.inputs[1]).reshape(-1).tolist())
        if len(self.shape(op.inputs[0])) != 4 or axes != [1, 2] or op.options["keep_dims"]:
            raise UnsupportedError(f"MEAN over axes {axes} to {self.shape(op.outputs[0])}")
        output = self.name(op.outputs[0])
        self.node("ReduceMean", [self.name(op.inputs[0])], output, axes=[2, 3], keepdims=0)

    def fully_connected(self, op: Operator) -> None:
        """FULLY_CONNECTED of (1, values); weights (outputs, values)."""
        if len(self.shape(op.inputs[0])) != 2:
            raise UnsupportedError(f"FULLY_CONNECTED of {self.shape(op.inputs[0])}")
        inputs = [self.name(op.inputs[0]), self.kernel(op.inputs[1], (0, 1))]
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            inputs.append(self.vector(op.inputs[2], (-1,)))
        self.with_activation(op, "Gemm", inputs, transB=1)

    def logistic(self, op: Operator) -> None:
        """LOGISTIC."""
        self.node("Sigmoid", [self.name(op.inputs[0])], self.name(op.outputs[0]))

    def run(self) -> None:
        """Convert all operators in order."""
        known = {
            "ADD": self.add,
            "CONCATENATION": self.concatenation,
            "CONV_2D": self.convolution,
            "DEPTHWISE_CONV_2D": self.convolution,
            "DEQUANTIZE": self.dequantize,
            "FULLY_CONNECTED": self.fully_connected,
            "LOGISTIC": self.logistic,
            "MAX_POOL_2D": self.max_pool,
            "MEAN": self.mean,
            "PAD": self.pad,
            "PRELU": self.prelu,
            "RELU": self.relu,
            "RESHAPE": self.reshape,
            "RESIZE_BILINEAR": self.resize,
        }
        for op in self.graph.operators:
            if op.kind not in known:
                raise UnsupportedError(f"operator {op.kind}; known: {sorted(known)}")
            known[op.kind](op)


def convert(
    graph: TfliteGraph,
    *,
    name: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    split_prelu: bool = False,
) -> bytes:
    """Convert a graph to a checked ONNX file.

    Args:
        graph: the source; activations are NHWC with batch 1.
        name: of the ONNX graph.
        inputs: the source's name of every input, to its name in the ONNX graph.
        outputs: the same for the outputs; they are written in this order. An output of shape
            (1, 1, 1, C) becomes (N, C).
        split_prelu: write PRELU as convolutions, which is faster on the CPU.

    Returns:
        The ONNX file: float32 inputs (N, C, H, W) and outputs, opset `OPSET`, IR `IR_VERSION`.

    Raises:
        UnsupportedError: an operator, option or shape that is not known, or names that do not
            match the graph's.
    """
    found = {graph.tensors[i].name: i for i in (*graph.inputs, *graph.outputs)}
    if set(found) != {*inputs, *outputs}:
        raise UnsupportedError(f"the graph's inputs and outputs are {sorted(found)}")
    flat = {n: len(graph.tensors[found[n]].shape) == 4 for n in outputs}
    renamed = {found[n]: new for n, new in inputs.items()}
    renamed |= {found[n]: new + "/nchw" * flat[n] for n, new in outputs.items()}
    converter = _Converter(graph, renamed, split_prelu)
    converter.run()

    results = []
    for source, new in outputs.items():
        shape = converter.shape(found[source])
        if flat[source]:
            if shape[1:3] != (1, 1):
                raise UnsupportedError(f"output {source} of shape {shape}")
            converter.node("Flatten", [new + "/nchw"], new, axis=1)
            shape = (1, shape[3])
        results.append(helper.make_tensor_value_info(new, TensorProto.FLOAT, [BATCH, *shape[1:]]))
    arguments = []
    for source, new in inputs.items():
        _, height, width, channels = converter.shape(found[source])
        dims: list[str | int] = [BATCH, channels, height, width]
        arguments.append(helper.make_tensor_value_info(new, TensorProto.FLOAT, dims))
    body = helper.make_graph(converter.nodes, name, arguments, results, converter.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
