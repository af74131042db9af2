"""How kernels are told where to read: the numbers of one map, as OpenCV rounds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import I64
from ...geometry import sampling

__all__ = ["READING", "pack_readings"]

VECTOR_COLUMNS = 16
"""Columns that OpenCV's warpAffine computes at a time where it has AVX2; it rounds the coordinates of
the columns left over in another order. Source: OpenCV 5.0, warp_kernels.simd.hpp, and trial."""

READING = np.dtype(
    [
        ("map", np.float32, 6), ("low", np.int32, 2), ("factor", np.int32), ("mean", np.float32),
        ("whole", np.int32),
    ],
    align=True,
)  # fmt: skip
"""``struct Reading`` of gpu/kernels/common.cuh, field by field."""


def pack_readings(
    matrices: NDArray[np.float64], sizes: I64, shape: tuple[int, ...]
) -> NDArray[Any]:
    """How n maps read planes of one size.

    Args:
        matrices: (n, 2, 3), from samples of the plane to pixels of the result.
        sizes: (n, 2) width and height of the results, pixels.
        shape: (height, width) of the planes.

    Returns:
        (n,) of `READING`.
    """
    found = sampling.readings(matrices, sizes, shape)
    packed = np.zeros(len(matrices), READING)
    packed["map"] = _inverse(found.matrix).reshape(-1, 6)
    packed["low"] = found.low // found.factor[:, None]
    packed["factor"] = found.factor
    packed["mean"] = np.float32(1) / (found.factor**2).astype(np.float32)
    packed["whole"] = sizes[:, 0] // VECTOR_COLUMNS * VECTOR_COLUMNS
    return packed


def _inverse(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 3) inverted in the order in which OpenCV does it, for the same last bits."""
    (a, b, c), (d, e, f) = np.moveaxis(matrices, 0, -1)
    scale = 1 / (a * e - b * d)
    xx, xy, yx, yy = e * scale, -b * scale, -d * scale, a * scale
    rows = [[xx, xy, -xx * c - xy * f], [yx, yy, -yx * c - yy * f]]
    return np.moveaxis(np.array(rows), -1, 0)
