"""The canonical face mesh: what can be derived once from its vertices and triangles.

Numbering and coordinates are those of MediaPipe's 468-point face mesh: x to the person's left,
y up, z towards the camera, in centimetres of an average face; texture coordinates in 0..1 with
v downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = [
    "FaceMesh",
    "Pose",
    "cheek_width",
    "smoothstep",
]

Pose: TypeAlias = "tuple[float, NDArray[np.float64], NDArray[np.float64]]"
"""A similarity: scale, rotation (3, 3), shift (3,)."""

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_LIDS = (130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247)
LEFT_LIDS = (359, 255, 339, 254, 253, 252, 256, 341, 463, 414, 286, 258, 257, 259, 260, 467)
INNER_MOUTH = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
OUTER_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSTRILS = (98, 97, 2, 326, 327, 4)
CHEEK_TO_CHEEK = (234, 454)
HAIRLINE = 10

OVAL_FADE_CM = 3.0
"""Over this distance from the face oval a change of shape grows from nothing to its full size."""

NORMAL_SMOOTHING = 4
"""Times that normals are averaged with their neighbours': nostrils and lids must not punch holes
in a mask made from them."""


def smoothstep(x: Any, low: float, high: float) -> Any:
    """0 below `low`, 1 above `high`, smooth between; arrays keep their type."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def cheek_width(mesh: F32) -> float:
    """Width of a face as seen, from cheek to cheek, of a mesh (468, 2 or more), pixels."""
    a, b = CHEEK_TO_CHEEK
    return float(np.linalg.norm(mesh[a, :2] - mesh[b, :2]))


class FaceMesh:
    """The mesh and the constant operators on it.

    Args:
        xyz: (468, 3) float32 canonical vertices, centimetres.
        uv: (468, 2) float32 texture coordinates.
        triangles: (898, 3) int32 vertex indices.
        weights: (468,) float32, weight of each vertex in the pose fit, mostly 0.
    """

    def __init__(self, xyz: F32, uv: F32, triangles: NDArray[np.int32], weights: F32) -> None:
        self.xyz, self.uv, self.triangles, self.weights = xyz, uv, triangles, weights
        self.xyz_down = xyz * np.array([1, -1, -1], np.float32)
        """(468, 3): y down and z away from the camera, as in images."""
        self.winding = float(np.sign(np.median(np.sign(self.signed_area(uv)))))
        """Sign of the area of a triangle that faces the camera."""
        self.oval_distance = self._distance_to_oval()
        """(468,) centimetres from the oval in the frontal plane."""
        self.fade = smoothstep(self.oval_distance, 0.0, OVAL_FADE_CM).astype(np.float32)
        self.fade[list(OVAL)] = 0
        self._triangles_at, self._neighbours = self._surroundings()
        own = (self._neighbours < len(xyz)).sum(1, keepdims=True)
        self._share = (1 / own).astype(np.float32)
        self._shape_weights = np.maximum(weights > 0, 0.15).astype(np.float32) + self.fade * 0.5
        self._bases = self._shape_bases()
        self._fits = [np.linalg.pinv(b * self._shape_weights[:, None]) for b in self._bases]

    def signed_area(self, points: F32) -> F32:
        """(898,) twice the area of each triangle of (468, 2 or more) points; its sign: winding."""
        a, b, c = (points[self.triangles[:, k], :2] for k in range(3))
        u, v = b - a, c - a
        return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], np.float32)

    def facing(self, mesh: F32) -> F32:
        """(468,) how much each vertex faces the camera, -1 to 1 (cosine), smoothed."""
        a, b, c = (mesh[self.triangles[:, k]] for k in range(3))
        normal = np.vstack([np.cross(b - a, c - a), np.zeros((1, 3), np.float32)])
        normal = normal[self._triangles_at].sum(1)
        for _ in range(NORMAL_SMOOTHING):
            normal = np.vstack([normal, np.zeros((1, 3), np.float32)])
            normal = normal[self._neighbours].sum(1) * self._share
        length = np.linalg.norm(normal, axis=1) + 1e-9
        return np.asarray(self.winding * normal[:, 2] / length, np.float32)

    def pose(self, mesh: F32) -> Pose:
        """The similarity from canonical space (y down) to the image: scale, (3, 3), (3,).

        Weighted Procrustes fit. Source: Kabsch 1976 with Umeyama's sign correction.
        """
        root = np.sqrt(self.weights)[:, None].astype(np.float64)
        w = root / root.sum()
        mean_q, mean_p = (self.xyz_down * w).sum(0), (mesh * w).sum(0)
        q, p = self.xyz_down - mean_q, mesh - mean_p
        u, s, vt = np.linalg.svd((p * w).T @ q)
        sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
        rotation = u @ sign @ vt
        scale = float((s * np.diag(sign)).sum() / ((q * q) * w).sum())
        return scale, rotation, mean_p - scale * rotation @ mean_q

    def to_canonical(self, mesh: F32, pose: Pose | None = None) -> F32:
        """(468, 3) the mesh with its pose (worked out if None) taken out, centimetres, y down."""
        scale, rotation, shift = pose or self.pose(mesh)
        return np.asarray((mesh - shift) @ rotation / scale, np.float32)

    def smooth_shape(self, difference: F32) -> F32:
        """A difference of shapes (468, 3) without its expression: a low-order symmetric field.

        Proportions (width of the jaw, length of the nose) survive; an open mouth does not.
        """
        weighted = difference * self._shape_weights[:, None]
        fields = [
            basis @ (fit @ weighted[:, k])
            for k, (basis, fit) in enumerate(zip(self._bases, self._fits, strict=True))
        ]
        return np.asarray(np.stack(fields, 1) * self.fade[:, None], np.float32)

    def _distance_to_oval(self) -> F32:
        ring, points = self.xyz[list(OVAL), :2], self.xyz[:, :2]
        best = np.full(len(points), np.inf, np.float32)
        for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            best = np.minimum(best, np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1))
        return best.astype(np.float32)

    def _surroundings(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices (468, most) of each vertex's triangles, and of itself and its neighbours.

        Rows are filled up with an index one too high, where a row of zeros is appended. Tables,
        not matrices: a matrix product this small costs more in waking BLAS's threads.
        """
        touching: list[set[int]] = [set() for _ in self.xyz]
        near: list[set[int]] = [{v} for v in range(len(self.xyz))]
        for number, corners in enumerate(self.triangles.tolist()):
            for vertex in corners:
                touching[vertex].add(number)
                near[vertex].update(corners)
        return _padded(touching, len(self.triangles)), _padded(near, len(self.xyz))

    def _shape_bases(self) -> tuple[F32, F32, F32]:
        """Monomials in x and y (units of half a face) that keep left and right alike."""
        x, y = (self.xyz_down[:, :2] / 8).astype(np.float32).T
        odd = np.stack([x, x * y, x * y**2, x**3, x**3 * y], 1).astype(np.float32)
        even = np.stack([np.ones_like(x), y, y**2, y**3, x**2, x**2 * y, x**4], 1)
        return odd, even.astype(np.float32), even.astype(np.float32)


def _padded(rows: Sequence[set[int]], filler: int) -> NDArray[np.int64]:
    """(n, most) index table of sets of different sizes."""
    most = max(len(row) for row in rows)
    return np.array([[*sorted(row), *[filler] * (most - len(row))] for row in rows], np.int64)
