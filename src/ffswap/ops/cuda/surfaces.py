"""Pictures in the memory of hardware decoders and encoders, to and from the planes of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import PixelFormat
from ...errors import InternalError
from ...gpu import Stream
from ...gpu.program import Kernel, Programs

__all__ = ["Surface", "SurfaceCopier"]

BLOCK = (64, 4)
"""Threads: rows of 64 samples are whole memory transactions for one and for two bytes."""

SURFACE = np.dtype(
    [
        ("luma", np.uint64),
        ("cb", np.uint64),
        ("cr", np.uint64),
        ("luma_pitch", np.int32),
        ("chroma_pitch", np.int32),
        ("chroma_step", np.int32),
        ("shift", np.int32),
    ],
    align=True,
)
FRAME_PLANES = np.dtype(
    [
        ("address", np.uint64, 3),
        ("pitch", np.int32, 3),
        ("width", np.int32, 2),
        ("height", np.int32, 2),
    ],
    align=True,
)
"""The structs Surface and FramePlanes of surface.cu."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A picture of a decoder or for an encoder, in device memory that is theirs.

    Samples have one byte if the frame's depth is 8 (NV12, NV16, NV24), else two, in whose high bits
    they lie (P010, P016, P210 and the like). Chroma has the frame's subsampling.

    Attributes:
        luma: address of the first luma row.
        luma_pitch: from row to row, bytes.
        chroma: address of the first chroma row: Cb and Cr by turns, or Cb alone if there is a `cr`.
        chroma_pitch: from row to row, bytes, of Cr as well.
        cr: address of the first row of Cr, where it has a plane of its own; None: it has none.
    """

    luma: int
    luma_pitch: int
    chroma: int
    chroma_pitch: int
    cr: int | None = None


class SurfaceCopier:
    """Copies surfaces into frames of one layout and back.

    Args:
        programs: the kernels of the device.
        fmt: of the frames; planar.
        width: of the luma plane, samples.
        height: of the luma plane, samples.
        pitch: of Y, Cb and Cr in a frame, bytes.
        offset: of Y, Cb and Cr from the start of a frame, bytes.

    Raises:
        InternalError: a pitch is smaller than a row.
    """

    def __init__(
        self,
        programs: Programs,
        fmt: PixelFormat,
        width: int,
        height: int,
        *,
        pitch: tuple[int, int, int],
        offset: tuple[int, int, int],
    ) -> None:
        self._size, self._offset = fmt.dtype.itemsize, offset
        bits = 8 * self._size
        self._shift = bits - fmt.depth
        self._read = programs.kernel("surface", f"read_surface_{bits}")
        self._write = programs.kernel("surface", f"write_surface_{bits}")
        chroma_height, chroma_width = fmt.chroma_shape(height, width)
        self._row_bytes = width * self._size, chroma_width * self._size
        self._check_pitches(pitch, (self._row_bytes[0], self._row_bytes[1], self._row_bytes[1]))
        self._planes = np.zeros((), FRAME_PLANES)
        self._planes["pitch"] = pitch
        self._planes["width"] = width, chroma_width
        self._planes["height"] = height, chroma_height
        self._grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]), 2)

    def read(self, surface: Surface, frame: int, stream: Stream) -> None:
        """Start to copy a decoder's picture into a frame.

        Args:
            surface: it stays as it is until the stream has come this far.
            frame: address of the frame.
            stream: of the work.

        Raises:
            InternalError: a pitch of the surface is smaller than a row, or odd for two bytes.
        """
        self._launch(self._read, surface, frame, stream)

    def write(self, surface: Surface, frame: int, stream: Stream) -> None:
        """Start to copy a frame into an encoder's picture; arguments and errors as of `read`.

        Nothing is written behind the last column and row.
        """
        self._launch(self._write, surface, frame, stream)

    def _launch(self, kernel: Kernel, surface: Surface, frame: int, stream: Stream) -> None:
        luma, chroma = self._row_bytes
        pairs = chroma if surface.cr is not None else 2 * chroma
        self._check_pitches((surface.luma_pitch, surface.chroma_pitch), (luma, pairs))
        kernel.launch(stream, self._grid, BLOCK, self._surface(surface), self._frame(frame))

    def _surface(self, surface: Surface) -> NDArray[Any]:
        packed = np.zeros((), SURFACE)
        packed["luma"], packed["cb"] = surface.luma, surface.chroma
        planar = surface.cr is not None
        packed["cr"] = surface.cr if planar else surface.chroma + self._size
        packed["luma_pitch"], packed["chroma_pitch"] = surface.luma_pitch, surface.chroma_pitch
        packed["chroma_step"], packed["shift"] = 1 if planar else 2, self._shift
        return packed

    def _frame(self, frame: int) -> NDArray[Any]:
        planes: NDArray[Any] = self._planes.copy()
        planes["address"] = [frame + offset for offset in self._offset]
        return planes

    def _check_pitches(self, pitches: tuple[int, ...], rows: tuple[int, ...]) -> None:
        for pitch, row in zip(pitches, rows, strict=True):
            if pitch < row or pitch % self._size:
                raise InternalError(
                    f"rows of {row} bytes, samples of {self._size}, at a pitch of {pitch} bytes"
                )
