"""Frames in device memory: how they lie there, how they get there, how painted parts come back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import I64, Colour, FrameBatch, Frames, PixelFormat, Plane
from ...errors import InternalError
from ...gpu import DeviceArray, Event, PinnedArray, Stream
from ...gpu.memory import copy_rectangle
from .painting import Painting

__all__ = ["DeviceFrames", "PlaneLayout", "RegionDownload", "layout_of", "region_bytes"]

ROW_BYTES = 256
"""Rows start at multiples of this: what cuMemAllocPitch gives on every GPU so far, so that the rows of
neighbouring threads share their memory transactions."""

U8 = NDArray[np.uint8]

_DESCRIPTOR = np.dtype(
    [
        ("base", np.uint64), ("frame_bytes", np.uint64), ("offset", np.uint64, 3),
        ("pitch", np.int32, 3), ("width", np.int32, 2), ("height", np.int32, 2),
        ("log2_step", np.int32, 2), ("depth", np.int32), ("zero", np.float32, 2),
        ("gain", np.float32, 3), ("green", np.float32, 2), ("weight", np.float32, 3),
        ("span", np.float32, 3), ("top", np.float32),
    ],
    align=True,
)  # fmt: skip
"""``struct Frames`` of gpu/kernels/common.cuh, field by field."""


@dataclass(frozen=True, kw_only=True)
class PlaneLayout:
    """How one frame's planes lie in memory: Y', Cb, Cr, one after another.

    Attributes:
        height: rows of the luma plane.
        width: columns of the luma plane.
        pitch: bytes from row to row, of each plane.
        offset: bytes from the frame's start to each plane.
        frame_bytes: from one frame to the next.
    """

    height: int
    width: int
    pitch: tuple[int, int, int]
    offset: tuple[int, int, int]
    frame_bytes: int

    def planes(self, memory: U8, i: int, fmt: PixelFormat) -> tuple[Plane, Plane, Plane]:
        """Views of the planes of frame i in host memory.

        Args:
            memory: (at least (i + 1) * `frame_bytes`,), contiguous.
            i: index of the frame.
            fmt: pixel format of the frames.
        """
        chroma = fmt.chroma_shape(self.height, self.width)
        shapes = ((self.height, self.width), chroma, chroma)
        views: list[Plane] = []
        for (rows, columns), pitch, offset in zip(shapes, self.pitch, self.offset, strict=True):
            start = i * self.frame_bytes + offset
            plane = memory[start : start + rows * pitch].reshape(rows, pitch)
            views.append(plane.view(fmt.dtype)[:, :columns])
        y, cb, cr = views
        return y, cb, cr


def layout_of(fmt: PixelFormat, height: int, width: int) -> PlaneLayout:
    """The layout that uploads and kernels use: rows padded to multiples of 256 bytes."""
    rows, columns = fmt.chroma_shape(height, width)
    size = fmt.dtype.itemsize
    luma, chroma = (-(-count * size // ROW_BYTES) * ROW_BYTES for count in (width, columns))
    first, second = luma * height, luma * height + chroma * rows
    return PlaneLayout(
        height=height,
        width=width,
        pitch=(luma, chroma, chroma),
        offset=(0, first, second),
        frame_bytes=second + chroma * rows,
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class DeviceFrames(FrameBatch):
    """Frames in the clip's own pixel format, in device memory.

    Samples are uint8, or little-endian uint16, as in `Frames`. Kernels edit them in place; whoever
    holds the DeviceFrames owns the buffer.

    Attributes:
        buffer: (at least n * `layout.frame_bytes`,) uint8.
        layout: where the planes of a frame are.
        format: and the others up to `pixel_aspect`: see `FrameBatch`.
        ready: recorded behind the last write; None: written on the stream that reads them.
        host: the same frames as they were in host memory, or None.
        painting: what was painted since; None: nobody wants to know.
    """

    buffer: DeviceArray
    layout: PlaneLayout
    format: PixelFormat
    colour: Colour
    pts: I64
    time_base: Fraction
    index: int = 0
    rotation: int = 0
    pixel_aspect: float = 1.0
    ready: Event | None = None
    host: Frames | None = None
    painting: Painting | None = None

    def __post_init__(self) -> None:
        self._check_times(len(self.pts))
        wanted = len(self) * self.layout.frame_bytes
        if self.buffer.dtype != np.uint8 or self.buffer.nbytes < wanted:
            raise InternalError(
                f"{self.buffer!r} does not hold {len(self)} frames of {wanted} bytes"
            )

    @property
    def height(self) -> int:
        """Rows of the luma plane."""
        return self.layout.height

    @property
    def width(self) -> int:
        """Columns of the luma plane."""
        return self.layout.width

    def on_host(self) -> Frames:
        """The frames that were uploaded.

        Raises:
            InternalError: they were never in host memory.
        """
        if self.host is None:
            raise InternalError(f"{self!r} are in device memory only")
        return self.host

    @classmethod
    def upload(
        cls,
        frames: Frames,
        buffer: DeviceArray,
        staging: PinnedArray,
        stream: Stream,
        ready: Event | None = None,
        painting: Painting | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> DeviceFrames:
        """Pack frames into pinned memory and start to copy them to the device.

        Args:
            frames: n frames; their planes are free again when this returns.
            buffer: (at least n * frame_bytes of `layout_of`,) uint8.
            staging: uint8, as long as `buffer` or shorter; stays as it is until the stream has come
                this far.
            stream: of the copy.
            ready: is recorded behind the copy, if given.
            painting: goes with the frames.
            pool: frames are packed side by side in its threads; None: one after the other.
        """
        layout = layout_of(frames.format, frames.height, frames.width)
        nbytes = len(frames) * layout.frame_bytes
        packed = staging.array[:nbytes]

        def pack(i: int) -> None:
            views = layout.planes(packed, i, frames.format)
            for to, plane in zip(views, frames.planes[i], strict=True):
                to[:] = plane

        for _ in (map if pool is None else pool.map)(pack, range(len(frames))):
            pass
        buffer.rows(0, nbytes).copy_from(packed, stream)
        if ready is not None:
            stream.record(ready)
        return cls(
            buffer=buffer, layout=layout, format=frames.format, colour=frames.colour,
            pts=frames.pts, time_base=frames.time_base, index=frames.index,
            rotation=frames.rotation, pixel_aspect=frames.pixel_aspect, ready=ready,
            host=frames, painting=painting,
        )  # fmt: skip

    def with_ready(self, ready: Event | None) -> DeviceFrames:
        """The same frames, ready when this event has come."""
        return replace(self, ready=ready)

    def descriptor(self) -> NDArray[Any]:
        """What kernels are told about the frames, by value: a structured array of no dimension."""
        return self._descriptor

    @cached_property
    def _descriptor(self) -> NDArray[Any]:
        fmt, colour, layout = self.format, self.colour, self.layout
        y0, y_span = colour.luma_scale(fmt.depth)
        c0, c_span = colour.chroma_scale(fmt.depth)
        rows, columns = fmt.chroma_shape(self.height, self.width)
        blue, red = 2 * (1 - colour.kb), 2 * (1 - colour.kr)
        kg = 1 - colour.kr - colour.kb
        kr32, kb32 = np.float32(colour.kr), np.float32(colour.kb)
        values = (
            self.buffer.pointer, layout.frame_bytes, layout.offset, layout.pitch,
            (self.width, columns), (self.height, rows), (fmt.log2_chroma_w, fmt.log2_chroma_h),
            fmt.depth, (y0, c0), (1 / y_span, blue / c_span, red / c_span),
            (colour.kr / kg, colour.kb / kg), (kr32, 1 - kr32 - kb32, kb32),
            (y_span, c_span / blue, c_span / red), (1 << fmt.depth) - 1,
        )  # fmt: skip
        return np.array(values, _DESCRIPTOR)


def region_bytes(fmt: PixelFormat, rectangles: I64) -> int:
    """What a `RegionDownload` of rectangles takes in host memory.

    Args:
        fmt: pixel format of the frames.
        rectangles: (m, 4) as for `RegionDownload`.
    """
    return sum(part.nbytes for one in rectangles for part in _parts(fmt, one))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A rectangle of one plane: rows, columns, and its bytes without padding."""

    plane: int
    rows: slice
    columns: slice
    shape: tuple[int, int]
    nbytes: int


def _parts(fmt: PixelFormat, rectangle: I64) -> Iterator[_Part]:
    left, top, right, bottom = rectangle.tolist()
    if left == right or top == bottom:
        return
    for plane in range(3):
        x, y = (fmt.log2_chroma_w, fmt.log2_chroma_h) if plane else (0, 0)
        rows, columns = slice(top >> y, -(-bottom >> y)), slice(left >> x, -(-right >> x))
        shape = rows.stop - rows.start, columns.stop - columns.start
        yield _Part(
            plane=plane, rows=rows, columns=columns, shape=shape,
            nbytes=shape[0] * shape[1] * fmt.dtype.itemsize,
        )  # fmt: skip


class RegionDownload:
    """Rectangles of frames on their way to the host, where the rest of these frames already is.

    Making it starts the copies.

    Args:
        frames: on the device.
        where: (m,) index into `frames` of each rectangle.
        rectangles: (m, 4) left, top, right, bottom in luma samples; left and top lie on the grid of the
            chroma samples, right and bottom do or are the frame's. Empty ones are left out.
        staging: uint8, `region_bytes` or longer; belongs to this until `write_into`.
        stream: behind the work that painted the frames.

    Raises:
        InternalError: the staging array is too short.
    """

    def __init__(
        self,
        frames: DeviceFrames,
        where: I64,
        rectangles: I64,
        staging: PinnedArray,
        stream: Stream,
    ) -> None:
        memory, layout, fmt = staging.array, frames.layout, frames.format
        wanted = region_bytes(fmt, rectangles)
        if memory.nbytes < wanted:
            raise InternalError(f"{memory.nbytes} bytes for rectangles of {wanted}")
        self._held: list[tuple[int, _Part, Plane]] = []
        start = 0
        for i, rectangle in zip(where.tolist(), rectangles, strict=True):
            for part in _parts(fmt, rectangle):
                to = memory[start : start + part.nbytes].reshape(part.shape[0], -1)
                pitch = layout.pitch[part.plane]
                source = (
                    frames.buffer.pointer + i * layout.frame_bytes + layout.offset[part.plane]
                    + part.rows.start * pitch + part.columns.start * fmt.dtype.itemsize
                )  # fmt: skip
                copy_rectangle(source, pitch, to, stream)
                self._held.append((i, part, to.view(fmt.dtype)))
                start += part.nbytes

    def write_into(self, frames: Frames) -> None:
        """Put the rectangles into the planes of the same frames in host memory.

        The copies must be done: the caller has waited for an event behind them.
        """
        for i, part, pixels in self._held:
            frames.planes[i][part.plane][part.rows, part.columns] = pixels
