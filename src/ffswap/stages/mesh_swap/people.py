"""Several people at once: a mesh swapper for each, painted in one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ...carriers import F32, I64, Faces, FrameBatch, Frames, State
from ...errors import InternalError
from .render import Paint
from .swapper import MeshSwapper

__all__ = ["MeshSwappers", "PersonPaint"]

PersonPaint: TypeAlias = tuple[int, Paint]
"""Index of the swapper, and what it paints."""


class MeshSwappers:
    """Mesh swappers by person. Passive; `plan` is called in order, `paint` from any thread.

    Args:
        swappers: one per person.
    """

    def __init__(self, swappers: Sequence[MeshSwapper]) -> None:
        self._swappers = swappers

    @property
    def skipped(self) -> Mapping[str, int]:
        """See `FacePainter.skipped`; there are none."""
        return {}

    def check(self) -> None:
        """See `FacePainter.check`; there is nothing to refuse."""

    def state(self, frame: int) -> State:  # noqa: ARG002  others count the frames apart
        """See `FacePainter.state`."""
        return {"people": [swapper.state() for swapper in self._swappers]}

    def counted(self, frame: int) -> State:  # noqa: ARG002
        """See `FacePainter.counted`; nothing is."""
        return {}

    def restore(self, state: State, counted: State) -> None:  # noqa: ARG002
        """See `FacePainter.restore`."""
        for swapper, one in zip(self._swappers, state["people"], strict=True):
            swapper.restore(one)

    def plan(
        self, frames: FrameBatch, faces: Faces, covers: Sequence[Sequence[F32]], who: I64
    ) -> list[list[PersonPaint]]:
        """What will be painted into each of the frames; reads them, changes nothing.

        Args:
            frames: the next n frames of the clip.
            faces: to be painted over.
            covers: n lists of polygons (k, 2), luma pixels, that lie before the faces; or none.
            who: (m,) number of the swapper for each of them.
        """
        plans: list[list[PersonPaint]] = [[] for _ in range(len(frames))]
        for person, swapper in enumerate(self._swappers):
            rows = np.flatnonzero(who == person)
            for plan, paints in zip(
                plans, swapper.plan(frames.on_host(), faces.rows(rows), covers), strict=True
            ):
                plan += [(person, paint) for paint in paints]
        return plans

    def paint(self, frames: FrameBatch, plans: Sequence[Sequence[PersonPaint]]) -> None:
        """Paint into all frames, in each the hindmost (narrowest) face first, in place.

        Raises:
            InternalError: they are not in host memory.
        """
        if not isinstance(frames, Frames):
            raise InternalError(f"{frames!r} are not in host memory")
        for i, paints in enumerate(plans):
            for person, paint in sorted(paints, key=lambda one: one[1].face_px):
                self._swappers[person].paint(frames, i, [paint])
