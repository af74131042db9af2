"""Keeping few of many things so that they are as different as can be, while they come one by one."""

from __future__ import annotations

import numpy as np

from ..carriers import F32
from ..errors import InternalError

__all__ = ["DiverseSet"]


class DiverseSet:
    """Up to `capacity` points; each new one pushes out what is nearest to something else.

    When it is full, of the two points nearest to each other, the new one among them, one goes: the new
    one, or the one whose next neighbour is nearer. So duplicates go first, and what is rare stays,
    whenever it comes. The same points in the same order give the same set.

    Memory is that of a matrix of `capacity` by `capacity`; a point costs one row of it.

    Args:
        capacity: points that are kept, 2 or more.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 2:
            raise InternalError(f"a set of {capacity} points")
        self._apart = np.full((capacity, capacity), np.inf, np.float32)
        self._points: F32 | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def offer(self, point: F32) -> int | None:
        """Take a point, or not.

        Args:
            point: (d,) float32, finite; distances are Euclidean.

        Returns:
            The place that it has taken, 0 to capacity - 1; None: it was not taken.
        """
        capacity = len(self._apart)
        if self._points is None:
            self._points = np.zeros((capacity, len(point)), np.float32)
        apart = np.linalg.norm(self._points[: self._count] - point, axis=1)
        if self._count < capacity:
            self._count += 1
            self._put(self._count - 1, point, apart)
            return self._count - 1
        one, two = np.unravel_index(int(self._apart.argmin()), self._apart.shape)
        if apart.min() <= self._apart[one, two]:
            return None
        out = min((int(one), int(two)), key=lambda k: self._next(k, (int(one), int(two)), apart))
        self._put(out, point, apart)
        return out

    def _next(self, own: int, pair: tuple[int, int], apart: F32) -> float:
        """How near the nearest neighbour is besides the other of the pair."""
        row = self._apart[own].copy()
        row[list(pair)] = np.inf
        return float(min(row.min(), apart[own]))

    def _put(self, at: int, point: F32, apart: F32) -> None:
        assert self._points is not None
        self._points[at] = point
        self._apart[at, : len(apart)] = apart
        self._apart[: len(apart), at] = apart
        self._apart[at, at] = np.inf
