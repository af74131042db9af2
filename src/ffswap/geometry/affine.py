"""2 x 3 affine matrices between pixel grids. The centre of the top left pixel is (0, 0)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = [
    "apply",
    "compose",
    "crop_matrix",
    "invert",
    "letterbox_matrix",
    "scale_of",
    "scales_of",
    "stretch_matrix",
    "turn_matrix",
]

F64 = NDArray[np.float64]


def apply(matrix: F64, points: F32 | F64) -> F32:
    """Points (..., 2) through a (2, 3) matrix; float32 of the same shape."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def compose(second: F64, first: F64) -> F64:
    """The matrix that does `first`, then `second`; or (n, 2, 3) of them."""
    linear: F64 = second[..., :2] @ first
    linear[..., 2] += second[..., 2]
    return linear


def invert(matrix: F64) -> F64:
    """The matrix that undoes `matrix`; or (n, 2, 3) of them."""
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], -1)


def scale_of(matrix: F64) -> float:
    """By how much the matrix magnifies, as the square root of its area factor."""
    return float(scales_of(matrix))


def scales_of(matrices: F64) -> F64:
    """`scale_of` for (..., 2, 3) matrices."""
    return np.asarray(np.sqrt(np.abs(np.linalg.det(matrices[..., :2]))))


def stretch_matrix(pixel_aspect: float) -> F64:
    """From pixels as stored to square ones of the same height.

    Args:
        pixel_aspect: see `Frames`.
    """
    return np.array([[pixel_aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])


def crop_matrix(cx: float, cy: float, size: float, angle: float, out: int) -> F64:
    """From image pixels to a square crop.

    Args:
        cx: centre of the square in the image, pixels.
        cy: the same, downwards.
        size: side of the square, pixels.
        angle: direction in the image of the crop's x axis, radians, clockwise as seen.
        out: side of the crop, pixels.
    """
    scale = out / size
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    centre = (out - 1) / 2
    return np.array([[c, s, centre - c * cx - s * cy], [-s, c, centre + s * cx - c * cy]])


def letterbox_matrix(
    x0: float, y0: float, width: float, height: float, rotation: int, out: int
) -> F64:
    """From image pixels to a square that holds a region whole, centred, turned upright.

    Args:
        x0: left edge of the region, pixels (an edge, not a pixel's centre, is at x - 0.5).
        y0: top edge.
        width: of the region, pixels.
        height: of the region, pixels.
        rotation: degrees by which the region must be turned counter-clockwise to be upright.
        out: side of the square, pixels.
    """
    size = max(width, height)
    cx, cy = x0 + (width - 1) / 2, y0 + (height - 1) / 2
    # Turning the picture counter-clockwise is the same as reading it along an axis that has
    # been turned clockwise.
    return crop_matrix(cx, cy, size, np.deg2rad(rotation), out)


def turn_matrix(x0: float, y0: float, width: float, height: float, rotation: int) -> F64:
    """From image pixels to those of a region that is cut out and turned; whole pixels stay whole.

    Args:
        x0: left column of the region.
        y0: top row.
        width: of the region, pixels.
        height: of the region, pixels.
        rotation: 0, 90, 180 or 270 degrees, counter-clockwise.
    """
    right, low = x0 + width - 1, y0 + height - 1
    rows = {
        0: ((1, 0, -x0), (0, 1, -y0)),
        90: ((0, 1, -y0), (-1, 0, right)),
        180: ((-1, 0, right), (0, -1, low)),
        270: ((0, -1, low), (1, 0, -x0)),
    }
    return np.array(rows[rotation], np.float64)
