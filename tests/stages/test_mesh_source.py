"""The source: light apart from features, missing halves, what may be painted."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.stages.mesh_swap import MeshSource
from ffswap.stages.mesh_swap import source as module
from ffswap.stages.mesh_swap.source import LOG_OFFSET, SHARPNESS_SIGMAS, log_luma
from tests.stages.face_scenes import head, meshes_in

BT709 = (0.2126, 0.0722)


def test_log_luma_by_hand():
    ycc = np.array([[[0.47, 0.1, -0.2], [-0.5, 0.0, 0.0]]], np.float32)
    got = log_luma(ycc)
    assert got[0, 0].tolist() == pytest.approx([np.log(0.5), 0.1, -0.2])
    assert got[0, 1, 0] == pytest.approx(np.log(LOG_OFFSET))
    assert ycc[0, 0, 0] == np.float32(0.47)


def test_light_and_features_together_are_the_portrait(astronaut):
    """Where nothing was limited or filled in, detail + light is the logarithm of the portrait."""
    texture = astronaut.texture(128, *BT709)
    space = texture.space
    x, y = space.places(astronaut._points[:, :2])
    skin = (space.skin > 0.9) & (texture.mask > 0.9) & (texture.detail[..., 0] < 0.2)
    assert skin.sum() > 500
    columns, rows = np.round(x[skin]).astype(int), np.round(y[skin]).astype(int)
    rgb = astronaut._rgb[rows, columns]
    luma = rgb @ np.array([BT709[0], 1 - sum(BT709), BT709[1]], np.float32)
    both = (texture.detail + texture.light)[..., 0][skin]
    assert np.median(np.abs(both - np.log(luma + LOG_OFFSET))) < 0.03


def test_detail_has_no_light_left(astronaut):
    texture = astronaut.texture(128, *BT709)
    skin = texture.space.skin * texture.mask > 0.5
    assert abs(texture.detail[..., 0][skin].mean()) < 0.05
    assert texture.light[..., 0][skin].std() > 2 * abs(texture.detail[..., 0][skin].mean())


@pytest.mark.parametrize("side", module.SIDES)
def test_textures_of_every_side(astronaut, side):
    texture = astronaut.texture(side, *BT709)
    assert texture.detail.shape == texture.light.shape == (side, side, 3)
    assert texture.mask.shape == texture.valid.shape == (side, side)
    for plane in (texture.mask, texture.valid):
        assert 0 <= plane.min() <= plane.max() <= 1
    assert np.isfinite(texture.detail).all()
    assert (texture.mask[~texture.space.inside] == 0).all()
    assert texture.mask[texture.space.inside].mean() > 0.3
    assert texture.detail[..., 0].max() <= 0.5
    assert astronaut.texture(side, *BT709) is texture


def test_colour_weights_make_textures_of_their_own(astronaut):
    other = astronaut.texture(64, 0.299, 0.114)
    assert other is not astronaut.texture(64, *BT709)
    assert np.abs(other.detail - astronaut.texture(64, *BT709).detail).max() > 1e-3


def test_blurring_takes_sharpness_away(astronaut):
    values = astronaut.sharpness(*BT709)
    assert len(values) == len(SHARPNESS_SIGMAS)
    assert (np.diff(values) < 0).all()


def test_sharpness_by_hand():
    x = np.arange(20, dtype=np.float32)[None].repeat(20, 0)
    weight = np.zeros((20, 20), np.float32)
    weight[5:10, 5:10] = 2
    assert module.sharpness_of(-(x * x), weight) == pytest.approx(2, abs=1e-3)
    assert module.sharpness_of(x * x, 0 * weight) == 0


def test_what_a_portrait_does_not_show_comes_from_the_other_half():
    rng = np.random.default_rng(1)
    detail = rng.normal(0, 0.1, (64, 64, 3)).astype(np.float32)
    usable = np.ones((64, 64), np.float32)
    usable[:, 40:] = 0
    got, share = module._completed(detail, usable)
    # Columns 45 on are mirrored, 0 to 18 untouched; 24 to 39 have no counterpart but need none.
    assert np.abs(got[:, 45:] - detail[:, 63 - np.arange(45, 64)]).max() < 1e-4
    assert (got[:, :36] == detail[:, :36]).all()
    assert share[:, 45:].min() > 0.99
    assert (share[:, :36] == 1).all()


def test_what_neither_half_shows_stays_unusable():
    detail = np.random.default_rng(1).normal(0, 0.1, (64, 64, 3)).astype(np.float32)
    usable = np.ones((64, 64), np.float32)
    usable[:20] = 0
    got, share = module._completed(detail, usable)
    assert (got == detail).all()
    assert (share == usable).all()


def turned(points: F32, degrees: float) -> F32:
    """The mesh turned about the vertical through its middle."""
    middle = points.mean(0)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return np.asarray((points - middle) @ turn + middle, np.float32)


@pytest.mark.parametrize("degrees", [-45, 45])
def test_a_turned_head_is_completed(nets, mesh, degrees):
    """Told that the head is turned, half of it is not trusted; yet both cheeks can be painted."""
    rgb = head("astronaut", 200)
    points = turned(meshes_in(nets, rgb)[0], degrees)
    source = MeshSource(mesh, rgb.astype(np.float32) / np.float32(255), points)
    facing = mesh.facing(points)
    hidden, shown = (50, 280) if facing[50] < facing[280] else (280, 50)
    assert facing[hidden] < 0.45 < facing[shown]
    texture = source.texture(128, *BT709)

    def near(vertex: int) -> F32:
        u, v = (mesh.uv[vertex] * 128).astype(int)
        return np.asarray(texture.detail[v - 3 : v + 4, u - 3 : u + 4, 0])

    u, v = (mesh.uv[hidden] * 128).astype(int)
    assert texture.mask[v, u] > 0.8
    if facing[hidden] < 0.1:
        assert np.abs(near(hidden) - near(shown)[:, ::-1]).mean() < 0.05


def test_gloss_is_held_and_the_rest_is_left():
    detail = np.array([-3.0, 0.0, 0.25, 0.3, 0.6, 5.0], np.float32)
    got = module._soft_ceiling(detail)
    assert got[:3].tolist() == detail[:3].tolist()
    assert (np.diff(got) > 0).all()
    assert got.max() <= 0.5
    assert got[4] < 0.45
