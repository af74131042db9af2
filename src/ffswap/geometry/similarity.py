"""The similarity (turn, scale, move) that brings points of a face onto a template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = ["similarity"]


def similarity(points: F32, template: F32, size: int) -> NDArray[np.float64]:
    """Matrices from image pixels to crops, by least squares, without reflection.

    Args:
        points: (n, 5, 2) pixels.
        template: (5, 2) where they belong, in units of the crop's side.
        size: side of the crop, pixels.

    Returns:
        (n, 2, 3) float64. Not finite where all points of a face are one.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
    patterns, 1991; in the plane it is one complex division.
    """
    here = points.astype(np.float64) @ np.array([1, 1j])
    there = template.astype(np.float64) @ np.array([1, 1j]) * size
    middle = here.mean(1)
    centred = here - middle[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = (centred.conj() @ (there - there.mean())) / (abs(centred) ** 2).sum(1)
        move = there.mean() - turn * middle
    rows = ((turn.real, -turn.imag, move.real), (turn.imag, turn.real, move.imag))
    return np.asarray(rows, np.float64).transpose(2, 0, 1)
