"""Finding, choosing and swapping the faces of a clip: the stages in their order, without threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, FrameBatch, Frames, State
from ..geometry.hand import hand_polygons
from .choose import FaceChooser
from .hands import HandTracker
from .label import Label
from .mark import FaceMarker, Unpainted
from .match import PeopleMatcher

__all__ = ["FacePainter", "FaceSwap", "FrameCounts", "SwapPlan", "Tracker"]


class Tracker(Protocol):
    """Follows the faces of a clip; frames come in order."""

    @property
    def faces_seen(self) -> int:
        """Different faces so far."""

    def __call__(self, frames: FrameBatch) -> Faces:
        """The faces of the next frames of the clip."""

    def state(self) -> State:
        """What the faces of the next frames depend on."""

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""


class FacePainter(Protocol):
    """Changes faces. `plan` is called in order, `paint` from any thread."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Faces so far that were left as they are, by the reason: a key of `net_paint.SKIPPED`."""

    def check(self) -> None:
        """Refuse a clip in which no face could be painted, for a reason that is no face's own.

        Raises:
            EngineError: so it is.
        """

    def state(self, frame: int) -> State:
        """What plans from this frame of the clip on depend on. Called in order with `plan`.

        From then on, this frame and those after it are counted apart.
        """

    def counted(self, frame: int) -> State:
        """What was counted in the frames before this one, all of which are painted."""

    def restore(self, state: State, counted: State) -> None:
        """Go on after the frames that gave this state and these counts."""

    def plan(
        self, frames: FrameBatch, faces: Faces, covers: Sequence[Sequence[F32]], who: I64
    ) -> list[list[Any]]:
        """What will be painted into each of the frames; reads them, changes nothing.

        Args:
            frames: the next n frames of the clip.
            faces: m faces to be painted over.
            covers: n lists of polygons (k, 2), luma pixels, that lie before the faces; or none.
            who: (m,) number of the source whose face each of them gets.
        """

    def paint(self, frames: FrameBatch, plans: list[list[Any]]) -> None:
        """Paint what `plan` returned for these frames, in place."""


@dataclass
class FrameCounts:
    """What was found so far.

    Attributes:
        frames: looked at.
        frames_without_face: of these, without any that is to be swapped.
        faces: to be swapped, one per face and frame.
    """

    frames: int = 0
    frames_without_face: int = 0
    faces: int = 0


@dataclass(frozen=True)
class SwapPlan:
    """What will be done to a batch of frames.

    Attributes:
        faces: that are swapped.
        paints: a list for each frame from each of the painters.
        labelled: (n,) bool, in which of the frames the label is seen; None: there is no label.
    """

    faces: Faces
    paints: list[list[list[Any]]]
    labelled: NDArray[np.bool_] | None = None


class FaceSwap:
    """The swap of one clip. `look` reads frames in order; `paint` changes them, in any order.

    Passive. `look` belongs to one thread; `paint` may run in several.

    Args:
        tracker: follows faces.
        chooser: picks those to swap among the faces that are none of the named people.
        painters: change them one after the other, the swapper first.
        hands: finds what must not be painted over; None: nothing is looked for.
        people: knows the named people, whose numbers come first; None: there are none.
        others: number of the source for the chosen faces; None: only named people are swapped.
        label: is drawn over everything else, or None.
        marker: marks what was painted; None: nothing does, for tests of what painters do alone.
    """

    def __init__(
        self,
        tracker: Tracker,
        chooser: FaceChooser,
        painters: Sequence[FacePainter],
        hands: HandTracker | None = None,
        *,
        people: PeopleMatcher | None = None,
        others: int | None = 0,
        label: Label | None = None,
        marker: FaceMarker | None = None,
    ) -> None:
        self._tracker, self._chooser, self._painters = tracker, chooser, painters
        self._hands, self._people, self._others = hands, people, others
        self._label, self._marker = label, marker
        self.counts = FrameCounts()

    @property
    def tracks(self) -> int:
        """Different faces so far."""
        return self._tracker.faces_seen

    @property
    def skipped(self) -> Mapping[str, int]:
        """Faces so far that were to be swapped and stayed as they are, by the reason."""
        return self._painters[0].skipped

    @property
    def unrestored(self) -> int:
        """Faces so far that a painter after the swapper left as they are, for no fault of theirs."""
        return sum(painter.skipped.get("values", 0) for painter in self._painters[1:])

    def check(self) -> None:
        """Refuse a result of which a painter could not paint anything.

        Raises:
            EngineError: so it is.
        """
        for painter in self._painters:
            painter.check()

    def state(self, frame: int) -> State:
        """What is remembered when all frames before this one have been looked at, and none after.

        Args:
            frame: its index in the clip.
        """
        parts = {"tracker": self._tracker, "chooser": self._chooser, **self._optional()}
        state: State = {name: part.state() for name, part in parts.items()}
        painters = [painter.state(frame) for painter in self._painters]
        return {**state, "painters": painters, "counts": asdict(self.counts)}

    def counted(self, frame: int) -> list[State]:
        """What painters counted in the frames before this one, all of which are painted.

        Args:
            frame: one that `state` was asked at; older ones can be asked no more.
        """
        return [painter.counted(frame) for painter in self._painters]

    def restore(self, state: State, counted: Sequence[State]) -> None:
        """Go on at a frame of the clip as if all before it had been looked at and painted.

        Args:
            state: at this frame.
            counted: at this frame.
        """
        self._tracker.restore(state["tracker"])
        self._chooser.restore(state["chooser"])
        for name, part in self._optional().items():
            part.restore(state[name])
        for painter, one, counts in zip(self._painters, state["painters"], counted, strict=True):
            painter.restore(one, counts)
        self.counts = FrameCounts(**state["counts"])

    def _optional(self) -> dict[str, Any]:
        parts = {"hands": self._hands, "people": self._people, "label": self._label}
        return {name: part for name, part in parts.items() if part is not None}

    def look(self, frames: FrameBatch) -> SwapPlan:
        """What to paint into each of the next frames."""
        found = self._tracker(frames)
        who = self._assign(frames, found)
        chosen, who = found.rows(who >= 0), who[who >= 0]
        counts = self.counts
        counts.frames += len(frames)
        counts.frames_without_face += len(frames) - len(set(chosen.frame.tolist()))
        counts.faces += len(chosen)
        covers: list[list[F32]] = []
        if self._hands is not None:
            hands = self._hands(frames.on_host(), chosen)
            covers = [[p for hand in here for p in hand_polygons(hand.points)] for here in hands]
        paints = [painter.plan(frames, chosen, covers, who) for painter in self._painters]
        labelled = None if self._label is None else self._label.plan(frames)
        return SwapPlan(chosen, paints, labelled)

    def _assign(self, frames: FrameBatch, faces: Faces) -> I64:
        """(n,) number of the source that each face gets, -1 for none."""
        who = np.full(len(faces), -1, np.int64)
        if self._people is not None:
            who = self._people(frames.on_host(), faces)
        rest = np.flatnonzero(who < 0)
        if self._others is not None and len(rest):
            who[rest[self._chooser(frames, faces.rows(rest))]] = self._others
        return who

    def paint(self, frames: Frames, plan: SwapPlan) -> None:
        """Paint what `look` returned for these frames, in place, and mark what was painted."""
        self.finish(frames, plan, self.paint_faces(frames, plan))

    def paint_faces(self, frames: FrameBatch, plan: SwapPlan) -> list[Unpainted]:
        """The part of `paint` that is done where the frames are: replace the faces.

        Returns:
            What the faces on the host looked like before, for `finish`.
        """
        marker = self._marker
        unpainted = [] if marker is None else marker.before(frames.on_host(), plan.faces)
        for painter, paints in zip(self._painters, plan.paints, strict=True):
            painter.paint(frames, paints)
        return unpainted

    def finish(self, frames: Frames, plan: SwapPlan, unpainted: Sequence[Unpainted]) -> None:
        """The part of `paint` that needs what was painted on the host: mark it, and draw the label.

        Args:
            frames: the same frames, in the host's memory.
            plan: of these frames.
            unpainted: what `paint_faces` gave for them.
        """
        if self._marker is not None:
            self._marker.mark(frames, unpainted)
        if self._label is not None and plan.labelled is not None:
            self._label.paint(frames, plan.labelled)
