"""Affine matrices between pixel grids: known numbers, and that they undo each other."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import affine

EXACT = 1e-4
"""Pixels: float32 results of float64 matrices over coordinates of a few hundred."""


def test_inverting_undoes():
    rng = np.random.default_rng(1)
    points = rng.uniform(-500, 500, (50, 2))
    for angle in (0.0, 0.3, 2.0, -1.2):
        matrix = affine.crop_matrix(120.5, -33.0, 210.0, angle, 192)
        back = affine.apply(affine.invert(matrix), affine.apply(matrix, points))
        assert np.abs(back - points).max() < 1e-3


def test_composing_does_the_first_one_first():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    move = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 7.0]])
    # (1, 0) turned is (0, 1), then moved is (5, 8); the other way round it is (-7, 6).
    assert affine.apply(affine.compose(move, turn), np.array([1.0, 0.0])).tolist() == [5, 8]
    assert affine.apply(affine.compose(turn, move), np.array([1.0, 0.0])).tolist() == [-7, 6]


def test_composing_leaves_its_arguments_alone():
    one, two = affine.crop_matrix(3, 4, 5, 0.1, 6), affine.crop_matrix(7, 8, 9, 0.2, 10)
    before = one.copy(), two.copy()
    affine.compose(one, two)
    assert (one == before[0]).all()
    assert (two == before[1]).all()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_region_is_cut_out_and_turned_by_whole_pixels(rotation):
    """As NumPy turns arrays: counter-clockwise."""
    picture = np.arange(11 * 13).reshape(11, 13)
    x0, y0, width, height = 2, 3, 7, 5
    turned = np.rot90(picture[y0 : y0 + height, x0 : x0 + width], rotation // 90)
    matrix = affine.turn_matrix(x0, y0, width, height, rotation)
    for y in range(y0, y0 + height):
        for x in range(x0, x0 + width):
            column, row = affine.apply(matrix, np.array([x, y], np.float64)).astype(int)
            assert turned[row, column] == picture[y, x]


def test_scale_is_that_of_lengths():
    assert affine.scale_of(affine.crop_matrix(10, 20, 50.0, 0.7, 200)) == pytest.approx(4.0)
    assert affine.scale_of(np.array([[2.0, 0, 1], [0, 8.0, 2]])) == pytest.approx(4.0)
    assert affine.scale_of(np.array([[-1.0, 0, 1], [0, 1.0, 2]])) == pytest.approx(1.0)


def test_apply_keeps_the_shape_and_gives_float32():
    out = affine.apply(np.eye(2, 3), np.zeros((3, 4, 2)))
    assert out.shape == (3, 4, 2)
    assert out.dtype == np.float32


def test_a_crop_maps_edges_to_edges():
    # A square of 100 pixels around pixel (60, 40): its edges are at 10 and 110, -10 and 90. Edge
    # e of a grid whose first pixel is centred on 0 lies at e - 0.5.
    matrix = affine.crop_matrix(60 - 0.5, 40 - 0.5, 100, 0.0, 50)
    corners = affine.apply(matrix, np.array([[10, -10], [110, 90]]) - 0.5)
    assert np.abs(corners - (np.array([[0, 0], [50, 50]]) - 0.5)).max() < EXACT


def test_a_crop_of_the_same_size_is_the_identity():
    assert np.abs(affine.crop_matrix(31.5, 31.5, 64, 0, 64) - np.eye(2, 3)).max() < 1e-12


def test_the_angle_of_a_crop_is_the_direction_of_its_x_axis():
    matrix = affine.crop_matrix(100, 100, 10, np.deg2rad(90), 11)
    middle, below = affine.apply(matrix, np.array([[100.0, 100.0], [100.0, 102.0]]))
    assert np.abs(middle - 5).max() < EXACT
    # y points down, so +90 degrees is downwards: what lies below is on the crop's right.
    assert np.abs(below - [5 + 2.2, 5]).max() < EXACT


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_letterbox_turns_the_picture_upright(rotation):
    """The reference is NumPy's `rot90`, which turns counter-clockwise."""
    height, width, out = 6, 10, 10
    stored = np.arange(height * width).reshape(height, width)
    upright = np.rot90(stored, rotation // 90)
    matrix = affine.letterbox_matrix(0, 0, width, height, rotation, out)
    left, top = (out - upright.shape[1]) // 2, (out - upright.shape[0]) // 2
    for y in range(height):
        for x in range(width):
            column, row = np.round(affine.apply(matrix, np.array([x, y], np.float64))).astype(int)
            assert upright[row - top, column - left] == stored[y, x]


def test_letterbox_known_numbers():
    # 1920 x 1080 into 192: a tenth. The band above is (192 - 108) / 2 = 42 pixels high. The edge
    # of the frame, -0.5, comes to lie on an edge: 41.5 downwards, -0.5 to the right.
    matrix = affine.letterbox_matrix(0, 0, 1920, 1080, 0, 192)
    assert np.abs(affine.apply(matrix, np.array([-0.5, -0.5])) - [-0.5, 41.5]).max() < EXACT
    assert np.abs(affine.apply(matrix, np.array([1919.5, 1079.5])) - [191.5, 149.5]).max() < EXACT


def test_letterbox_of_a_tile_starts_at_its_left_and_top_edge():
    matrix = affine.letterbox_matrix(300, 200, 96, 96, 0, 192)
    assert np.abs(affine.apply(matrix, np.array([299.5, 199.5])) - [-0.5, -0.5]).max() < EXACT
    assert np.abs(affine.apply(matrix, np.array([395.5, 295.5])) - [191.5, 191.5]).max() < EXACT


def test_letterbox_of_a_tall_region():
    matrix = affine.letterbox_matrix(0, 0, 1080, 1920, 0, 192)
    assert np.abs(affine.apply(matrix, np.array([-0.5, -0.5])) - [41.5, -0.5]).max() < EXACT


def test_letterbox_with_an_odd_rest_is_centred_to_half_a_pixel():
    matrix = affine.letterbox_matrix(0, 0, 5, 4, 0, 5)
    assert np.abs(affine.apply(matrix, np.array([0.0, 0.0])) - [0, 0.5]).max() < EXACT
