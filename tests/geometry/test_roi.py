"""Regions of interest: where they lie and how they turn with the face."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.geometry import affine, roi
from ffswap.models import canonical_mesh

UPRIGHT = np.array(
    [[100, 100], [140, 100], [120, 120], [120, 140], [80, 105], [160, 105]], np.float32
)
"""The detector's six points of an upright face: eyes, nose, mouth, ears."""


def turned(points: F32, degrees: float, scale: float = 1.0) -> F32:
    """About (0, 0), clockwise as seen."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out = points.copy()
    out[..., :2] = scale * points[..., :2] @ np.array([[c, s], [-s, c]])
    return np.asarray(out, np.float32)


def a_mesh() -> F32:
    """The canonical face, 20 pixels per centimetre, around (300, 200)."""
    return (canonical_mesh().vertices * [20, -20, -20] + [300, 200, 0]).astype(np.float32)


def test_from_keypoints_by_hand():
    got = roi.roi_from_keypoints(UPRIGHT)
    assert (got.cx, got.cy) == pytest.approx((120, 0.45 * 100 + 0.55 * 140))
    # Eyes 40 apart, mouth 40 below them: 3.4 times 40 is more than 3.1 times 40.
    assert got.size == pytest.approx(136)
    assert got.angle == 0


def test_corners_of_the_mouth_are_as_good_as_its_middle():
    corners = UPRIGHT[3] + np.array([[-12, -1], [12, 1]], np.float32)
    five = np.concatenate([UPRIGHT[:3], corners])
    assert roi.roi_from_keypoints(five) == roi.roi_from_keypoints(UPRIGHT)


def test_a_turned_away_head_is_measured_from_eyes_to_mouth():
    narrow = UPRIGHT.copy()
    narrow[0, 0], narrow[1, 0] = 115, 125
    assert roi.roi_from_keypoints(narrow).size == pytest.approx(124)


@pytest.mark.parametrize("degrees", [0, 35, 90, 180, -120])
def test_keypoints_turn_and_grow_with_the_face(degrees):
    still, moved = (roi.roi_from_keypoints(p) for p in (UPRIGHT, turned(UPRIGHT, degrees, 1.7)))
    centre = turned(np.array([[still.cx, still.cy]], np.float32), degrees, 1.7)[0]
    assert (moved.cx, moved.cy) == pytest.approx(tuple(centre), abs=1e-3)
    assert moved.size == pytest.approx(1.7 * still.size, rel=1e-5)
    difference = np.rad2deg(moved.angle - still.angle) - degrees
    assert (difference + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("degrees", [0, 35, 90, 180, -120])
def test_the_region_of_a_mesh_turns_and_grows_with_it(degrees):
    still, moved = (roi.roi_from_mesh(m) for m in (a_mesh(), turned(a_mesh(), degrees, 0.6)))
    centre = turned(np.array([[still.cx, still.cy]], np.float32), degrees, 0.6)[0]
    assert (moved.cx, moved.cy) == pytest.approx(tuple(centre), abs=1e-2)
    assert moved.size == pytest.approx(0.6 * still.size, rel=1e-4)


@pytest.mark.parametrize("degrees", [0, 50])
def test_the_region_holds_the_mesh_with_its_margin(degrees):
    mesh = turned(a_mesh(), degrees)
    inside = affine.apply(roi.roi_from_mesh(mesh, 1.25).matrix(100), mesh[:, :2])
    # Edges of the crop are at -0.5 and 99.5; the mesh's longer side takes 80 of the 100.
    low, high = inside.min(0), inside.max(0)
    assert np.abs((low + high) / 2 - 49.5).max() < 0.01
    assert (high - low).max() == pytest.approx(80, abs=0.01)
    eyes = inside[[roi.RIGHT_EYE_CORNER, roi.LEFT_EYE_CORNER]]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=0.01)
    assert eyes[0, 0] < eyes[1, 0]


def test_the_usual_margin():
    mesh = a_mesh()
    side = np.ptp(mesh[:, :2], axis=0).max()
    assert roi.roi_from_mesh(mesh).size == pytest.approx(1.5 * side, rel=1e-5)


def test_the_box_of_a_mesh():
    mesh = np.zeros((468, 3), np.float32)
    mesh[5], mesh[9] = (-3, 4, 99), (7, -8, -99)
    assert roi.mesh_box(mesh).tolist() == [-3, -8, 7, 4]


def test_the_five_points_of_a_mesh():
    points = roi.face_points(a_mesh())
    right, left, nose, mouth_right, mouth_left = points
    assert points.shape == (5, 2)
    assert right[1] == pytest.approx(left[1], abs=0.1)
    assert right[0] < nose[0] < left[0]
    assert mouth_right[0] < nose[0] < mouth_left[0]
    assert right[1] < nose[1] < mouth_right[1]
    # The mesh is symmetric about x = 300.
    assert right[0] + left[0] == pytest.approx(600, abs=0.1)
    assert mouth_right[0] + mouth_left[0] == pytest.approx(600, abs=0.1)
    assert nose[0] == pytest.approx(300, abs=0.01)
