"""INT8 engines: calibrated, judged by group, with layers back in FP16; built for GPUs that are not here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ffswap.engines.calibration import write_set
from ffswap.engines.manifest import GateLimits
from ffswap.engines.recipe import ModelRecipe
from ffswap.errors import Int8Error, ModelError, OptionError, OutputExistsError
from ffswap.models.onnx_files import save_onnx
from ffswap.options import BuildOptions, Precision
from ffswap.pipeline.engine_build import EngineReport
from ffswap.pipeline.engine_graph import Fp32Nets, prepare_graph
from ffswap.pipeline.engine_int8 import Int8Trial
from ffswap.pipeline.engine_rows import trial_rows
from ffswap.pipeline.engines import build_engines
from tests.engines.fitted_net import calibration_rows, fitted_net, outlier_net
from tests.pipeline.engine_requests import count_builds, files, needs_rtx

# What a net of this size keeps in INT8: its pictures have little contrast.
EASY = {"psnr_db": 25, "ssim": 0.8, "spread_db": 6, "relative_l2": 0.2}


class Setting:
    """A net, its calibration set and a store, in a folder of their own."""

    def __init__(self, folder: Path, net: onnx.ModelProto, **rows: Any) -> None:
        self.folder, self.store = folder, folder / "store"
        self.net, self.sets = folder / "fitted.onnx", [folder / "set"]
        save_onnx(net, self.net)
        write_set(self.sets[0], [calibration_rows(net, **rows)])

    def recipe(self, gate: dict[str, float], *lines: str) -> Path:
        limits = [f"{name} = {value}" for name, value in gate.items()]
        model = ["[models.fitted]", 'file = "fitted.onnx"', "batches = [1, 2]"]
        path = self.folder / "fitted.toml"
        path.write_text("\n".join(["[gate_int8]", *limits, *model, *lines]))
        return path

    def build(
        self,
        gate: dict[str, float] = EASY,
        *lines: str,
        precision: Precision = "int8",
        calibrate: Sequence[Path] | None = None,
        **options: Any,
    ) -> EngineReport:
        """Build the engine for an SM86."""
        (found,) = build_engines(
            [],
            BuildOptions(precision=precision, targets=("sm86",), opt_level=0),
            folder=self.store,
            recipe=self.recipe(gate, *lines),
            calibrate=self.sets if calibrate is None else calibrate,
            **options,
        ).engines
        return found


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, fitted_net())


@needs_rtx
def test_an_engine_is_built_and_its_manifest_says_how(setting: Setting):
    built = setting.build()
    manifest = built.manifest
    int8, gate = manifest.int8, manifest.gate
    assert (built.status, manifest.key.precision, manifest.key.batches) == ("built", "int8", (1, 2))
    assert int8 is not None
    assert gate is not None
    assert int8.calibration == calibration_rows(fitted_net()).digest
    assert int8.calibrated + int8.held == 60
    assert int8.held == gate.samples >= 12
    assert int8.method in ("minmax", "entropy", "percentile")
    assert len(int8.methods) == 3
    assert int8.weights == "tensor"  # what TensorRT for RTX is quicker with
    assert sorted(int8.layers) == ["plain_1", "plain_2", "summed", "wide"]
    assert int8.returned == ()
    assert {one.node: one.reason for one in int8.left} == {"first": "first", "last": "last"}
    assert len(int8.sweep) == 4
    assert {(one.kind, one.name) for one in gate.groups} == {
        ("skin", "dark"), ("skin", "medium"), ("skin", "light"), ("pose", "left"), ("pose", "right"),
    }  # fmt: skip
    (output,) = gate.outputs
    assert output.psnr_db is not None
    assert 25 < output.psnr_db < 60
    assert manifest.limits.psnr_db == 25
    assert built.notes == ()


@needs_rtx
def test_what_is_there_is_found_and_another_set_builds_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
):
    first = setting.build()
    builds = count_builds(monkeypatch)
    assert setting.build().status == "there"
    assert builds.count == 0
    other = setting.folder / "other"
    write_set(other, [calibration_rows(fitted_net(), person=np.arange(60))])
    again = setting.build(calibrate=[other])
    assert (again.status, builds.count) == ("built", 1)
    assert again.manifest.key.digest != first.manifest.key.digest
    # And narrower limits than the engine was built with.
    narrow = setting.build({**EASY, "psnr_db": 33})
    assert narrow.status == "built"
    assert any("wider limits" in note for note in narrow.notes)
    assert narrow.manifest.int8 is not None
    assert narrow.manifest.int8.returned != ()


@needs_rtx
def test_fp16_and_int8_engines_lie_side_by_side(setting: Setting):
    setting.build(precision="fp16", calibrate=())
    setting.build()
    assert [one.split("-")[1] for one in files(setting.store) if one.endswith(".json")] == [
        "fp16", "int8",
    ]  # fmt: skip


@needs_rtx
def test_the_layer_that_int8_breaks_goes_back_to_fp16(tmp_path: Path):
    setting = Setting(tmp_path, outlier_net())
    built = setting.build({**EASY, "ssim": 0.6, "psnr_db": 22}, 'int8_ranges = "minmax"')
    int8 = built.manifest.int8
    assert int8 is not None
    assert "plain_2" in int8.returned
    assert int8.sweep[0].layers == ("plain_2",)
    assert int8.layers != ()
    assert 0.1 < int8.share < 0.9


@needs_rtx
def test_a_recipe_chooses_ranges_scales_and_layers(setting: Setting):
    built = setting.build(
        EASY, 'int8_ranges = "entropy"', 'int8_weights = "channel"', 'keep_fp16 = ["wide"]'
    )
    int8 = built.manifest.int8
    assert int8 is not None
    assert [one.method for one in int8.methods] == [int8.method] == ["entropy"]
    assert int8.weights == "channel"
    assert sorted(int8.layers) == ["plain_1", "plain_2", "summed"]
    assert {one.node: one.reason for one in int8.left}["wide"] == "asked"


def pictures(page: str) -> int:
    return len(re.findall(r'<img alt="" src="data:image/png;base64,[A-Za-z0-9+/=]+">', page))


@needs_rtx
def test_the_report_shows_the_worst_of_each_group(setting: Setting):
    file = setting.folder / "report.html"
    setting.build(report=file)
    page = file.read_text("utf-8")
    assert "Good enough, and installed" in page
    assert pictures(page) % 4 == 0
    assert 8 <= pictures(page) <= 32
    for text in ("dark", "light", "plain_1", "SSIM", "percentile", "skin", "pose"):
        assert text in page
    # Nothing is fetched from anywhere.
    assert not re.search(r"https?://|<script|<link", page)
    with pytest.raises(OutputExistsError):
        setting.build(report=file)


@needs_rtx
def test_a_gate_that_cannot_be_met_names_group_and_layers_and_installs_nothing(setting: Setting):
    setting.build(precision="fp16", calibrate=())
    before, file = files(setting.store), setting.folder / "report.html"
    with pytest.raises(Int8Error, match="no INT8 engine of fitted is good enough") as caught:
        setting.build({**EASY, "spread_db": 0.0}, report=file)
    assert re.search(r"group skin '\w+'.* below the mean of all", caught.value.message)
    assert re.search(r"back in FP16 were .*plain_", caught.value.message)
    assert caught.value.hint is not None
    assert "FP16 engines stay" in caught.value.hint
    assert files(setting.store) == before
    page = file.read_text("utf-8")
    assert "Not installed: no INT8 engine" in page
    assert pictures(page) > 0


@needs_rtx
def test_the_identity_of_faces_is_part_of_the_gate(setting: Setting):
    def recogniser(rows):
        """Sees nothing but noise: every picture is somebody else."""
        return np.random.default_rng(int(abs(rows.sum()) * 1e6) % 2**32).normal(
            size=(len(rows), 64)
        )

    with pytest.raises(Int8Error, match=r"from the same face in FP32, allowed 0\.05"):
        setting.build(recogniser=recogniser)
    built = setting.build(recogniser=lambda rows: rows.reshape(len(rows), -1) + 1)
    gate = built.manifest.gate
    assert gate is not None
    assert gate.identity is not None
    assert 0 < gate.identity < 0.01


@needs_rtx
def test_one_person_and_missing_groups_are_said(tmp_path: Path):
    setting = Setting(
        tmp_path, fitted_net(), people=1, skin=("dark", "medium", "light", "pale"),
    )  # fmt: skip
    notes = setting.build().notes
    assert any("shows one person only" in note for note in notes)
    assert any("has no rows of the skin tone pale" in note for note in notes)


@needs_rtx
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"onnx_sha256": "ab" * 32}, "was made for another file of fitted"),
        ({"model": "other"}, "was made for other; here it is used for fitted"),
        ({"rows": 31}, "has 31 rows for fitted; allowed: 32 or more"),
        (
            {"inputs": {"target": np.zeros((60, 3, 24, 24), "f4")}},
            "holds nothing for the input source",
        ),
        (
            {
                "inputs": {
                    "target": np.zeros((60, 3, 8, 8), "f4"),
                    "source": np.zeros((60, 4), "f4"),
                }
            },
            r"holds float32 \(60, 3, 8, 8\) for the input target; allowed: float32 \(N, 3, 24, 24\)",
        ),
    ],
)
def test_sets_that_do_not_fit_are_refused(tmp_path: Path, rows, message):
    setting = Setting(tmp_path, fitted_net(), **rows)
    with pytest.raises(ModelError, match=message):
        setting.build()
    assert files(setting.store) == []


def test_what_does_not_go_together_is_refused(setting: Setting, tmp_path: Path):
    with pytest.raises(OptionError, match="INT8 of fitted needs real inputs"):
        setting.build(calibrate=())
    with pytest.raises(OptionError, match="--calibrate is for INT8"):
        setting.build(precision="fp16")
    with pytest.raises(OptionError, match="--report is for INT8"):
        setting.build(precision="fp16", calibrate=(), report=tmp_path / "r.html")


class Weak:
    """What a trial asks of a TensorRT that chooses types itself."""

    product, name, strong_typing, max_opset = "tensorrt", "TensorRT 8.6.0", False, 17


def test_a_builder_that_chooses_types_gets_fp32_with_pairs_and_constraints_the_second_time(
    setting: Setting,
):
    recipe = ModelRecipe(
        name="fitted", file=setting.net, precision="int8", batches=(1, 4), keep_fp32=("wide",),
        gate_int8=GateLimits.for_int8(**EASY),
    )  # fmt: skip
    prepared = prepare_graph(recipe, Weak, explicit_batches=True)  # type: ignore[arg-type]
    rows = trial_rows(calibration_rows(fitted_net()), recipe, prepared)
    trial = Int8Trial(
        recipe, prepared, Weak, rows,  # type: ignore[arg-type]
        recogniser=None, cores=2, check=lambda: None, tell=lambda _: None,
    )  # fmt: skip
    with Fp32Nets(2, "fitted") as nets:
        wanted = {
            "output": np.concatenate(
                [nets.run(prepared.graph, feed)["output"] for feed in rows.singly(rows.held)]
            )
        }
    first, *others = trial.attempts(wanted)
    (opset,) = (one.version for one in first.graph.opset_import)
    assert opset == 17
    floats = {one.data_type for one in first.graph.graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in floats
    pairs = [node.name for node in first.graph.graph.node if node.op_type == "QuantizeLinear"]
    assert not any("wide" in name for name in pairs)
    assert first.constrain == ("wide",)
    assert first.int8 is not None
    assert first.int8.weights == "channel"
    for attempt in others:
        assert attempt.int8 is not None
        assert len(attempt.int8.layers) < len(first.int8.layers)
        assert "wide" in attempt.constrain
