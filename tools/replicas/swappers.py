"""Swappers that take an embedding: inswapper, hyperswap, SimSwap, ghost, HiFiFace."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import GraphBuilder
from .identity import EMBEDDING

__all__ = ["ghost", "hififace", "hyperswap", "inswapper", "modulate", "simswap"]

TORCH_LINEAR = "pytorch_half_pixel"  # what PyTorch's bilinear resize is at opset 11


def _ports(b: GraphBuilder, side: int, *, target_first: bool = False) -> tuple[str, str]:
    """(target, source), in either order of the graph's inputs."""
    if target_first:
        return b.input("target", (1, 3, side, side)), b.input("source", (1, EMBEDDING))
    source = b.input("source", (1, EMBEDDING))
    return b.input("target", (1, 3, side, side)), source


def _standardise(b: GraphBuilder, x: str) -> tuple[str, str]:
    """(x less its mean, its standard deviation) over rows and columns, in primitives."""
    centred = b.node("Sub", x, b.mean_2d(x))
    variance = b.mean_2d(b.mul(centred, centred))
    return centred, b.node("Sqrt", b.add(variance, b.number(1e-8)))


def modulate(b: GraphBuilder, x: str, style: str, gain: float = 0.3) -> str:
    """The operator InstanceNormalization, then factor and shift that depend on the source."""
    count = b.channels[x]
    factor, shift = (
        b.unsqueeze(b.gemm(style, count, gain=gain, mean=mean), [2, 3]) for mean in (1.0, 0.0)
    )
    return b.add(b.mul(b.instance_norm(x), factor), shift)


def inswapper(b: GraphBuilder, full: bool) -> None:
    """inswapper_128: AdaIN in primitives; ``emap`` is the last initialiser, and nothing reads it."""
    side, width, blocks = (128, 128, 6) if full else (32, 8, 2)
    target, source = _ports(b, side, target_first=True)

    def adain(x: str) -> str:
        count = b.channels[x]
        centred, spread = _standardise(b, x)
        y = b.mul(centred, b.node("Div", b.number(1.0), spread))
        # The source is of length one, so the gain is the size of factors and shifts: as in the real
        # net both have a spread around zero.
        style = b.unsqueeze(b.gemm(source, 2 * count, gain=16.0), [2, 3])
        return b.add(b.mul(y, b.slice(style, 0, count)), b.slice(style, count, 2 * count))

    x = b.leaky(b.conv(b.reflect(target, 3), width, 7, pad=0, gain=2.0))
    for factor, stride in ((2, 1), (4, 2), (8, 2)):
        x = b.leaky(b.conv(x, factor * width, stride=stride))
    for _ in range(blocks):
        y = b.relu(adain(b.conv(b.reflect(x, 1), 8 * width, pad=0)))
        x = b.add(x, adain(b.conv(b.reflect(y, 1), 8 * width, pad=0)))
    for factor in (4, 2):
        x = b.leaky(b.conv(b.resize(x, 2, "linear", TORCH_LINEAR), factor * width))
    x = b.leaky(b.conv(x, width))
    x = b.node("Tanh", b.conv(b.reflect(x, 3), 3, 7, pad=0, gain=0.35))
    x = b.node("Div", b.add(x, b.number(1.0)), b.number(2.0))
    b.output(x, "output", (1, 3, side, side))
    emap = b.rng.standard_normal((EMBEDDING, EMBEDDING), dtype=np.float32) / EMBEDDING**0.5
    b.parameter(emap.astype(np.float32), "buff2fs")


def hyperswap(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """hyperswap: float16 inside, float32 at the ports, the blend with the target inside."""
    side, width = 64, 8
    target, source = _ports(b, side)
    x = image = b.node("Cast", target, to=TensorProto.FLOAT16)
    style = b.node("Cast", source, to=TensorProto.FLOAT16)
    b.dtype = np.float16
    x = b.leaky(b.conv(x, width, 7, gain=2.0))
    skips = []
    for factor in (2, 4, 8):
        skips.append(x)
        x = b.leaky(b.instance_norm(b.conv(x, factor * width, 4, stride=2, pad=1)))
    for _ in range(2):
        y = b.relu(modulate(b, b.conv(x, 8 * width), style, 8.0))
        x = b.add(x, modulate(b, b.conv(y, 8 * width), style, 8.0))
    for skip, factor in zip(skips[::-1], (4, 2, 1), strict=True):
        x = b.conv(b.resize(x, 2, "linear"), factor * width)
        x = b.leaky(modulate(b, b.concat([x, b.conv(skip, factor * width, 1)]), style, 8.0))
    swapped = b.node("Tanh", b.conv(x, 3, 7, gain=0.5))
    mask = b.node("Sigmoid", b.conv(x, 1, 7, gain=1.0))
    rest = b.mul(image, b.node("Sub", b.number(1.0), mask))
    blended = b.add(b.mul(swapped, mask), rest)
    for value, name, channels in ((blended, "output", 3), (mask, "mask", 1)):
        cast = b.node("Cast", value, to=TensorProto.FLOAT)
        b.output(cast, name, (1, channels, side, side))


def simswap(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """SimSwap: BatchNorm outside, its own instance normalisation and style in the middle."""
    side, width = 64, 8
    target, source = _ports(b, side)

    def styled(x: str) -> str:
        count = b.channels[x]
        centred, spread = _standardise(b, x)
        y = b.mul(centred, b.node("Reciprocal", spread))
        style = b.leaky(b.gemm(source, 2 * count, gain=12.0))
        style = b.reshape(style, [-1, 2, count, 1, 1])
        factor, shift = (
            b.node("Gather", style, b.integers(index), axis=1, channels=count) for index in (0, 1)
        )
        return b.add(b.mul(y, b.add(factor, b.number(1.0))), shift)

    x = b.relu(b.batch_norm(b.conv(b.reflect(target, 3), width, 7, pad=0)))
    for factor in (2, 4, 8):
        x = b.relu(b.batch_norm(b.conv(x, factor * width, stride=2)))
    for _ in range(2):
        y = b.relu(styled(b.conv(b.reflect(x, 1), 8 * width, pad=0)))
        x = b.add(x, styled(b.conv(b.reflect(y, 1), 8 * width, pad=0)))
    for factor in (4, 2, 1):
        x = b.conv(b.resize(x, 2, "linear", TORCH_LINEAR), factor * width, gain=1.0)
        x = b.relu(b.batch_norm(x))
    x = b.node("Tanh", b.conv(b.reflect(x, 3), 3, 7, pad=0, gain=0.5))
    x = b.node("Div", b.add(x, b.number(1.0)), b.number(2.0))
    b.output(x, "output", (1, 3, side, side))


def _aad(b: GraphBuilder, x: str, attributes: str, style: str) -> str:
    """Adaptive attentional denormalisation (FaceShifter): a mask chooses target or source."""
    count = b.channels[x]
    y = b.instance_norm(x)
    mask = b.node("Sigmoid", b.conv(y, 1, 1, gain=1.0), channels=count)
    kept = b.add(
        b.mul(b.conv(attributes, count, 1, gain=1.0), y), b.conv(attributes, count, 1, gain=0.7)
    )
    factor, shift = (b.unsqueeze(b.gemm(style, count), [2, 3]) for _ in range(2))
    new = b.add(b.mul(factor, y), shift)
    rest = b.mul(b.node("Sub", b.number(1.0), mask, channels=count), kept)
    return b.add(rest, b.mul(mask, new))


def _aad_block(b: GraphBuilder, x: str, attributes: str, style: str, channels: int) -> str:
    y = b.conv(b.relu(_aad(b, x, attributes, style)), b.channels[x], bias=False)
    y = b.conv(b.relu(_aad(b, y, attributes, style)), channels, bias=False)
    if channels != b.channels[x]:
        x = b.conv(b.relu(_aad(b, x, attributes, style)), channels, bias=False)
    return b.add(x, y)


def ghost(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """ghost (AEI-Net): a U-Net of transposed convolutions gives attributes at every size."""
    side, width = 64, 8
    target, source = _ports(b, side)
    x, downs = target, []
    for channels in (width, 2 * width, 4 * width, 4 * width):
        x = b.leaky(b.batch_norm(b.conv(x, channels, 4, stride=2, pad=1, bias=False)), 0.1)
        downs.append(x)
    attributes = [x]
    for skip in downs[-2::-1]:
        x = b.leaky(b.batch_norm(b.deconv(x, b.channels[skip], 4, 2, 1)), 0.1)
        x = b.concat([x, skip])
        attributes.append(x)
    attributes.append(b.resize(x, 2, "linear", "align_corners"))

    x = b.reshape(source, [-1, EMBEDDING, 1, 1], channels=EMBEDDING)
    x = b.deconv(x, 4 * width, 4, 1, gain=4.0)  # side / 16
    counts = (4 * width, 4 * width, 2 * width, width, 3)
    for level, (attribute, channels) in enumerate(zip(attributes, counts, strict=True)):
        x = _aad_block(b, x, attribute, source, channels)
        if level < len(counts) - 1:
            x = b.resize(x, 2, "linear", "align_corners")
    b.output(b.node("Tanh", b.mul(x, b.number(0.3))), "output", (1, 3, side, side))


def hififace(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """HiFiFace: residual blocks with leaky ReLU, AdaIN by the operator, nearest-neighbour resizing."""
    side, width = 64, 8
    target, source = _ports(b, side)

    def block(x: str, channels: int, scale: float, style: str | None) -> str:
        y = b.leaky(modulate(b, x, style, 8.0) if style else b.instance_norm(x))
        y = b.conv(y, channels)
        if scale < 1:
            x, y = b.average_pool(x), b.average_pool(y)
        if scale > 1:
            x, y = b.resize(x, 2), b.resize(y, 2)
        y = b.leaky(modulate(b, y, style, 8.0) if style else b.instance_norm(y))
        both = b.add(b.conv(y, channels, gain=1.0), b.conv(x, channels, 1, bias=False, gain=1.0))
        return b.mul(both, b.number(2**-0.5))

    x = b.conv(target, width, gain=1.5)
    for channels in (2 * width, 4 * width, 4 * width):
        x = block(x, channels, 0.5, None)
    for _ in range(2):
        x = block(x, 4 * width, 1, source)
    for channels in (4 * width, 2 * width, width):
        x = block(x, channels, 2, source)
    x = b.conv(b.leaky(b.instance_norm(x)), 3, 3, gain=0.6)
    b.output(b.node("Tanh", x), "output", (1, 3, side, side))
