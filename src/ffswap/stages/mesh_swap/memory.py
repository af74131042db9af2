"""What the swapper remembers of a face from frame to frame: running means in time units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...carriers import F32
from .light import Appearance

__all__ = ["FaceMemory"]

LIGHT_TIME_S = 0.12
"""Time constant of the running means of light, contrast and colour."""

COVER_TIME_S = 0.045
"""Of what covers the face: it moves quickly."""

SHAPE_TIME_S = 2.0
"""Of the target's mean shape: long enough for its expressions to cancel out."""

LOOK_EVERY_S = 0.3
"""How often sharpness and glasses are looked at: they hardly change."""

LOOK_TIME_S = 0.9


@dataclass
class FaceMemory:
    """One track's running means.

    Attributes:
        seen_s: time of the last frame.
        light: (n, n, 3) float32.
        contrast: see `Appearance`.
        saturation: see `Appearance`.
        shape: (468, 3) float32, mean shape in canonical space.
        folds: 0..1, how much of its own folds the target keeps.
        cover: (m, m) float32, what covers the face.
        sharpness: mean absolute Laplacian.
        glasses: belief that it wears some, 0..1.
        looked_s: when sharpness and glasses were looked at.
        frames: so far.
    """

    seen_s: float
    light: F32
    contrast: float
    saturation: float
    shape: F32
    folds: float
    cover: F32
    sharpness: float
    glasses: float
    looked_s: float
    frames: int = 1

    def follow(self, now: float, look: Appearance, shape: F32, folds: float) -> None:
        """Take in the next frame."""
        dt = max(now - self.seen_s, 0.0)
        gain = _gain(dt, LIGHT_TIME_S)
        self.light = _towards(self.light, look.light, gain)
        self.contrast += gain * (look.contrast - self.contrast)
        self.saturation += gain * (look.saturation - self.saturation)
        self.folds += gain * (folds - self.folds)
        # A plain mean at first, a running one later.
        self.frames += 1
        self.shape = _towards(self.shape, shape, max(1 / self.frames, _gain(dt, SHAPE_TIME_S)))

    def look_is_due(self, now: float) -> bool:
        """Should sharpness and glasses be looked at again?"""
        return now - self.looked_s >= LOOK_EVERY_S

    def look(self, now: float, sharpness: float, glasses: float) -> None:
        """Take in sharpness and glasses."""
        gain = _gain(now - self.looked_s, LOOK_TIME_S)
        self.sharpness += gain * (sharpness - self.sharpness)
        self.glasses += gain * (glasses - self.glasses)
        self.looked_s = now

    def follow_cover(self, now: float, cover: F32) -> None:
        """Take in what covers the face, then the time."""
        self.cover = _towards(self.cover, cover, _gain(now - self.seen_s, COVER_TIME_S))
        self.seen_s = now


def _gain(dt_s: float, time_s: float) -> float:
    """Weight of the new value in a running mean."""
    return float(1 - np.exp(-max(dt_s, 0.0) / time_s))


def _towards(old: F32, new: F32, gain: float) -> F32:
    return np.asarray(old + np.float32(gain) * (new - old), np.float32)
