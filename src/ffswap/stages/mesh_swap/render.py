"""Painting: the relit source over the target, straight into the planes of the frame.

Nothing here has a memory: frames can be painted in parallel once their `Paint` is known. All that
a frame needs is computed beforehand, in order, by `swapper`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32, Colour, Frames, PixelFormat, Plane
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import FaceMesh
from ...ops import cpu
from .hdr import hdr_ycc
from .source import LOG_OFFSET, MeshSource

__all__ = ["Paint", "paint_face"]

SMALLEST_TRIANGLE = 0.3
"""Twice the area, in pixels of the raster, below which a triangle is left out."""

NO_TEXTURE = -20.0
"""Texture coordinate where no triangle lies: outside every texture, so nothing is painted."""

RASTER_STEPS = ((130, 1), (360, 2))
"""Faces narrower than so many pixels are rastered at every so many; larger ones at every 4th."""

TEXTURE_SIDES = ((110, 128), (330, 256))
"""Faces narrower than so many pixels are painted from a texture of so many; larger ones: 512."""

HOLE_SIGMA = 0.012
"""Softness of the openings at eyes and mouth, by the width of the face."""

LEAST_MOVE_PX = 1 / 64
"""A pixel that the change of shape moves by less stays as it is."""


@dataclass(frozen=True)
class Paint:
    """All that painting one face in one frame needs.

    Attributes:
        mesh: (468, 3) float32, the target's face, pixels.
        shift: (468, 2) float32, how far the change of shape moves each vertex, pixels.
        field: (64, 64, 2) float32, the same in texture space; 0 outside the face.
        face_px: width of the face, pixels.
        light: (64, 64, 3) float32, the target's light: log luma, Cb, Cr.
        opacity: (128, 128) float32, 0..1, what is visible of the face and not covered.
        contrast: of the source's features.
        saturation: of the source's colour.
        folds: how much of the source's folds is left out, 0..1: `light` has the target's.
        sigma: blur that brings the source to the target's sharpness, texels of a 256 texture.
        covers: polygons (k, 2) float32, pixels, that lie before the face and stay as they are.
    """

    mesh: F32
    shift: F32
    field: F32
    face_px: float
    light: F32
    opacity: F32
    contrast: float
    saturation: float
    folds: float
    sigma: float
    covers: tuple[F32, ...] = ()

    @cached_property
    def moved(self) -> F32:
        """(468, 2) where the vertices come to lie."""
        return self.mesh[:, :2] + self.shift

    def bounds(self, height: int, width: int, align: tuple[int, int]) -> tuple[slice, slice] | None:
        """Rows and columns that painting may change, on the chroma grid; None: too few."""
        both = np.concatenate([self.mesh[:, :2], self.moved])
        low = np.maximum(np.floor(both.min(0)).astype(int) - 4, 0)
        high = np.minimum(np.ceil(both.max(0)).astype(int) + 5, (width, height))
        low = low // align * np.asarray(align)
        if (high - low < 16).any():
            return None
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def paint_face(source: MeshSource, frames: Frames, i: int, paint: Paint) -> None:
    """Put the source's face over one face of frame `i`, in place.

    Only pixels inside the face's outline are written; every other sample keeps its value.
    """
    fmt = frames.format
    align = (1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h)
    bounds = paint.bounds(frames.height, frames.width, align)
    if bounds is None:
        return
    rows, columns = bounds
    y, cb, cr = frames.planes[i]
    part = y[rows, columns]
    side = next((n for limit, n in TEXTURE_SIDES if paint.face_px < limit), 512)
    shape = part.shape
    origin = np.array([columns.start, rows.start], np.float32)
    raster = _raster(source.mesh, paint, origin, (int(shape[0]), int(shape[1])), side)
    texture = _Texture(source, paint, side, fmt, frames.colour)

    alpha = cpu.read_at(texture.alpha, raster.u, raster.v)
    alpha *= raster.keep
    moves = (np.abs(raster.dx) > LEAST_MOVE_PX) | (np.abs(raster.dy) > LEAST_MOVE_PX)
    touched = ((alpha > 0) | moves).astype(np.uint8)
    over = cpu.read_at(texture.luma, raster.u, raster.v)
    _composite(part, over, alpha, raster.dx, raster.dy, touched)

    sx, sy = align
    step = (slice(None, None, sy), slice(None, None, sx))
    scale = texture.chroma[0].shape[0] / side
    u = (raster.u[step] + 0.5) * scale - 0.5
    v = (raster.v[step] + 0.5) * scale - 0.5
    dx, dy = raster.dx[step] / np.float32(sx), raster.dy[step] / np.float32(sy)
    h, w = u.shape
    if (sx, sy) != (1, 1):
        # Where the chroma sample's own place has no texture, its neighbours' opacity counts for
        # nothing: it would be painted with no colour.
        alpha = cpu.resize(alpha, w, h) * (raster.u[step] > NO_TEXTURE / 2)
    moves = (np.abs(dx) > LEAST_MOVE_PX) | (np.abs(dy) > LEAST_MOVE_PX)
    touched = ((alpha > 0) | moves).astype(np.uint8)
    top, left = rows.start // sy, columns.start // sx
    for plane, over_plane in zip((cb, cr), texture.chroma, strict=True):
        over = cpu.read_at(over_plane, u, v)
        _composite(plane[top : top + h, left : left + w], over, alpha, dx, dy, touched)


def _composite(
    plane: Plane, over: Plane, alpha: F32, dx: F32, dy: F32, touched: NDArray[np.uint8]
) -> None:
    """Warp what is there by (dx, dy), lay `over` on it, write what changed."""
    h, w = plane.shape
    base = plane
    if touched.any():
        x = np.arange(w, dtype=np.float32)[None] - dx
        y = np.arange(h, dtype=np.float32)[:, None] - dy
        base = cpu.read_at(plane, x, y, repeat_edge=True)
    cpu.blend_into(plane, base, over, alpha, touched)


class _Texture:
    """The relit source in the frame's own code values.

    Attributes:
        luma: (side, side) of the frame's dtype.
        chroma: Cb and Cr, the same or half the side.
        alpha: (side, side) float32, 0..1.
    """

    def __init__(
        self, source: MeshSource, paint: Paint, side: int, fmt: PixelFormat, colour: Colour
    ) -> None:
        own = source.texture(side, colour.kr, colour.kb)
        detail = own.detail[..., 0] - np.float32(paint.folds) * own.folds[..., 0]
        sigma = paint.sigma * side / 256
        if sigma > 0.35:
            detail = cpu.blur(detail, sigma)
        log = cpu.resize(np.ascontiguousarray(paint.light[..., 0]), side, side)
        log += np.float32(paint.contrast) * detail
        offset, span = colour.luma_scale(fmt.depth)
        top = (1 << fmt.depth) - 1
        luma = cpu.exp(log) - LOG_OFFSET
        chroma_side = side if fmt.log2_chroma_w == 0 else side // 2
        half = source.texture(chroma_side, colour.kr, colour.kb)
        chroma = []
        for k in (1, 2):
            light = cpu.resize(np.ascontiguousarray(paint.light[..., k]), chroma_side, chroma_side)
            own_colour = half.detail[..., k] - np.float32(paint.folds) * half.folds[..., k]
            light += np.float32(paint.saturation) * own_colour
            chroma.append(light)
        if colour.is_hdr:
            luma, chroma = _in_hdr(luma, chroma, colour)
        self.luma = _codes(luma, offset, span, top, fmt)
        offset, span = colour.chroma_scale(fmt.depth)
        self.chroma = [_codes(plane, offset, span, top, fmt) for plane in chroma]
        self.alpha = own.mask * cpu.resize(paint.opacity, side, side)


def _in_hdr(luma: F32, chroma: list[F32], colour: Colour) -> tuple[F32, list[F32]]:
    """What is to be painted, at the sides that it has, in the signal of an HDR frame."""
    side, small = luma.shape[0], chroma[0].shape[0]
    planes = [luma, *(cpu.resize(plane, side, side) for plane in chroma)]
    y, *rest = np.moveaxis(hdr_ycc(np.stack(planes, -1), colour), -1, 0)
    return y, [cpu.resize(np.ascontiguousarray(plane), small, small) for plane in rest]


def _codes(values: F32, offset: float, span: float, top: int, fmt: PixelFormat) -> Plane:
    """Values to code values, rounded and held in range."""
    codes = values * np.float32(span) + np.float32(offset + 0.5)
    return np.clip(codes, 0, top, out=codes).astype(fmt.dtype)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Raster:
    """Maps over the painted part of the luma plane, each (h, w) float32.

    Attributes:
        u: texture column to read, texels.
        v: texture row.
        dx: how far the change of shape moved what is seen here, pixels.
        dy: the same, downwards.
        keep: 0 in the openings of eyes and mouth, 1 elsewhere.
    """

    u: F32
    v: F32
    dx: F32
    dy: F32
    keep: F32


def _raster(
    mesh: FaceMesh, paint: Paint, origin: F32, shape: tuple[int, int], side: int
) -> _Raster:
    step = next((n for limit, n in RASTER_STEPS if paint.face_px < limit), 4)
    h, w = -(-shape[0] // step), -(-shape[1] // step)
    points = ((paint.moved - origin + 0.5) / step - 0.5).astype(np.float32)
    area = mesh.signed_area(points) * mesh.winding
    order = np.argsort(-paint.mesh[mesh.triangles, 2].sum(1), kind="stable")
    order = order[area[order] > SMALLEST_TRIANGLE]
    ids = cpu.triangle_ids((h, w), points[mesh.triangles[order]], order + 1)
    u, v = _texture_coordinates(mesh, points, ids, side)
    zoom = paint.field.shape[0] / side
    at = [u, v, *_read_field(paint.field, (u + 0.5) * zoom - 0.5, (v + 0.5) * zoom - 0.5)]
    keep = 1.0 - _openings(paint, points, (h, w), step) / np.float32(255)
    if paint.covers:
        free = _free(paint, origin, (h, w), step)
        keep, at = keep * free, [*at[:2], at[2] * free, at[3] * free]
    planes = [*at, keep]
    return _Raster(*(planes if step == 1 else _enlarged(planes, ids > 0, step, shape)))


def _enlarged(
    planes: Sequence[F32], inside: NDArray[np.bool_], step: int, shape: tuple[int, int]
) -> list[F32]:
    """u, v and the rest of a coarse raster, `step` times as large, cut to `shape`.

    Texture coordinates are interpolated between pixels inside the face only: halfway between
    outside and inside lies a place in the midst of the texture.
    """
    h, w = inside.shape

    def grow(plane: F32) -> F32:
        return np.ascontiguousarray(
            cpu.resize(plane, w * step, h * step)[: shape[0], : shape[1]], np.float32
        )

    weight = inside.astype(np.float32)
    share = grow(weight)
    outside = share < 0.5
    share = np.maximum(share, 0.5)
    places = [grow(plane * weight) / share for plane in planes[:2]]
    for place in places:
        place[outside] = NO_TEXTURE
    return [*places, *(grow(plane) for plane in planes[2:])]


def _read_field(field: F32, u: F32, v: F32) -> list[F32]:
    """dx and dy at texture coordinates (h, w)."""
    return [cpu.read_at(np.ascontiguousarray(field[..., k]), u, v) for k in range(2)]


def _texture_coordinates(
    mesh: FaceMesh, points: F32, ids: NDArray[np.int32], side: int
) -> tuple[F32, F32]:
    """u and v for each pixel of a triangle raster.

    Within a triangle both are affine in the pixel's place. They are held inside the triangle's own
    box, since a sliver's coefficients are huge and its edge pixels lie outside it.
    """
    corner = points[mesh.triangles].astype(np.float32)
    value = (mesh.uv * side - 0.5).astype(np.float32)[mesh.triangles]
    a = corner[:, 0]
    e1, e2 = corner[:, 1] - a, corner[:, 2] - a
    d1, d2 = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    area = np.where(np.abs(area) < 1e-6, 1, area)[:, None]
    by_x = (d1 * e2[:, 1:] - d2 * e1[:, 1:]) / area
    by_y = (d2 * e1[:, :1] - d1 * e2[:, :1]) / area
    at_0 = value[:, 0] - by_x * a[:, :1] - by_y * a[:, 1:]
    table = np.concatenate([by_x, by_y, at_0, value.min(1), value.max(1)], 1)
    rows, columns = np.nonzero(ids)
    mine = np.take(table, ids[rows, columns] - 1, axis=0)
    read = mine[:, 0:2] * columns[:, None].astype(np.float32)
    read += mine[:, 2:4] * rows[:, None].astype(np.float32)
    read += mine[:, 4:6]
    np.maximum(read, mine[:, 6:8], out=read)
    np.minimum(read, mine[:, 8:10], out=read)
    u, v = (np.full(ids.shape, NO_TEXTURE, np.float32) for _ in range(2))
    u[rows, columns], v[rows, columns] = read[:, 0], read[:, 1]
    return u, v


def _free(paint: Paint, origin: F32, shape: tuple[int, int], step: int) -> F32:
    """(h, w) float32, 0 where something lies before the face, 1 elsewhere, soft between."""
    outlines = [(((p - origin + 0.5) / step - 0.5).astype(np.float32), 255) for p in paint.covers]
    covered = cpu.polygons(shape, outlines)
    sigma = max(0.6, paint.face_px * HOLE_SIGMA / step)
    return np.asarray(1 - cpu.blur(covered, sigma) / np.float32(255), np.float32)


def _openings(paint: Paint, points: F32, shape: tuple[int, int], step: int) -> NDArray[np.uint8]:
    """(h, w) uint8, 255 where the target's own eyes and mouth show."""
    sigma = max(0.6, paint.face_px * HOLE_SIGMA / step)
    rings = (fm.INNER_MOUTH, fm.RIGHT_EYE, fm.LEFT_EYE)
    holes = cpu.blur(cpu.polygons(shape, [(points[list(r)], 255) for r in rings]), sigma)
    lids = [(points[list(ring)], 255) for ring in (fm.RIGHT_LIDS, fm.LEFT_LIDS)]
    return np.maximum(holes, cpu.blur(cpu.polygons(shape, lids), sigma * 1.8))  # type: ignore[no-any-return]
