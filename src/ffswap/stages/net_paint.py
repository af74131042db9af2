"""Faces as crops through a net and back into the frame: what swappers and restorers share."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, FrameBatch, State
from ..errors import EngineError, InternalError
from ..geometry import affine
from ..geometry.similarity import is_alignable, similarity
from .feed import MAX_BATCH, MAX_VALUES

__all__ = ["SKIPPED", "Brush", "CropPainter", "Group", "NetPaint"]

SKIPPED: Mapping[str, str] = MappingProxyType(
    {
        "points": "their points cannot be aligned",
        "size": "they are too small or too large",
        "values": "a net gave values that are not numbers for them",
    }
)
"""Why faces are left as they are, in words."""

LEAST_SIDE_PX = 8.0
"""Crops that cover less of the frame than this are left out: nothing of a face can be seen there."""

LARGEST_SIDE_PX = 65536.0
"""Crops that would cover more than this come from points far outside of every frame: twice the largest
side that FFmpeg decodes."""

FRUITLESS = 64
"""Faces that end a run if a net gives no numbers for any of them, before a single one was painted: a
few bad frames at the start are not worth an error, and a whole clip is not worth the wait."""

_PAINTED = "painted"
# Is counted together with the reasons why others were not.


@dataclass(frozen=True)
class NetPaint:
    """What painting one face in one frame needs; a few hundred bytes, no picture.

    Attributes:
        matrix: (2, 3) float64, from luma pixels to pixels of the crop.
        side_px: side of the crop in the frame, luma pixels.
        person: index of the source.
        opacity: 0 to 1.
        landmarks: (68, 2) float32, pixels of the crop, or None.
        covers: polygons (k, 2) float32, luma pixels, that lie before the face and stay as they are.
    """

    matrix: NDArray[np.float64]
    side_px: float
    person: int = 0
    opacity: float = 1.0
    landmarks: F32 | None = None
    covers: tuple[F32, ...] = ()


Group: TypeAlias = Sequence[tuple[int, NetPaint]]
"""Faces that are painted together, each with the index of its frame."""


class Brush(Protocol):
    """Takes crops, runs them through a net, and pastes the results: on one kind of device.

    May be used by several threads.
    """

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def size(self) -> int:
        """Side of the crop, pixels."""

    @property
    def needs_landmarks(self) -> bool:
        """Whether the masks need the 68 points."""

    @property
    def persons(self) -> int | None:
        """How many sources there are; None: the net takes none."""

    def paint(self, frames: FrameBatch, group: Group, told: Callable[[int, int], None]) -> None:
        """Paint faces, in place.

        Every crop of a frame is taken before anything is painted into it; the faces are then laid
        over it from the narrowest (the hindmost) to the widest.

        Args:
            frames: n frames.
            group: faces, all of each frame's.
            told: is called, now or when it is known, with how many faces were painted, and how many
                were left because a net gave values that are not numbers for them.

        Raises:
            MachineError: the runtime failed.
        """


class CropPainter:
    """Crops faces, runs them through a net and pastes the results. Passive.

    `plan` belongs to one thread and looks at no pixel; `paint` may run in several at once: they
    take turns at the nets. So the memory that pictures take grows with the number of threads, not
    with the plans that wait.

    Args:
        brush: paints.
        template: (5, 2) where the five points belong in the crop, in units of its side.
        opacity: of everything, 0 to 1.
    """

    def __init__(self, brush: Brush, template: F32, *, opacity: float = 1.0) -> None:
        self._brush, self._template, self._opacity = brush, template, opacity
        self._lock = threading.Lock()
        # By the frame from which on it was counted. Frames are painted before and after those that
        # are planned, so a sum up to a frame cannot be read off one number.
        self._parts: list[tuple[int, Counter[str]]] = [(0, Counter())]

    def fresh(self) -> CropPainter:
        """The same for another clip: nothing is counted yet."""
        return CropPainter(self._brush, self._template, opacity=self._opacity)

    @property
    def name(self) -> str:
        """Of the model."""
        return self._brush.name

    @property
    def size(self) -> int:
        """Side of the crop, pixels."""
        return self._brush.size

    @property
    def skipped(self) -> Mapping[str, int]:
        """Faces so far that were left as they are, by the reason: a key of `SKIPPED`."""
        with self._lock:
            return {reason: n for reason, n in self._total().items() if reason != _PAINTED}

    def check(self) -> None:
        """Refuse a clip in which the net's answers were no numbers for any face.

        Raises:
            EngineError: so it is.
        """
        with self._lock:
            total = self._total()
            bad = 0 if total[_PAINTED] else total["values"]
        if bad:
            raise EngineError(
                f"{self.name}, or a net of its masks, gave values that are not numbers for "
                f"all of {bad} faces",
                hint="check the file with ffswap models verify, or choose another model",
            )

    def state(self, frame: int) -> State:
        """See `FacePainter.state`; painting remembers nothing."""
        with self._lock:
            self._parts.append((frame, Counter()))
        return {}

    def counted(self, frame: int) -> State:
        """See `FacePainter.counted`."""
        with self._lock:
            before = [count for start, count in self._parts if start < frame]
            after = [part for part in self._parts if part[0] >= frame]
            total = sum(before, Counter())
            self._parts = [(0, total), *after]
            return dict(total)

    def restore(self, state: State, counted: State) -> None:  # noqa: ARG002
        """See `FacePainter.restore`."""
        self._parts = [(0, Counter(counted))]

    def plan(
        self,
        frames: FrameBatch,
        faces: Faces,
        covers: Sequence[Sequence[F32]] = (),
        who: I64 | None = None,
    ) -> list[list[NetPaint]]:
        """What will be painted into each of the frames; changes nothing, and reads no pixel.

        Args:
            frames: n frames.
            faces: m faces to be painted over.
            covers: n lists of polygons (k, 2) float32, luma pixels, that lie before the faces.
            who: (m,) index of the person that each face becomes; None: the first.

        Raises:
            InternalError: the masks need landmarks that the faces have not, or `who` names a person
                that there is not.
        """
        if len(faces) and self._brush.needs_landmarks and faces.landmarks is None:
            raise InternalError("an area of the face was asked for without landmarks")
        persons = np.zeros(len(faces), np.int64) if who is None else who
        known = self._brush.persons
        if known is not None and len(persons) and not 0 <= persons.min() <= persons.max() < known:
            raise InternalError(f"persons {sorted(set(persons.tolist()))} of {known} sources")
        plans: list[list[NetPaint]] = [[] for _ in range(len(frames))]
        for row, matrix, side_px in self._aligned(faces.points, frames):
            i = int(faces.frame[row])
            marks = faces.landmarks
            plans[i].append(
                NetPaint(
                    matrix=matrix,
                    side_px=side_px,
                    person=int(persons[row]),
                    opacity=self._opacity,
                    landmarks=None if marks is None else affine.apply(matrix, marks[row]),
                    covers=self._before(covers[i], matrix) if covers else (),
                )
            )
        return plans

    def paint(self, frames: FrameBatch, plans: Sequence[Sequence[NetPaint]]) -> None:
        """Paint what `plan` returned for these frames, in place; see `Brush.paint`.

        Raises:
            MachineError: the runtime failed.
            EngineError: see `check`, after `FRUITLESS` faces.
        """
        for group in self._groups(plans):
            self._brush.paint(frames, group, functools.partial(self._told, frames.index))

    def _told(self, frame: int, painted: int, bad: int) -> None:
        self._count(frame, "values", bad)
        self._count(frame, _PAINTED, painted)
        with self._lock:
            total = self._total()
            fruitless = not total[_PAINTED] and total["values"] >= FRUITLESS
        if fruitless:
            self.check()

    def _aligned(
        self, points: F32, frames: FrameBatch
    ) -> Iterator[tuple[int, NDArray[np.float64], float]]:
        """Row, matrix and side in the frame of the faces that can be aligned."""
        rows = np.flatnonzero(is_alignable(points))
        self._count(frames.index, "points", len(points) - len(rows))
        matrices = similarity(points[rows], self._template, self.size, frames.pixel_aspect)
        for row, matrix in zip(rows.tolist(), matrices, strict=True):
            side_px = self.size / affine.scale_of(matrix)
            if LEAST_SIDE_PX <= side_px <= LARGEST_SIDE_PX:
                yield row, matrix, side_px
            else:
                self._count(frames.index, "size", 1)

    def _count(self, frame: int, what: str, count: int) -> None:
        """Add to what was counted in the batch that begins with this frame."""
        if count:
            with self._lock:
                part = next(part for start, part in reversed(self._parts) if start <= frame)
                part[what] += count

    def _total(self) -> Counter[str]:
        return sum((part for _, part in self._parts), Counter())

    def _before(self, polygons: Sequence[F32], matrix: NDArray[np.float64]) -> tuple[F32, ...]:
        """Those whose box meets the crop."""
        near = []
        for polygon in polygons:
            at = affine.apply(matrix, polygon)
            if (at.max(0) > 0).all() and (at.min(0) < self.size).all():
                near.append(polygon)
        return tuple(near)

    def _groups(self, plans: Sequence[Sequence[NetPaint]]) -> Iterator[list[tuple[int, NetPaint]]]:
        """Faces that are painted together: of whole frames, as many as the net takes at a time.

        A frame with more faces than that is a group of its own.
        """
        most = min(MAX_BATCH, MAX_VALUES // (3 * self.size**2))
        group: list[tuple[int, NetPaint]] = []
        for i, paints in enumerate(plans):
            if group and len(group) + len(paints) > most:
                yield group
                group = []
            group += [(i, paint) for paint in paints]
        if group:
            yield group
