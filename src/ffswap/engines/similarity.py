"""How alike two pictures are: structural similarity, and the decibels of any difference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT_DB", "decibels", "is_image", "psnr", "ssim"]

EXACT_DB = 200.0
"""What an exact copy counts as: more than any precision gives, and a number that JSON knows."""

# Wang, Bovik, Sheikh and Simoncelli, 2004: a Gaussian window of 11 pixels with sigma 1.5, and the
# two constants that keep flat regions from dividing by zero, as shares of the range.
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape are pictures: three planes, or three values for each pixel."""
    return len(shape) == 4 and 3 in (shape[1], shape[3]) and min(shape[1:]) == 3


def psnr(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in decibels; the peak is the wanted picture's own range."""
    error = np.mean((got.astype(np.float64) - want.astype(np.float64)) ** 2)
    span = float(want.max() - want.min())
    if not error:
        return EXACT_DB
    return min(EXACT_DB, 10 * math.log10(span**2 / error)) if span else 0.0


def decibels(relative: float) -> float:
    """A relative error as a signal-to-noise ratio."""
    return EXACT_DB if relative <= 10 ** (-EXACT_DB / 20) else -20 * math.log10(relative)


def ssim(got: NDArray[Any], want: NDArray[Any]) -> float | None:
    """Mean structural similarity of two pictures, over positions and channels.

    Args:
        got: (3, height, width) or (height, width, 3).
        want: the same; its own range is the range of values.

    Returns:
        1 for equal pictures, less otherwise; None if they are smaller than the window, or flat.
    """
    span = float(want.max() - want.min())
    planes = [np.moveaxis(one, 0 if one.shape[0] == 3 else 2, 0) for one in (got, want)]
    if min(planes[0].shape[1:]) < _WINDOW or not span:
        return None
    x, y = (one.astype(np.float64) for one in planes)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    index = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return float(index.mean())


def _blurred(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means over the window, where it lies inside."""
    place = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(place**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    height, width = (size - _WINDOW + 1 for size in planes.shape[1:])
    rows = sum(w * planes[:, i : i + height] for i, w in enumerate(weights))
    blurred: NDArray[np.float64] = sum(w * rows[:, :, i : i + width] for i, w in enumerate(weights))
    return blurred
