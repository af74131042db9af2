"""`ffswap doctor` over surveys that are made up, and over this machine."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest

from ffswap.cli.doctor import command
from ffswap.pipeline import plan
from ffswap.pipeline.machine import (
    CpuSurvey,
    EncoderSurvey,
    EngineSurvey,
    GpuSurvey,
    MemorySurvey,
    ModelSurvey,
)

GIB = 1 << 30
GOOD = plan.MachineSurvey(
    ffswap="0.1.0",
    python="CPython 3.11.7",
    platform="Linux",
    cpu=CpuSurvey(name="A CPU", logical_cores=8, usable_cores=3, quota_cores=2.5),
    memory=MemorySurvey(total_bytes=16 * GIB, available_bytes=8 * GIB, limit_bytes=4 * GIB),
    would_use=plan.WouldUse(
        device="cpu", device_reason="no NVIDIA GPU", model="mesh", encoder="libx264"
    ),
    libraries={"av": "18.1.0", "cuda-core": None},
    engines=(
        EngineSurvey(name="onnxruntime", ok=True, version="1.32", reason=None, providers=("CPU",)),
        EngineSurvey(name="tensorrt", ok=False, version=None, reason="libnvinfer\x1b is missing"),
    ),
    encoders=(
        EncoderSurvey(name="h264_nvenc", ok=False, reason="no driver"),
        EncoderSurvey(name="libx264", ok=True, reason=None),
    ),
    gpus=(
        GpuSurvey(
            index=0, name="A GPU", memory_bytes=80 * GIB, driver="580.1", compute_capability="9.0"
        ),
    ),
    models=(ModelSurvey(name="full", kind="detector", licence="Apache-2.0", vendor="Someone"),),
)
BAD = replace(
    GOOD,
    would_use=replace(GOOD.would_use, encoder=None, problems=("no video encoder works",)),
    encoders=(),
    encoders_reason="av is broken",
    gpus=(),
    gpus_reason="no NVIDIA GPU",
    models=(),
    models_reason="no catalogue",
)


@pytest.fixture
def doctor(run, monkeypatch):
    def invoke(survey, *options):
        monkeypatch.setattr(plan, "survey", lambda *_: survey)
        return run("doctor", *options)

    return invoke


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(run, flag):
    ended = run("doctor", flag)
    assert ended.exit_code == 0
    assert "--json" in ended.stdout


def test_an_unknown_option_is_a_usage_error(run):
    assert run("doctor", "--all").exit_code == 2


def test_a_machine_that_can_swap(doctor):
    ended = doctor(GOOD)
    assert (ended.exit_code, ended.stderr) == (0, "")
    for words in (
        "A CPU, 3 of 8 cores usable (quota 2.5)",
        "16.0 GiB, 8.0 GiB free, limit 4.0 GiB",
        "cuda-core not installed",
        "A GPU, 80.0 GiB, compute capability 9.0, driver 580.1",
        "libnvinfer\\x1b is missing",
        "detector, Apache-2.0, from Someone",
        "cpu (no NVIDIA GPU)",
    ):
        assert words in " ".join(ended.stdout.split())
    assert "\x1b" not in ended.stdout


def test_a_machine_that_cannot(doctor):
    ended = doctor(BAD)
    assert ended.exit_code == 5
    assert ended.stderr == (
        "ffswap: error: no swap can run on this machine: no video encoder works\n"
    )
    for words in ("av is broken", "no catalogue", "no NVIDIA GPU"):
        assert words in ended.stdout


@pytest.mark.parametrize(("survey", "code"), [(GOOD, 0), (BAD, 5)])
def test_json_is_the_survey_and_nothing_else(doctor, survey, code):
    ended = doctor(survey, "--json")
    assert ended.exit_code == code
    value = json.loads(ended.stdout)
    assert value == json.loads(json.dumps(survey.as_dict()))
    assert value["ok"] is (code == 0)


def test_what_to_do_is_said(doctor):
    would_use = replace(BAD.would_use, problems=("a file is bad",), hints=("remove it",))
    ended = doctor(replace(BAD, would_use=would_use))
    assert ended.stderr.splitlines()[-1] == "ffswap: hint: remove it"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("survey", [GOOD, BAD])
def test_a_terminal_gets_the_same_words(doctor, monkeypatch, survey):
    plain = doctor(survey).stdout
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    command(as_json=False)
    shown = terminal.getvalue()
    assert [word for word in plain.split() if word not in shown] == []
    assert "\x1b is missing" not in shown


def test_a_survey_that_fails_is_our_fault(run, monkeypatch):
    def fail():
        raise ZeroDivisionError("x")

    monkeypatch.setattr(plan, "survey", fail)
    ended = run("doctor", "--json")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["error"]["exit_code"] == 1


def test_this_machine(run):
    ended = run("doctor", "--json")
    value = json.loads(ended.stdout)
    assert ended.exit_code == (0 if value["ok"] else 5)
    assert value["ok"] is (value["would_use"]["problems"] == [])
    assert bool(value["encoders"]) is not bool(value["encoders_reason"])
    assert bool(value["models"]) is not bool(value["models_reason"])
    working = [one["name"] for one in value["encoders"] if one["ok"]]
    assert value["would_use"]["encoder"] == (working[0] if working else None)
    (onnxruntime,) = (one for one in value["engines"] if one["name"] == "onnxruntime")
    assert onnxruntime["version"] == value["libraries"]["onnxruntime"]
    assert "CPUExecutionProvider" in onnxruntime["providers"]
