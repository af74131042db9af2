"""Frames and surfaces of the same picture, as NumPy slices see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ffswap.carriers import PixelFormat
from ffswap.ops.cuda.surfaces import Surface, SurfaceCopier

FILL = 0x5A
ROWS_BEHIND = 2
"""Rows behind a picture that are not its own."""


class Scene:
    """A frame and a surface of the same picture, each with a margin that is nobody's."""

    def __init__(self, fmt: PixelFormat, height: int, width: int, *, planar: bool) -> None:
        self.fmt, self.planar = fmt, planar
        chroma = fmt.chroma_shape(height, width)
        self.shapes = ((height, width), chroma, chroma)
        rng = np.random.default_rng(height * width)
        self.truth = [
            rng.integers(0, 1 << fmt.depth, shape).astype(fmt.dtype) for shape in self.shapes
        ]
        size = fmt.dtype.itemsize
        self.pitch = (size * (width + 3), size * (chroma[1] + 6), size * (chroma[1] + 1))
        starts = np.cumsum(
            [32] + [p * (s[0] + 1) for p, s in zip(self.pitch, self.shapes, strict=True)]
        )
        self.offset = (int(starts[0]), int(starts[1]), int(starts[2]))
        self.frame = np.full(int(starts[3]) + 64, FILL, np.uint8)
        across = chroma[1] * (1 if planar else 2)
        self.luma = self._empty(height, width + 9)
        self.chroma = [self._empty(chroma[0], across + 5) for _ in range(2 if planar else 1)]

    def _empty(self, height: int, width: int) -> Any:
        rows = np.full((height + ROWS_BEHIND, width * self.fmt.dtype.itemsize), FILL, np.uint8)
        return rows.view(self.fmt.dtype)

    def surface(self, addresses: Sequence[int] | None = None) -> Surface:
        """The surface, where it is or at other addresses of the arrays of `memory`."""
        luma, chroma, *cr = addresses or [a.ctypes.data for a in self.memory]
        return Surface(
            luma=luma,
            luma_pitch=self.luma.strides[0],
            chroma=chroma,
            chroma_pitch=self.chroma[0].strides[0],
            cr=cr[0] if cr else None,
        )

    @property
    def memory(self) -> list[Any]:
        """The arrays of the surface."""
        return [self.luma, *self.chroma]

    def surface_views(self) -> list[Any]:
        """Y, Cb and Cr as they lie in the surface."""
        (h, w), (ch, cw), _ = self.shapes
        if self.planar:
            return [self.luma[:h, :w], *(plane[:ch, :cw] for plane in self.chroma)]
        return [self.luma[:h, :w], *(self.chroma[0][:ch, k : 2 * cw : 2] for k in (0, 1))]

    def frame_views(self) -> list[Any]:
        """Y, Cb and Cr as they lie in the frame."""
        views = []
        for shape, pitch, offset in zip(self.shapes, self.pitch, self.offset, strict=True):
            plane = self.frame[offset : offset + shape[0] * pitch].reshape(shape[0], pitch)
            views.append(plane.view(self.fmt.dtype)[:, : shape[1]])
        return views

    def raised(self) -> list[Any]:
        """The samples as a surface holds them."""
        return [t << (8 * self.fmt.dtype.itemsize - self.fmt.depth) for t in self.truth]

    def copier(self, programs: Any) -> SurfaceCopier:
        height, width = self.shapes[0]
        return SurfaceCopier(
            programs, self.fmt, width, height, pitch=self.pitch, offset=self.offset
        )


def fill(views: list[Any], planes: list[Any]) -> None:
    """Write planes into views."""
    for view, plane in zip(views, planes, strict=True):
        view[...] = plane


def assert_nothing_else_changed(memory: list[Any], views: list[Any]) -> None:
    """All of the memory but the views is as it was filled; the views are lost."""
    for view in views:
        view[...] = np.frombuffer(bytes([FILL]) * view.itemsize, view.dtype)[0]
    for array in memory:
        assert (array.view(np.uint8) == FILL).all()
