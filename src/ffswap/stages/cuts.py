"""Scene cuts, seen in thumbnails of the luma plane."""

from __future__ import annotations

import numpy as np

from ..carriers import F32, Frames
from ..ops import cpu

__all__ = ["CutDetector"]

THUMBNAIL = (32, 18)
"""Width and height: large enough to tell two pictures apart, small enough to forgive motion."""

LEAST_CHANGE = 0.07
"""Mean change of luma (0..1) below which nothing is a cut."""

AGAINST_MOTION = 4.0
"""A cut changes the picture this many times more than the frames before it did."""

MEMORY = 0.8
"""Share of the past in the running mean of the change."""


class CutDetector:
    """Tells for each frame of a clip whether it starts a new scene. Passive, one per clip."""

    def __init__(self) -> None:
        self._last: F32 | None = None
        self._usual = 0.0

    def __call__(self, frames: Frames) -> list[bool]:
        """One flag per frame; the first frame of a clip is none."""
        offset, span = frames.colour.luma_scale(frames.format.depth)
        step = max(1, min(frames.width // (4 * THUMBNAIL[0]), frames.height // (4 * THUMBNAIL[1])))
        flags = []
        for y, _, _ in frames.planes:
            thin = np.ascontiguousarray(y[::step, ::step])
            small = (cpu.resize(thin, *THUMBNAIL).astype(np.float32) - offset) / span
            flags.append(self._step(small))
        return flags

    def _step(self, small: F32) -> bool:
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        cut = change > LEAST_CHANGE and change > AGAINST_MOTION * self._usual
        # A cut counts too: motion that begins at once looks like one, but not for ever.
        self._usual = MEMORY * self._usual + (1 - MEMORY) * change
        return cut
