"""Hands: where the hand net should look, and which part of the picture a hand covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32
from .roi import Roi

__all__ = [
    "hand_box",
    "hand_polygons",
    "hand_size",
    "palm_centre",
    "roi_from_hand",
    "roi_from_palm",
]

WRIST = 0
KNUCKLES = (5, 9, 13, 17)
"""Where index, middle, ring and little finger leave the palm (their MCP joints)."""

PALM_WRIST, PALM_MIDDLE = 0, 2
"""Of the palm detector's seven points: the wrist and the middle finger's knuckle."""

PALM_SCALE, PALM_SHIFT = 2.6, -0.5
"""Region by the palm's box: side, and move towards the fingers. Source: MediaPipe's graph
palm_detection_detection_to_roi."""

STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""The points that a region is taken from: without the last two of each finger, which move most.
Source: MediaPipe's graph hand_landmark_landmarks_to_roi."""

HAND_SCALE, HAND_SHIFT = 2.0, -0.1
"""Region by the square of the steady points: side, and move towards the fingers. Source: as above."""

PALM_OUTLINE = (0, 1, 2, 5, 9, 13, 17)
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))

# Radii by the breadth of the palm between the outer knuckles (about 6 cm in an adult); tuned by eye.
FINGER_RADII = (0.185, 0.17, 0.16, 0.16)
THUMB_RADII = (0.26, 0.23, 0.20, 0.19)
PALM_RADIUS = 0.2
WRIST_RADIUS = 0.42
FOREARM_RADIUS = 0.48

BREADTH_BY_LENGTH = 0.58
"""Least breadth of the palm by its length from the wrist to the middle finger's knuckle: guards
against a palm seen edge-on whose depth the net underrates."""

DISC = np.stack([f(np.linspace(0, 2 * np.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], -1)


def _direction(start: F32, end: F32) -> float:
    """Angle of a region's x axis if `start` to `end` shall point up in it, radians."""
    dx, dy = end[:2] - start[:2]
    return float(np.arctan2(dx, -dy))


def _turned_square(middle: F32, size: float, height: float, angle: float, shift: float) -> Roi:
    """A square of that side, its middle moved along its y axis by `shift` heights."""
    move = height * shift
    return Roi(
        float(middle[0] - move * np.sin(angle)),
        float(middle[1] + move * np.cos(angle)),
        size,
        angle,
    )


def roi_from_palm(box: F32, points: F32) -> Roi:
    """For the hand net, from what the palm detector found.

    Args:
        box: (4,) float32, left, top, right, bottom, pixels.
        points: (7, 2) float32, pixels.
    """
    extent = box[2:] - box[:2]
    angle = _direction(points[PALM_WRIST], points[PALM_MIDDLE])
    size = float(extent.max()) * PALM_SCALE
    middle = np.asarray((box[:2] + box[2:]) / 2, np.float32)
    return _turned_square(middle, size, float(extent[1]), angle, PALM_SHIFT)


def roi_from_hand(points: F32) -> Roi:
    """For the hand net, from the hand one frame before, (21, 2 or more) float32, pixels."""
    index, middle, ring = points[5], points[9], points[13]
    angle = _direction(points[WRIST], (index + 2 * middle + ring) / 4)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    turned = points[list(STEADY), :2] @ turn.T
    low, high = turned.min(0), turned.max(0)
    centre = np.asarray(turn.T @ ((low + high) / 2), np.float32)
    extent = high - low
    return _turned_square(
        centre, float(extent.max()) * HAND_SCALE, float(extent[1]), angle, HAND_SHIFT
    )


def hand_box(points: F32) -> F32:
    """(4,) float32 left, top, right, bottom of a hand (21, 2 or more), pixels."""
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)


def palm_centre(points: F32) -> F32:
    """(2,) float32, middle between the wrist and the middle of the knuckles, pixels."""
    knuckles = points[list(KNUCKLES), :2].mean(0)
    return np.asarray((points[WRIST, :2] + knuckles) / 2, np.float32)


def hand_size(points: F32) -> float:
    """Length of the palm of a hand (21, 3) in space, wrist to the middle finger's knuckle, pixels."""
    return float(np.linalg.norm(points[9] - points[WRIST]))


def _breadth(points: F32) -> float:
    """Of the palm in space, from the index finger's knuckle to the little finger's, pixels."""
    across = float(np.linalg.norm(points[KNUCKLES[0]] - points[KNUCKLES[-1]]))
    return max(across, BREADTH_BY_LENGTH * hand_size(points))


def _hull(points: F32) -> F32:
    """Convex hull of (n, 2) points: (k, 2) float32 (Andrew's monotone chain)."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))].tolist()

    def chain(run: Sequence[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for x, y in run:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append([x, y])
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]), np.float32)


def _hull_of_discs(centres: F32, radii: Sequence[float]) -> F32:
    """Convex hull (k, 2) of discs around (n, 2) centres with these n radii, pixels."""
    discs = centres[:, None] + np.asarray(radii)[:, None, None] * DISC
    return _hull(discs.reshape(-1, 2))


def hand_polygons(points: F32) -> list[F32]:
    """The hand as seen, a little generous: the palm, the fingers and the beginning of the forearm.

    All widths follow from the breadth of the palm in space, so that they hold when the palm is seen
    edge-on.

    Args:
        points: (21, 3) float32, pixels.

    Returns:
        Convex polygons (k, 2) float32, pixels, which overlap.
    """
    xy, unit = points[:, :2], _breadth(points)
    wrist = xy[WRIST]
    along = wrist - xy[list(KNUCKLES)].mean(0)
    forearm = np.stack([wrist, wrist + along])
    palm_radii = [WRIST_RADIUS, *(PALM_RADIUS for _ in PALM_OUTLINE[1:])]
    polygons = [
        _hull_of_discs(xy[list(PALM_OUTLINE)], [unit * r for r in palm_radii]),
        _hull_of_discs(forearm, [unit * WRIST_RADIUS, unit * FOREARM_RADIUS]),
    ]
    for finger in FINGERS:
        radii = THUMB_RADII if finger is FINGERS[0] else FINGER_RADII
        for k in range(3):
            part = [finger[k], finger[k + 1]]
            polygons.append(_hull_of_discs(xy[part], [unit * r for r in radii[k : k + 2]]))
    return polygons
