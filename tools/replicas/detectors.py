"""Detectors: yoloface (YOLOv8-pose), SCRFD and RetinaFace of InsightFace, YuNet."""

from __future__ import annotations

import numpy as np

from .builder import GraphBuilder

__all__ = ["retinaface", "scrfd", "yoloface", "yunet"]

STRIDES = (8, 16, 32)
BINS = 16  # of YOLOv8's distribution over distances
SILU_GAIN = 1.6
"""Just below 1.68, which keeps the variance of a standard normal number: above, values explode.

They shrink a little from layer to layer instead, and the last layer makes up for it.
"""


def _conv_silu(b: GraphBuilder, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
    return b.silu(b.conv(x, channels, kernel, stride=stride, gain=SILU_GAIN))


def _c2f(b: GraphBuilder, x: str, channels: int, repeats: int, shortcut: bool) -> str:
    half = channels // 2
    x = _conv_silu(b, x, channels)
    parts = [b.slice(x, 0, half), b.slice(x, half, channels)]
    for _ in range(repeats):
        y = _conv_silu(b, _conv_silu(b, parts[-1], half, 3), half, 3)
        parts.append(b.add(parts[-1], y) if shortcut else y)
    return _conv_silu(b, b.concat(parts), channels)


def _sppf(b: GraphBuilder, x: str, channels: int) -> str:
    pooled = [_conv_silu(b, x, channels // 2)]
    for _ in range(3):
        pooled.append(b.max_pool(pooled[-1], 5, 1, 2))
    return _conv_silu(b, b.concat(pooled), channels)


def yoloface(b: GraphBuilder, full: bool) -> None:
    """YOLOv8n-pose with one class and five points of (x, y, confidence)."""
    size, width = (640, 16) if full else (64, 4)
    x = _conv_silu(b, b.input("input", (1, 3, size, size)), width, 3, 2)
    x = _c2f(b, _conv_silu(b, x, 2 * width, 3, 2), 2 * width, 1, True)
    p3 = _c2f(b, _conv_silu(b, x, 4 * width, 3, 2), 4 * width, 2, True)
    p4 = _c2f(b, _conv_silu(b, p3, 8 * width, 3, 2), 8 * width, 2, True)
    x = _c2f(b, _conv_silu(b, p4, 16 * width, 3, 2), 16 * width, 1, True)
    p5 = _sppf(b, x, 16 * width)
    n4 = _c2f(b, b.concat([b.resize(p5, 2), p4]), 8 * width, 1, False)
    n3 = _c2f(b, b.concat([b.resize(n4, 2), p3]), 4 * width, 1, False)
    m4 = _c2f(b, b.concat([_conv_silu(b, n3, 4 * width, 3, 2), n4]), 8 * width, 1, False)
    m5 = _c2f(b, b.concat([_conv_silu(b, m4, 8 * width, 3, 2), p5]), 16 * width, 1, False)
    _yolo_head(b, (n3, m4, m5), size, width, gain=10.0 if full else 40.0)


def _yolo_head(b: GraphBuilder, maps: tuple[str, ...], size: int, width: int, gain: float) -> None:
    boxes, points = [], []
    for x, stride in zip(maps, STRIDES, strict=True):
        cells = (size // stride) ** 2
        outs = []  # distances, score, points
        for wide, channels in ((4 * width, 4 * BINS), (4 * width, 1), (max(width, 15), 15)):
            y = _conv_silu(b, _conv_silu(b, x, wide, 3), wide, 3)
            outs.append(b.conv(y, channels, 1, gain=gain))
        joined = b.concat(outs[:2])
        boxes.append(b.reshape(joined, [1, 4 * BINS + 1, -1], channels=4 * BINS + 1))
        points.append(b.reshape(outs[2], [1, 15, cells], channels=15))
    grids = [np.mgrid[: size // s, : size // s][::-1].reshape(2, -1) + 0.5 for s in STRIDES]
    centres = np.concatenate(grids, 1)[None].astype(np.float32)
    steps = np.concatenate([np.full((1, (size // s) ** 2), s, np.float32) for s in STRIDES], 1)
    count = centres.shape[2]

    sizes = b.integers([4 * BINS, 1])
    distances, score = b.nodes("Split", b.node("Concat", *boxes, axis=2), sizes, outputs=2, axis=1)
    bins = b.node("Transpose", b.reshape(distances, [1, 4, BINS, count]), perm=[0, 2, 1, 3])
    expected = b.node(
        "Conv",
        b.node("Softmax", bins, axis=1),
        b.parameter(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1)),
        kernel_shape=[1, 1],
    )
    edges = b.reshape(expected, [1, 4, count], channels=4)
    centre, step = b.parameter(centres), b.parameter(steps)
    low = b.node("Sub", centre, b.slice(edges, 0, 2), channels=2)
    high = b.node("Add", centre, b.slice(edges, 2, 4), channels=2)
    middle = b.node("Div", b.add(low, high), b.number(2.0))
    box = b.mul(b.concat([middle, b.node("Sub", high, low)]), step)
    b.channels[box] = 4
    score = b.node("Sigmoid", score, channels=1)
    five = b.reshape(b.node("Concat", *points, axis=2), [1, 5, 3, count])
    moved = b.add(b.mul(b.slice(five, 0, 2, 2), b.number(2.0)), b.parameter(centres[:, None] - 0.5))
    sure = b.node("Sigmoid", b.slice(five, 2, 3, 2))
    point = b.reshape(b.concat([b.mul(moved, step), sure], 2), [1, 15, count], channels=15)
    b.output(b.concat([box, score, point]), "output", (1, 20, count))


def _basic_block(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    y = b.conv(b.relu(b.conv(x, channels, 3, stride=stride)), channels, 3, gain=0.5)
    if stride > 1 or b.channels[x] != channels:
        x = b.conv(x, channels, 1, stride=stride, pad=0, gain=1.0)
    return b.relu(b.add(y, x))


def _insightface(b: GraphBuilder, size: int, *, free: bool, norm: bool) -> None:
    """What SCRFD and InsightFace's RetinaFace share: ResNet, path aggregation, two anchors a cell.

    The outputs have no batch axis: rows run over rows, columns, batch and anchors, in this order.
    """
    dims = (1, 3, "?", "?") if free else (1, 3, size, size)
    x = b.relu(b.conv(b.input("input", dims), 8, 3, stride=2))
    x = b.max_pool(b.relu(b.conv(x, 8)), 2, 2)
    levels = []
    for channels in (16, 24, 32):
        x = _basic_block(b, _basic_block(b, x, channels, 2), channels, 1)
        levels.append(b.conv(x, 16, 1, gain=1.0))
    for low in (1, 0):
        above, here = levels[low + 1], levels[low]
        larger = b.resize_to(above, here) if free else b.resize(above, 2)
        levels[low] = b.add(here, larger)
    levels = [b.conv(level, 16, gain=1.0) for level in levels]
    for high in (1, 2):
        down = b.conv(levels[high - 1], 16, stride=2, gain=0.7)
        levels[high] = b.conv(b.add(levels[high], down), 16, gain=0.8)
    found: dict[str, list[str]] = {"score": [], "bbox": [], "kps": []}
    for x, stride in zip(levels, STRIDES, strict=True):
        for _ in range(2):
            x = b.conv(x, 16)
            x = b.relu(b.group_norm(x, 4, size // stride) if norm else x)
        heads = {"score": (1, 1.0, 0.0), "bbox": (4, 0.5, 2.0), "kps": (10, 0.7, 0.0)}
        for kind, (values, gain, mean) in heads.items():
            y = b.conv(x, 2 * values, gain=gain, mean=mean)
            if kind == "bbox":
                y = b.mul(y, b.uniform(low=0.8, high=1.2))  # a learnt factor for each stride
            y = b.node("Transpose", y, perm=[2, 3, 0, 1])
            y = b.reshape(y, [-1, values])
            found[kind].append(b.node("Sigmoid", y) if kind == "score" else y)
    for (kind, rows_of), width in zip(found.items(), (1, 4, 10), strict=True):
        for value, stride in zip(rows_of, STRIDES, strict=True):
            rows = f"{kind}_{stride}_rows" if free else 2 * (size // stride) ** 2
            b.output(value, f"{kind}_{stride}", (rows, width))


def scrfd(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """SCRFD with group normalisation in its heads, of fixed size."""
    _insightface(b, 64, free=False, norm=True)


def retinaface(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """RetinaFace with free height and width, both of which the file calls ``?``."""
    _insightface(b, 64, free=True, norm=False)


def _unit(b: GraphBuilder, x: str, channels: int, *, relu: bool = True, gain: float = 1.4) -> str:
    """1 x 1 convolution, then depthwise 3 x 3: YuNet's only block."""
    y = b.conv(b.conv(x, channels, 1, gain=1.0), channels, 3, group=channels, gain=gain)
    return b.relu(y) if relu else y


def yunet(b: GraphBuilder, full: bool) -> None:  # noqa: ARG001
    """YuNet: pixels of 0 to 255 come in raw, so the first layer has small weights."""
    size, width = 64, 8
    x = b.input("input", (1, 3, size, size))
    x = b.relu(b.conv(x, width, 3, stride=2, gain=0.01))
    x = b.max_pool(_unit(b, x, width), 2, 2)
    levels = []
    for _ in STRIDES:
        x = _unit(b, _unit(b, x, 2 * width), 2 * width)
        x = b.max_pool(x, 2, 2)
        levels.append(x)
    for low in (1, 0):
        levels[low] = b.add(levels[low], b.resize(_unit(b, levels[low + 1], 2 * width), 2))
    levels = [_unit(b, level, 2 * width) for level in levels]
    heads = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    for kind, values in heads.items():
        for level, stride in zip(levels, STRIDES, strict=True):
            cells = (size // stride) ** 2
            y = _unit(b, level, values, relu=False, gain=0.7)
            y = b.reshape(b.node("Transpose", y, perm=[0, 2, 3, 1]), [1, cells, values])
            if values == 1:
                y = b.node("Sigmoid", y)
            b.output(y, f"{kind}_{stride}", (1, cells, values))
