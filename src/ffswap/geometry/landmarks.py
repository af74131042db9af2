"""The 68 points of iBUG 300-W: where their nets look, what they answer, and five points of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64
from ..errors import ModelError
from . import affine

__all__ = [
    "decode_fan_heatmap",
    "decode_fan_peaks",
    "decode_peppa_wutz",
    "eye_angle",
    "face_angle",
    "five_of",
    "landmark_matrix",
]

F64 = NDArray[np.float64]

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
"""As seen in the image: the rings of the eyes."""

NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = 30, 48, 54
JAW_LEFT, JAW_RIGHT = 0, 16

GRID = 64
"""Cells along each side of the nets' own coordinates and of the heat maps."""

FACE_SHARE = 195 / 256
"""The larger side of the face's box by the side of the crop: the published procedure's 195 pixels."""

FAN_FULL_PEAK = 0.9
"""A mean height of the 68 peaks from which the published procedure is quite sure of a face."""

PEPPA_FULL_CONFIDENCE = 0.95
"""The same for the mean confidence that the other net gives itself."""


def five_of(landmarks: F32) -> F32:
    """(n, 5, 2) eye centres (image left, image right), nose tip and mouth corners of (n, 68, 2)."""
    left, right = landmarks[:, LEFT_EYE].mean(1), landmarks[:, RIGHT_EYE].mean(1)
    rest = landmarks[:, [NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT]]
    return np.concatenate([left[:, None], right[:, None], rest], 1).astype(np.float32)


def face_angle(landmarks: F32) -> I64:
    """By how much each face is turned clockwise as seen: (n,) 0, 90, 180 or 270, of (n, 68, 2).

    It is the direction from one end of the jaw to the other, to the nearest quarter turn.
    """
    return _quarter_turns(landmarks[:, JAW_RIGHT] - landmarks[:, JAW_LEFT])


def eye_angle(points: F32) -> I64:
    """The same from the direction from eye to eye, of five points (n, 5, 2)."""
    return _quarter_turns(points[:, 1] - points[:, 0])


def _quarter_turns(direction: F32) -> I64:
    degrees = np.rad2deg(np.arctan2(direction[:, 1], direction[:, 0]))
    return np.round(degrees / 90).astype(np.int64) % 4 * 90


def landmark_matrix(box: F32, angle: int, size: int, pixel_aspect: float = 1.0) -> F64:
    """From image pixels to the crop that a landmark net takes.

    The box is centred and its larger side is `FACE_SHARE` of the crop's; then the crop is turned
    counter-clockwise about its centre, so that the face stands upright.

    Args:
        box: (4,) left, top, right, bottom, pixels; a side of less than 1 counts as 1.
        angle: 0, 90, 180 or 270 degrees.
        size: side of the crop, pixels. Its centre is the pixel ``size / 2``, as in the published
            procedure, so half a pixel to the right of and below the true one.
        pixel_aspect: width of a pixel of the image by its height; the crop's are square.

    Returns:
        (2, 3) float64.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    left, right = left * pixel_aspect, right * pixel_aspect
    scale = size * FACE_SHARE / max(right - left, bottom - top, 1.0)
    # Quarter turns have whole numbers; their floats would not be exact.
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[angle // 90]
    cx, cy = (left + right) / 2 * scale, (top + bottom) / 2 * scale
    half = size / 2
    square = np.array(
        [
            [c * scale, s * scale, half - c * cx - s * cy],
            [-s * scale, c * scale, half + s * cx - c * cy],
        ]
    )
    return affine.compose(square, affine.stretch_matrix(pixel_aspect))


def decode_fan_heatmap(points: F32, heatmaps: F32, size: int) -> tuple[F32, F32]:
    """The face alignment network (2DFAN-4).

    Args:
        points: (n, 68, 2 or more), x and y in cells of `GRID`.
        heatmaps: (n, 68, height, width), where each point is, 0 to 1.
        size: side of the crop, pixels.

    Returns:
        Landmarks (n, 68, 2) in pixels of the crop, and how sure they are, (n,), 0 to 1.

    Raises:
        ModelError: the arrays have other shapes.
    """
    n = len(points)
    good = points.ndim == 3 and points.shape[1] == 68 and points.shape[2] >= 2
    if not good or heatmaps.ndim != 4 or heatmaps.shape[:2] != (n, 68):
        raise _wrong(f"{points.shape} and {heatmaps.shape}", "(n, 68, 2 or 3) and (n, 68, 64, 64)")
    return decode_fan_peaks(points, heatmaps.max((2, 3)), size)


def decode_fan_peaks(points: F32, peaks: F32, size: int) -> tuple[F32, F32]:
    """The same of the height of the peak of each heat map, (n, 68)."""
    score = peaks.mean(1) / FAN_FULL_PEAK
    landmarks = points[..., :2] * (size / GRID)
    return landmarks.astype(np.float32), np.clip(score, 0, 1).astype(np.float32)


def decode_peppa_wutz(values: F32, size: int) -> tuple[F32, F32]:
    """The landmark net that is published as peppa_wutz.

    Args:
        values: n rows of 68 times x and y in cells of `GRID` and a confidence, in any shape.
        size: side of the crop, pixels.

    Returns:
        As `decode_fan_heatmap`.

    Raises:
        ModelError: a row has another number of values.
    """
    n = len(values)
    if values.size != n * 68 * 3:
        raise _wrong(str(values.shape), "(n, 68, 3) or as many values")
    table = values.reshape(n, 68, 3)
    score = table[..., 2].mean(1) / PEPPA_FULL_CONFIDENCE
    landmarks = table[..., :2] * (size / GRID)
    return landmarks.astype(np.float32), np.clip(score, 0, 1).astype(np.float32)


def _wrong(got: str, allowed: str) -> ModelError:
    return ModelError(
        f"the landmark net gives arrays of shape {got}; allowed: {allowed}",
        hint="check that the file is the one that the catalogue names",
    )
