"""Masks: XSeg for what covers a face, BiSeNet for its regions."""

from __future__ import annotations

from .builder import GraphBuilder

__all__ = ["bisenet", "xseg"]

CLASSES = 19  # of CelebAMask-HQ


def _filter_response(b: GraphBuilder, x: str) -> str:
    """Filter response normalisation with its thresholded unit, as DeepFaceLab has it."""
    count = b.channels[x]
    power = b.mean_2d(b.mul(x, x))
    y = b.node("Div", x, b.node("Sqrt", b.add(power, b.number(1e-6))))
    y = b.mul(y, b.uniform(1, count, 1, 1, low=0.8, high=1.2))
    y = b.add(y, b.normal(1, count, 1, 1, std=0.1))
    return b.node("Max", y, b.normal(1, count, 1, 1, std=0.1))


def _xseg_conv(b: GraphBuilder, x: str, channels: int) -> str:
    return _filter_response(b, b.conv(x, channels))


def xseg(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """XSeg: written by TensorFlow, so channels are last at both ports; the middle is fully connected."""
    side, width = 64, 8
    x = b.input("input", (1, side, side, 3))
    x = b.node("Transpose", x, perm=[0, 3, 1, 2], channels=3)
    skips = []
    for channels in (width, 2 * width, 4 * width):
        x = _xseg_conv(b, _xseg_conv(b, x, channels), channels)
        skips.append(x)
        x = b.max_pool(x, 2, 2)
    small = side // 8
    values = small**2 * 4 * width
    y = b.node("Transpose", x, perm=[0, 2, 3, 1])
    y = b.reshape(y, [-1, values], channels=values)
    y = b.linear(b.linear(y, 32, gain=1.0), values, gain=1.0)
    y = b.reshape(y, [-1, small, small, 4 * width])
    x = b.node("Transpose", y, perm=[0, 3, 1, 2], channels=4 * width)
    for skip in skips[::-1]:
        up = _filter_response(b, b.deconv(x, b.channels[skip], 2, 2))
        x = _xseg_conv(b, b.concat([up, skip]), b.channels[skip])
    y = b.node("Sigmoid", b.conv(x, 1, gain=1.5))
    b.output(b.node("Transpose", y, perm=[0, 2, 3, 1]), "output", (1, side, side, 1))


def _conv_bn(b: GraphBuilder, x: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
    return b.relu(b.batch_norm(b.conv(x, channels, kernel, stride=stride, bias=False)))


def _residual(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    y = b.batch_norm(b.conv(_conv_bn(b, x, channels, 3, stride), channels, bias=False, gain=0.7))
    if stride > 1 or b.channels[x] != channels:
        x = b.batch_norm(b.conv(x, channels, 1, stride=stride, pad=0, bias=False, gain=1.0))
    return b.relu(b.add(x, y))


def _refine(b: GraphBuilder, x: str, channels: int) -> str:
    """Attention refinement: one factor for each channel, from the mean of the map."""
    x = _conv_bn(b, x, channels)
    gate = b.conv(b.node("GlobalAveragePool", x), channels, 1, bias=False, gain=1.0)
    return b.mul(x, b.node("Sigmoid", b.batch_norm(gate)))


def bisenet(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """BiSeNet on a ResNet-18; the scores of the classes are resized to the input's own size."""
    side, width = 64, 8
    image = b.input("input", (1, 3, side, side))
    x = b.max_pool(_conv_bn(b, image, width, 7, 2), 3, 2, 1)
    maps = []
    for channels, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        x = _residual(b, _residual(b, x, channels, stride), channels, 1)
        maps.append(x)
    _, eighth, sixteenth, last = maps
    middle = 2 * width
    whole = _conv_bn(b, b.node("GlobalAveragePool", last), middle, 1)
    deep = b.add(_refine(b, last, middle), b.resize_to(whole, last))
    deep = _conv_bn(b, b.resize_to(deep, sixteenth), middle)
    shallow = b.add(_refine(b, sixteenth, middle), deep)
    shallow = _conv_bn(b, b.resize_to(shallow, eighth), middle)
    both = _conv_bn(b, b.concat([eighth, shallow]), 4 * width, 1)
    gate = b.relu(b.conv(b.node("GlobalAveragePool", both), width, 1, bias=False))
    gate = b.node("Sigmoid", b.conv(gate, 4 * width, 1, bias=False))
    both = b.add(both, b.mul(both, gate))
    scores = b.conv(_conv_bn(b, both, 4 * width), CLASSES, 1, bias=False, gain=2.0)
    scores = b.resize_to(scores, image, "linear", "align_corners")
    b.output(scores, "output", (1, CLASSES, side, side))
