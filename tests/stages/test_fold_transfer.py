"""Smiles and their folds."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import face_mesh as fm
from ffswap.stages.mesh_swap.expression import FoldTransfer, smile
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


def test_equal_smiles_exchange_nothing(mesh, space):
    shape = smiling(mesh, 2.0, 0.6)
    folds = FoldTransfer(space, texture(1), shape)
    assert folds.share(shape) == 0
    assert np.abs(folds(texture(2), 1.0, folds.share(shape))).max() == 0


def test_different_smiles_exchange_all_either_way(mesh, space):
    rest, broad = smiling(mesh, 0, 0), smiling(mesh, 3.0, 0.8)
    assert FoldTransfer(space, texture(1), rest).share(broad) == 1
    assert FoldTransfer(space, texture(1), broad).share(rest) == 1
    between = FoldTransfer(space, texture(1), rest).share(smiling(mesh, 1.6, 0.0))
    assert 0 < between < 1


def test_the_same_folds_cancel_out(mesh, space):
    own = texture(3)
    folds = FoldTransfer(space, own, mesh.xyz_down)
    assert np.abs(folds(own, 1.0, 1.0)).max() < 1e-6
    assert np.abs(folds(own, 0.5, 1.0)).max() > 1e-3


def test_folds_lie_beside_the_mouth_and_not_at_eyes_or_nose(mesh, space):
    target = np.full((64, 64), -0.3, np.float32)
    change = FoldTransfer(space, np.zeros((64, 64), np.float32), mesh.xyz_down)(target, 1.0, 1.0)

    def at(vertex: int) -> float:
        u, v = (mesh.uv[vertex] * 64).astype(int)
        return float(change[v, u])

    assert at(205) < -0.2  # right cheek, beside the nose
    assert at(425) < -0.2
    assert abs(at(4)) < 0.1  # tip of the nose
    for ring in (fm.RIGHT_EYE, fm.LEFT_EYE):
        assert all(abs(at(v)) < 0.05 for v in ring)
    assert change.min() >= -0.31


def test_extreme_folds_are_limited(mesh, space):
    target = np.full((64, 64), -9.0, np.float32)
    change = FoldTransfer(space, np.zeros((64, 64), np.float32), mesh.xyz_down)(target, 1.0, 1.0)
    assert change.min() >= -0.5
