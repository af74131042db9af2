"""Texture space: the canonical face unrolled onto a square, where every face lies the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import FaceMesh, smoothstep
from ...ops import cpu

__all__ = ["TextureSpace", "agreeing", "low_pass", "standard_deviation"]

OUTSIDE = -1e4
"""A coordinate that is outside any picture."""

LIGHT_SIGMA = 0.09
"""Blur that tells light from features, by the side of the texture. Found by trial: a wider one
leaves shadows in the features, a narrower one takes the features for light."""

COARSE_SIGMA = 3.5 * LIGHT_SIGMA
COARSE_WEIGHT = 0.03
"""Where no skin is near, light comes from this wider blur."""

COARSE_SIDE = 16
"""The wide blur is computed on a grid of this side."""


class TextureSpace:
    """The raster of the canonical mesh in a square texture, and masks drawn on it.

    Args:
        mesh: the canonical mesh.
        side: of the texture, pixels.
    """

    def __init__(self, mesh: FaceMesh, side: int) -> None:
        self.mesh, self.side = mesh, side
        corners = (mesh.uv * side - 0.5)[mesh.triangles]
        ids = cpu.triangle_ids((side, side), corners, np.arange(1, len(mesh.triangles) + 1))
        self.inside = ids > 0
        self._rows, self._columns = np.nonzero(self.inside)
        self._vertices = mesh.triangles[ids[self.inside] - 1]
        self._corners = [np.ascontiguousarray(c) for c in self._vertices.T]
        self._weights = [np.ascontiguousarray(w) for w in self._barycentric().T]
        self.skin = self._skin()
        """(side, side) float32, 1 on skin away from eyes, brows, lips, nostrils and the rim."""
        self.paint = self._paint()
        """(side, side) float32, 1 where the swap is painted, soft towards the oval."""
        self.oval_distance = self.spread(mesh.oval_distance)
        """(side, side) float32 centimetres from the oval."""
        self.height = self.spread(mesh.xyz[:, 1])
        """(side, side) float32 centimetres up, in the canonical face."""

    def spread(self, values: F32) -> F32:
        """Vertex values (468,) or (468, k) over the texture, (side, side[, k]); 0 outside."""
        out = np.zeros((self.side, self.side, *values.shape[1:]), np.float32)
        out[self._rows, self._columns] = self._mix(np.asarray(values, np.float32))
        return out

    def places(self, points: F32) -> tuple[F32, F32]:
        """Where each texel lies in an image, given the vertices' (468, 2) places: x and y maps."""
        x, y = (np.full((self.side, self.side), OUTSIDE, np.float32) for _ in range(2))
        mixed = self._mix(np.asarray(points[:, :2], np.float32))
        x[self._rows, self._columns], y[self._rows, self._columns] = mixed[:, 0], mixed[:, 1]
        return x, y

    def _mix(self, values: F32) -> F32:
        """Vertex values at each texel inside, (m,) or (m, k), by its barycentric weights."""
        mixed = np.take(values, self._corners[0], axis=0)
        shape = (-1, *(1,) * (values.ndim - 1))
        mixed *= self._weights[0].reshape(shape)
        for corner, weight in zip(self._corners[1:], self._weights[1:], strict=True):
            mixed += np.take(values, corner, axis=0) * weight.reshape(shape)
        return mixed

    def hulls(self, rings: list[tuple[int, ...]], grow: float = 0.0) -> NDArray[np.bool_]:
        """Inside the convex hulls of rings of vertices, grown by a share of the side."""
        points = [self.mesh.uv[list(ring)] * self.side for ring in rings]
        picture = cpu.convex_polygons((self.side, self.side), points)
        if grow > 0:
            picture = cpu.dilate(picture, max(1, round(grow * self.side)))
        return np.asarray(picture > 0)

    def _barycentric(self) -> F32:
        a, b, c = ((self.mesh.uv * self.side)[self._vertices[:, k]] for k in range(3))
        at = np.stack([self._columns + 0.5, self._rows + 0.5], 1)

        def cross(u: F32, v: F32) -> F32:
            return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])

        whole = cross(b - a, c - a)
        w = np.stack([cross(b - at, c - at), cross(c - at, a - at), cross(a - at, b - at)], 1)
        w = np.clip(w / whole[:, None], 0, 1)
        return np.asarray(w / w.sum(1, keepdims=True), np.float32)

    def _skin(self) -> F32:
        skin = self.inside.astype(np.float32)
        skin[self.hulls([fm.RIGHT_EYE, fm.LEFT_EYE], 0.02)] = 0
        skin[self.hulls([fm.RIGHT_BROW, fm.LEFT_BROW], 0.02)] = 0
        skin[self.hulls([fm.OUTER_LIPS], 0.02)] = 0
        skin[self.hulls([fm.NOSTRILS], 0.005)] = 0
        away = smoothstep(self.spread(self.mesh.oval_distance), 0.7, 1.8)
        return np.asarray(skin * away, np.float32)

    def _paint(self, top: float = 0.55) -> F32:
        """`top`: how far up the forehead, 0 at the brows, 1 at the hairline: hair begins anywhere
        between, so the swap ends well below it."""
        mesh = self.mesh
        mask = smoothstep(self.spread(mesh.oval_distance), 0.15, 1.6)
        brows = mesh.xyz[list(fm.RIGHT_BROW + fm.LEFT_BROW), 1].max()
        end = brows + (mesh.xyz[fm.HAIRLINE, 1] - brows) * top
        mask = mask * (1 - smoothstep(self.spread(mesh.xyz[:, 1]), end - 0.9, end + 1.1))
        mask[~self.inside] = 0
        return np.asarray(mask, np.float32)


def low_pass(texture: F32, weight: F32) -> F32:
    """The light on a face: blurred from the texels that count, wide where few of them are near.

    Args:
        texture: (n, n, c) float32.
        weight: (n, n) float32, 0 or more: how much each texel counts.

    Normalised convolution. Source: Knutsson, Westin, CVPR 1993.
    """
    side = texture.shape[0]
    sigma = LIGHT_SIGMA * side
    size = 2 * round(2.5 * sigma) + 1
    both = np.dstack([texture * weight[..., None], weight])
    fine = cpu.blur(both, sigma, size)
    coarse = cpu.blur(cpu.resize(both, COARSE_SIDE, COARSE_SIDE), COARSE_SIGMA * COARSE_SIDE)
    coarse = coarse[..., :-1] / (coarse[..., -1:] + 1e-4)
    coarse = cpu.resize(coarse, side, side)
    light = (fine[..., :-1] + COARSE_WEIGHT * coarse) / (fine[..., -1:] + COARSE_WEIGHT)
    return np.asarray(light, np.float32)


def agreeing(logged: F32, counts: F32, limits: tuple[float, float], rounds: int) -> tuple[F32, F32]:
    """Which texels agree with the light around them; the others are features, or cover the face.

    Args:
        logged: (n, n, 3) float32, log luma, Cb, Cr.
        counts: (n, n) float32, how much each texel may count.
        limits: distance from the light between which a texel stops to count.
        rounds: the light is worked out again so many times, from what agreed.

    Returns:
        What each texel counts now, and how far it is from the light, both (n, n) float32.
    """
    weight = counts + 1e-6
    for _ in range(rounds):
        light = low_pass(logged, weight)
        off = np.abs(logged[..., 0] - light[..., 0]) + 4 * np.abs(logged[..., 1] - light[..., 1])
        weight = (counts * (1 - smoothstep(off, *limits))).astype(np.float32) + 1e-6
    return weight, off


def standard_deviation(values: F32, weight: F32) -> float:
    """Root of the weighted mean square (about 0) of (n, n) values."""
    return float(np.sqrt((weight * values * values).sum() / max(float(weight.sum()), 1e-6)))
