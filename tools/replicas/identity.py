"""Nets around the identity of a face: the recogniser, and the converter of its embeddings."""

from __future__ import annotations

from .builder import GraphBuilder

__all__ = ["arcface", "crossface", "embed"]

EMBEDDING = 512


def embed(b: GraphBuilder, x: str, side: int, width: int, blocks: tuple[int, ...]) -> str:
    """InsightFace's IResNet up to the embedding: normalise, convolve, PReLU, convolve, add.

    Args:
        b: the model.
        x: faces, `side` pixels square.
        side: a multiple of 16.
        width: channels of the first stage.
        blocks: of each of the four stages.

    Returns:
        Rows of 512.
    """
    x = b.prelu(b.conv(x, width, gain=1.0))
    for stage, count in enumerate(blocks):
        channels = width * 2**stage
        for block in range(count):
            stride = 1 if block else 2
            y = b.prelu(b.conv(b.batch_norm(x), channels, gain=1.3))
            y = b.conv(y, channels, stride=stride, gain=0.35)
            x = x if block else b.conv(x, channels, 1, stride=2, pad=0, gain=1.0)
            x = b.add(y, x)
    values = b.channels[x] * (side // 16) ** 2
    flat = b.node("Flatten", b.batch_norm(x), axis=1, channels=values)
    return b.batch_norm(b.gemm(flat, EMBEDDING, gain=0.7))


def arcface(b: GraphBuilder, full: bool) -> None:
    """IResNet-50."""
    side, width, blocks = (112, 64, (3, 4, 14, 3)) if full else (32, 8, (2, 1, 2, 1))
    x = b.input("input", (1, 3, side, side))
    b.output(embed(b, x, side, width, blocks), "output", (1, EMBEDDING))


def crossface(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """A perceptron with layer normalisation, and a fifth of a straight path."""
    x = b.l2_normalise(b.input("input", (1, EMBEDDING)))
    y = x
    for channels in (64, 128, 64):
        y = b.gelu(b.layer_norm(b.gemm(y, channels)))
    y = b.gemm(y, EMBEDDING, gain=1.5)
    skip = b.mul(b.gemm(x, EMBEDDING, gain=16.0), b.number(0.2))
    b.output(b.add(y, skip), "output", (1, EMBEDDING))
