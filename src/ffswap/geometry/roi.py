"""Where the next net should look: square, turned regions of interest from points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from .affine import crop_matrix

__all__ = ["Roi", "face_points", "mesh_box", "roi_from_keypoints", "roi_from_mesh"]

RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263
"""Outer eye corners in the face mesh (the person's right eye is on the image's left)."""

NOSE_TIP = 4
MOUTH_RIGHT, MOUTH_LEFT = 61, 291
RIGHT_EYE_RING = (33, 133, 159, 145)
LEFT_EYE_RING = (263, 362, 386, 374)

MESH_MARGIN = 1.5
"""Side of the region by the side of the mesh's own square: MediaPipe's face landmark graph."""


@dataclass(frozen=True)
class Roi:
    """A square in an image.

    Attributes:
        cx: centre, pixels.
        cy: the same, downwards.
        size: side, pixels.
        angle: direction of its x axis, radians.
    """

    cx: float
    cy: float
    size: float
    angle: float

    def matrix(self, out: int) -> NDArray[np.float64]:
        """(2, 3), from image pixels to a crop of `out` x `out` pixels."""
        return crop_matrix(self.cx, self.cy, self.size, self.angle, out)


def roi_from_keypoints(points: F32) -> Roi:
    """For the mesh net, from a detector's points.

    Args:
        points: (6, 2): eyes, nose, middle of the mouth, ears; or (5, 2): eyes, nose, corners of the
            mouth.

    The centre lies between eyes and mouth; the size follows whichever of the two distances the
    turn of the head shortens less. Factors found by trial on the mesh that came out.
    """
    eyes = (points[0] + points[1]) / 2
    mouth = points[3] if len(points) == 6 else (points[3] + points[4]) / 2
    dx, dy = points[1] - points[0]
    centre = 0.45 * eyes + 0.55 * mouth
    size = max(np.hypot(dx, dy) * 3.4, np.linalg.norm(mouth - eyes) * 3.1)
    return Roi(float(centre[0]), float(centre[1]), float(size), float(np.arctan2(dy, dx)))


def roi_from_mesh(mesh: F32, margin: float = MESH_MARGIN) -> Roi:
    """For the mesh net, from the mesh of the frame before, (468, 2 or more)."""
    xy = mesh[:, :2]
    dx, dy = xy[LEFT_EYE_CORNER] - xy[RIGHT_EYE_CORNER]
    angle = float(np.arctan2(dy, dx))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    turned = xy @ turn.T
    low, high = turned.min(0), turned.max(0)
    centre = turn.T @ ((low + high) / 2)
    return Roi(float(centre[0]), float(centre[1]), float((high - low).max() * margin), angle)


def mesh_box(mesh: F32) -> F32:
    """(4,) left, top, right, bottom of a mesh (468, 2 or more), pixels."""
    return np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)]).astype(np.float32)


def face_points(mesh: F32) -> F32:
    """(5, 2): eye centres, nose tip, mouth corners of a mesh (468, 2 or more)."""
    xy = mesh[:, :2]
    right, left = xy[list(RIGHT_EYE_RING)].mean(0), xy[list(LEFT_EYE_RING)].mean(0)
    return np.stack([right, left, xy[NOSE_TIP], xy[MOUTH_RIGHT], xy[MOUTH_LEFT]])
