"""What a swap would use of what a machine has."""

from __future__ import annotations

import json
import os

import pytest

from ffswap.models import get
from ffswap.pipeline import plan
from ffswap.pipeline.machine import EncoderSurvey, EngineSurvey, GpuSurvey, ModelSurvey
from tests import known_answers as known
from tests.pipeline.neural_models import install

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


CUDA = EngineSurvey(
    name="onnxruntime", ok=True, version="1.2", reason=None, providers=("CUDAExecutionProvider",)
)
TENSORRT = EngineSurvey(name="tensorrt", ok=True, version="10.9", reason=None)
NO_TENSORRT = EngineSurvey(name="tensorrt", ok=False, version=None, reason="not installed")


@pytest.mark.parametrize(
    ("swapper", "engines", "device", "words"),
    [
        ("mesh", [CUDA, TENSORRT], "cpu", "the embedded swapper computes on the CPU"),
        ("inswapper_128", [RUNTIME, TENSORRT], "cuda:0", "tensorrt 10.9, if the engines are there"),
        ("inswapper_128", [CUDA, NO_TENSORRT], "cuda:0", "onnxruntime 1.2 on CUDA"),
        ("inswapper_128", [RUNTIME, NO_TENSORRT], "cpu", "nothing here runs nets on a GPU"),
    ],
)
def test_a_gpu_is_used_by_what_runs_there(swapper, engines, device, words):
    choice = plan.SwapperChoice(name=swapper, reason="it is there")
    use = plan.choose(engines, [X264], MODELS, [GPU], swapper=choice)
    assert use.device == device
    assert words in use.device_reason


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


class TestFilesOfTheUser:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch):
        monkeypatch.setattr("ffswap.pipeline.machine.find_encoders", lambda: ((X264,), None))

    @pytest.fixture
    def models(self, tmp_path):
        spec = get("uniface_256")
        return install(tmp_path, {spec.name: known.identity_swapper(spec, 1)})

    def test_the_best_swapper_is_named(self, models):
        use = plan.survey(models).would_use
        assert (use.model, use.problems, use.hints) == ("uniface_256", (), ())

    @pytest.mark.parametrize("size", [0, 1000, None])
    def test_a_bad_file_of_it_is_a_problem_with_a_hint(self, models, size):
        place = models / "uniface_256.onnx"
        if size is None:  # of the right size and time
            before = place.stat()
            content = place.read_bytes()
            place.unlink()
            place.write_bytes(bytes(len(content)))
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            os.truncate(place, size)
        use = plan.survey(models).would_use
        assert (use.ok, use.model) == (False, "none")
        (problem,), (hint,) = use.problems, use.hints
        assert "the file of uniface_256 cannot be used: it has " in problem
        for words in ("`ffswap models remove uniface_256`", "`ffswap models pull uniface_256`",
                      "`ffswap models add uniface_256 FILE`", "--model mesh"):  # fmt: skip
            assert words in hint

    def test_a_broken_catalogue_is_a_problem(self, tmp_path):
        own = tmp_path / "catalog.toml"
        own.write_text("[models.x\n")
        use = plan.survey(tmp_path, own).would_use
        assert not use.ok
        assert str(own) in use.problems[0]


def test_tensorrt_is_not_needed():
    tensorrt = EngineSurvey(name="tensorrt", ok=False, version=None, reason="not installed")
    assert plan.choose([RUNTIME, tensorrt], [X264], MODELS, []).ok


def test_the_survey_of_this_machine_is_plain_json():
    survey = plan.survey()
    assert json.loads(json.dumps(survey.as_dict()))["ok"] is survey.would_use.ok
    assert 1 <= survey.cpu.usable_cores <= survey.cpu.logical_cores
