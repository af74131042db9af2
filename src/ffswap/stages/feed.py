"""Square crops of frames through a net, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Frames
from ..engines import Session
from ..models import ModelSpec
from ..ops import cpu

__all__ = ["CropNet", "net_input"]

MAX_BATCH = 16
"""Crops per call of a net: bounds its scratch memory to about 100 MB."""


class CropNet:
    """A net whose input is a square crop of a frame. Passive: one per thread.

    Args:
        session: of the net.
        spec: what it wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session, self._spec = session, spec
        self.size = spec.size
        """Side of the crop, pixels."""

    def __call__(
        self,
        frames: Frames,
        places: Sequence[tuple[int, NDArray[np.float64]]],
        *,
        pad_black: bool = False,
    ) -> list[F32]:
        """The net's outputs, in the order of its spec, one row per place.

        Args:
            frames: n frames.
            places: one or more (index into `frames`, (2, 3) matrix from luma pixels to the crop).
            pad_black: what lies outside the frame is black; else it repeats the edge.
        """
        rows: list[list[F32]] = [[] for _ in self._spec.outputs]
        for at in range(0, len(places), MAX_BATCH):
            crops = [
                cpu.crop_rgb(
                    frames.planes[i], frames.format, frames.colour, matrix, self.size,
                    pad_black=pad_black,
                )
                for i, matrix in places[at : at + MAX_BATCH]
            ]  # fmt: skip
            out = self._session.run(net_input(crops, self._spec))
            for row, name in zip(rows, self._spec.outputs, strict=True):
                row.append(out[name])
        return [np.concatenate(row) for row in rows]


def net_input(crops: Sequence[F32], spec: ModelSpec) -> dict[str, F32]:
    """The feeds of a net with one picture input.

    Args:
        crops: n arrays (3, size, size) float32 RGB, 0 to 1.
        spec: the net's layout, colour order, mean and std.
    """
    image = spec.picture
    order = slice(None) if image.colour == "rgb" else slice(None, None, -1)
    mean = np.asarray(image.mean, np.float32)[:, None, None]
    scale = (1 / np.asarray(image.std, np.float32))[:, None, None]
    batch = np.stack([(crop[order] * 255 - mean) * scale for crop in crops])
    if image.layout == "nhwc":
        batch = batch.transpose(0, 2, 3, 1)
    return {image.name: np.ascontiguousarray(batch, np.float32)}
