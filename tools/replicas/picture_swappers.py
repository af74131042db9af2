"""Swappers that take a picture of the source: uniface and BlendSwap."""

from __future__ import annotations

from .builder import GraphBuilder
from .identity import embed
from .swappers import modulate

__all__ = ["blendswap", "uniface"]


def _pixel_norm(b: GraphBuilder, x: str) -> str:
    """Rows whose mean square is one."""
    power = b.node("ReduceMean", b.mul(x, x), axes=[1], keepdims=1)
    return b.node("Div", x, b.node("Sqrt", b.add(power, b.number(1e-8))))


def _encode(b: GraphBuilder, x: str, width: int) -> list[str]:
    """Maps of an encoder, the smallest last."""
    x = b.leaky(b.conv(x, width, 1, gain=3.0))
    maps = [x]
    for factor in (2, 4, 4):
        y = b.leaky(b.conv(b.leaky(b.conv(x, b.channels[x])), factor * width))
        skip = b.conv(x, factor * width, 1, bias=False, gain=1.0)
        x = b.mul(b.add(b.average_pool(y), b.average_pool(skip)), b.number(2**-0.5))
        maps.append(x)
    return maps


def _scaled_conv(b: GraphBuilder, x: str, style: str, channels: int) -> str:
    """StyleGAN2's modulation of activations instead of weights: scale, convolve, scale back."""
    factor = b.gemm(style, b.channels[x], gain=0.3, mean=1.0)
    weight = b.normal(channels, b.channels[x], 3, 3, std=(9.0 * b.channels[x]) ** -0.5)
    y = b.mul(x, b.unsqueeze(factor, [2, 3]))
    y = b.node("Conv", y, weight, kernel_shape=[3, 3], pads=[1] * 4, channels=channels)
    # Squares of the weights, times squares of the factors: the variance that the layer would give.
    squares = b.reduce_sum(b.mul(weight, weight), [2, 3])
    squares = b.reshape(squares, [channels, b.channels[x]])
    power = b.node("Gemm", b.mul(factor, factor), squares, channels=channels, transB=1)
    length = b.node("Sqrt", b.add(power, b.number(1e-8)))
    y = b.node("Div", y, b.unsqueeze(length, [2, 3]))
    noise = b.mul(b.normal(1, 1, 1, 1, std=0.1), b.normal(1, std=0.1))
    return b.leaky(b.add(b.node("Mul", y, b.number(2**0.5)), noise))


def uniface(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """uniface: one encoder for either picture, a style from both, a generator fed by the target's maps."""
    side, width = 64, 8
    source = b.input("source", (1, 3, side, side))
    target = b.input("target", (1, 3, side, side))
    styles = []
    for image in (source, target):
        deepest = _encode(b, image, width)[-1]
        y = b.node("Flatten", b.node("GlobalAveragePool", deepest), axis=1)
        styles.append(_pixel_norm(b, b.gemm(y, 64, gain=2.0)))
    style = b.leaky(b.gemm(b.concat(styles), 64, gain=1.4))
    maps = _encode(b, target, width)
    x = b.conv(maps[-1], 4 * width, gain=1.4)
    for skip in maps[-2::-1]:
        x = _scaled_conv(b, b.resize(x, 2, "linear"), style, b.channels[skip])
        gate = b.node("Sigmoid", b.conv(b.concat([x, skip]), b.channels[skip], gain=1.0))
        x = b.add(b.mul(x, gate), b.mul(skip, b.node("Sub", b.number(1.0), gate)))
        x = _scaled_conv(b, x, style, b.channels[x])
    b.output(b.node("Tanh", b.conv(x, 3, 1, gain=0.5)), "output", (1, 3, side, side))


def blendswap(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """BlendSwap: the recogniser is part of it, and the output is blended with the target inside."""
    side, width, source_side = 64, 8, 32
    target = b.input("target", (1, 3, side, side))
    source = b.input("source", (1, 3, source_side, source_side))
    identity = b.l2_normalise(embed(b, source, source_side, width, (1, 1, 1, 1)))
    x, maps = target, []
    for channels in (width, 2 * width, 4 * width):
        x = b.leaky(b.instance_norm(b.conv(x, channels, 4, stride=2, pad=1, gain=2.0)))
        maps.append(x)
    for _ in range(2):
        y = b.relu(modulate(b, b.conv(x, 4 * width), identity, 10.0))
        x = b.add(x, modulate(b, b.conv(y, 4 * width), identity, 10.0))
    for skip in (maps[1], maps[0], target):
        x = b.concat([b.resize(x, 2, "linear"), skip])
        x = b.relu(modulate(b, b.conv(x, width), identity, 10.0))
    swapped = b.node("Sigmoid", b.conv(x, 3, gain=1.2))
    mask = b.node("Sigmoid", b.conv(x, 1, gain=1.0))
    rest = b.mul(target, b.node("Sub", b.number(1.0), mask))
    b.output(b.add(b.mul(swapped, mask), rest), "output", (1, 3, side, side))
