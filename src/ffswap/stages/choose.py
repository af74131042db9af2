"""Choosing which of the faces found are swapped, without changing one's mind at every frame."""

from __future__ import annotations

import numpy as np

from ..carriers import F32, I64, Faces, Frames
from ..options import FaceChoice

__all__ = ["FaceChooser"]

CLEARLY_LARGER = 1.3
"""A face must be this much higher than the chosen one to be worth a change."""

FOR_S = 1.0
"""... and stay so for this long."""


class FaceChooser:
    """Keeps the faces that are to be swapped. Passive, one per clip; frames come in order.

    Args:
        choice: ``all``; or ``largest``: the one that is largest when it appears stays chosen until
            it is lost or another has been clearly larger for a while.
    """

    def __init__(self, choice: FaceChoice) -> None:
        self._choice = choice
        self._chosen: int | None = None
        self._rival: tuple[int, float] | None = None

    def __call__(self, frames: Frames, faces: Faces) -> Faces:
        """The chosen rows."""
        if self._choice == "all" or not len(faces):
            return faces
        height = faces.box[:, 3] - faces.box[:, 1]
        keep = [
            self._pick(
                np.flatnonzero(faces.frame == i), faces.track, height, frames.seconds(int(i))
            )
            for i in np.unique(faces.frame)
        ]
        return faces.rows(np.asarray(keep, np.int64))

    def _pick(self, rows: I64, track: I64, height: F32, now: float) -> int:
        largest = int(rows[np.argmax(height[rows])])
        current = next((int(r) for r in rows if track[r] == self._chosen), None)
        if current is None or current == largest:
            self._rival = None
        elif height[largest] > CLEARLY_LARGER * height[current]:
            if self._rival is None or self._rival[0] != int(track[largest]):
                self._rival = (int(track[largest]), now)
            if now - self._rival[1] < FOR_S:
                return current
        else:
            self._rival = None
            return current
        self._chosen, self._rival = int(track[largest]), None
        return largest
