"""What is kept of many points that come one by one."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.errors import InternalError
from ffswap.geometry.diverse import DiverseSet


def kept(points: np.ndarray, capacity: int) -> np.ndarray:
    """Indices of the points that a set holds in the end, ascending."""
    chosen, held = DiverseSet(capacity), {}
    for k, point in enumerate(points.astype(np.float32)):
        place = chosen.offer(point)
        if place is not None:
            held[place] = k
    assert len(chosen) == len(held) <= capacity
    return np.sort(list(held.values()))


def test_all_points_are_kept_while_there_is_room():
    assert kept(np.zeros((5, 2)), 8).tolist() == [0, 1, 2, 3, 4]


def test_duplicates_go_before_what_is_rare():
    crowd = np.random.default_rng(1).normal(0, 0.01, (500, 3))
    crowd[[7, 250, 499]] += [[5, 0, 0], [0, 5, 0], [0, 0, 5]]
    assert {7, 250, 499} <= set(kept(crowd, 6).tolist())


def test_points_are_spread_about_as_well_as_can_be():
    points = np.random.default_rng(2).uniform(0, 1, (2000, 2))
    chosen = points[kept(points, 16)]
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + 9 * np.eye(16)
    few = np.random.default_rng(3).choice(2000, 16, replace=False)
    drawn = np.linalg.norm(points[few][:, None] - points[few][None], axis=2) + 9 * np.eye(16)
    assert apart.min() > 0.15  # a grid of 4 by 4 has 0.33
    assert apart.min() > 2 * drawn.min()


def test_the_same_points_give_the_same_set():
    points = np.random.default_rng(4).normal(0, 1, (300, 5))
    assert kept(points, 20).tolist() == kept(points, 20).tolist()


def test_a_set_of_one_point_is_no_set():
    with pytest.raises(InternalError):
        DiverseSet(1)
