"""Explicit INT8: a float32 net with pairs of QuantizeLinear and DequantizeLinear at the layers that are to be INT8.

Not made by `onnxruntime.quantization`: that cannot quantise one input of an addition and leave the
other, holds every tensor of every row in memory while it looks for ranges, and looks for them again
for each set of layers; tests compare with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import InternalError
from ._layers import Layer, kernel
from ._net import Net

__all__ = ["OLDEST_OPSET", "WeightScales", "kernel_scales", "quantise", "rounded", "scale_of"]

WeightScales = Literal["channel", "tensor"]

OLDEST_OPSET = 13
"""The first whose QuantizeLinear has an axis; TensorRT 8.6 reads up to 17."""

# Whole numbers of INT8 to either side of zero. The zero point is 0: no other is taken by TensorRT.
_LEVELS = 127
# The least scale. FP16 still has 4 bits of it, and what is smaller is lost in any sum.
_LEAST = 2.0**-20
# What a fenced layer's input and kernel are multiplied by. A factor of 1 could be taken out again, and
# powers of two change no result.
_FENCE = (2.0, 0.5)


def scale_of(largest: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales for magnitudes: such that FP16 has them exactly, too, and no magnitude is cut off.

    So one file with float32 scales and the FP16 net that is made of it round to the same levels.
    """
    wanted = np.maximum(np.asarray(largest, np.float64) / _LEVELS, _LEAST)
    half = wanted.astype(np.float16)
    up = np.nextafter(half, np.float16(np.inf))
    return np.where(half.astype(np.float64) < wanted, up, half).astype(np.float32)


def kernel_scales(values: NDArray[np.float32], how: WeightScales) -> NDArray[np.float32]:
    """Scales of a kernel: one for each output channel (its first axis), or one, without an axis."""
    axes = tuple(range(1, values.ndim)) if how == "channel" else None
    return scale_of(np.abs(values).max(axis=axes))


def rounded(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """A kernel as INT8 has it, in float32: what QuantizeLinear and DequantizeLinear make of it."""
    steps = (
        scales.reshape(scales.shape + (1,) * (values.ndim - scales.ndim)) if scales.ndim else scales
    )
    whole: NDArray[np.float32] = np.clip(np.rint(values / steps), -_LEVELS - 1, _LEVELS)
    return whole * steps


def quantise(
    model: onnx.ModelProto,
    layers: Collection[Layer],
    scales: Mapping[str, NDArray[np.float32]],
    *,
    weights: WeightScales = "channel",
) -> onnx.ModelProto:
    """Put a pair of Q and DQ at the input and at the kernel of each layer, and at what is added to it.

    Kernels stay float32, each with a pair of its own, and biases are left: TensorRT 8.6 takes
    neither INT8 weights nor quantised biases. Inputs have one pair for all their readers.

    Args:
        model: in float32, opset 13 or newer; is not changed.
        layers: of `find_layers` for this net.
        scales: float32 scale, without an axis, of every tensor that the layers read or add.
        weights: scales of kernels for each output channel, or one for the whole.

    Raises:
        InternalError: the net is another than that of the layers, or of an older opset.
    """
    net = Net(model)
    if net.opsets.get("", 0) < OLDEST_OPSET:
        raise InternalError(f"opset {net.opsets.get('')}; allowed: {OLDEST_OPSET} or newer")
    reads: dict[int, dict[int, str]] = {}  # node: places and the tensors that become pairs
    fenced: set[int] = set()
    for layer in layers:
        if layer.index >= len(net.nodes) or net.nodes[layer.index].name != layer.node:
            raise InternalError(f"there is no layer {layer.node!r}")
        reads.setdefault(layer.index, {}).update({0: layer.tensor, 1: layer.weight})
        if layer.fenced:
            fenced.add(layer.index)
        if layer.residual is not None:
            reads.setdefault(layer.residual.node, {})[layer.residual.place] = layer.residual.tensor
    kernels = {one.weight: kernel_scales(kernel(net, one), weights) for one in layers}
    pairs = _Pairs(net, {**scales, **kernels})
    made: list[onnx.NodeProto] = []
    for index, node in enumerate(net.nodes):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, tensor in reads.get(index, {}).items():
            copy.input[place] = pairs.of(tensor, made, _FENCE[place] if index in fenced else 1.0)
        made.append(copy)
    whole = net.whole()
    del whole.graph.node[:]
    whole.graph.node.extend(made)
    return whole


class _Pairs:
    """Makes a pair of Q and DQ for each tensor and factor, once."""

    def __init__(self, net: Net, scales: Mapping[str, NDArray[np.float32]]) -> None:
        self._net, self._scales = net, scales
        self._taken = net.names()
        self._made: dict[tuple[str, float], str] = {}

    def of(self, tensor: str, nodes: list[onnx.NodeProto], factor: float) -> str:
        """What a tensor is called behind its pair; the pair is appended to `nodes` the first time."""
        if (tensor, factor) in self._made:
            return self._made[tensor, factor]
        known = (tensor, factor)
        scale = np.asarray(self._scales[tensor], np.float32) * np.float32(factor)
        if factor != 1:
            tensor = self._multiplied(tensor, factor, nodes)
        names = {part: self._fresh(f"{tensor}_{part}") for part in ("scale", "zero", "int8", "dq")}
        self._net.add_weight(names["scale"], scale)
        self._net.add_weight(names["zero"], np.zeros(scale.shape, np.int8))
        axis: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        pair = [names["scale"], names["zero"]]
        for kind, source, target in (
            ("QuantizeLinear", tensor, names["int8"]),
            ("DequantizeLinear", names["int8"], names["dq"]),
        ):
            name = self._fresh(f"{kind}_{tensor}")
            nodes.append(onnx.helper.make_node(kind, [source, *pair], [target], name=name, **axis))
        self._made[known] = names["dq"]
        return names["dq"]

    def _multiplied(self, tensor: str, factor: float, nodes: list[onnx.NodeProto]) -> str:
        """A tensor times a power of two: a weight, or what a node makes."""
        name = self._fresh(f"{tensor}_fenced")
        values = self._net.weight(tensor)
        if values is not None:
            self._net.add_weight(name, values * values.dtype.type(factor))
            return name
        by = self._fresh(f"{tensor}_factor")
        self._net.add_weight(by, np.array(factor, np.float32))
        node = self._fresh(f"Mul_{tensor}")
        nodes.append(onnx.helper.make_node("Mul", [tensor, by], [name], name=node))
        return name

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
