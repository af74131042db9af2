"""What the published single-shot detectors give, decoded to boxes and five points.

All take one picture's tensors, with or without a batch axis of 1, and return pixels of the net's
input, before suppression, by falling score. Points are eyes, nose tip and mouth corners, image left
first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from ..errors import ModelError
from .boxes import Detections

__all__ = ["decode_scrfd", "decode_yolo_face", "decode_yunet"]

STRIDES = (8, 16, 32)
"""Pixels per cell of the three grids of SCRFD, RetinaFace and YuNet."""

SCRFD_ANCHORS = 2
"""Per cell, both at the same place."""

YOLO_VALUES = 20
"""Of a candidate: the box's middle, width and height, the score, and x, y, confidence of each point."""

LARGEST_VALUE = 1e6
"""A candidate with a number beyond this, in pixels or cells, or with one that is none, is no face:
it would exceed every picture. Nets in half precision overflow."""

LARGEST_GROWTH = 10.0
"""The same for YuNet's logarithm of a box's side in cells."""


def decode_yolo_face(tensor: F32, score: float) -> Detections:
    """YOLOv8-face: one tensor, whose numbers are pixels already.

    Args:
        tensor: (20, candidates); 8400 candidates for a picture of 640 x 640.
        score: only what is above this is kept, 0 to 1.

    Raises:
        ModelError: the tensor has not 20 values for each candidate.
    """
    if tensor.ndim < 2 or tensor.shape[-2] != YOLO_VALUES or tensor.size % YOLO_VALUES:
        raise _wrong("the tensor", tensor, f"({YOLO_VALUES}, candidates)")
    values = tensor.reshape(YOLO_VALUES, -1)
    values = values[:, (values[4] > score) & _sound(values.T)].T
    middle, extent = values[:, :2], values[:, 2:4]
    points = values[:, 5:].reshape(-1, 5, 3)[..., :2]
    box = np.concatenate([middle - extent / 2, middle + extent / 2], 1)
    return _sorted([(box, points, values[:, 4])])


def decode_scrfd(tensors: Sequence[F32], size: tuple[int, int], score: float) -> Detections:
    """SCRFD and the RetinaFace of the same makers: distances from anchors, in cells.

    Args:
        tensors: nine: the scores of strides 8, 16 and 32, (anchors, 1) each; then the boxes,
            (anchors, 4): how far left, top, right and bottom are from the anchor; then the points,
            (anchors, 10). Two anchors per cell lie at its top left corner, cells row by row.
        size: (width, height) of the net's input, pixels.
        score: only what is not below this is kept, 0 to 1.

    Raises:
        ModelError: another number of tensors, or of values in one.
    """
    scores, distances, offsets = _thirds(tensors, 3)
    parts = []
    for k, stride in enumerate(STRIDES):
        anchors = _cells(size, stride) * SCRFD_ANCHORS
        confidence = _table(scores[k], anchors, 1, stride)[:, 0]
        away = _table(distances[k], anchors, 4, stride)
        offset = _table(offsets[k], anchors, 10, stride)
        keep = np.flatnonzero((confidence >= score) & _sound(away) & _sound(offset))
        at = _corners(keep // SCRFD_ANCHORS, size, stride)
        low, high = at - away[keep, :2] * stride, at + away[keep, 2:] * stride
        box = np.concatenate([low, high], 1)
        points = offset[keep].reshape(-1, 5, 2) * stride
        parts.append((box, at[:, None] + points, confidence[keep]))
    return _sorted(parts)


def decode_yunet(tensors: Sequence[F32], size: tuple[int, int], score: float) -> Detections:
    """YuNet: one anchor per cell, at its top left corner.

    The score is the product of the two that the net gives; OpenCV's own decoder takes its root.

    Args:
        tensors: twelve, each of strides 8, 16 and 32: ``cls`` and ``obj``, (cells, 1); ``bbox``,
            (cells, 4): the middle from the anchor in cells, logarithms of the sides in cells;
            ``kps``, (cells, 10).
        size: (width, height) of the net's input, pixels.
        score: only what is not below this is kept, 0 to 1.

    Raises:
        ModelError: another number of tensors, or of values in one.
    """
    classes, objects, regressors, offsets = _thirds(tensors, 4)
    parts = []
    for k, stride in enumerate(STRIDES):
        cells = _cells(size, stride)
        is_face, is_object = (_table(t[k], cells, 1, stride)[:, 0] for t in (classes, objects))
        values = _table(regressors[k], cells, 4, stride)
        offset = _table(offsets[k], cells, 10, stride)
        confidence = is_face * is_object
        keep = np.flatnonzero((confidence >= score) & _sound(values) & _sound(offset))
        at = _corners(keep, size, stride)
        middle = at + values[keep, :2] * stride
        extent = np.exp(np.minimum(values[keep, 2:], LARGEST_GROWTH)) * stride
        points = offset[keep].reshape(-1, 5, 2) * stride
        box = np.concatenate([middle - extent / 2, middle + extent / 2], 1)
        parts.append((box, at[:, None] + points, confidence[keep]))
    return _sorted(parts)


def _cells(size: tuple[int, int], stride: int) -> int:
    return (size[0] // stride) * (size[1] // stride)


def _corners(cell: NDArray[np.int64], size: tuple[int, int], stride: int) -> F32:
    """(n, 2) top left corners of cells, pixels."""
    row, column = np.divmod(cell, size[0] // stride)
    return np.asarray(np.stack([column, row], 1) * stride, np.float32)


def _thirds(tensors: Sequence[F32], kinds: int) -> list[Sequence[F32]]:
    """The tensors of each kind, by stride."""
    want = kinds * len(STRIDES)
    if len(tensors) != want:
        raise ModelError(
            f"the detector gives {len(tensors)} tensors; allowed: {want}",
            hint="check that the file is the one that the catalogue names",
        )
    return [tensors[at : at + len(STRIDES)] for at in range(0, want, len(STRIDES))]


def _table(tensor: F32, rows: int, columns: int, stride: int) -> F32:
    """The tensor as (rows, columns)."""
    if tensor.shape[-1] != columns or tensor.size != rows * columns:
        raise _wrong(f"a tensor of stride {stride}", tensor, f"({rows}, {columns})")
    return tensor.reshape(rows, columns)


def _sound(values: F32) -> NDArray[np.bool_]:
    """Which rows of a table hold numbers that can be computed with."""
    return np.asarray((np.abs(values) < LARGEST_VALUE).all(1))


def _wrong(what: str, tensor: F32, allowed: str) -> ModelError:
    return ModelError(
        f"{what} that the detector gives has the shape {tensor.shape}; allowed: {allowed}",
        hint="check that the file is the one that the catalogue names",
    )


def _sorted(parts: Sequence[tuple[F32, F32, F32]]) -> Detections:
    """Candidates of all strides by falling score."""
    return Detections.concatenate(
        [Detections(*(np.asarray(a, np.float32) for a in part)) for part in parts]
    )
