"""Landmarkers: FAN with its decoding, a small mobile net, a perceptron from 5 to 68 points."""

from __future__ import annotations

import numpy as np

from .builder import GraphBuilder

__all__ = ["fan", "fan_68_5", "peppa_wutz"]

POINTS = 68


def _before(b: GraphBuilder, x: str, channels: int, kernel: int) -> str:
    """Normalisation and ReLU before the convolution."""
    y = b.relu(b.batch_norm(x))
    return b.conv(y, channels, kernel, bias=False, gain=0.5)


def _fan_block(b: GraphBuilder, x: str, channels: int) -> str:
    first = _before(b, x, channels // 2, 3)
    second = _before(b, first, channels // 4, 3)
    third = _before(b, second, channels // 4, 3)
    if b.channels[x] != channels:
        x = _before(b, x, channels, 1)
    return b.add(b.concat([first, second, third]), x)


def _hourglass(b: GraphBuilder, x: str, depth: int) -> str:
    channels = b.channels[x]
    upper = _fan_block(b, x, channels)
    lower = _fan_block(b, b.average_pool(x), channels)
    lower = _hourglass(b, lower, depth - 1) if depth > 1 else _fan_block(b, lower, channels)
    return b.add(upper, b.resize(_fan_block(b, lower, channels), 2))


def fan(b: GraphBuilder, full: bool) -> None:
    """FAN (Bulat and Tzimiropoulos, 2017): stacked hourglasses, the maxima of the maps as points."""
    size, width, stacks, depth = (256, 64, 4, 4) if full else (64, 8, 2, 2)
    side = size // 4
    x = b.conv(b.input("input", (1, 3, size, size)), width, 7, stride=2)
    x = _fan_block(b, b.relu(b.batch_norm(x)), 2 * width)
    x = _fan_block(b, _fan_block(b, b.average_pool(x), 2 * width), 4 * width)
    heat = ""
    for stack in range(stacks):
        y = _fan_block(b, _hourglass(b, x, depth), 4 * width)
        y = b.relu(b.batch_norm(b.conv(y, 4 * width, 1, gain=0.7)))
        heat = b.conv(y, POINTS, 1, gain=0.08 if full else 0.7)  # four stacks add up to more
        if stack < stacks - 1:
            back = b.add(b.conv(y, 4 * width, 1, gain=0.5), b.conv(heat, 4 * width, 1, gain=0.5))
            x = b.add(x, back)
    flat = b.reshape(heat, [1, POINTS, side * side])
    best = b.node("ArgMax", flat, axis=2, keepdims=1)
    row = b.node("Div", best, b.integers([side]))
    column = b.node("Mod", best, b.integers([side]))
    ends = [b.add(b.node("Cast", one, to=1), b.number(0.5)) for one in (column, row)]
    score = b.node("ReduceMax", flat, axes=[2], keepdims=1)
    b.output(b.concat([*ends, score], 2), "landmarks", (1, POINTS, 3))
    b.output(heat, "heatmaps", (1, POINTS, side, side))


def _hard_swish(b: GraphBuilder, x: str) -> str:
    y = b.node("Clip", b.add(x, b.number(3.0)), b.number(0.0), b.number(6.0))
    return b.node("Div", b.mul(x, y), b.number(6.0))


def _mobile_block(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    """Wider, depthwise, squeeze and excite, narrower."""
    wide = 2 * b.channels[x]
    y = _hard_swish(b, b.batch_norm(b.conv(x, wide, 1, bias=False)))
    y = b.batch_norm(b.conv(y, wide, 3, stride=stride, group=wide, bias=False))
    gate = b.relu(b.conv(b.node("GlobalAveragePool", y), wide // 4, 1))
    gate = b.node("HardSigmoid", b.conv(gate, wide, 1), alpha=1 / 6, beta=0.5)
    y = b.batch_norm(b.conv(_hard_swish(b, b.mul(y, gate)), channels, 1, bias=False, gain=2.0))
    return b.add(x, y) if stride == 1 and channels == b.channels[x] else y


def peppa_wutz(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """A mobile net that gives (x, y, score) of 68 points, x and y on a grid of 64."""
    x = _hard_swish(b, b.conv(b.input("input", (1, 3, 64, 64)), 8, 3, stride=2))
    for channels, stride in ((8, 1), (16, 2), (16, 1), (24, 2), (24, 1)):
        x = _mobile_block(b, x, channels, stride)
    x = _hard_swish(b, b.conv(x, 64, 1))
    x = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
    x = b.relu(b.gemm(x, 64, gain=4.0))
    scales = np.array([[1.5], [1.5], [0.02]])  # of (x, y, score): the layer before varies little
    weight = b.rng.standard_normal((POINTS, 3, 64)) * scales
    bias = np.tile(np.array([32.0, 32.0, 0.8]), POINTS)
    last = [b.parameter(a.astype(np.float32)) for a in (weight.reshape(3 * POINTS, 64), bias)]
    b.output(b.node("Gemm", x, *last, transB=1), "output", (1, 3 * POINTS))


def fan_68_5(b: GraphBuilder, full: bool) -> None:
    """Five points to 68, both in the unit square; its weights have the size of the published file."""
    x = b.reshape(b.input("input", (1, 5, 2)), [1, 10], channels=10)
    for channels in (128, 256, 512) if full else (32, 64, 64):
        x = b.relu(b.gemm(x, channels, gain=1.4))
    x = b.gemm(x, 2 * POINTS, gain=0.3, mean=0.5)
    b.output(b.reshape(x, [1, POINTS, 2]), "output", (1, POINTS, 2))
