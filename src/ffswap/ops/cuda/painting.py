"""What was painted into frames on the device, until it is brought back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...carriers import I64
from ...errors import InternalError
from ...gpu import DeviceArray

__all__ = ["MOST_MARKS", "Painting"]

MOST_MARKS = 1024
"""Faces of a batch of frames, over all painters: 8 frames with 64 faces, swapped and restored."""


@dataclass
class Painting:
    """A record that painters keep beside the frames; one painter at a time.

    Attributes:
        sound: (`MOST_MARKS`,) int32 on the device: whether a face was painted.
        where: index of the frame of each face.
        rectangles: (4,) what may have changed for each face; see `RegionDownload`.
        told: asked-for reports: rows of `sound`, and who wants to know (painted, not painted).
    """

    sound: DeviceArray
    where: list[int] = field(default_factory=list)
    rectangles: list[I64] = field(default_factory=list)
    told: list[tuple[slice, Callable[[int, int], None]]] = field(default_factory=list)

    def flags(self, n: int) -> DeviceArray:
        """Room for the flags of the next n faces.

        Raises:
            InternalError: they are too many.
        """
        start = len(self.where)
        if start + n > MOST_MARKS:
            raise InternalError(f"more than {MOST_MARKS} faces in a batch of frames")
        return self.sound.rows(start, start + n)

    def add(self, where: I64, rectangles: I64, told: Callable[[int, int], None]) -> None:
        """Note the faces that the last flags are of."""
        start = len(self.where)
        self.where += where.tolist()
        self.rectangles += list(rectangles)
        self.told.append((slice(start, len(self.where)), told))

    def regions(self) -> tuple[I64, I64]:
        """(k,) frames, and (k, 4) for each the rectangle around everything painted in it."""
        table = np.array(self.rectangles, np.int64).reshape(-1, 4)
        seen = (table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])
        where = np.array(self.where, np.int64)
        frames = np.unique(where[seen])
        return frames, np.array([_around(table[seen & (where == i)]) for i in frames], np.int64)

    def tell(self, sound: NDArray[np.int32]) -> None:
        """Pass on, from a host copy of the flags, how many faces were painted."""
        for rows, told in self.told:
            painted = int(np.count_nonzero(sound[rows]))
            told(painted, rows.stop - rows.start - painted)


def _around(rectangles: I64) -> I64:
    return np.concatenate([rectangles[:, :2].min(0), rectangles[:, 2:].max(0)])
