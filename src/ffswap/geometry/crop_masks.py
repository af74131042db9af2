"""Masks of a crop that need no picture, and the tiles of pixel boost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from ..carriers import F32

__all__ = ["AREAS", "box_mask", "join_boost", "split_boost"]

BORDER_BY_SIDE = 0.25
"""Width of the empty border at a blur of 1, by the side. Source: FaceFusion 3.8.1, face_masker.py
(half of the blur, which is half of the side)."""

SIGMA_BY_BLUR = 0.25
"""Standard deviation of the Gaussian by the blur in pixels. Source: as above."""

REACH_SIGMAS = 4
"""How far OpenCV's Gaussian of floating-point pictures reaches when it chooses the size."""

_JAW_TO_NOSE = tuple(range(35, 30, -1))

AREAS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "upper-face": (0, 1, 2, *range(31, 36), 14, 15, 16, *range(26, 16, -1)),
        "lower-face": (*range(3, 14), *_JAW_TO_NOSE),
        "mouth": tuple(range(48, 68)),
    }
)
"""Parts of a face by name: which of the 68 points of iBUG 300-W bound them. Source: FaceFusion
3.8.1, face_masker.py; the area is their convex hull."""


@lru_cache(maxsize=8)
def box_mask(size: int, blur: float, padding: tuple[float, float, float, float]) -> F32:
    """The crop without its border, softly.

    Args:
        size: side of the crop, pixels.
        blur: 0 (hard) to 1 (soft to the middle).
        padding: least width of the border at top, right, bottom and left, percent of the side.

    Returns:
        (size, size) float32, 0 to 1, read-only: every batch of a run wants the same. The border is at
        least one pixel wide.

    Source: FaceFusion 3.8.1, face_masker.py; the same values as there to float precision.
    """
    pixels = int(size * 0.5 * blur)
    border = max(pixels // 2, 1)
    top, right, bottom, left = (max(border, int(size * part / 100)) for part in padding)
    rows = _soft_line(size, top, bottom, pixels * SIGMA_BY_BLUR)
    columns = _soft_line(size, left, right, pixels * SIGMA_BY_BLUR)
    mask = np.outer(rows, columns).astype(np.float32)
    mask.flags.writeable = False
    return mask


def _soft_line(size: int, first: int, last: int, sigma: float) -> F32:
    """(size,) 0 in the first and last so many pixels, 1 between, through a Gaussian."""
    line = np.ones(size)
    line[:first] = 0
    line[size - min(last, size) :] = 0
    if sigma == 0:
        return line.astype(np.float32)
    # The number of taps is rounded and made odd, as OpenCV does.
    reach = (int(np.rint(sigma * REACH_SIGMAS * 2 + 1)) | 1) // 2
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(line, reach, mode="reflect")
    return np.convolve(padded, taps / taps.sum(), mode="valid").astype(np.float32)


def split_boost(crops: F32, k: int) -> F32:
    """Crops to tiles of the net's size: tile (i, j) has every k-th pixel from row i, column j.

    Args:
        crops: (n, 3, k S, k S).
        k: how many times larger than the net's input the crop is.

    Returns:
        (n k k, 3, S, S), the tiles of a crop one after another, row by row.

    Source: FaceFusion 3.8.1, pixel_boost.py.
    """
    n, channels, side = crops.shape[:3]
    small = side // k
    parts = crops.reshape(n, channels, small, k, small, k).transpose(0, 3, 5, 1, 2, 4)
    return np.ascontiguousarray(parts).reshape(n * k * k, channels, small, small)


def join_boost(tiles: F32, k: int) -> F32:
    """What undoes `split_boost`: (n k k, 3, S, S) to (n, 3, k S, k S)."""
    rows, channels, small = tiles.shape[:3]
    n = rows // (k * k)
    parts = tiles.reshape(n, k, k, channels, small, small).transpose(0, 3, 4, 1, 5, 2)
    return np.ascontiguousarray(parts).reshape(n, channels, k * small, k * small)
