"""The One-Euro filter over the vertices of a mesh, in time units."""

from __future__ import annotations

import numpy as np

from ..carriers import F32

__all__ = ["OneEuroFilter"]

SPEED_CUTOFF_HZ = 1.0
"""Cut-off of the speed estimate, hertz: the value of the filter's authors."""


class OneEuroFilter:
    """Smooths points that move: strongly at rest, hardly when fast.

    The speed is that of a whole vertex, so that a vertex moves as one, and is measured in face
    sizes per second, so that the setting holds for any face and frame rate, a varying one too.

    Source: Casiez, Roussel, Vogel: 1€ Filter, CHI 2012.

    Args:
        min_cutoff_hz: cut-off at rest.
        beta: how much the cut-off grows (hertz) per face size per second of speed.
    """

    def __init__(self, min_cutoff_hz: float, beta: float) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._value: F32 | None = None
        self._speed: F32 | None = None

    def __call__(self, points: F32, size_px: float, dt_s: float) -> F32:
        """The smoothed points.

        Args:
            points: (n, d) float32, pixels.
            size_px: size of the face, pixels.
            dt_s: since the call before, seconds; 0 or less is taken as no time at all.
        """
        if self._value is None or self._speed is None or self._min_cutoff_hz == 0:
            self._value, self._speed = points.copy(), np.zeros_like(points)
            return points
        if dt_s <= 0:
            return self._value
        speed = (points - self._value) / (size_px * dt_s)
        self._speed = self._speed + _gain(SPEED_CUTOFF_HZ, dt_s) * (speed - self._speed)
        pace = np.linalg.norm(self._speed, axis=1, keepdims=True)
        gain = _gain(self._min_cutoff_hz + self._beta * pace, dt_s)
        self._value = np.asarray(self._value + gain * (points - self._value), np.float32)
        return self._value

    def state(self) -> list[F32 | None]:
        """What the next call depends on."""
        return [None if one is None else one.copy() for one in (self._value, self._speed)]

    def restore(self, state: list[F32 | None]) -> None:
        """Go on after the calls that gave this state."""
        self._value, self._speed = state


def _gain(cutoff_hz: F32 | float, dt_s: float) -> F32 | float:
    """Weight of the new value in a first-order low-pass."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff_hz * dt_s))
