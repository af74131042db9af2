"""The unrolled face: its raster, its masks, and the light that is separated in it."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import face_mesh as fm
from ffswap.stages.mesh_swap.texture import TextureSpace, low_pass, standard_deviation


@pytest.fixture(scope="module", params=[64, 128, 256])
def space(request, mesh) -> TextureSpace:
    """At each of three sides."""
    return TextureSpace(mesh, request.param)


def test_spreading_ones_gives_one_inside_and_nothing_outside(space):
    got = space.spread(np.ones(468, np.float32))
    assert np.abs(got[space.inside] - 1).max() < 1e-6
    assert (got[~space.inside] == 0).all()
    assert 0.4 < space.inside.mean() < 0.95


def test_spreading_texture_coordinates_gives_the_texel(space):
    """The barycentric weights are right: every texel finds itself."""
    uv = space.spread(space.mesh.uv) * space.side - 0.5
    row, column = np.nonzero(space.inside)
    off = np.abs(uv[row, column] - np.stack([column, row], 1))
    # OpenCV draws a triangle to half a pixel beyond its edge (more at the tip of a sliver); such
    # texels are held at the edge.
    assert np.median(off) < 1e-3
    assert off.mean() < 0.1
    assert np.quantile(off, 0.99) < 0.75
    assert off.max() < 2.5


def test_places_are_a_spread_and_far_outside_elsewhere(space):
    points = np.random.default_rng(1).uniform(0, 500, (468, 2)).astype(np.float32)
    x, y = space.places(points)
    both = space.spread(points)
    assert np.abs(np.stack([x, y], -1) - both)[space.inside].max() < 1e-3
    assert x[~space.inside].max() < -1000
    assert y[~space.inside].max() < -1000
    assert x.flags.c_contiguous


def test_the_space_is_symmetric(space):
    for plane in (space.paint, space.skin, space.oval_distance, space.height):
        other = plane[:, ::-1]
        assert np.quantile(np.abs(plane - other), 0.97) < 0.05 * np.abs(plane).max()
        assert np.abs(plane - other).mean() < 0.03 * np.abs(plane).max()


def test_the_masks_lie_where_they_should(space):
    def at(vertex: int) -> tuple[int, int]:
        u, v = np.clip((space.mesh.uv[vertex] * space.side).astype(int), 0, space.side - 1)
        return int(v), int(u)

    cheeks, nose = (50, 280), 4
    for vertex in (*cheeks, nose):
        assert space.paint[at(vertex)] > 0.95
    assert space.skin[at(cheeks[0])] > 0.9
    eye = tuple(np.mean([at(v) for v in fm.RIGHT_EYE], 0).astype(int))
    assert space.skin[eye] == 0
    assert space.skin[at(13)] == 0  # upper lip
    for vertex in fm.OVAL:
        assert space.paint[at(vertex)] < 0.1
    assert space.paint[at(fm.HAIRLINE)] == 0
    assert space.height[at(nose)] < space.height[eye]


def test_hulls_grow(space):
    small = space.hulls([fm.RIGHT_EYE])
    grown = space.hulls([fm.RIGHT_EYE], 0.05)
    both = space.hulls([fm.RIGHT_EYE, fm.LEFT_EYE])
    assert small.sum() < grown.sum()
    assert (grown | small == grown).all()
    assert both.sum() == pytest.approx(2 * small.sum(), rel=0.1)


def test_low_pass_of_a_constant_is_the_constant():
    rng = np.random.default_rng(2)
    texture = np.full((64, 64, 3), (-0.7, 0.05, -0.02), np.float32)
    weight = (rng.random((64, 64)) < 0.3).astype(np.float32) + 1e-6
    assert np.abs(low_pass(texture, weight) - texture).max() < 0.01


@pytest.mark.parametrize("side", [64, 256])
def test_low_pass_of_a_ramp_is_the_ramp_away_from_the_edges(side):
    ramp = np.linspace(-1, 1, side, dtype=np.float32)[None, :, None].repeat(side, 0)
    got = low_pass(ramp, np.ones((side, side), np.float32))
    middle = slice(side // 3, 2 * side // 3)
    assert np.abs(got - ramp)[middle, middle].max() < 0.03
    along = got[side // 2, :, 0]
    assert (np.diff(along) > 0).all()


def test_low_pass_ignores_what_does_not_count():
    texture = np.full((64, 64, 1), 0.3, np.float32)
    weight = np.ones((64, 64), np.float32)
    texture[20:40, 20:40], weight[20:40, 20:40] = -5, 0
    assert np.abs(low_pass(texture, weight) - 0.3).max() < 0.01


def test_low_pass_takes_features_out():
    y, x = np.mgrid[0:64, 0:64]
    features = (0.2 * np.sign(np.sin(x * 1.5) * np.sin(y * 1.5)))[..., None].astype(np.float32)
    got = low_pass(features + 0.4, np.ones((64, 64), np.float32))
    assert np.abs(got - 0.4).max() < 0.02


def test_low_pass_where_no_skin_is_near_follows_the_wider_blur():
    texture = np.full((64, 64, 1), 7.0, np.float32)
    weight = np.zeros((64, 64), np.float32)
    texture[:, :12], weight[:, :12] = 0.5, 1
    got = low_pass(texture, weight)
    assert np.abs(got[:, 20:40] - 0.5).max() < 0.05


def test_standard_deviation_by_hand():
    values = np.array([[3.0, 4.0], [100.0, 0.0]], np.float32)
    weight = np.array([[1.0, 1.0], [0.0, 2.0]], np.float32)
    assert standard_deviation(values, weight) == pytest.approx(2.5)
    assert standard_deviation(values, np.zeros((2, 2), np.float32)) == 0
