"""Pictures through a net, in batches: crops of frames, whole frames, or whatever a stage makes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Frames
from ..engines import Session
from ..models import ModelSpec
from ..ops import cpu

__all__ = ["MAX_BATCH", "CropNet", "PictureNet", "net_input", "output_names", "run_rows"]

MAX_BATCH = 16
"""Crops per call of a net: bounds its scratch memory to about 100 MB."""


def output_names(session: Session, spec: ModelSpec) -> tuple[str, ...]:
    """Of the outputs in the order in which the model's family reads them."""
    return spec.outputs or tuple(session.outputs)


def run_rows(session: Session, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a batch, row by row where the net takes only one.

    Args:
        session: of the net.
        feeds: for every input an array, the batch first; those of one row go with every row.

    Returns:
        An array for every output. With several rows, what a net of one row gives without a batch
        axis gets one.
    """
    rows = max(len(array) for array in feeds.values())
    fixed = any(
        session.inputs[name].shape[:1] == (1,) and len(array) > 1
        for name, array in feeds.items()
        if name in session.inputs
    )
    if not fixed:
        return session.run(feeds)
    single = [
        session.run({k: v[i : i + 1] if len(v) == rows else v for k, v in feeds.items()})
        for i in range(rows)
    ]
    return {
        name: (np.concatenate if len(first) == 1 else np.stack)([out[name] for out in single])
        for name, first in single[0].items()
    }


class PictureNet:
    """A net whose only input is a picture. Passive: one per thread.

    Args:
        session: of the net.
        spec: what it wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session, self._spec = session, spec
        self._outputs = output_names(session, spec)

    def __call__(self, pictures: Iterable[F32]) -> list[F32]:
        """The net's outputs, in the order of its spec, one row per picture.

        Args:
            pictures: one or more (3, height, width) float32 RGB, 0 to 1, of the size of the spec;
                no more than `MAX_BATCH` are asked for before a run.
        """
        rows: list[list[F32]] = [[] for _ in self._outputs]
        left = iter(pictures)
        while batch := list(itertools.islice(left, MAX_BATCH)):
            out = run_rows(self._session, net_input(batch, self._spec))
            for row, name in zip(rows, self._outputs, strict=True):
                values = out[name]
                if len(values) != len(batch):  # a net of one row may give a table without a batch
                    values = values.reshape(len(batch), -1, *values.shape[1:])
                row.append(values)
        return [np.concatenate(row) for row in rows]


class CropNet:
    """A net whose input is a square crop of a frame. Passive: one per thread.

    Args:
        session: of the net.
        spec: what it wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._net = PictureNet(session, spec)
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
        return self._net(
            cpu.crop_rgb(
                frames.planes[i], frames.format, frames.colour, matrix, self.size,
                pad_black=pad_black,
            )
            for i, matrix in places
        )  # fmt: skip


def net_input(crops: Sequence[F32], spec: ModelSpec) -> dict[str, F32]:
    """The feeds of a net with one picture input.

    Args:
        crops: n arrays (3, height, width) float32 RGB, 0 to 1.
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
