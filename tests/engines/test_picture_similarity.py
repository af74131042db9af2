"""Structural similarity and decibels, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.engines.similarity import EXACT_DB, decibels, is_image, psnr, ssim

RANDOM = np.random.default_rng(0)
PICTURE = np.cumsum(RANDOM.normal(size=(3, 40, 33)), axis=2).astype(np.float32)
NOISY = PICTURE + RANDOM.normal(0, 0.4, PICTURE.shape).astype(np.float32)


@pytest.mark.parametrize("last", [False, True])
def test_similarity_is_that_of_scikit_image(last):
    metrics = pytest.importorskip("skimage.metrics")
    got, want = (np.moveaxis(one, 0, 2) if last else one for one in (NOISY, PICTURE))
    theirs = metrics.structural_similarity(
        want.astype(np.float64), got.astype(np.float64), gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, data_range=float(np.ptp(want)), channel_axis=2 if last else 0,
    )  # fmt: skip
    assert ssim(got, want) == pytest.approx(theirs, abs=1e-9)
    assert 0.5 < theirs < 0.99


def test_equal_pictures_are_alike_and_small_or_flat_ones_have_no_structure():
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)
    assert ssim(PICTURE[:, :10], PICTURE[:, :10]) is None
    assert ssim(np.ones((3, 20, 20)), np.ones((3, 20, 20))) is None


def test_decibels_are_those_of_the_norm():
    assert decibels(0.1) == pytest.approx(20)
    assert decibels(0.0) == EXACT_DB
    assert decibels(1.0) == 0
    assert psnr(PICTURE, PICTURE) == EXACT_DB
    span = float(np.ptp(PICTURE))
    assert psnr(PICTURE + span / 100, PICTURE) == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((2, 3, 8, 8), True), ((2, 8, 8, 3), True), ((2, 4, 8, 8), False), ((2, 3), False)],
)
def test_pictures_have_three_planes(shape, image):
    assert is_image(shape) is image
