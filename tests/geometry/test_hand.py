"""Regions for the hand net, and the outline of a hand, on a hand made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.geometry.hand import (
    hand_box,
    hand_polygons,
    hand_size,
    palm_centre,
    roi_from_hand,
    roi_from_palm,
)


def flat_hand() -> F32:
    """(21, 3): fingers up, palm 100 long, fingers parallel, knuckles 20 apart; wrist at (50, 200)."""
    points = np.zeros((21, 3), np.float32)
    points[0, :2] = 50, 200
    for k in range(4):
        points[1 + k, :2] = 20 - 10 * k, 180 - 20 * k
        for finger in range(4):
            points[5 + 4 * finger + k, :2] = 30 + 20 * finger, 100 - 25 * k
    return points


def turned(points: F32, angle: float, scale: float = 1.0, shift: tuple[float, float] = (0, 0)):
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    out = points.copy() * np.float32(scale)
    out[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]]) + shift
    return out


def area(polygon: F32) -> float:
    x, y = polygon.T.astype(float)
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def inside(polygon: F32, point: F32) -> bool:
    """Whether a convex polygon holds a point."""
    edge, to = np.roll(polygon, -1, axis=0) - polygon, point - polygon
    turn = edge[:, 0] * to[:, 1] - edge[:, 1] * to[:, 0]
    return bool((turn >= 0).all() or (turn <= 0).all())


@pytest.mark.parametrize(
    ("wrist", "middle", "angle", "centre"),
    [
        ((100, 120), (100, 80), 0, (100, 80)),
        ((80, 100), (120, 100), np.pi / 2, (120, 100)),
        ((100, 80), (100, 120), np.pi, (100, 120)),
        ((120, 100), (80, 100), -np.pi / 2, (80, 100)),
    ],
)
def test_region_of_a_palm(wrist, middle, angle: float, centre):
    points = np.zeros((7, 2), np.float32)
    points[0], points[2] = wrist, middle
    roi = roi_from_palm(np.array([80, 80, 120, 120], np.float32), points)
    assert roi.size == pytest.approx(104)  # 2.6 times 40
    assert np.cos(roi.angle - angle) == pytest.approx(1)
    assert (roi.cx, roi.cy) == pytest.approx(centre, abs=1e-4)  # half the box to the fingers


def test_region_of_a_hand_by_hand():
    points = flat_hand()
    points[:, 0] -= points[[5, 9, 9, 13], 0].mean() - 50  # the knuckles straight above the wrist
    points[0, 0] = 50
    roi = roi_from_hand(points)
    # Steady points: y from 75 (second joints) to 200, x from -10 (thumb) to 90 around them.
    low, high = points[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18], 0].min(), points[17, 0]
    assert roi.angle == pytest.approx(0, abs=1e-6)
    assert roi.size == pytest.approx(2 * 125)
    assert roi.cx == pytest.approx((low + high) / 2, abs=1e-4)
    assert roi.cy == pytest.approx((75 + 200) / 2 - 0.1 * 125, abs=1e-3)


def test_region_turns_and_grows_with_the_hand():
    points = flat_hand()
    roi = roi_from_hand(points)
    other = roi_from_hand(turned(points, 1.0, 2.0, (7, -3)))
    assert other.size == pytest.approx(2 * roi.size, rel=1e-5)
    assert np.cos(other.angle - roi.angle - 1.0) == pytest.approx(1)
    centre = turned(np.array([[roi.cx, roi.cy, 0]], np.float32), 1.0, 2.0, (7, -3))[0, :2]
    assert (other.cx, other.cy) == pytest.approx(tuple(centre), abs=1e-2)


def test_measures_of_a_hand():
    points = flat_hand()
    assert hand_box(points).tolist() == [-10, 25, 90, 200]
    assert palm_centre(points).tolist() == [55, 150]
    assert hand_size(points) == pytest.approx(100)
    points[9, 2] = 75
    assert hand_size(points) == pytest.approx(125)  # in space


def test_polygons_hold_every_point_and_are_convex():
    points = flat_hand()
    polygons = hand_polygons(points)
    assert len(polygons) == 2 + 5 * 3
    for polygon in polygons:
        assert polygon.dtype == np.float32
        steps = np.roll(polygon, -1, axis=0) - polygon
        turn = steps[:, 0] * np.roll(steps[:, 1], -1) - steps[:, 1] * np.roll(steps[:, 0], -1)
        assert (turn > 0).all()
    for point in points[:, :2]:
        assert any(inside(p, point) for p in polygons)
        # With a margin of at least 15 % of the palm's breadth (60).
        for step in ((9, 0), (-9, 0), (0, 9), (0, -9)):
            assert any(inside(p, point + step) for p in polygons)


def test_polygons_hold_the_palm_and_the_beginning_of_the_forearm_only():
    points = flat_hand()

    def covered(x: float, y: float) -> bool:
        return any(inside(p, np.array([x, y])) for p in hand_polygons(points))

    assert covered(60, 140)
    assert covered(50, 290)  # 90 of a palm length of 100 behind the wrist
    assert not covered(50, 350)
    assert not covered(60, 0)
    assert not covered(-60, 150)
    assert not covered(150, 150)


@pytest.mark.parametrize("scale", [0.25, 2.0, 5.0])
def test_polygons_grow_with_the_hand(scale: float):
    small = [area(p) for p in hand_polygons(flat_hand())]
    large = [area(p) for p in hand_polygons(turned(flat_hand(), 0.7, scale))]
    np.testing.assert_allclose(large, np.array(small) * scale**2, rtol=0.03)


def test_a_palm_seen_edge_on_keeps_the_width_of_its_fingers():
    flat = flat_hand()
    edge = flat.copy()
    edge[1:, 2] = flat[1:, 0] - 50  # turned by 90 degrees about the forearm
    edge[1:, 0] = 50
    finger = -1  # the last segment of the little finger
    got, want = area(hand_polygons(edge)[finger]), area(hand_polygons(flat)[finger])
    assert got == pytest.approx(want, rel=0.1)


def test_points_in_one_place_give_no_error():
    for polygon in hand_polygons(np.full((21, 3), 5, np.float32)):
        assert set(polygon.ravel().tolist()) == {5}
