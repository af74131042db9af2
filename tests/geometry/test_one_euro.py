"""The One-Euro filter: at rest, in steps, and in time rather than in frames."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32
from ffswap.geometry.one_euro import OneEuroFilter

SIZE = 100.0


def follow(one_euro: OneEuroFilter, path: F32, dt: float | NDArray[np.float64]) -> F32:
    """The filtered path, (t, n, d) like the path."""
    steps = np.broadcast_to(dt, len(path))
    return np.stack([one_euro(p, SIZE, float(s)) for p, s in zip(path, steps, strict=True)])


def circle(t: NDArray[np.float64]) -> F32:
    """(t, 2, 2): two points on circles of 60 and 20 pixels, once in two seconds."""
    angle = np.pi * t[:, None]
    radius = np.array([60.0, 20.0])
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1).astype(np.float32)


def test_what_stands_still_stays():
    points = np.array([[3, 4], [5, 6]], np.float32)
    out = follow(OneEuroFilter(1, 20), np.repeat(points[None], 9, 0), 0.04)
    assert (out == points).all()


def test_the_first_call_gives_the_points_and_keeps_no_hold_of_them():
    one_euro = OneEuroFilter(1, 0)
    points = np.ones((1, 2), np.float32)
    assert (one_euro(points, SIZE, 0.0) == 1).all()
    points[:] = 50
    assert one_euro(np.ones((1, 2), np.float32), SIZE, 0.04).tolist() == [[1, 1]]


@pytest.mark.parametrize("dt", [0.01, 0.04, 0.2])
def test_a_step_without_speed_term_is_a_first_order_low_pass(dt):
    """The reference: each call, what is missing is divided by 1 + 2 pi f dt."""
    path = np.zeros((12, 1, 2), np.float32)
    path[1:] = 10
    out = follow(OneEuroFilter(1.5, 0), path, dt)
    want = 10 * (1 - (1 + 2 * np.pi * 1.5 * dt) ** -np.arange(12.0))
    assert np.abs(out[:, 0, 0] - want).max() < 1e-3


def test_a_step_is_approached_from_one_side():
    path = np.zeros((40, 1, 2), np.float32)
    path[1:] = 50
    out = follow(OneEuroFilter(1, 20), path, 0.04)[:, 0, 0]
    assert (np.diff(out) >= 0).all()
    assert out[-1] == pytest.approx(50, abs=0.5)
    assert out[1] < 49


def test_what_is_fast_lags_less():
    path = np.zeros((12, 1, 2), np.float32)
    path[:, 0, 0] = np.arange(12) * 20
    behind = [path[-1, 0, 0] - follow(OneEuroFilter(1, b), path, 0.04)[-1, 0, 0] for b in (0, 20)]
    assert behind[1] < 0.1 * behind[0]


def test_jitter_at_rest_is_smoothed():
    jitter = np.random.default_rng(2).normal(0, 0.3, (100, 8, 2)).astype(np.float32)
    out = follow(OneEuroFilter(1, 20), jitter, 0.04)
    assert out[20:].std() < 0.55 * jitter[20:].std()


def test_a_vertex_moves_as_one():
    """A fast x takes y along: both coordinates of one point have the same gain."""
    path = np.zeros((2, 2, 2), np.float32)
    path[1] = [[40, 1], [0, 1]]
    out = follow(OneEuroFilter(1, 20), path, 0.04)[1]
    assert out[0, 0] / 40 == pytest.approx(out[0, 1], rel=1e-5)
    assert out[0, 1] > 1.5 * out[1, 1]


def test_the_same_path_at_25_50_and_uneven_times_gives_the_same_trajectory():
    """Within 1 % of the face (measured: 0.4 %), though the lag itself is 2.4 %."""
    times = np.arange(0, 3, 1 / 25)
    slow = follow(OneEuroFilter(1, 20), circle(times), 1 / 25)
    fine = np.arange(0, 3, 1 / 50)
    fast = follow(OneEuroFilter(1, 20), circle(fine), 1 / 50)[::2]
    assert np.abs(slow - fast).max() < 0.01 * SIZE
    keep = np.random.default_rng(4).random(len(fine)) < 0.7
    keep[::2] = True
    uneven = fine[keep]
    out = follow(OneEuroFilter(1, 20), circle(uneven), np.diff(uneven, prepend=0.0))
    on_grid = np.isin(np.flatnonzero(keep), np.arange(0, len(fine), 2))
    assert np.abs(out[on_grid] - fast).max() < 0.01 * SIZE


def test_speed_is_measured_in_face_sizes():
    """Twice the face, twice the path: twice the result."""
    path = circle(np.arange(0, 2, 0.04))
    one_euro = OneEuroFilter(1, 20)
    double = np.stack([one_euro(2 * p, 2 * SIZE, 0.04) for p in path])
    assert np.abs(double - 2 * follow(OneEuroFilter(1, 20), path, 0.04)).max() < 1e-3


@pytest.mark.parametrize("dt", [0.0, -0.04])
def test_no_time_changes_nothing(dt):
    one_euro = OneEuroFilter(1, 20)
    path = circle(np.arange(0, 0.4, 0.04))
    last = follow(one_euro, path, 0.04)[-1]
    assert (one_euro(path[-1] + 30, SIZE, dt) == last).all()
    after = follow(OneEuroFilter(1, 20), np.concatenate([path, path[-1:]]), 0.04)[-1]
    assert np.abs(one_euro(path[-1], SIZE, 0.04) - after).max() < 1e-5


def test_zero_hertz_switches_it_off():
    path = circle(np.arange(0, 0.4, 0.04))
    assert (follow(OneEuroFilter(0, 20), path, 0.04) == path).all()
