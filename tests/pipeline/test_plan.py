"""What a swap would use of what a machine has."""

from __future__ import annotations

import json

import pytest

from ffswap.pipeline import plan
from ffswap.pipeline.machine import EncoderSurvey, EngineSurvey, GpuSurvey, ModelSurvey

RUNTIME = EngineSurvey(name="onnxruntime", ok=True, version="1.32", reason=None)
X264 = EncoderSurvey(name="libx264", ok=True, reason=None)
NVENC = EncoderSurvey(name="h264_nvenc", ok=False, reason="no driver")
MODELS = [
    ModelSurvey(name=kind, kind=kind, licence="Apache-2.0", vendor="Someone")
    for kind in ("detector", "landmarker", "hand_detector", "hand_landmarker")
]
GPU = GpuSurvey(index=0, name="A GPU", memory_bytes=1, driver="1", compute_capability="9.0")


def test_a_good_machine():
    use = plan.choose([RUNTIME], [NVENC, X264], MODELS, [], reasons=(None, None, "no driver"))
    assert use == plan.WouldUse(
        device="cpu",
        device_reason="no driver",
        model="mesh",
        model_reason="no other is installed",
        encoder="libx264",
    )
    assert use.ok


def test_a_gpu_is_not_claimed_to_be_used():
    use = plan.choose([RUNTIME], [X264], MODELS, [GPU])
    assert (use.device, use.device_reason) == ("cpu", "this version computes on the CPU")


BROKEN = EngineSurvey(name="onnxruntime", ok=False, version=None, reason="no such file")


@pytest.mark.parametrize(
    ("engines", "encoders", "models", "words"),
    [
        ([BROKEN], [X264], MODELS, ["onnxruntime", "no such file"]),
        ([], [X264], MODELS, ["onnxruntime"]),
        ([RUNTIME], [NVENC], MODELS, ["encoder", "h264_nvenc: no driver"]),
        ([RUNTIME], [], MODELS, ["encoder", "why not encoders"]),
        ([RUNTIME], [X264], MODELS[:1], ["landmarker"]),
        ([RUNTIME], [X264], [], ["detector and landmarker", "why not models"]),
    ],
)
def test_each_thing_that_is_missing_is_a_problem(engines, encoders, models, words):
    reasons = (
        None if encoders else "why not encoders",
        None if models else "why not models",
        None,
    )
    use = plan.choose(engines, encoders, models, [], reasons=reasons)
    assert not use.ok
    (problem,) = use.problems
    for word in words:
        assert word in problem


def test_tensorrt_is_not_needed():
    tensorrt = EngineSurvey(name="tensorrt", ok=False, version=None, reason="not installed")
    assert plan.choose([RUNTIME, tensorrt], [X264], MODELS, []).ok


def test_the_survey_of_this_machine_is_plain_json():
    survey = plan.survey()
    assert json.loads(json.dumps(survey.as_dict()))["ok"] is survey.would_use.ok
    assert 1 <= survey.cpu.usable_cores <= survey.cpu.logical_cores
