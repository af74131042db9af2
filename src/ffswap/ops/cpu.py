"""Everything that is done to pixels between the nets, on the CPU through OpenCV.

Nothing here keeps state, and nothing knows what a face is. Arrays are C-contiguous in their last
axis; a "map" holds, for each pixel of the result, where in the input to read it (x, y in pixels,
float32); places outside the input read as 0 unless said otherwise. OpenCV's calls release the
interpreter lock, so these functions run in parallel in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Colour, PixelFormat, Plane
from ..geometry import affine, sampling
from . import tone

__all__ = [
    "add_rounded",
    "blend_into",
    "blur",
    "chroma_matrix",
    "convex_polygons",
    "crop_rgb",
    "dilate",
    "exp",
    "laplacian",
    "largest_difference",
    "magnitude_sum",
    "polygons",
    "read_at",
    "resize",
    "rgb_to_ycc",
    "sample_plane",
    "set_threads",
    "shrink",
    "triangle_ids",
]

SUBPIXEL_BITS = 8
"""Fractional bits of the vertex coordinates that OpenCV's polygon filling is given."""

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]


def set_threads(n: int) -> None:
    """How many threads OpenCV itself uses inside one call, for the whole process; 1: none."""
    cv2.setNumThreads(n)


def chroma_matrix(fmt: PixelFormat) -> F64:
    """(2, 3), from luma pixels to chroma pixels.

    Chroma samples lie on the left luma column and midway between luma rows: the usual place in
    MPEG-2 and later (`left` in H.273); other sitings are off by at most half a luma pixel.
    """
    x, y = 1 / (1 << fmt.log2_chroma_w), 1 / (1 << fmt.log2_chroma_h)
    return np.array([[x, 0, 0], [0, y, (y - 1) / 2]])


def shrink(plane: Any, factor: int) -> Any:
    """Every `factor` x `factor` pixels to their mean; rows and columns left over are dropped."""
    if factor <= 1:
        return plane
    h, w = plane.shape[0] // factor, plane.shape[1] // factor
    return cv2.resize(plane[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA)


def resize(plane: Any, width: int, height: int) -> Any:
    """To another size: bilinear when growing, area means when shrinking."""
    grows = width >= plane.shape[1] and height >= plane.shape[0]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return cv2.resize(plane, (width, height), interpolation=how)


def sample_plane(
    plane: Plane | F32, matrix: F64, size: tuple[int, int], outside: float | None
) -> Any:
    """A plane through an affine matrix, without aliasing where it shrinks.

    Args:
        plane: (H, W) uint8, uint16 or float32.
        matrix: (2, 3), from pixels of `plane` to pixels of the result.
        size: (width, height) of the result.
        outside: what lies outside the plane; None: its nearest pixel.
    """
    one = sampling.readings(matrix[None], np.array([size]), plane.shape[:2])
    if one.factor[0] >= 2:
        plane = _blocks(plane, one.low[0], one.high[0], int(one.factor[0]), outside)
    edge = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        plane, one.matrix[0], size, flags=cv2.INTER_LINEAR, borderMode=edge,
        borderValue=outside or 0.0,
    )  # fmt: skip


def _blocks(
    plane: Plane | F32, low: I64, high: I64, factor: int, outside: float | None
) -> Plane | F32:
    """The part of a plane from `low` to `high` (x, y), which may lie outside of it, shrunk."""
    shape = np.array([plane.shape[1], plane.shape[0]])
    before, after = np.maximum(-low, 0), np.maximum(high - shape, 0)
    first, last = np.maximum(low, 0), np.minimum(high, shape)
    part = plane[first[1] : last[1], first[0] : last[0]]
    if before.any() or after.any():
        edge = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
        part = cv2.copyMakeBorder(  # type: ignore[assignment]
            part, int(before[1]), int(after[1]), int(before[0]), int(after[0]), edge,
            value=outside or 0.0,
        )  # fmt: skip
    return shrink(part, factor)  # type: ignore[no-any-return]


def crop_rgb(
    planes: tuple[Plane, Plane, Plane],
    fmt: PixelFormat,
    colour: Colour,
    matrix: F64,
    out: int | tuple[int, int],
    *,
    pad_black: bool = False,
) -> F32:
    """A crop for a net, (3, height, width) float32 RGB, 0 to 1, SDR whatever the frame is (see `tone`).

    Args:
        planes: Y', Cb, Cr of one frame.
        fmt: their format.
        colour: their meaning.
        matrix: (2, 3), from luma pixels to pixels of the crop.
        out: side of the crop, or its (width, height), pixels.
        pad_black: what lies outside the frame is black; else it repeats the edge.
    """
    y0, y_span = colour.luma_scale(fmt.depth)
    c0, c_span = colour.chroma_scale(fmt.depth)
    chroma = affine.compose(matrix, affine.invert(chroma_matrix(fmt)))
    size = (out, out) if isinstance(out, int) else out
    y = sample_plane(planes[0], matrix, size, y0 if pad_black else None)
    cb, cr = (sample_plane(p, chroma, size, c0 if pad_black else None) for p in planes[1:])
    luma = (y.astype(np.float32) - y0) * (1 / y_span)
    blue = (cb.astype(np.float32) - c0) * (2 * (1 - colour.kb) / c_span)
    red = (cr.astype(np.float32) - c0) * (2 * (1 - colour.kr) / c_span)
    rgb = np.empty((3, *luma.shape), np.float32)
    np.add(luma, red, out=rgb[0])
    np.add(luma, blue, out=rgb[2])
    kg = 1 - colour.kr - colour.kb
    rgb[1] = luma - (colour.kr / kg) * red - (colour.kb / kg) * blue
    return tone.sdr_rgb(np.clip(rgb, 0, 1, out=rgb), colour)


def rgb_to_ycc(rgb: F32, kr: float, kb: float) -> F32:
    """(..., 3) RGB 0..1 to Y' 0..1, Cb and Cr -0.5..0.5, of the matrix with these weights."""
    y = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    cb = (rgb[..., 2] - y) / (2 * (1 - kb))
    cr = (rgb[..., 0] - y) / (2 * (1 - kr))
    return np.stack([y, cb, cr], -1).astype(np.float32)


def read_at(plane: Any, x: F32, y: F32, *, repeat_edge: bool = False, cubic: bool = False) -> Any:
    """The plane (H, W) or (H, W, c) read at a map, bilinear or bicubic; same dtype."""
    edge = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return cv2.remap(plane, x, y, how, borderMode=edge, borderValue=0)


def blur(plane: Any, sigma: float, size: int | None = None) -> Any:
    """Gaussian of `sigma` pixels; `size`: side of the kernel, odd, chosen if None."""
    return cv2.GaussianBlur(plane, (size or 0, size or 0), sigma)


def laplacian(plane: F32) -> F32:
    """Second differences, (H, W) float32."""
    return cv2.Laplacian(plane, cv2.CV_32F)  # type: ignore[return-value]


def exp(plane: F32) -> F32:
    """e to the power of each element."""
    return cv2.exp(plane)  # type: ignore[return-value]


def dilate(plane: Any, radius: int) -> Any:
    """The largest value within a disc of `radius` pixels."""
    side = 2 * radius + 1
    return cv2.dilate(plane, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def polygons(shape: tuple[int, int], outlines: list[tuple[F32, int]]) -> U8:
    """(H, W) uint8 picture of filled polygons with soft edges: (points (n, 2), value) each."""
    picture = np.zeros(shape, np.uint8)
    for points, value in outlines:
        fixed = np.round(points * (1 << 4)).astype(np.int32)
        cv2.fillPoly(picture, [fixed], value, cv2.LINE_AA, 4)
    return picture


def convex_polygons(shape: tuple[int, int], outlines: list[F32]) -> U8:
    """(H, W) uint8 picture, 255 inside the convex hulls of these points, each (n, 2)."""
    picture = np.zeros(shape, np.uint8)
    for points in outlines:
        hull = cv2.convexHull(np.round(points * (1 << 4)).astype(np.int32))
        cv2.fillPoly(picture, [hull], 255, shift=4)
    return picture


def triangle_ids(shape: tuple[int, int], corners: F32, ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Which triangle covers each pixel: (H, W) int32, 0 where none does.

    Args:
        shape: (height, width).
        corners: (n, 3, 2) float32, pixels.
        ids: (n,) what is written for each; a later one covers an earlier one.
    """
    picture = np.zeros(shape, np.int32)
    fixed = np.round(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for points, value in zip(fixed, ids.tolist(), strict=True):
        cv2.fillConvexPoly(picture, points, value, cv2.LINE_8, SUBPIXEL_BITS)
    return picture


def largest_difference(ones: Sequence[Plane], twos: Sequence[Plane]) -> Plane:
    """(h, w) the largest magnitude of the differences of pairs of planes of one shape and type."""
    largest: Any = cv2.absdiff(ones[0], twos[0])
    for one, two in zip(ones[1:], twos[1:], strict=True):
        cv2.max(largest, cv2.absdiff(one, two), largest)
    return largest  # type: ignore[no-any-return]


def magnitude_sum(plane: F32) -> float:
    """Sum of the magnitudes of all elements."""
    return float(cv2.norm(plane, cv2.NORM_L1))


def add_rounded(plane: Plane, change: F32, top: int) -> None:
    """Add a change to a part of a plane, in place, rounded and held within 0 and `top`.

    Args:
        plane: (h, w) uint8 or uint16.
        change: (h, w) float32, code values.
        top: largest code value.
    """
    depth = cv2.CV_8U if plane.dtype == np.uint8 else cv2.CV_16U
    total: Any = cv2.add(plane, change, dtype=depth)
    plane[...] = total if top == np.iinfo(plane.dtype).max else np.minimum(total, top)


def blend_into(plane: Plane, base: Plane, over: Plane | F32, alpha: F32, touched: U8) -> None:
    """Write ``base + alpha * (over - base)``, rounded, into `plane` where `touched` is not 0.

    Args:
        plane: (h, w) part of a frame's plane, uint8 or uint16; edited in place.
        base: (h, w) what lies below.
        over: (h, w) what is painted, code values; rounded only with the result if float32.
        alpha: (h, w) float32, 0 to 1.
        touched: (h, w) uint8.
    """
    change = cv2.subtract(over, base, dtype=cv2.CV_32F)
    cv2.multiply(change, alpha, change)
    depth = cv2.CV_8U if plane.dtype == np.uint8 else cv2.CV_16U
    cv2.copyTo(cv2.add(base, change, dtype=depth), touched, plane)
