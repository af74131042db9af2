"""Filters, polygons, triangles and blending, against slow NumPy references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.ops import cpu


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts OpenCV's own number of threads back."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("threads")
def test_set_threads():
    cpu.set_threads(1)
    assert cv2.getNumThreads() == 1
    cpu.set_threads(2)
    assert cv2.getNumThreads() == 2


def distance_to_edges(points: NDArray[Any], corners: NDArray[Any]) -> NDArray[np.float64]:
    """Signed distance (n,) of points (n, 2) to a convex polygon (k, 2): positive inside."""
    nxt = np.roll(corners, -1, axis=0)
    area = (corners[:, 0] * nxt[:, 1] - corners[:, 1] * nxt[:, 0]).sum()
    best = np.full(len(points), np.inf)
    for a, b in zip(corners, nxt, strict=True):
        side, to = b - a, points - a
        best = np.minimum(
            best, np.sign(area) * (side[0] * to[:, 1] - side[1] * to[:, 0]) / np.linalg.norm(side)
        )
    return best


def pixels(height: int, width: int) -> NDArray[np.float64]:
    """(h * w, 2) centres of pixels, x and y."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float64)


def test_blur_is_a_gaussian():
    spot = np.zeros((41, 41), np.float32)
    spot[20, 20] = 1
    got = cpu.blur(spot, 2.0)
    x = np.arange(-20, 21)
    bell = np.exp(-(x**2) / 8)
    want = np.outer(bell, bell) / bell.sum() ** 2
    assert np.abs(got - want).max() < 1e-4
    assert (cpu.blur(spot, 2.0, 3)[:, :19] == 0).all()


def test_blur_keeps_constants_to_the_edge():
    got = cpu.blur(np.full((20, 30, 3), 0.7, np.float32), 4.0)
    assert np.abs(got - 0.7).max() < 1e-5


def test_laplacian_by_hand():
    y, x = np.mgrid[0:12, 0:15].astype(np.float32)
    got = cpu.laplacian(x * x + 3 * y * y + x * y)
    assert np.abs(got[1:-1, 1:-1] - 8).max() < 1e-3


def test_exp():
    values = np.linspace(-8, 3, 97, dtype=np.float32).reshape(1, -1)
    assert np.abs(cpu.exp(values) / np.exp(values) - 1).max() < 1e-5


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_dilate_reaches_as_far_as_its_radius(radius):
    spot = np.zeros((21, 21), np.float32)
    spot[10, 10] = 0.5
    got = cpu.dilate(spot, radius)
    y, x = np.mgrid[-10:11, -10:11]
    far = np.hypot(x, y)
    assert (got[far <= radius - 0.5] == 0.5).all()
    assert (got[far > radius + 0.5] == 0).all()
    assert set(np.unique(got)) == {0.0, 0.5}


def test_convex_polygons_against_signed_distances():
    rng = np.random.default_rng(5)
    for _ in range(10):
        corners = rng.uniform(5, 55, (4, 2)).astype(np.float32)
        hull = cv2.convexHull(corners)[:, 0]
        got = cpu.convex_polygons((60, 60), [corners]).ravel()
        inside = distance_to_edges(pixels(60, 60), hull)
        assert (got[inside > 1.1] == 255).all()
        assert (got[inside < -1.1] == 0).all()


def test_convex_polygons_joins_outlines():
    one = np.array([[1, 1], [8, 1], [8, 8], [1, 8]], np.float32)
    got = cpu.convex_polygons((30, 30), [one, one + 15])
    assert got[4, 4] == got[19, 19] == 255
    assert got[4, 19] == got[12, 12] == 0


def test_polygons_are_filled_with_their_value_and_soft_at_the_edge():
    square = np.array([[5, 5], [20.5, 5], [20.5, 20], [5, 20]], np.float32)
    got = cpu.polygons((30, 30), [(square, 200)])
    assert got.dtype == np.uint8
    assert (got[7:18, 7:18] == 200).all()
    assert (got[:, :3] == 0).all()
    assert (got[:, 23:] == 0).all()
    # Half a pixel further right: more is covered of the column on the right than on the left.
    assert int(got[12, 21]) > int(got[12, 4])


def test_later_polygons_lie_over_earlier_ones():
    square = np.array([[2, 2], [12, 2], [12, 12], [2, 12]], np.float32)
    got = cpu.polygons((20, 20), [(square, 255), (square + 4, 90)])
    assert got[4, 4] == 255
    assert got[9, 9] == 90


def test_polygons_follow_subpixel_places():
    """The covered area of a disc is its own, wherever it lies."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = 10 * np.stack([np.cos(angle), np.sin(angle)], 1)
    for shift in (0.0, 0.3, 0.5, 0.8):
        got = cpu.polygons((40, 40), [((ring + 19 + shift).astype(np.float32), 255)]) / 255.0
        y, x = np.mgrid[0:40, 0:40]
        assert (got * x).sum() / got.sum() == pytest.approx(19 + shift, abs=0.1)
        assert (got * y).sum() / got.sum() == pytest.approx(19 + shift, abs=0.1)
        square = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], np.float32) + np.float32(shift)
        got = cpu.polygons((40, 40), [(square, 255)]) / 255.0
        assert (got * x).sum() / got.sum() == pytest.approx(15 + shift, abs=0.15)


@pytest.mark.parametrize("seed", range(8))
def test_triangle_ids_against_point_in_triangle(seed):
    """Pixels further than a pixel from each edge are exact; on the edge OpenCV is generous."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 50, (12, 3, 2)).astype(np.float32)
    ids = np.arange(101, 113)
    got = cpu.triangle_ids((41, 37), corners, ids)
    assert got.dtype == np.int32
    want = np.zeros(41 * 37, np.int64)
    unsure = np.zeros(41 * 37, bool)
    for points, value in zip(corners.astype(np.float64), ids, strict=True):
        away = distance_to_edges(pixels(41, 37), points)
        want[away > 0] = value
        unsure |= np.abs(away) < 1.0
    assert (~unsure).mean() > 0.2
    assert (got.ravel() == want)[~unsure].all()


def test_triangles_of_a_grid_leave_no_gap():
    xs = np.linspace(3.3, 33.7, 5)
    corners = []
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(xs):
            corners += [[[x0, y0], [x1, y0], [x1, y1]], [[x0, y0], [x1, y1], [x0, y1]]]
    got = cpu.triangle_ids((40, 40), np.array(corners, np.float32), np.arange(1, 33))
    assert (got[4:34, 4:34] > 0).all()
    assert (got[:3] == 0).all()
    assert (got[:, 35:] == 0).all()
    # A tile of the grid is 7.6 pixels wide; in the middle of its lower left half is the second.
    assert got[9, 5] == 2
    assert got[5, 9] == 1


def test_no_triangles():
    got = cpu.triangle_ids((4, 5), np.zeros((0, 3, 2), np.float32), np.zeros(0, np.int64))
    assert (got == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blend_into_rounds_and_writes_only_what_is_touched(dtype):
    rng = np.random.default_rng(2)
    top = np.iinfo(dtype).max
    frame = rng.integers(0, top, (20, 30), endpoint=True).astype(dtype)
    before = frame.copy()
    part = frame[3:17, 5:28]  # rows that are not adjacent in memory
    base, over = (rng.integers(0, top, part.shape, endpoint=True).astype(dtype) for _ in "bo")
    alpha = rng.random(part.shape).astype(np.float32)
    alpha[rng.random(part.shape) < 0.2] = 0
    alpha[rng.random(part.shape) < 0.2] = 1
    touched = (rng.random(part.shape) < 0.6).astype(np.uint8)
    cpu.blend_into(part, base, over, alpha, touched)
    exact = base + alpha.astype(np.float64) * (over.astype(np.float64) - base)
    slack = 0.5 + 4e-7 * top  # a float32 has 24 bits
    assert (np.abs(part - exact) <= slack)[touched > 0].all()
    assert (part == over)[(touched > 0) & (alpha == 1)].all()
    assert (part == base)[(touched > 0) & (alpha == 0)].all()
    changed = np.zeros(frame.shape, bool)
    changed[3:17, 5:28] = touched > 0
    assert (frame == before)[~changed].all()


def test_blend_into_with_the_plane_itself_as_base():
    plane = np.full((4, 4), 100, np.uint8)
    alpha = np.full((4, 4), 0.25, np.float32)
    touched = np.eye(4, dtype=np.uint8)
    cpu.blend_into(plane, plane, np.full((4, 4), 110, np.uint8), alpha, touched)
    # 102.5 lies halfway: either neighbour is right.
    assert set(plane[touched > 0].tolist()) <= {102, 103}
    assert (plane[touched == 0] == 100).all()
