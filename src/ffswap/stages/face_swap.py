"""Finding, choosing and swapping the faces of a clip: the stages in their order, without threads."""

from __future__ import annotations

from dataclasses import dataclass

from ..carriers import Frames
from ..geometry.hand import hand_polygons
from .choose import FaceChooser
from .hands import HandTracker
from .mesh_swap import MeshSwapper, Paint
from .track import FaceTracker

__all__ = ["FaceSwap", "FrameCounts"]


@dataclass
class FrameCounts:
    """What was found so far.

    Attributes:
        frames: looked at.
        frames_without_face: of these, without any.
        faces: to be swapped, one per face and frame.
    """

    frames: int = 0
    frames_without_face: int = 0
    faces: int = 0


class FaceSwap:
    """The swap of one clip. `look` reads frames in order; `paint` changes them, in any order.

    Passive. `look` belongs to one thread; `paint` may run in several.

    Args:
        tracker: follows faces.
        chooser: picks those to swap.
        swapper: paints them.
        hands: finds what must not be painted over; None: nothing is looked for.
    """

    def __init__(
        self,
        tracker: FaceTracker,
        chooser: FaceChooser,
        swapper: MeshSwapper,
        hands: HandTracker | None = None,
    ) -> None:
        self._tracker, self._chooser, self._swapper = tracker, chooser, swapper
        self._hands = hands
        self.counts = FrameCounts()

    @property
    def tracks(self) -> int:
        """Different faces so far."""
        return self._tracker.faces_seen

    def look(self, frames: Frames) -> list[list[Paint]]:
        """What to paint into each of the next frames."""
        found = self._tracker(frames)
        chosen = self._chooser(frames, found)
        counts = self.counts
        counts.frames += len(frames)
        counts.frames_without_face += len(frames) - len(set(chosen.frame.tolist()))
        counts.faces += len(chosen)
        if self._hands is None:
            return self._swapper.plan(frames, chosen)
        hands = self._hands(frames, chosen)
        covers = [[p for hand in here for p in hand_polygons(hand.points)] for here in hands]
        return self._swapper.plan(frames, chosen, covers)

    def paint(self, frames: Frames, plans: list[list[Paint]]) -> None:
        """Paint what `look` returned for these frames, in place."""
        for i, paints in enumerate(plans):
            self._swapper.paint(frames, i, paints)
