"""Light, skin tone, sharpness and pose against faces that are made to have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.geometry.face_traits import (
    POSES,
    SKIN_TONES,
    light_and_ita,
    pose_angles,
    pose_group,
    sharpness,
    skin_group,
)

# A head of its own, not the one that is fitted: x right, y down, z to the camera, mm.
HEAD = np.array([[-32, -34, 1], [32, -34, 1], [0, 6, 24], [-24, 36, 0], [24, 36, 0]], np.float64)


def turned(yaw: float, pitch: float, roll: float = 0.0) -> NDArray[Any]:
    """Five points of the head, seen from far away."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    seen = HEAD @ (about_z @ about_y @ about_x).T
    points: NDArray[Any] = (2.5 * seen[:, :2] + [300, 200]).astype(np.float32)
    return points


@pytest.mark.parametrize("yaw", [-40, -15, 0, 25, 50])
@pytest.mark.parametrize("roll", [-30, 0, 80])
def test_yaw_is_positive_to_the_right_whatever_the_roll(yaw, roll):
    found, pitch = pose_angles(turned(yaw, 0, roll))
    assert found == pytest.approx(yaw, abs=10)
    assert abs(pitch) < 10


@pytest.mark.parametrize("pitch", [-30, -10, 0, 10, 30])
def test_pitch_is_positive_upwards(pitch):
    yaw, found = pose_angles(turned(0, pitch))
    assert found == pytest.approx(pitch, abs=10)
    assert abs(yaw) < 5


def test_points_at_one_place_have_no_pose():
    assert pose_angles(np.full((5, 2), 7, np.float32)) == (0, 0)


@pytest.mark.parametrize(
    ("yaw", "pitch", "group"),
    [
        (0, 0, "front"), (-20, 15, "front"), (-35, 10, "left"), (35, 10, "right"),
        (25, 30, "up"), (-25, -30, "down"),
    ],
)  # fmt: skip
def test_poses_are_named_by_where_they_are_further_off(yaw, pitch, group):
    assert POSES[pose_group(yaw, pitch)] == group


def crop(rgb) -> NDArray[Any]:
    pixels = np.asarray(rgb, np.float32).reshape(3, 1, 1) / 255
    return np.tile(pixels, (1, 112, 112))


@pytest.mark.parametrize(
    ("rgb", "light", "ita"),
    [  # L*, a*, b* by the published formulae, D65
        ((119, 119, 119), 50.0, None),
        ((255, 255, 255), 100.0, None),
        ((224, 172, 105), 73.8, 29.3),
        ((141, 85, 36), 41.8, -12.7),
        ((255, 219, 172), 89.2, 53.0),
    ],
)
def test_light_and_angle_of_known_colours(rgb, light, ita):
    found, angle = light_and_ita(crop(rgb))
    assert found == pytest.approx(light, abs=0.6)
    if ita is not None:
        assert angle == pytest.approx(ita, abs=2.5)


def test_eyes_mouth_and_background_do_not_count():
    face = crop((224, 172, 105))
    skin = light_and_ita(face)
    face[:, :50], face[:, 85:], face[:, :, :20], face[:, :, 92:] = 0, 1, 0, 1
    assert light_and_ita(face) == skin


@pytest.mark.parametrize(
    ("ita", "name"), [(-60, "dark"), (-30, "brown"), (10, "tan"), (40, "intermediate"), (60, "very light")]
)  # fmt: skip
def test_skin_tones_are_the_published_classes(ita, name):
    assert SKIN_TONES[skin_group(ita)] == name


def test_a_blurred_crop_is_less_sharp_whatever_its_contrast():
    rows, columns = np.mgrid[0:112, 0:112]
    fine = np.stack([0.5 + 0.3 * np.sin(columns / 1.5) * np.sin(rows / 1.5)] * 3).astype(np.float32)
    coarse = np.stack([0.5 + 0.3 * np.sin(columns / 9) * np.sin(rows / 9)] * 3).astype(np.float32)
    assert sharpness(fine) > sharpness(coarse) + 4
    assert sharpness((0.5 + (fine - 0.5) / 2).astype(np.float32)) == pytest.approx(
        sharpness(fine), abs=0.1
    )
