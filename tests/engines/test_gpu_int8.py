"""INT8 engines on an NVIDIA GPU: built, judged by group, and near to what the CPU foresaw.

As in test_gpu_engines.py: skipped without a GPU, unless FFSWAP_REQUIRE_GPU=1.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ffswap.engines.calibration import write_set
from ffswap.models.onnx_files import save_onnx
from ffswap.options import BuildOptions
from ffswap.pipeline.engine_build import EngineReport
from ffswap.pipeline.engines import build_engines
from tests.engines.fitted_net import calibration_rows, fitted_net, outlier_net
from tests.engines.replica_recipes import write_recipe
from tests.engines.test_gpu_engines import TACTICS, device, store
from tools.random_set import random_rows

__all__ = ["device", "store"]  # fixtures

pytestmark = pytest.mark.gpu

LIMITS = "psnr_db = 20\nssim = 0.5\nspread_db = 10\nrelative_l2 = 0.5\nrow = 0.2"


def build(recipe: Path, folder: Path, sets: Path) -> EngineReport:
    options = BuildOptions(precision="int8")
    (found,) = build_engines([], options, folder=folder, recipe=recipe, calibrate=[sets]).engines
    return found


@pytest.mark.parametrize("make", [fitted_net, outlier_net])
def test_a_fitted_net_is_as_good_on_the_gpu_as_on_the_cpu(store, tmp_path, make):
    save_onnx(make(batch="N"), tmp_path / "fitted.onnx")
    sets = write_set(tmp_path / "set", [calibration_rows(make(batch="N"))])
    recipe = tmp_path / "fitted.toml"
    recipe.write_text(
        f"[gate_int8]\n{LIMITS}\n[models.fitted]\nfile = 'fitted.onnx'\nbatches = [1, 4]\n"
        f"opt_level = 0\ntactics = {TACTICS}\n"
    )
    manifest = build(recipe, store, sets).manifest
    gate, int8 = manifest.gate, manifest.int8
    assert gate is not None
    assert int8 is not None
    assert (gate.where, gate.passed, len(gate.groups)) == ("engine", True, 5)
    assert int8.layers != ()
    assert gate.outputs[0].psnr_db is not None
    assert gate.outputs[0].psnr_db > 20


@pytest.mark.parametrize("fences", [False, True])
@pytest.mark.parametrize("family", ["inswapper_128", "ghost_1_256", "arcface_w600k_r50"])
def test_replicas_build_with_and_without_fences(store, tmp_path, family, fences):
    more = f"int8_fences = {str(fences).lower()}"
    recipe = write_recipe(tmp_path, family, tactics=TACTICS, more=more)
    recipe.write_text(f"[gate_int8]\n{LIMITS}\n" + recipe.read_text())
    sets = write_set(tmp_path / "set", [random_rows(tmp_path / f"{family}.onnx", 32)])
    manifest = build(recipe, store, sets).manifest
    assert manifest.int8 is not None
    assert manifest.int8.layers != ()
