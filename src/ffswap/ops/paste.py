"""A crop goes back into the planes of the frame that it was taken from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Colour, PixelFormat, Plane
from ..geometry import affine, sampling
from . import cpu, tone

__all__ = ["paste_crop"]

F64 = NDArray[np.float64]


def paste_crop(
    planes: tuple[Plane, Plane, Plane],
    fmt: PixelFormat,
    colour: Colour,
    crop: F32,
    mask: F32,
    matrix: F64,
    opacity: float = 1.0,
) -> None:
    """Lay a crop over a frame, in place, in the frame's own format.

    Each plane is written at its own resolution. Where the mask is 0 every sample keeps its value;
    elsewhere the blend is rounded to the nearest code value, once. A crop that shrinks into the
    frame is averaged first, so that it does not alias.

    Args:
        planes: Y', Cb, Cr of one frame.
        fmt: their format.
        colour: their meaning.
        crop: (3, S, S) RGB, 0 to 1; SDR, whatever the frame is.
        mask: (S, S) 0 (the frame) to 1 (the crop); outside the crop it is 0.
        matrix: (2, 3), from luma pixels to pixels of the crop; it can be inverted.
        opacity: by which the mask is multiplied, 0 to 1.

    Source: FaceFusion 3.8.1, face_helper.py, which truncates, does not average, and works on RGB
    frames of 8 bits.
    """
    weight = mask if opacity == 1 else mask * np.float32(opacity)
    luma, *chroma = _codes(crop, fmt, colour)
    _paste([planes[0]], [luma], weight, matrix)
    on_chroma = affine.compose(matrix, affine.invert(cpu.chroma_matrix(fmt)))
    _paste(list(planes[1:]), chroma, weight, on_chroma)


def _codes(rgb: F32, fmt: PixelFormat, colour: Colour) -> tuple[F32, F32, F32]:
    """(3, S, S) RGB to Y', Cb and Cr in code values, not rounded."""
    kr, kb = np.float32(colour.kr), np.float32(colour.kb)
    y0, y_span = colour.luma_scale(fmt.depth)
    c0, c_span = colour.chroma_scale(fmt.depth)
    red, green, blue = tone.hdr_rgb(rgb, colour)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    top = np.float32((1 << fmt.depth) - 1)
    parts = (
        y * np.float32(y_span) + np.float32(y0),
        (blue - y) * np.float32(c_span / (2 * (1 - colour.kb))) + np.float32(c0),
        (red - y) * np.float32(c_span / (2 * (1 - colour.kr))) + np.float32(c0),
    )
    one, two, three = (np.clip(part, 0, top, out=part) for part in parts)
    return one, two, three


def _paste(planes: list[Plane], codes: list[F32], weight: F32, matrix: F64) -> None:
    """Blend into planes of one grid.

    Args:
        planes: (H, W) each, edited in place.
        codes: (S, S) for each what is laid over it, code values.
        weight: (S, S) 0 to 1.
        matrix: (2, 3), from pixels of the planes to pixels of the crop.
    """
    back = affine.invert(matrix)
    left, top, right, bottom = sampling.reach(back[None], weight.shape[0], planes[0].shape)[
        0
    ].tolist()
    if left == right:
        return
    back[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    alpha = cpu.sample_plane(weight, back, size, 0.0)
    touched = (alpha > 0).astype(np.uint8)
    if not touched.any():
        return
    for plane, over in zip(planes, codes, strict=True):
        part = plane[top:bottom, left:right]
        cpu.blend_into(part, part, cpu.sample_plane(over, back, size, None), alpha, touched)
