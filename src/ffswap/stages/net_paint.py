"""Faces as crops through a net and back into the frame: what swappers and restorers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, Frames
from ..errors import InternalError
from ..geometry import affine
from ..geometry.crop_masks import join_boost, split_boost
from ..geometry.similarity import is_alignable, similarity
from ..models.spec import ImageOutput
from ..ops import cpu
from ..ops.paste import paste_crop
from .feed import MAX_BATCH, MAX_VALUES, SharedNet, face_crops
from .masks import FaceMasks, soft_edge

__all__ = ["CropPainter", "NetPaint"]

LEAST_SIDE_PX = 8.0
"""Crops that cover less of the frame than this are left out: nothing of a face can be seen there."""

LARGEST_SIDE_PX = 65536.0
"""Crops that would cover more than this come from points far outside of every frame: twice the largest
side that FFmpeg decodes."""

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
        self.skipped = 0
        """Faces so far whose points could not be aligned to the template."""

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
        for row, matrix, side_px in self._aligned(faces.points):
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
            EngineError: an output has values that are not numbers.
        """
        for group in self._groups(plans):
            self._paint_group(frames, group)

    def _aligned(self, points: F32) -> Iterator[tuple[int, NDArray[np.float64], float]]:
        """Row, matrix and side in the frame of the faces that can be aligned."""
        rows = np.flatnonzero(is_alignable(points))
        self.skipped += len(points) - len(rows)
        matrices = similarity(points[rows], self._template, self.size)
        for row, matrix in zip(rows.tolist(), matrices, strict=True):
            side_px = self.size / affine.scale_of(matrix)
            if LEAST_SIDE_PX <= side_px <= LARGEST_SIDE_PX:
                yield row, matrix, side_px
            else:
                self.skipped += 1

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
        points = [paint.landmarks for _, paint in group if paint.landmarks is not None]
        landmarks = np.stack(points) if len(points) == len(group) else None
        np.minimum(masks, self._masks.after(made, landmarks), out=masks)
        order = sorted(range(len(group)), key=lambda row: group[row][1].side_px)
        for row in order:
            i, paint = group[row]
            mask = self._uncovered(masks[row], paint)
            paste_crop(
                frames.planes[i], frames.format, frames.colour, made[row], mask, paint.matrix,
                paint.opacity,
            )  # fmt: skip

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
