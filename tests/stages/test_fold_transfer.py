"""Smiles and their folds."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import face_mesh as fm
from ffswap.stages.mesh_swap.expression import (
    DEEPEST,
    FAINT,
    MOST_KEPT,
    fold_region,
    fold_share,
    smile,
    source_folds,
    target_folds,
)
from ffswap.stages.mesh_swap.texture import TextureSpace


@pytest.fixture(scope="module")
def space(mesh) -> TextureSpace:
    return TextureSpace(mesh, 64)


def smiling(mesh, wider: float, lifted: float):
    """The canonical face with its mouth's corners moved, centimetres."""
    shape = mesh.xyz_down.copy()
    shape[61, 0] -= wider / 2
    shape[291, 0] += wider / 2
    shape[[61, 291], 1] -= lifted
    return shape


def texture(seed: int):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (64, 64)).astype(np.float32)


def test_a_smile_is_measured_in_centimetres(mesh):
    rest = smiling(mesh, 5.0 - float(np.ptp(mesh.xyz_down[[61, 291], 0])), 0)
    lift = (rest[0, 1] + rest[17, 1]) / 2 - rest[61, 1]
    rest[[61, 291], 1] += lift - 0.1
    assert smile(rest) == pytest.approx(0, abs=1e-5)
    wide = rest.copy()
    wide[61, 0] -= 2.0
    assert smile(wide) == pytest.approx(2.0, abs=1e-3)
    lifted = wide.copy()
    lifted[[61, 291], 1] -= 0.5
    assert smile(lifted) == pytest.approx(2.5, abs=1e-3)
    narrow = rest.copy()
    narrow[61, 0] += 1
    narrow[[61, 291], 1] += 1
    assert smile(narrow) == 0


def test_equal_smiles_exchange_nothing_and_different_ones_much(mesh):
    rest, broad = smiling(mesh, 0, 0), smiling(mesh, 3.0, 0.8)
    assert fold_share(broad, broad) == 0
    assert fold_share(rest, broad) == fold_share(broad, rest) == MOST_KEPT
    assert 0 < fold_share(rest, smiling(mesh, 1.6, 0.0)) < MOST_KEPT


def test_folds_lie_beside_the_mouth_and_not_at_eyes_or_nose(mesh, space):
    region = fold_region(space)

    def at(vertex: int) -> float:
        u, v = (mesh.uv[vertex] * 64).astype(int)
        return float(region[v, u])

    assert at(205) > 0.7  # right cheek, beside the nose
    assert at(425) > 0.7
    assert at(4) < 0.3  # tip of the nose
    assert at(0) < 0.3  # upper lip
    assert at(117) < 0.2  # high on the cheek, just under the eye
    for ring in (fm.RIGHT_EYE, fm.LEFT_EYE):
        assert all(at(v) < 0.05 for v in ring)
    assert region.min() >= 0
    assert region.max() <= 1


def test_what_is_fine_and_faint_stays_with_the_source():
    """A crease is taken out, noise of a pore's strength is not."""
    region = np.ones((64, 64), np.float32)
    crease = np.zeros((64, 64, 3), np.float32)
    crease[:, 32, 0] = -0.5
    left = crease - source_folds(crease, region)
    assert np.abs(left).max() <= FAINT[0] + 1e-6
    rng = np.random.default_rng(3)
    pores = rng.choice([-0.02, 0.02], (64, 64, 3)).astype(np.float32) * (1, 0.1, 0.1)
    left = pores - source_folds(pores.astype(np.float32), region)
    assert np.corrcoef(left[..., 0].ravel(), pores[..., 0].ravel())[0, 1] > 0.5


def test_outside_the_region_nothing_is_exchanged():
    region = np.zeros((64, 64), np.float32)
    assert np.abs(source_folds(texture(1)[..., None].repeat(3, -1), region)).max() == 0
    assert np.abs(target_folds(texture(2), region)).max() == 0


def test_a_wide_fold_of_the_target_comes_through_and_is_limited(space):
    region = fold_region(space)
    deep = target_folds(np.full((64, 64), -0.3, np.float32), region)
    assert np.allclose(deep, -0.3 * region, atol=0.01)
    assert target_folds(np.full((64, 64), -9.0, np.float32), region).min() >= -DEEPEST
