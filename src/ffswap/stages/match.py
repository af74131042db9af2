"""Knowing people again: which of the named persons a followed face is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, Frames, State
from .choose import FORGET_S
from .identify import distance

__all__ = ["Embed", "PeopleMatcher"]

Embed = Callable[[Frames, I64, F32], F32]
"""Frames, index of the frame (n,) and five points (n, 5, 2) of each face, to embeddings (n, d)."""

LOOK_EVERY_S = 0.5
"""How often a followed face is looked at again: it does not become somebody else, but may turn to the
camera."""

SURE_MARGIN = 0.05
"""A face that was told to be one person becomes another, or nobody, only by this much."""

MEMORY = 0.8
"""How much an earlier look counts beside the next one: the mean is that of the last few seconds, so a track
that slid onto somebody else is told so within two."""

FEWEST_PX = 16.0
"""Faces lower than this say nothing about who they are."""


@dataclass
class _Known:
    """What is known of one track: the sum of its unit embeddings, the verdict, when it was seen."""

    total: F32
    looked_s: float
    person: int
    seen_s: float


class PeopleMatcher:
    """Says for each face which person it is. Passive, one per clip; frames come in order.

    A verdict rests on what was seen of a track in the last seconds, so one bad frame does not change
    it. A track that comes back after a loss, or may be another face now, is looked at at once. If it is
    clearly another of the persons, that counts; else its past counts no more than one look, so that
    somebody else is told so within a second.

    Args:
        embed: of the recogniser.
        references: (p, d) float32, a unit embedding per person.
        distance: largest distance to a reference, 0 to 1: half of 1 minus the cosine.
    """

    def __init__(self, embed: Embed, references: F32, distance: float) -> None:
        self._embed, self._references, self._limit = embed, references, distance
        self._known: dict[int, _Known] = {}

    def state(self) -> State:
        """What the verdicts in the next frames depend on."""
        return {"known": [[track, asdict(known)] for track, known in self._known.items()]}

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._known = {track: _Known(**known) for track, known in state["known"]}

    def __call__(self, frames: Frames, faces: Faces) -> I64:
        """(n,) index of the person of each face, -1 for somebody else."""
        due = self._due(frames, faces)
        if len(due):
            found = self._embed(frames, faces.frame[due], faces.points[due])
            for row, embedding in zip(due.tolist(), found, strict=True):
                self._learn(faces, row, embedding, frames.seconds(int(faces.frame[row])))
        who = np.full(len(faces), -1, np.int64)
        for row, track in enumerate(faces.track.tolist()):
            if (known := self._known.get(track)) is not None:
                who[row] = known.person
                known.seen_s = frames.seconds(int(faces.frame[row]))
        last = frames.seconds(len(frames) - 1)
        self._known = {t: one for t, one in self._known.items() if last - one.seen_s < FORGET_S}
        return who

    def _due(self, frames: Frames, faces: Faces) -> NDArray[np.int64]:
        """Rows that are to be looked at: new faces, and each of the others once in a while."""
        high = faces.box[:, 3] - faces.box[:, 1] >= FEWEST_PX
        looked = {track: known.looked_s for track, known in self._known.items()}
        rows: list[int] = []
        for row in range(len(faces)):
            track, now = int(faces.track[row]), frames.seconds(int(faces.frame[row]))
            if faces.fresh[row]:
                looked.pop(track, None)
            if high[row] and now - looked.get(track, -np.inf) >= LOOK_EVERY_S:
                rows.append(row)
                looked[track] = now
        return np.asarray(rows, np.int64)

    def _learn(self, faces: Faces, row: int, embedding: F32, now: float) -> None:
        track = int(faces.track[row])
        size = float(np.linalg.norm(embedding))
        if not np.isfinite(size) or not size:
            return
        unit = (embedding / np.float32(size)).astype(np.float32)
        known = self._known.get(track)
        if known is None:
            known = self._known[track] = _Known(np.zeros_like(unit), now, -1, now)
        alone = self._verdict(unit, -1)
        if faces.fresh[row] and alone >= 0:
            known.total, known.person = np.zeros_like(unit), alone
        elif faces.fresh[row]:
            known.total = known.total / np.float32(max(float(np.linalg.norm(known.total)), 1.0))
        known.total, known.looked_s = known.total * np.float32(MEMORY) + unit, now
        known.person = self._verdict(known.total, known.person)

    def _verdict(self, total: F32, person: int) -> int:
        """The nearest person, unless who it was is still near enough; -1 for nobody."""
        apart = distance(self._references, total)
        best = int(np.argmin(apart))
        if person >= 0 and apart[person] < min(self._limit, float(apart[best])) + SURE_MARGIN:
            return person
        return best if apart[best] < self._limit else -1
