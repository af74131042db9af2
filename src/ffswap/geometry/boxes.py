"""Anchors, decoding and suppression of boxes, for single-shot detectors of the BlazeFace family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = ["Detections", "anchors", "box_iou", "decode_anchored", "non_maximum_suppression"]


@dataclass(frozen=True)
class Detections:
    """What a detector found in one picture.

    Attributes:
        box: (n, 4) float32, left, top, right, bottom, pixels.
        points: (n, k, 2) float32, the detector's own landmarks, pixels.
        score: (n,) float32, 0 to 1, falling.
    """

    box: F32
    points: F32
    score: F32

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All of them, by falling score; boxes may still overlap."""
        score = np.concatenate([p.score for p in parts])
        order = np.argsort(-score, kind="stable")
        return cls(
            np.concatenate([p.box for p in parts])[order],
            np.concatenate([p.points for p in parts])[order],
            score[order],
        )

    def rows(self, keep: NDArray[np.int64]) -> Detections:
        """The rows of an index array."""
        return Detections(self.box[keep], self.points[keep], self.score[keep])


def anchors(grids: Sequence[tuple[int, int]]) -> F32:
    """Anchor centres in 0..1, (n, 2): for each (cells per side, anchors per cell), row by row."""
    parts = []
    for cells, repeat in grids:
        at = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        x, y = np.meshgrid(at, at)
        parts.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), repeat, axis=0))
    return np.concatenate(parts)


def decode_anchored(
    regressors: F32, logits: F32, centres: F32, size: int, score: float
) -> Detections:
    """One picture's outputs to boxes in pixels of the net's input, before suppression.

    Args:
        regressors: (a, 4 + 2 k): centre offset, width and height, k points, in input pixels.
        logits: (a,) or (a, 1).
        centres: (a, 2) anchor centres, 0 to 1.
        size: side of the net's input, pixels.
        score: least confidence, 0 to 1.

    Source: MediaPipe's tensors_to_detections calculator with reverse_output_order.
    """
    confidence = 1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -80, 80)))
    keep = np.flatnonzero(confidence > score)
    keep = keep[np.argsort(-confidence[keep], kind="stable")]
    values = regressors[keep].reshape(len(keep), regressors.shape[1] // 2, 2)
    # An anchor at 0..1 is an edge coordinate; pixel centres lie half a pixel before it.
    at = centres[keep] * size - 0.5
    middle, extent = values[:, 0] + at, values[:, 1]
    return Detections(
        np.concatenate([middle - extent / 2, middle + extent / 2], 1).astype(np.float32),
        (values[:, 2:] + at[:, None]).astype(np.float32),
        confidence[keep].astype(np.float32),
    )


def box_iou(one: F32, many: F32) -> F32:
    """Overlap (intersection by union, 0 to 1) of a (4,) box with each of (n, 4)."""
    low, high = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:], many[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    area = (many[:, 2:] - many[:, :2]).prod(1) + (one[2:] - one[:2]).prod()
    return np.asarray(common / np.maximum(area - common, 1e-9), np.float32)


def non_maximum_suppression(found: Detections, iou: float) -> Detections:
    """Of boxes that overlap more than `iou`, only the one with the highest score."""
    order = np.argsort(-found.score, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[box_iou(found.box[best], found.box[order]) <= iou]
    return found.rows(np.asarray(kept, np.int64))
