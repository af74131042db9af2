"""Painting faces on the CPU: crops, net, masks and paste."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..carriers import F32, FrameBatch, Frames
from ..errors import InternalError
from ..geometry import affine
from ..geometry.crop_masks import join_boost, split_boost
from ..models.spec import ImageOutput
from ..ops import cpu
from ..ops.paste import paste_crop
from .feed import SharedNet, face_crops
from .masks import FaceMasks, soft_edge
from .net_paint import Group, NetPaint

__all__ = ["HostBrush", "landmarks_of", "to_unit", "without_covers"]

COVER_SIGMA = 0.012
"""Softness of the edge of what lies before a face, by the side of the crop: that of the embedded
swapper by the width of the face."""


class HostBrush:
    """Paints on the CPU; fulfils `Brush`. Several threads take turns at the net.

    Args:
        net: gives a picture of the size of its input.
        masks: what of a crop is painted.
        boost: the crop is this many times larger than the net's input; the net gets it in tiles.
        sources: further inputs by name, one row per person.

    Raises:
        InternalError: the net gives no picture, or `boost` is not allowed.
    """

    def __init__(
        self,
        net: SharedNet,
        masks: FaceMasks,
        *,
        boost: int = 1,
        sources: Mapping[str, F32] | None = None,
    ) -> None:
        if net.spec.result is None:
            raise InternalError(f"model {net.spec.name!r} gives no picture")
        if boost < 1:
            raise InternalError(f"pixel boost {boost}")
        self._net, self._result = net, net.spec.result
        self._masks, self._boost, self._sources = masks, boost, dict(sources or {})

    @property
    def name(self) -> str:
        """Of the model."""
        return self._net.spec.name

    @property
    def size(self) -> int:
        """Side of the crop, pixels."""
        return self._net.size * self._boost

    @property
    def needs_landmarks(self) -> bool:
        """Whether the masks need the 68 points."""
        return self._masks.needs_landmarks

    @property
    def persons(self) -> int | None:
        """How many sources there are; None: the net takes none."""
        return min((len(rows) for rows in self._sources.values()), default=None)

    def paint(self, frames: FrameBatch, group: Group, told: Callable[[int, int], None]) -> None:
        """See `Brush.paint`."""
        if not isinstance(frames, Frames):
            raise InternalError(f"{frames!r} are not in host memory")
        where = np.array([i for i, _ in group], np.int64)
        matrices = np.stack([paint.matrix for _, paint in group])
        crops = face_crops(frames, where, matrices, self.size)
        masks = self._masks.before(crops)
        persons = np.repeat([paint.person for _, paint in group], self._boost**2)
        more = {name: rows[persons] for name, rows in self._sources.items()}
        made = self._net(split_boost(crops, self._boost), more)
        made = join_boost(to_unit(made, self._result), self._boost)
        # Rows of nets are NaN as a whole, and the first pixels of a crop are one of each tile.
        bad = np.isnan(masks[:, 0, 0]) | np.isnan(made[:, 0, : self._boost, : self._boost]).any(
            (1, 2)
        )
        if bad.any():
            group = [one for one, gone in zip(group, bad, strict=True) if not gone]
            made, masks = made[~bad], masks[~bad]
        painted = self._paste(frames, group, made, masks) if group else 0
        told(painted, len(bad) - painted)

    def _paste(self, frames: Frames, group: Group, made: F32, masks: F32) -> int:
        """Lay faces over their frames, from the narrowest to the widest; how many."""
        np.minimum(masks, self._masks.after(made, landmarks_of(group)), out=masks)
        sound = np.flatnonzero(~np.isnan(masks[:, 0, 0])).tolist()
        for row in sorted(sound, key=lambda row: group[row][1].side_px):
            i, paint = group[row]
            mask = without_covers(masks[row], paint)
            paste_crop(
                frames.planes[i], frames.format, frames.colour, made[row], mask, paint.matrix,
                paint.opacity,
            )  # fmt: skip
        return len(sound)


def landmarks_of(group: Group) -> F32 | None:
    """(n, 68, 2) pixels of the crops, or None where a face has none."""
    points = [paint.landmarks for _, paint in group if paint.landmarks is not None]
    return np.stack(points) if len(points) == len(group) else None


def without_covers(mask: F32, paint: NetPaint) -> F32:
    """The mask (S, S) without what lies before the face."""
    if not paint.covers:
        return mask
    side = len(mask)
    outlines = [(affine.apply(paint.matrix, polygon), 255) for polygon in paint.covers]
    free = 1 - cpu.polygons((side, side), outlines) / np.float32(255)
    return np.minimum(mask, soft_edge(free, max(0.6, COVER_SIGMA * side)))


def to_unit(picture: F32, result: ImageOutput) -> F32:
    """A net's picture (n, 3, S, S) to RGB, 0 to 1."""
    mean = np.asarray(result.mean, np.float32)[:, None, None] / 255
    std = np.asarray(result.std, np.float32)[:, None, None] / 255
    unit = picture * std + mean
    return np.asarray(np.clip(unit, 0, 1, out=unit), np.float32)
