"""Scene cuts, seen in thumbnails of the luma plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32, Colour, Frames, Plane, State
from ..ops.thumbnails import thumbnail

__all__ = ["CutDetector"]

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
        small = [thumbnail(y) for y, _, _ in frames.planes]
        return self.see(small, frames.colour, frames.format.depth)

    def see(self, thumbnails: Sequence[Plane], colour: Colour, depth: int) -> list[bool]:
        """The same for frames of which only the thumbnails are here.

        Args:
            thumbnails: one (height, width) for each frame, code values, of the size of
                `ops.thumbnails`; not kept.
            colour: their meaning.
            depth: bits of a sample.
        """
        offset, span = colour.luma_scale(depth)
        return [self._step((small.astype(np.float32) - offset) / span) for small in thumbnails]

    def state(self) -> State:
        """What the next frames depend on."""
        return {"last": self._last, "usual": self._usual}

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._last, self._usual = state["last"], state["usual"]

    def _step(self, small: F32) -> bool:
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        cut = change > LEAST_CHANGE and change > AGAINST_MOTION * self._usual
        # A cut counts too: motion that begins at once looks like one, but not for ever.
        self._usual = MEMORY * self._usual + (1 - MEMORY) * change
        return cut
