"""Which samples of a plane an affine map reads: one answer for every device that reads planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import I64
from . import affine

__all__ = ["Readings", "reach", "readings"]

WHOLE = 1e-9
"""A factor this much below a whole number is that number: of a matrix for 1920 to 320 pixels floats
make 5.999999999999999."""

F64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Readings:
    """How n affine maps read planes of one size without aliasing.

    Where a map shrinks to a half or less, the plane is first shrunk by the whole part of that, by means of
    square blocks. The blocks start at the plane's edge; those that reach over it are filled with what
    lies outside, so that no row or column of the plane is lost.

    Attributes:
        factor: (n,) side of the blocks, samples; 1: the plane is read as it is.
        low: (n, 2) x and y of the first sample of the first block, a multiple of `factor`.
        high: (n, 2) x and y behind the last sample of the last block.
        matrix: (n, 2, 3) float64, from the blocks, counted from `low`, to pixels of the result.
    """

    factor: I64
    low: I64
    high: I64
    matrix: F64


def readings(matrices: F64, sizes: I64, shape: tuple[int, ...]) -> Readings:
    """What is read of planes by affine maps.

    Args:
        matrices: (n, 2, 3), from samples of the plane to pixels of the result.
        sizes: (n, 2) width and height of the results, pixels.
        shape: (height, width) of the planes.
    """
    n = len(matrices)
    factor = np.maximum((1 / affine.scales_of(matrices) + WHOLE).astype(np.int64), 1)
    ends = np.broadcast_to(np.array([shape[1], shape[0]], np.int64), (n, 2))
    if (factor < 2).all():
        return Readings(factor=factor, low=np.zeros((n, 2), np.int64), high=ends, matrix=matrices)
    corners = sizes[:, None].astype(np.float64) * [[0, 0], [1, 0], [0, 1], [1, 1]]
    at = _apply(affine.invert(matrices), corners)
    side = factor[:, None]
    low = np.maximum(np.floor(at.min(1) / side).astype(np.int64) - 1, -1) * side
    high = np.minimum(np.ceil(at.max(1)).astype(np.int64) + side, ends + side)
    whole = (factor < 2) | (high - low < 2 * side).any(1)
    factor, side = np.where(whole, 1, factor), np.where(whole[:, None], 1, side)
    low = np.where(whole[:, None], 0, low)
    high = np.where(whole[:, None], ends, high + (low - high) % side)
    back = np.zeros((n, 2, 3))
    back[:, 0, 0] = back[:, 1, 1] = factor
    back[:, :, 2] = low + (side - 1) / 2
    return Readings(factor=factor, low=low, high=high, matrix=affine.compose(matrices, back))


def reach(back: F64, side: int, shape: tuple[int, ...]) -> I64:
    """Which samples of planes crops may reach that are laid over them.

    Args:
        back: (n, 2, 3), from pixels of the crop to samples of the plane.
        side: of the crops, pixels.
        shape: (height, width) of the planes.

    Returns:
        (n, 4) left, top, right, bottom; the last two are the first that are not reached. All 0: the
        crop lies outside.
    """
    # A bilinear reading ends a whole pixel beyond the centres of the outermost pixels.
    ends = np.array([[-1, -1], [side, -1], [side, side], [-1, side]], np.float64)
    corners = _apply(back, ends)
    low = np.maximum(np.ceil(corners.min(1)), 0)
    high = np.minimum(np.floor(corners.max(1)) + 1, (shape[1], shape[0]))
    bounds = np.concatenate([low, high], 1).astype(np.int64)
    bounds[(low >= high).any(1)] = 0
    return bounds


def _apply(matrices: F64, points: F64) -> NDArray[np.float32]:
    """(n, 2, 3) matrices on (k, 2) points, or on (n, k, 2): (n, k, 2)."""
    moved: F64 = points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    return moved.astype(np.float32)
