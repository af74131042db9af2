"""A visible label: text inside the frame, drawn in the frame's own pixel format."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, FrameBatch, Frames, Plane, State
from ..options import LabelOptions, Position

__all__ = ["Label", "Letters"]

MARGIN = 0.05
"""Of the frame's width and height, kept free at its rim. Source: EBU R 95, graphics safe area."""

WHITE = {"smpte2084": 0.58, "arib-std-b67": 0.75}
"""Signal of white letters, where it is not 1: 203 cd/m2 in PQ and HLG. Source: ITU-R BT.2408, table 1."""

# No format has chroma planes more than 4 times smaller than luma.
_GRID = 4


class Letters(Protocol):
    """Text that can be drawn at any size."""

    def draw(self, height_px: float, stretch: float = 1.0) -> tuple[F32, F32]:
        """Two (h, w) float32 arrays, 0 to 1: cover by letters and outline together, and by letters."""


@dataclass(frozen=True)
class _Patch:
    """The label where it lies in the luma plane as stored; place and size are multiples of `_GRID`."""

    top: int
    left: int
    cover: F32
    fill: F32


class Label:
    """Draws one text into the frames of one clip. `plan` is called in order, `paint` from any thread.

    Args:
        letters: of the text.
        options: where it stands, how large it is, and when it is seen.
    """

    def __init__(self, letters: Letters, options: LabelOptions) -> None:
        self._letters, self._options = letters, options
        self._patch: _Patch | None = None
        self._frames = 0
        self._begin: int | None = None
        self.notes: tuple[str, ...] = ()

    def state(self) -> State:
        """What the label in the next frames depends on."""
        return {"frames": self._frames, "begin": self._begin, "notes": list(self.notes)}

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._frames, self._begin = state["frames"], state["begin"]
        self.notes = tuple(state["notes"])

    def plan(self, frames: FrameBatch) -> NDArray[np.bool_]:
        """(n,) in which of the next n frames of the clip the label is seen."""
        if self._patch is None:
            self._patch = self._place(frames)
        if self._begin is None:
            self._begin = int(frames.pts[0])
        start, end = self._options.start, self._options.end
        shown = np.zeros(len(frames), np.bool_)
        for i in range(len(frames)):
            number = self._frames + i
            seconds = (int(frames.pts[i]) - self._begin) * frames.time_base
            begun = start is None or _reached(start, number, seconds)
            shown[i] = begun and not (end is not None and _reached(end, number, seconds))
        self._frames += len(frames)
        return shown

    def paint(self, frames: Frames, shown: NDArray[np.bool_]) -> None:
        """Draw the label into the frames in which `plan` said it is seen, in place."""
        patch, format, colour = self._patch, frames.format, frames.colour
        if patch is None:
            return
        offset, span = colour.luma_scale(format.depth)
        centre, _ = colour.chroma_scale(format.depth)
        white = offset + span * WHITE.get(colour.transfer, 1.0)
        steps = (1 << format.log2_chroma_h, 1 << format.log2_chroma_w)
        light = offset * (patch.cover - patch.fill) + white * patch.fill
        cover = _mean(patch.cover, steps)
        for i in np.flatnonzero(shown).tolist():
            y, *chroma = frames.planes[i]
            _blend(y, patch.top, patch.left, patch.cover, light)
            for plane in chroma:
                top, left = patch.top // steps[0], patch.left // steps[1]
                _blend(plane, top, left, cover, np.float32(centre) * cover)

    def _place(self, frames: FrameBatch) -> _Patch:
        """Draw the text for frames of this size, and turn it as they are stored."""
        turns = frames.rotation // 90
        height, width, aspect = frames.height, frames.width, frames.pixel_aspect
        if turns % 2:
            height, width, aspect = width, height, 1 / aspect
        size = self._options.size / 100 * height
        room = (1 - 2 * MARGIN) * width
        cover, fill = self._letters.draw(size, 1 / aspect)
        if cover.shape[1] > room:
            smaller = size * room / cover.shape[1]
            cover, fill = self._letters.draw(smaller, 1 / aspect)
            self.notes = (
                f"the label is drawn at {100 * smaller / height:.1f} % of the frame's height and not "
                f"at {self._options.size:g} %: it would be wider than the frame",
            )
        row, _, column = self._options.position.partition("-")
        free = height - cover.shape[0], width - cover.shape[1]
        top = round(MARGIN * height) if row == "top" else free[0] - round(MARGIN * height)
        left = {"left": round(MARGIN * width), "right": free[1] - round(MARGIN * width)}.get(
            column, free[1] // 2
        )
        return _stored(turns, (height, width), (max(top, 0), max(left, 0)), cover, fill)


def _reached(position: Position, number: int, seconds: Fraction) -> bool:
    if position.frame is not None:
        return number >= position.frame
    return position.seconds is not None and seconds >= position.seconds


def _stored(
    turns: int, size: tuple[int, int], place: tuple[int, int], cover: F32, fill: F32
) -> _Patch:
    """From the frame as it is shown to the one that is stored: `turns` quarter turns clockwise."""
    (height, width), (top, left) = size, place
    h, w = cover.shape
    top, left = {
        0: (top, left),
        1: (left, height - top - h),
        2: (height - top - h, width - left - w),
        3: (width - left - w, top),
    }[turns]
    top, left = max(top, 0), max(left, 0)
    before = (top % _GRID, left % _GRID)
    padded = [_padded(np.rot90(one, -turns), before) for one in (cover, fill)]
    return _Patch(top - before[0], left - before[1], *padded)


def _padded(values: F32, before: tuple[int, int]) -> F32:
    """With zeros in front and behind, so that place and size are multiples of `_GRID`."""
    sides = [
        (front, -(front + length) % _GRID)
        for front, length in zip(before, values.shape, strict=True)
    ]
    return np.pad(values, sides)


def _mean(values: F32, steps: tuple[int, int]) -> F32:
    h, w = values.shape
    cells = values.reshape(h // steps[0], steps[0], w // steps[1], steps[1])
    return np.asarray(cells.mean((1, 3)), np.float32)


def _blend(plane: Plane, top: int, left: int, cover: F32, light: F32) -> None:
    """Cover a region of a plane; samples of which nothing is covered keep their value."""
    region = plane[top : top + cover.shape[0], left : left + cover.shape[1]]
    cover, light = (
        cover[: region.shape[0], : region.shape[1]],
        light[: region.shape[0], : region.shape[1]],
    )
    mixed = region * (1 - cover) + light
    region[...] = np.where(cover > 0, np.rint(mixed), region).astype(plane.dtype)
