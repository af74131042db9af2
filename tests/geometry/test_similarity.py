"""Similarities against OpenCV and scikit-image, and which points have one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import skimage.transform
from numpy.typing import NDArray

from ffswap.errors import InternalError
from ffswap.geometry.similarity import is_alignable, similarity

F64 = NDArray[np.float64]

TEMPLATE: F64 = np.array(
    [[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.825], [0.63, 0.823]], np.float64
)


def faces(n: int, noise: float, seed: int = 1) -> F64:
    """(n, 5, 2): the template in all turns and sizes, with every point off by some share of it."""
    rng = np.random.default_rng(seed)
    angle, side = rng.uniform(-np.pi, np.pi, n), np.exp(rng.uniform(np.log(20), np.log(900), n))
    c, s = np.cos(angle) * side, np.sin(angle) * side
    turn = np.stack([np.stack([c, -s], 1), np.stack([s, c], 1)], 1)
    shape = TEMPLATE + rng.normal(0, noise, (n, 5, 2))
    return np.asarray(np.einsum("nij,nkj->nki", turn, shape) + rng.uniform(0, 2000, (n, 1, 2)))


def laid(matrix: F64, points: F64) -> F64:
    return np.asarray(np.einsum("nij,nkj->nki", matrix[:, :, :2], points) + matrix[:, None, :, 2])


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08])
def test_it_is_the_similarity_of_scikit_image(noise):
    points = faces(50, noise)
    got = similarity(points, TEMPLATE, 256)
    assert got.shape == (50, 2, 3)
    assert got.dtype == np.float64
    for one, matrix in zip(points, got, strict=True):
        reference: Any = skimage.transform.estimate_transform("similarity", one, TEMPLATE * 256)
        assert np.abs(reference(one) - laid(matrix[None], one[None])[0]).max() < 1e-8


@pytest.mark.parametrize("aspect", [0.5, 16 / 11, 2.0])
def test_pixels_that_are_not_square_are_made_so_first(aspect):
    points = faces(20, 0.02)
    got = similarity(points / (aspect, 1), TEMPLATE, 256, aspect)
    want = laid(similarity(points, TEMPLATE, 256), points)
    assert np.abs(laid(got, points / (aspect, 1)) - want).max() < 1e-8


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.06])
def test_it_is_what_the_published_call_of_opencv_finds(noise):
    """With its threshold of 100 pixels, and to the precision at which its refinement stops."""
    points = faces(30, noise, seed=2)
    got = similarity(points, TEMPLATE, 256)
    for one, matrix in zip(points, got, strict=True):
        reference, inliers = cv2.estimateAffinePartial2D(
            one, TEMPLATE * 256, method=cv2.RANSAC, ransacReprojThreshold=100
        )
        assert inliers.all()
        apart = laid(np.asarray(reference, np.float64)[None], one[None]) - laid(
            matrix[None], one[None]
        )
        assert np.abs(apart).max() < 1e-2


def test_exact_points_come_back_exactly_in_every_size():
    points = faces(20, 0.0)
    for size in (1, 112, 512):
        got = laid(similarity(points.astype(np.float32), TEMPLATE.astype(np.float32), size), points)
        assert np.abs(got - TEMPLATE * size).max() < 1e-3 * size


def test_it_never_mirrors():
    """The best fit of a mirrored face by turn and scale alone keeps the sense of rotation."""
    mirrored = faces(10, 0.05) * [-1, 1]
    got = similarity(mirrored, TEMPLATE, 256)
    assert (np.linalg.det(got[:, :, :2]) > 0).all()


def test_no_faces_give_no_matrices():
    none = np.zeros((0, 5, 2), np.float32)
    assert similarity(none, TEMPLATE, 256).shape == (0, 2, 3)
    assert is_alignable(none).shape == (0,)


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_points_without_a_similarity_are_refused(value):
    points = faces(3, 0.0)
    points[1] = value
    with pytest.raises(InternalError, match="cannot be aligned"):
        similarity(points, TEMPLATE, 256)
    assert is_alignable(points).tolist() == [True, False, True]


def test_a_best_scale_of_nothing_is_refused():
    """A square and its mirror image: every turn fits as badly as the next."""
    square = np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]], np.float64)
    with pytest.raises(InternalError, match="in no size"):
        similarity(square[None] * [-1, 1], square, 1)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_faces_in_every_turn_and_size_are_alignable(noise):
    assert is_alignable(faces(200, noise, seed=3)).all()


def test_a_face_seen_from_the_side_is_alignable():
    """Both eyes, and both corners of the mouth, one behind the other."""
    side_on = TEMPLATE * 100
    side_on[:, 0] = [40, 41, 55, 42, 43]
    assert is_alignable(side_on[None])[0]
    side_on[:, 0] = [41, 40, 55, 43, 42]
    assert is_alignable(side_on[None])[0]


def test_a_mirrored_face_and_a_speck_are_not():
    assert not is_alignable(faces(20, 0.0) * [-1, 1]).any()
    assert is_alignable(TEMPLATE[None] * 12)[0]
    assert not is_alignable(TEMPLATE[None] * 2)[0]


def test_what_is_alignable_has_a_similarity_that_can_be_undone():
    points = np.random.default_rng(4).uniform(0, 300, (500, 5, 2))
    keep = is_alignable(points)
    assert 20 < keep.sum() < 480
    matrices = similarity(points[keep], TEMPLATE, 256)
    assert np.linalg.det(matrices[:, :, :2]).min() > 1e-3
