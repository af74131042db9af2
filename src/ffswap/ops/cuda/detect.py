"""Faces from the tensors of the published detectors, on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32
from ...errors import InternalError, ModelError
from ...geometry.boxes import Detections
from ...geometry.heads import (
    LARGEST_GROWTH,
    LARGEST_VALUE,
    SCRFD_ANCHORS,
    STRIDES,
    YOLO_VALUES,
)
from ...gpu import DeviceArray, Stream
from ...gpu.program import Programs

__all__ = ["FACES", "VALUES", "HeadDecoder", "detections_of", "overflowing"]

FACES = 128
"""Rows for the faces of each picture, 7.5 KB to copy; of more the best are kept and the rest reported."""

VALUES = 15
"""Of a row: box (left, top, right, bottom), five times x and y, score."""

TABLES = {"scrfd": (1, 4, 10), "yunet": (1, 1, 4, 10)}
"""Columns of the tables of each stride, in the order of the tensors."""

THREADS = 256
"""Of a block; `suppress` in detect.cu has shared memory for so many."""

SEGMENT_BYTES = 256
"""Parts of the scratch memory start at multiples of this, as allocations do."""

HEAD = np.dtype(
    [
        ("tensors", np.uint64, 12),
        ("first", np.int32, 4),
        ("columns", np.int32, 3),
        ("half", np.uint32),
        ("score", np.float32),
        ("largest_value", np.float32),
        ("largest_growth", np.float32),
    ],
    align=True,
)
"""The struct of the same name in detect.cu."""


class HeadDecoder:
    """What `geometry.heads` decodes and `geometry.boxes` suppresses, for a batch of pictures.

    It keeps no memory of a batch and may be used on several streams, each with its own scratch.

    Args:
        programs: the kernels of the device.
        family: ``scrfd``, ``yolo_face`` or ``yunet``.
        size: (width, height) of the net's input, pixels.
        score: threshold, 0 to 1. ``yolo_face`` keeps what is above it, the others what is not below.
        iou: of boxes that overlap more only the one with the highest score is kept; 1: all are kept.
        faces: rows for the faces of each picture.
        candidates: what ``yolo_face`` gives for each picture; None: one per cell of three strides.
            The other families have a fixed number.

    Raises:
        InternalError: the family is not one of those that are decoded here.
    """

    def __init__(
        self,
        programs: Programs,
        family: str,
        size: tuple[int, int],
        score: float,
        iou: float,
        *,
        faces: int = FACES,
        candidates: int | None = None,
    ) -> None:
        if family != "yolo_face" and family not in TABLES:
            raise InternalError(f"tensors of the family {family} are not decoded on the device")
        self._family, self._iou, self.faces = family, np.float32(iou), faces
        self._collect = programs.kernel("detect", f"collect_{family}")
        self._suppress = programs.kernel("detect", "suppress")
        anchors = SCRFD_ANCHORS if family == "scrfd" else 1
        self._rows = [anchors * (size[0] // s) * (size[1] // s) for s in STRIDES]
        self.candidates = sum(self._rows)
        if family == "yolo_face" and candidates is not None:
            self.candidates = candidates
        self._head = np.zeros((), HEAD)
        ends = [0, *np.cumsum(self._rows).tolist()]
        self._head["first"] = [*ends[:3], self.candidates]
        self._head["columns"] = [size[0] // s for s in STRIDES]
        self._head["score"] = score
        self._head["largest_value"], self._head["largest_growth"] = LARGEST_VALUE, LARGEST_GROWTH

    def scratch_bytes(self, n: int) -> int:
        """What `__call__` needs of scratch memory for n pictures."""
        return self._parts(n)[-1]

    def __call__(
        self,
        tensors: Sequence[DeviceArray],
        n: int,
        counts: DeviceArray,
        rows: DeviceArray,
        scratch: DeviceArray,
        stream: Stream,
    ) -> None:
        """Start to decode and suppress what a net gave for n pictures.

        Args:
            tensors: float32 or float16, in the order of `geometry.heads`, with a batch axis of n or
                more; it may be missing where n is 1.
            n: pictures.
            counts: (n or more,) int32: faces of each picture; `faces` + 1 says that there were more,
                of which the best `faces` are in `rows`.
            rows: (n or more, faces, `VALUES`) float32, by falling score, pixels of the net's input;
                those from the count on are not written.
            scratch: (`scratch_bytes` or more,) uint8; free again behind this work on the stream.
            stream: of the work.

        Raises:
            ModelError: another number of tensors, or of values in one.
            InternalError: `counts`, `rows` or `scratch` is too small or of another type.
        """
        self._check(tensors, n)
        self._check_room(n, counts, rows, scratch)
        head = self._head.copy()
        head["tensors"][: len(tensors)] = [tensor.pointer for tensor in tensors]
        head["half"] = sum(1 << k for k, t in enumerate(tensors) if t.dtype == np.float16)
        ends = self._parts(n)
        found, keys, table = (scratch.rows(a, b) for a, b in zip((0, *ends), ends, strict=False))
        found.fill_bytes(0, stream)
        grid = (-(-self.candidates // THREADS), n)
        self._collect.launch(stream, grid, (THREADS,), head, found, keys, table)
        self._suppress.launch(
            stream, (n,), (THREADS,), found, keys, table, np.int32(self.candidates), self._iou,
            np.int32(self.faces), counts, rows,
        )  # fmt: skip

    def _parts(self, n: int) -> tuple[int, int, int]:
        """Where the counters, the keys and the table end in the scratch memory."""
        found = -(-4 * n // SEGMENT_BYTES) * SEGMENT_BYTES
        keys = found + -(-8 * n * self.candidates // SEGMENT_BYTES) * SEGMENT_BYTES
        return found, keys, keys + 4 * VALUES * n * self.candidates

    def _check(self, tensors: Sequence[DeviceArray], n: int) -> None:
        wanted = self._shapes()
        if len(tensors) != len(wanted):
            raise _wrong(f"{len(tensors)} tensors", str(len(wanted)))
        for tensor, shape in zip(tensors, wanted, strict=True):
            fits = tensor.shape[-2:] == shape and math.prod(tensor.shape[:-2]) >= n
            if not fits or tensor.dtype not in (np.float32, np.float16):
                raise _wrong(
                    f"a tensor {tensor.dtype} {tensor.shape} for {n} pictures",
                    f"float32 or float16 {(n, *shape)}",
                )

    def _shapes(self) -> list[tuple[int, int]]:
        if self._family == "yolo_face":
            return [(YOLO_VALUES, self.candidates)]
        return [(rows, columns) for columns in TABLES[self._family] for rows in self._rows]

    def _check_room(
        self, n: int, counts: DeviceArray, rows: DeviceArray, scratch: DeviceArray
    ) -> None:
        good = (
            counts.dtype == np.int32
            and counts.nbytes >= 4 * n
            and rows.dtype == np.float32
            and rows.shape[1:] == (self.faces, VALUES)
            and rows.shape[0] >= n
            and scratch.dtype == np.uint8
            and scratch.nbytes >= self.scratch_bytes(n)
        )
        if not good:
            raise InternalError(f"no room for {n} pictures in {counts!r}, {rows!r}, {scratch!r}")


def detections_of(counts: NDArray[np.int32], rows: F32) -> list[Detections]:
    """What was found in each picture, from host copies that may be used again at once.

    Args:
        counts: (n,) as `HeadDecoder` wrote them.
        rows: (n, faces, `VALUES`) the same.
    """
    return [_detections(rows[i, : min(count, rows.shape[1])]) for i, count in enumerate(counts)]


def overflowing(counts: NDArray[np.int32], faces: int = FACES) -> list[int]:
    """Which pictures show more faces than there are rows."""
    return [i for i, count in enumerate(counts.tolist()) if count > faces]


def _detections(rows: F32) -> Detections:
    values: Any = rows.copy()
    return Detections(values[:, :4], values[:, 4:14].reshape(-1, 5, 2), values[:, 14])


def _wrong(got: str, allowed: str) -> ModelError:
    return ModelError(
        f"the detector gives {got}; allowed: {allowed}",
        hint="check that the file is the one that the catalogue names",
    )
