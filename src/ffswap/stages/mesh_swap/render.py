"""Painting: the relit source over the target, straight into the planes of the frame.

Nothing here has a memory: frames can be painted in parallel once their `Paint` is known. All that
a frame needs is computed beforehand, in order, by `swapper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32, Colour, Frames, PixelFormat, Plane
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import FaceMesh
from ...ops import cpu
from .source import LOG_OFFSET, MeshSource

__all__ = ["Paint", "paint_face"]

SMALLEST_TRIANGLE = 0.3
"""Twice the area, in pixels of the raster, below which a triangle is left out."""

NO_TEXTURE = -20.0
"""Texture coordinate where no triangle lies: outside every texture, so nothing is painted."""

RASTER_STEPS = ((230, 1), (500, 2))
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
        face_px: width of the face, pixels.
        light: (64, 64, 3) float32, the target's light: log luma, Cb, Cr.
        opacity: (128, 128) float32, 0..1, what is visible of the face and not covered.
        contrast: of the source's features.
        saturation: of the source's colour.
        sigma: blur that brings the source to the target's sharpness, texels of a 256 texture.
        lids: how far the right and the left eye keep the target's lids, 0..1.
    """

    mesh: F32
    shift: F32
    face_px: float
    light: F32
    opacity: F32
    contrast: float
    saturation: float
    sigma: float
    lids: tuple[float, float] = (1.0, 1.0)

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
    alpha = cpu.resize(alpha, w, h) if (sx, sy) != (1, 1) else alpha
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
        detail = np.ascontiguousarray(own.detail[..., 0])
        sigma = paint.sigma * side / 256
        if sigma > 0.35:
            detail = cpu.blur(detail, sigma)
        log = cpu.resize(np.ascontiguousarray(paint.light[..., 0]), side, side)
        log += np.float32(paint.contrast) * detail
        offset, span = colour.luma_scale(fmt.depth)
        top = (1 << fmt.depth) - 1
        self.luma = _codes(cpu.exp(log) - LOG_OFFSET, offset, span, top, fmt)
        chroma_side = side if fmt.log2_chroma_w == 0 else side // 2
        half = source.texture(chroma_side, colour.kr, colour.kb)
        offset, span = colour.chroma_scale(fmt.depth)
        self.chroma = []
        for k in (1, 2):
            light = cpu.resize(np.ascontiguousarray(paint.light[..., k]), chroma_side, chroma_side)
            light += np.float32(paint.saturation) * half.detail[..., k]
            self.chroma.append(_codes(light, offset, span, top, fmt))
        self.alpha = own.mask * cpu.resize(paint.opacity, side, side)


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
    at = _texture_coordinates(mesh, points, ids, side, paint.shift)
    keep = 1.0 - _openings(paint, points, (h, w), step) / np.float32(255)
    planes = [*at, keep, (ids > 0).astype(np.float32)]
    if step > 1:
        planes = [
            np.ascontiguousarray(cpu.resize(p, w * step, h * step)[: shape[0], : shape[1]])
            for p in planes
        ]
    u, v, dx, dy, keep, inside = planes
    # Halfway between a texel and `NO_TEXTURE` lies some other texel, which is not meant.
    u[inside < 1] = NO_TEXTURE
    return _Raster(u, v, dx, dy, keep)


def _texture_coordinates(
    mesh: FaceMesh, points: F32, ids: NDArray[np.int32], side: int, shift: F32
) -> list[F32]:
    """u, v, dx, dy for each pixel of a triangle raster.

    Within a triangle all four are affine in the pixel's place. u and v are held inside the
    triangle's own box, since a sliver's coefficients are huge and its edge pixels lie outside it.
    """
    corner = points[mesh.triangles].astype(np.float32)
    attribute = np.concatenate([mesh.uv * side - 0.5, shift], 1).astype(np.float32)
    value = attribute[mesh.triangles]
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
    read = mine[:, 0:4] * columns[:, None].astype(np.float32)
    read += mine[:, 4:8] * rows[:, None].astype(np.float32)
    read += mine[:, 8:12]
    np.maximum(read, mine[:, 12:16], out=read)
    np.minimum(read, mine[:, 16:20], out=read)
    out = []
    for k in range(4):
        plane = np.full(ids.shape, NO_TEXTURE if k < 2 else 0.0, np.float32)
        plane[rows, columns] = read[:, k]
        out.append(plane)
    return out


def _openings(paint: Paint, points: F32, shape: tuple[int, int], step: int) -> NDArray[np.uint8]:
    """(h, w) uint8, 255 where the target's own eyes and mouth show."""
    sigma = max(0.6, paint.face_px * HOLE_SIGMA / step)
    rings = (fm.INNER_MOUTH, fm.RIGHT_EYE, fm.LEFT_EYE)
    holes = cpu.blur(cpu.polygons(shape, [(points[list(r)], 255) for r in rings]), sigma)
    if max(paint.lids) > 0:
        lids = zip((fm.RIGHT_LIDS, fm.LEFT_LIDS), paint.lids, strict=True)
        outlines = [(points[list(ring)], int(255 * share)) for ring, share in lids]
        holes = np.maximum(holes, cpu.blur(cpu.polygons(shape, outlines), sigma * 1.8))
    return holes  # type: ignore[no-any-return]
