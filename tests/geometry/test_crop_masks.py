"""Box masks against OpenCV and the published numbers; the tiles of pixel boost against the formula."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ffswap.geometry.crop_masks import AREAS, box_mask, join_boost, split_boost

FLOAT_ERROR = 2e-6
"""Sums of a few hundred float32 products of up to 1."""


@pytest.mark.parametrize("size", [64, 112, 128, 256, 512, 513])
@pytest.mark.parametrize("blur", [0.0, 0.02, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(
    "padding", [(0, 0, 0, 0), (10, 0, 25, 3), (100, 0, 0, 0), (60, 60, 60, 60)]
)
def test_a_box_is_what_opencv_makes_of_it(size, blur, padding):
    pixels = int(size * 0.5 * blur)
    top, right, bottom, left = (max(pixels // 2, 1, int(size * p / 100)) for p in padding)
    want = np.ones((size, size), np.float32)
    want[:top], want[-bottom:], want[:, :left], want[:, -right:] = 0, 0, 0, 0
    if pixels:
        want = cv2.GaussianBlur(want, (0, 0), pixels * 0.25)
    got = box_mask(size, blur, padding)
    assert got.dtype == np.float32
    assert got.shape == (size, size)
    assert np.abs(got - want).max() < FLOAT_ERROR


@pytest.mark.parametrize(
    ("size", "border", "sigma"), [(256, 19, 9.5), (128, 9, 4.75), (512, 38, 19.0)]
)
def test_the_published_sizes_have_the_published_border_and_softness(size, border, sigma):
    middle = box_mask(size, 0.3, (0, 0, 0, 0))[size // 2].astype(np.float64)
    assert middle[border - 1] + middle[border] == pytest.approx(1, abs=1e-3)
    slope = 1 / (sigma * np.sqrt(2 * np.pi))
    assert middle[border] - middle[border - 1] == pytest.approx(slope, rel=0.01)
    assert middle[size // 2] > 0.99


def test_padding_is_top_right_bottom_left():
    mask = box_mask(100, 0.0, (10, 20, 30, 40))
    assert (mask[10:70, 40:80] == 1).all()
    assert mask.sum() == 60 * 40


@pytest.mark.parametrize("k", [1, 2, 3, 4, 8])
def test_tiles_are_those_of_the_published_formula(k):
    small = 16
    crop = np.random.default_rng(k).random((small * k, small * k, 3), np.float32)
    formula = crop.reshape(small, k, small, k, 3).transpose(1, 3, 0, 2, 4)
    want = formula.reshape(k**2, small, small, 3)
    got = split_boost(crop.transpose(2, 0, 1)[None], k)
    assert np.array_equal(got.transpose(0, 2, 3, 1), want)
    back = want.reshape(k, k, small, small, 3).transpose(2, 0, 3, 1, 4)
    joined = join_boost(got, k)
    assert np.array_equal(joined[0].transpose(1, 2, 0), back.reshape(small * k, small * k, 3))


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 3])
def test_tiles_of_several_crops_come_back_exactly(n, k):
    crops = np.random.default_rng(n).random((n, 3, 12 * k, 12 * k), np.float32)
    tiles = split_boost(crops, k)
    assert tiles.shape == (n * k * k, 3, 12, 12)
    assert tiles.flags.c_contiguous
    assert np.array_equal(tiles[(n - 1) * k * k], crops[-1, :, ::k, ::k])
    assert np.array_equal(join_boost(tiles, k), crops)


def test_areas_are_made_of_the_68_points():
    assert AREAS["mouth"] == tuple(range(48, 68))
    assert AREAS["upper-face"] == (
        0, 1, 2, 31, 32, 33, 34, 35, 14, 15, 16, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    )  # fmt: skip
    assert AREAS["lower-face"] == (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 35, 34, 33, 32, 31)
