"""The 68 points: crops, answers of the nets, five points and quarter turns, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.errors import ModelError
from ffswap.geometry import affine
from ffswap.geometry.landmarks import (
    decode_fan_heatmap,
    decode_peppa_wutz,
    eye_angle,
    face_angle,
    five_of,
    landmark_matrix,
)


def numbered() -> F32:
    """(1, 68, 2): point k at (k, 100 + k)."""
    k = np.arange(68, dtype=np.float32)
    return np.stack([k, 100 + k], 1)[None]


def test_five_of_sixty_eight():
    got = five_of(numbered())
    # The means of 36 to 41 and of 42 to 47, then 30, 48 and 54.
    want = [[38.5, 138.5], [44.5, 144.5], [30, 130], [48, 148], [54, 154]]
    assert got.shape == (1, 5, 2)
    assert got.dtype == np.float32
    assert got[0].tolist() == want
    assert five_of(np.zeros((0, 68, 2), np.float32)).shape == (0, 5, 2)


@pytest.mark.parametrize("degrees", range(-180, 181, 20))
def test_the_jaw_tells_the_quarter_turn(degrees):
    landmarks = np.zeros((1, 68, 2), np.float32)
    turn = np.deg2rad(degrees)
    landmarks[0, 16] = np.cos(turn) * 90, np.sin(turn) * 90
    want = min((0, 90, 180, 270), key=lambda a: abs((a - degrees + 180) % 360 - 180))
    assert face_angle(landmarks).tolist() == [want]
    assert eye_angle(landmarks[:, [0, 16, 2, 3, 4]]).tolist() == [want]


def test_the_crop_of_an_upright_face_by_hand():
    # 78 by 97.5 pixels: twice as large, the middle (139, 248.75) at (128, 128).
    matrix = landmark_matrix(np.array([100, 200, 178, 297.5], np.float32), 0, 256)
    assert matrix.tolist() == [[2, 0, 128 - 278], [0, 2, 128 - 497.5]]


def test_a_box_without_extent_is_one_pixel():
    matrix = landmark_matrix(np.array([10, 10, 10, 10], np.float32), 0, 256)
    assert affine.scale_of(matrix) == pytest.approx(195)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_the_crop_is_turned_as_opencv_turns_pictures(angle):
    """First the crop, then its picture counter-clockwise about (128, 128)."""
    box = np.array([31.5, 47.0, 131.25, 190.5], np.float32)
    upright = landmark_matrix(box, 0, 256)
    turned = np.asarray(cv2.getRotationMatrix2D((128, 128), angle, 1), np.float64)
    got = landmark_matrix(box, angle, 256)
    assert np.abs(got - affine.compose(turned, upright)).max() < 1e-9


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_turned_face_stands_upright_in_its_crop(angle):
    """Its left and right ends of the jaw come to lie left and right."""
    landmarks = np.zeros((1, 68, 2), np.float32)
    along = np.round([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    landmarks[0, 0], landmarks[0, 16] = 200 - 40 * along, 200 + 40 * along
    (got,) = face_angle(landmarks).tolist()
    box = np.array([150, 150, 250, 250], np.float32)
    left, right = affine.apply(landmark_matrix(box, got, 256), landmarks[0, [0, 16]])
    assert left == pytest.approx((128 - 78, 128), abs=1e-3)
    assert right == pytest.approx((128 + 78, 128), abs=1e-3)


@pytest.mark.parametrize("columns", [2, 3])
def test_a_fan_net_by_hand(columns):
    points = np.zeros((2, 68, columns), np.float32)
    points[0, 5, :2] = 16, 40.5
    points[1, 67, :2] = 64, 0.25
    heatmaps = np.zeros((2, 68, 64, 64), np.float32)
    heatmaps[0, :, 10, 20] = 0.45
    heatmaps[1, :34, 0, 63], heatmaps[1, 34:, 63, 0] = 0.99, 0.95
    landmarks, score = decode_fan_heatmap(points, heatmaps, 256)
    assert landmarks.shape == (2, 68, 2)
    assert landmarks[0, 5].tolist() == [64, 162]
    assert landmarks[1, 67].tolist() == [256, 1]
    assert score == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("shape", [(2, 204), (2, 68, 3), (2, 1, 204)])
def test_a_peppa_net_by_hand(shape):
    values = np.zeros((2, 68, 3), np.float32)
    values[0, 7] = 32, 8, 0
    values[0, :, 2], values[1, :, 2] = 0.38, 0.99
    landmarks, score = decode_peppa_wutz(values.reshape(shape), 256)
    assert landmarks.shape == (2, 68, 2)
    assert landmarks[0, 7].tolist() == [128, 32]
    assert score == pytest.approx([0.4, 1.0])


def test_answers_of_other_nets_are_refused():
    five, heat = np.zeros((1, 5, 2), np.float32), np.zeros((1, 68, 64, 64), np.float32)
    for points, maps in ((five, heat), (numbered(), heat[:, :5]), (numbered()[0], heat)):
        with pytest.raises(ModelError, match="landmark net") as caught:
            decode_fan_heatmap(points, maps, 256)
        assert caught.value.hint
    with pytest.raises(ModelError, match=r"\(1, 136\); allowed: \(n, 68, 3\)"):
        decode_peppa_wutz(np.zeros((1, 136), np.float32), 256)
