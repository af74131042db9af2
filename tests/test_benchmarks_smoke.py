"""The benchmark runs and has its structure. Times are never asserted: machines differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench_credentials import measure_file

ROOT = Path(__file__).resolve().parents[1]
SPREAD = {"median", "min", "max"}


@pytest.mark.slow
@pytest.mark.network
def test_quick_benchmark_prints_its_structure():
    command = [sys.executable, "-m", "benchmarks.bench_pipeline", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)

    assert result.keys() == {"machine", "speed", "memory"}
    assert result["machine"]["usable_cores"] > 0
    assert result["machine"]["versions"].keys() >= {"ffswap", "av", "numpy", "onnxruntime"}

    (row,) = result["speed"]
    assert (row["height_px"], row["frames"], row["runs"]) == (360, 72, 1)
    for key in ("fps", "slowest_stage_fps", "cores_fps", "cpu_s_per_frame", "ratio"):
        assert row[key].keys() == SPREAD
        assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["max"]
    assert row["slowest_stage"] in row["stage_fps"]
    assert all(spread.keys() == SPREAD for spread in row["stage_fps"].values())

    assert (result["memory"]["short"]["frames"], result["memory"]["long"]["frames"]) == (72, 144)
    assert result["memory"]["ratio"] > 0


def test_the_cost_of_signing_is_measured_on_a_signed_file():
    result = measure_file(megabytes=1, rounds=1)
    assert result.keys() == {"megabytes", "sign_s", "inspect_s", "sign_s_per_500_mb"}
    assert 0.3 < result["megabytes"] < 3
    assert 0 < result["sign_s"]["min"] <= result["sign_s"]["max"]


@pytest.mark.slow
@pytest.mark.network
def test_quick_run_of_the_marks_prints_its_structure():
    command = [sys.executable, "-m", "benchmarks.bench_marks", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (row,) = result["found"]
    assert (row["face_px"], len(row["chances"])) == (150, 1)
    assert row["chances"][0] < 1e-3
    assert result["false"]["clips"] == 1
    assert all(0 <= share < 0.2 for share in result["false"]["share_by_chance"].values())
