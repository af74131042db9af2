"""Square crops of frames through a net, in batches."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Frames
from ..engines import Session
from ..errors import InternalError
from ..models import ImageInput, ModelSpec
from ..ops import cpu

__all__ = [
    "MAX_BATCH",
    "CropNet",
    "PictureNet",
    "SharedNet",
    "face_crops",
    "net_input",
    "output_names",
    "picture_input",
    "run_rows",
]

MAX_BATCH = 16
"""Crops per call of a net: bounds its scratch memory to about 100 MB."""

MAX_VALUES = MAX_BATCH * 3 * 256 * 256
"""Values of one input per call: larger pictures than 256 x 256 go in fewer at a time, for their scratch
memory grows with them."""


def output_names(session: Session, spec: ModelSpec) -> tuple[str, ...]:
    """Of the outputs in the order in which the model's family reads them."""
    return spec.outputs or tuple(session.outputs)


class PictureNet:
    """A net whose only input is a picture. Passive: one per thread.

    Args:
        session: of the net.
        spec: what it wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session, self._spec = session, spec
        self._outputs = output_names(session, spec)
        self._most = MAX_BATCH

    def __call__(self, pictures: Iterable[F32]) -> list[F32]:
        """The net's outputs, in the order of its spec, one row per picture.

        Args:
            pictures: one or more (3, height, width) float32 RGB, 0 to 1, of the size of the spec;
                no more than `MAX_BATCH` are asked for before a run.
        """
        rows: list[list[F32]] = [[] for _ in self._outputs]
        left = iter(pictures)
        while batch := list(itertools.islice(left, self._most)):
            out = run_rows(self._session, net_input(batch, self._spec))
            if len(batch) > 1 and any(len(out[name]) != len(batch) for name in self._outputs):
                # Tables without a batch axis: the published ones mix the rows of pictures.
                self._most = 1
                left = itertools.chain(batch, left)
                continue
            for row, name in zip(rows, self._outputs, strict=True):
                values = out[name]
                row.append(values if len(values) == len(batch) else values[np.newaxis])
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


class SharedNet:
    """A net with one picture input that several threads may use: they take turns.

    Args:
        session: of the net; nothing else may use it.
        spec: what it wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session, self.spec = session, spec
        self._turn = threading.Lock()
        self.size = spec.size
        """Side of the picture, pixels."""

    def __call__(self, crops: F32, more: Mapping[str, F32] | None = None) -> F32:
        """The first of the net's outputs, one row per crop.

        A row with a value that is not finite is NaN as a whole: no part of it can be trusted.

        Args:
            crops: (n, 3, size, size) float32 RGB, 0 to 1; n is 1 or more.
            more: further inputs, n rows each.
        """
        feeds = net_input(crops, self.spec) | dict(more or {})
        with self._turn:
            outputs = run_rows(self._session, feeds, self.spec.constants)
        out = np.asarray(outputs[output_names(self._session, self.spec)[0]])
        if np.isfinite(out).all():
            return out
        sound = np.isfinite(out.reshape(len(out), -1)).all(1)
        return np.where(sound.reshape(-1, *[1] * (out.ndim - 1)), out, np.float32(np.nan))


def run_rows(
    session: Session,
    feeds: Mapping[str, NDArray[Any]],
    constants: Mapping[str, float] | None = None,
) -> dict[str, NDArray[Any]]:
    """Run a net on any number of rows, at most `MAX_BATCH` rows or `MAX_VALUES` values at a time.

    A net whose batch is fixed at 1 is run once per row. With several rows, what it gives without a
    batch axis gets one.

    Args:
        session: of the net.
        feeds: inputs with n rows each, n is 1 or more; what has one row goes with every row.
        constants: inputs with one value everywhere, in the type and shape that the net asks for.

    Returns:
        Every output, n rows each.

    Raises:
        InternalError: the feeds are not the net's inputs.
        MachineError: the runtime failed.
    """
    inputs = session.inputs
    count = max(len(array) for array in feeds.values())
    fixed = any(name in inputs and inputs[name].shape[:1] == (1,) for name in feeds)
    largest = max(array[0].size for array in feeds.values())
    step = 1 if fixed else min(MAX_BATCH, max(1, MAX_VALUES // largest))
    parts = []
    for at in range(0, count, step):
        rows = {k: v[at : at + step] if len(v) == count else v for k, v in feeds.items()}
        n = min(step, count - at)
        for name, value in (constants or {}).items():
            if name not in inputs:
                raise InternalError(f"{sorted(inputs)} are the inputs, not the constant {name!r}")
            rows[name] = np.full(inputs[name].with_batch(n), value, inputs[name].dtype)
        parts.append(session.run(rows))
    if len(parts) == 1:
        return parts[0]
    joined = {}
    for name, first in parts[0].items():
        join = np.stack if step == 1 and len(first) != 1 else np.concatenate
        joined[name] = join([part[name] for part in parts])
    return joined


def face_crops(frames: Frames, where: I64, matrices: NDArray[np.float64], size: int) -> F32:
    """Square crops of faces; what lies outside the frame repeats its edge.

    Args:
        frames: n frames.
        where: (m,) index into `frames` of each crop.
        matrices: (m, 2, 3), from luma pixels to pixels of the crop.
        size: side of the crops, pixels.

    Returns:
        (m, 3, size, size) float32 RGB, 0 to 1.
    """
    out = np.empty((len(where), 3, size, size), np.float32)
    for row, (i, matrix) in enumerate(zip(where.tolist(), matrices, strict=True)):
        out[row] = cpu.crop_rgb(frames.planes[i], frames.format, frames.colour, matrix, size)
    return out


def net_input(crops: Sequence[F32] | F32, spec: ModelSpec) -> dict[str, F32]:
    """The feeds of a net with one picture input.

    Args:
        crops: n arrays (3, size, size) float32 RGB, 0 to 1.
        spec: the net's layout, colour order, mean and std.
    """
    return {spec.picture.name: picture_input(crops, spec.picture)}


def picture_input(crops: Sequence[F32] | F32, image: ImageInput) -> F32:
    """What goes into one picture input, of the layout that it asks for.

    Args:
        crops: n arrays (3, size, size) float32 RGB, 0 to 1.
        image: layout, colour order, mean and std.
    """
    order = slice(None) if image.colour == "rgb" else slice(None, None, -1)
    mean = np.asarray(image.mean, np.float32)[:, None, None]
    scale = (1 / np.asarray(image.std, np.float32))[:, None, None]
    batch = np.stack([(crop[order] * 255 - mean) * scale for crop in crops])
    if image.layout == "nhwc":
        batch = batch.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(batch, np.float32)
