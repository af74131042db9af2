"""Choosing which of the faces found are swapped, without changing one's mind at every frame."""

from __future__ import annotations

import numpy as np

from ..carriers import F32, I64, Faces, FrameBatch, State
from ..options import FaceChoice

__all__ = ["FORGET_S", "FaceChooser"]

CLEARLY_LARGER = 1.3
"""A face must be this much higher than the chosen one to be worth a change."""

FOR_S = 1.0
"""... and stay so for this long."""

FORGET_S = 2.0
"""A track that was not seen for this long does not come back: trackers remember theirs for a second."""


class FaceChooser:
    """Keeps the faces that are to be swapped. Passive, one per clip; frames come in order.

    Args:
        choice: all; the largest: the one that is largest when it appears stays chosen until it is
            lost or another has been clearly larger for a while; places from left to right: where a
            face stands among the others when it appears decides for as long as it is followed.
    """

    def __init__(self, choice: FaceChoice) -> None:
        self._choice = choice
        self._chosen: int | None = None
        self._rival: tuple[int, float] | None = None
        self._placed: dict[int, tuple[bool, float]] = {}

    def state(self) -> State:
        """What the choice in the next frames depends on."""
        return {
            "chosen": self._chosen,
            "rival": None if self._rival is None else list(self._rival),
            "placed": [[track, *placed] for track, placed in self._placed.items()],
        }

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._chosen, rival = state["chosen"], state["rival"]
        self._rival = None if rival is None else (rival[0], rival[1])
        self._placed = {track: (chosen, seen_s) for track, chosen, seen_s in state["placed"]}

    def __call__(self, frames: FrameBatch, faces: Faces) -> I64:
        """Indices of the chosen rows, ascending."""
        if self._choice.kind == "all" or not len(faces):
            return np.arange(len(faces))
        if self._choice.kind == "left-right":
            return self._by_place(frames, faces)
        return self._one(frames, faces)

    def _by_place(self, frames: FrameBatch, faces: Faces) -> I64:
        """Rows at the asked places; new faces get theirs among all in their first frame."""
        along = _from_left(faces, frames.rotation)
        keep: list[int] = []
        for i in np.unique(faces.frame):
            now = frames.seconds(int(i))
            rows = np.flatnonzero(faces.frame == i)
            order = rows[np.argsort(along[rows], kind="stable")]
            for place, row in enumerate(order.tolist(), start=1):
                track = int(faces.track[row])
                chosen = self._placed.get(track, (False, now))[0]
                if track not in self._placed:
                    chosen = place in self._choice.places
                self._placed[track] = chosen, now
                if chosen:
                    keep.append(row)
        last = frames.seconds(len(frames) - 1)
        self._placed = {t: one for t, one in self._placed.items() if last - one[1] < FORGET_S}
        return np.sort(np.asarray(keep, np.int64))

    def _one(self, frames: FrameBatch, faces: Faces) -> I64:
        height = faces.box[:, 3] - faces.box[:, 1]
        keep = [
            self._pick(
                np.flatnonzero(faces.frame == i), faces.track, height, frames.seconds(int(i))
            )
            for i in np.unique(faces.frame)
        ]
        return np.asarray(keep, np.int64)

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


def _from_left(faces: Faces, rotation: int) -> F32:
    """(n,) how far to the right faces are as the picture is shown, from any point.

    Args:
        faces: in pixels of the picture as stored.
        rotation: see `FrameBatch`.
    """
    x, y = (faces.box[:, 0] + faces.box[:, 2]) / 2, (faces.box[:, 1] + faces.box[:, 3]) / 2
    return np.asarray({0: x, 90: y, 180: -x, 270: -y}[rotation], np.float32)
