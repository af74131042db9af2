"""Faces as crops through a net and back into the frame: what swappers and restorers share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, Frames
from ..errors import EngineError, InternalError
from ..geometry import affine
from ..geometry.crop_masks import join_boost, split_boost
from ..geometry.similarity import is_alignable, similarity
from ..models.spec import ImageOutput
from ..ops import cpu
from ..ops.paste import paste_crop
from .feed import MAX_BATCH, MAX_VALUES, SharedNet, face_crops
from .masks import FaceMasks, soft_edge

__all__ = ["SKIPPED", "CropPainter", "NetPaint"]

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

COVER_SIGMA = 0.012
"""Softness of the edge of what lies before a face, by the side of the crop: that of the embedded
swapper by the width of the face."""


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


class CropPainter:
    """Crops faces, runs them through a net and pastes the results. Passive.

    `plan` belongs to one thread and looks at no pixel; `paint` may run in several at once: they
    take turns at the nets. So the memory that pictures take grows with the number of threads, not
    with the plans that wait.

    Args:
        net: gives a picture of the size of its input.
        template: (5, 2) where the five points belong in the crop, in units of its side.
        masks: what of a crop is painted.
        boost: the crop is this many times larger than the net's input; the net gets it in tiles.
        sources: further inputs by name, one row per person.
    """

    def __init__(
        self,
        net: SharedNet,
        template: F32,
        masks: FaceMasks,
        *,
        boost: int = 1,
        sources: Mapping[str, F32] | None = None,
    ) -> None:
        if net.spec.result is None:
            raise InternalError(f"model {net.spec.name!r} gives no picture")
        if boost < 1:
            raise InternalError(f"pixel boost {boost}")
        self._net, self._result, self._template = net, net.spec.result, template
        self._masks, self._boost, self._sources = masks, boost, dict(sources or {})
        self.size = net.size * boost
        """Side of the crop, pixels."""
        self._lock = threading.Lock()
        self._skipped: Counter[str] = Counter()
        self._painted = 0

    @property
    def skipped(self) -> Mapping[str, int]:
        """Faces so far that were left as they are, by the reason: a key of `SKIPPED`."""
        with self._lock:
            return dict(self._skipped)

    def check(self) -> None:
        """Refuse a clip in which the net's answers were no numbers for any face.

        Raises:
            EngineError: so it is.
        """
        with self._lock:
            bad = 0 if self._painted else self._skipped["values"]
        if bad:
            raise EngineError(
                f"{self._net.spec.name}, or a net of its masks, gave values that are not numbers for "
                f"all of {bad} faces",
                hint="check the file with ffswap models verify, or choose another model",
            )

    def plan(
        self,
        frames: Frames,
        faces: Faces,
        covers: Sequence[Sequence[F32]] = (),
        who: I64 | None = None,
        opacity: F32 | None = None,
    ) -> list[list[NetPaint]]:
        """What will be painted into each of the frames; changes nothing.

        Args:
            frames: n frames.
            faces: m faces to be painted over.
            covers: n lists of polygons (k, 2) float32, luma pixels, that lie before the faces.
            who: (m,) index of the person that each face becomes; None: the first.
            opacity: (m,) 0 to 1; None: 1.

        Raises:
            InternalError: the masks need landmarks that the faces have not, or `who` names a person
                that there is not.
        """
        if len(faces) and self._masks.needs_landmarks and faces.landmarks is None:
            raise InternalError("an area of the face was asked for without landmarks")
        persons = np.zeros(len(faces), np.int64) if who is None else who
        known = min((len(rows) for rows in self._sources.values()), default=None)
        if known is not None and len(persons) and not 0 <= persons.min() <= persons.max() < known:
            raise InternalError(f"persons {sorted(set(persons.tolist()))} of {known} sources")
        plans: list[list[NetPaint]] = [[] for _ in range(len(frames))]
        for row, matrix, side_px in self._aligned(faces.points, frames.pixel_aspect):
            i = int(faces.frame[row])
            marks = faces.landmarks
            plans[i].append(
                NetPaint(
                    matrix=matrix,
                    side_px=side_px,
                    person=int(persons[row]),
                    opacity=1.0 if opacity is None else float(opacity[row]),
                    landmarks=None if marks is None else affine.apply(matrix, marks[row]),
                    covers=self._before(covers[i], matrix) if covers else (),
                )
            )
        return plans

    def paint(self, frames: Frames, plans: Sequence[Sequence[NetPaint]]) -> None:
        """Paint what `plan` returned for these frames, in place.

        Every crop of a frame is taken before anything is painted into it; the faces are then laid
        over it from the narrowest (the hindmost) to the widest.

        Raises:
            MachineError: the runtime failed.
            EngineError: see `check`, after `FRUITLESS` faces.
        """
        for group in self._groups(plans):
            self._paint_group(frames, group)

    def _aligned(
        self, points: F32, pixel_aspect: float
    ) -> Iterator[tuple[int, NDArray[np.float64], float]]:
        """Row, matrix and side in the frame of the faces that can be aligned."""
        rows = np.flatnonzero(is_alignable(points))
        self._skip("points", len(points) - len(rows))
        matrices = similarity(points[rows], self._template, self.size, pixel_aspect)
        for row, matrix in zip(rows.tolist(), matrices, strict=True):
            side_px = self.size / affine.scale_of(matrix)
            if LEAST_SIDE_PX <= side_px <= LARGEST_SIDE_PX:
                yield row, matrix, side_px
            else:
                self._skip("size", 1)

    def _skip(self, reason: str, count: int) -> None:
        if count:
            with self._lock:
                self._skipped[reason] += count

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

    def _paint_group(self, frames: Frames, group: list[tuple[int, NetPaint]]) -> None:
        where = np.array([i for i, _ in group], np.int64)
        matrices = np.stack([paint.matrix for _, paint in group])
        crops = face_crops(frames, where, matrices, self.size)
        masks = self._masks.before(crops)
        persons = np.repeat([paint.person for _, paint in group], self._boost**2)
        more = {name: rows[persons] for name, rows in self._sources.items()}
        made = self._net(split_boost(crops, self._boost), more)
        made = join_boost(_to_unit(made, self._result), self._boost)
        # Rows of nets are NaN as a whole, and the first pixels of a crop are one of each tile.
        bad = np.isnan(masks[:, 0, 0]) | np.isnan(made[:, 0, : self._boost, : self._boost]).any(
            (1, 2)
        )
        if bad.any():
            group = [one for one, gone in zip(group, bad, strict=True) if not gone]
            made, masks = made[~bad], masks[~bad]
        painted = self._paste(frames, group, made, masks) if group else 0
        self._skip("values", len(bad) - painted)
        with self._lock:
            self._painted += painted
            fruitless = not self._painted and self._skipped["values"] >= FRUITLESS
        if fruitless:
            self.check()

    def _paste(
        self, frames: Frames, group: list[tuple[int, NetPaint]], made: F32, masks: F32
    ) -> int:
        """Lay faces over their frames, from the narrowest to the widest; how many."""
        points = [paint.landmarks for _, paint in group if paint.landmarks is not None]
        landmarks = np.stack(points) if len(points) == len(group) else None
        np.minimum(masks, self._masks.after(made, landmarks), out=masks)
        sound = np.flatnonzero(~np.isnan(masks[:, 0, 0])).tolist()
        for row in sorted(sound, key=lambda row: group[row][1].side_px):
            i, paint = group[row]
            mask = self._uncovered(masks[row], paint)
            paste_crop(
                frames.planes[i], frames.format, frames.colour, made[row], mask, paint.matrix,
                paint.opacity,
            )  # fmt: skip
        return len(sound)

    def _uncovered(self, mask: F32, paint: NetPaint) -> F32:
        """The mask without what lies before the face."""
        if not paint.covers:
            return mask
        outlines = [(affine.apply(paint.matrix, polygon), 255) for polygon in paint.covers]
        free = 1 - cpu.polygons((self.size, self.size), outlines) / np.float32(255)
        return np.minimum(mask, soft_edge(free, max(0.6, COVER_SIGMA * self.size)))


def _to_unit(picture: F32, result: ImageOutput) -> F32:
    """A net's picture (n, 3, S, S) to RGB, 0 to 1."""
    mean = np.asarray(result.mean, np.float32)[:, None, None] / 255
    std = np.asarray(result.std, np.float32)[:, None, None] / 255
    unit = picture * std + mean
    return np.asarray(np.clip(unit, 0, 1, out=unit), np.float32)
