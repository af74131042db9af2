"""What affine maps read of planes, one by one and many at once."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import affine
from ffswap.geometry.sampling import reach, readings

SHAPE = (91, 133)
PLACES = [
    (60.3, 40.8, 1.5, 0.0), (66, 45, 2.0, 0.3), (60, 50, 8.0, -1.2), (2, 3, 3.2, 0.2),
    (130, 88, 1.7, 3.3), (-300, 40, 2.5, 0.1), (66, 45, 0.4, 0.4), (66, 45, 40.0, 0.0),
]  # fmt: skip


def maps(side: int):
    return np.stack(
        [affine.crop_matrix(x, y, side * step, turn, side) for x, y, step, turn in PLACES]
    )


def test_many_maps_are_read_as_each_of_them_alone():
    sizes = np.array([[24, 24], [17, 24]] * 4)
    together = readings(maps(24), sizes, SHAPE)
    for i, matrix in enumerate(maps(24)):
        alone = readings(matrix[None], sizes[i : i + 1], SHAPE)
        for name in ("factor", "low", "high", "matrix"):
            assert np.array_equal(getattr(together, name)[i], getattr(alone, name)[0]), (i, name)


def test_blocks_are_as_wide_as_the_map_shrinks_and_hold_what_it_reads():
    found = readings(maps(24), np.full((len(PLACES), 2), 24), SHAPE)
    assert found.factor.tolist() == [1, 2, 8, 3, 1, 1, 1, 40]
    y, x = np.mgrid[0:24, 0:24]
    grid = np.stack([x.ravel(), y.ravel()], 1).astype(np.float64)
    for i in np.flatnonzero(found.factor > 1):
        factor, low, high = int(found.factor[i]), found.low[i], found.high[i]
        assert (low % factor == 0).all()
        assert ((high - low) % factor == 0).all()
        at = affine.apply(affine.invert(maps(24)[i]), grid)
        inside = ((at >= 0) & (at <= np.array(SHAPE[::-1]) - 1)).all(1)
        assert (at[inside] >= low).all()
        assert (at[inside] < high).all()
        # The same place, counted in blocks.
        blocks = affine.apply(affine.invert(found.matrix[i]), grid)
        assert np.abs(low + (blocks + 0.5) * factor - 0.5 - at).max() < 1e-3


def test_a_plane_that_is_not_shrunk_is_read_as_it_is():
    found = readings(maps(24), np.full((len(PLACES), 2), 24), SHAPE)
    whole = found.factor == 1
    assert np.array_equal(found.matrix[whole], maps(24)[whole])
    assert (found.low[whole] == 0).all()
    assert (found.high[whole] == SHAPE[::-1]).all()


def test_reach_is_the_box_of_all_samples_less_than_a_pixel_away():
    bounds = reach(affine.invert(maps(24)), 24, SHAPE)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    for matrix, (left, top, right, bottom) in zip(maps(24), bounds.tolist(), strict=True):
        at = affine.apply(matrix, np.stack([x, y], -1).astype(np.float64))
        near = np.asarray(((at > -1) & (at < 24)).all(-1))
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            continue
        assert left <= columns[0]
        assert top <= rows[0]
        assert right > columns[-1]
        assert bottom > rows[-1]
        # Cut off by an edge, a turned crop's box is larger than what is left of it.
        if left > 0 and top > 0 and right < SHAPE[1] and bottom < SHAPE[0]:
            assert (right - left) - len(columns) <= 2
            assert (bottom - top) - len(rows) <= 2


@pytest.mark.parametrize(("x", "y"), [(-300.0, 40.0), (66.0, 900.0)])
def test_a_crop_outside_reaches_nothing(x, y):
    matrix = affine.crop_matrix(x, y, 30, 0.4, 24)
    assert reach(affine.invert(matrix)[None], 24, SHAPE).tolist() == [[0, 0, 0, 0]]
