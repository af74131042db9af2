"""Engines from models to the store, really built by TensorRT for RTX for GPUs that are not here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from ffswap.errors import InputMissingError, ModelError, OptionError
from ffswap.files import file_digests
from tests.engines.build_nets import conv_net
from tests.engines.replica_recipes import write_recipe
from tests.engines.small_nets import floats, net, node
from tests.pipeline.engine_requests import (
    build,
    count_builds,
    files,
    needs_rtx,
    write_conv_recipe,
)
from tools.replicas import FAMILIES

pytestmark = needs_rtx

# Replicas whose batch cannot be more than 1, and why.
SINGLE = {
    "gfpgan_1.4": "(Conv) has weights that are computed from the inputs",
    "retinaface_10g": "(Sigmoid), has the rows along axis 0, in 128 parts",
    "scrfd_2.5g": "(Sigmoid), has the rows along axis 0, in 128 parts",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    return conv_net(tmp_path / "conv.onnx")


def mixing_net(path: Path, batch: str | int) -> Path:
    """Takes the mean of all rows from each: no batch of it is its rows."""
    nodes = [node("mean: ReduceMean x -> m", axes=[0], keepdims=1), node("less: Sub x m -> y")]
    onnx.save(net(nodes, {"x": [batch, 4]}, {"y": [batch, 4]}), path)
    return path


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_built_in_fp16_and_found_again(tmp_path, store, family):
    recipe = write_recipe(tmp_path, family)
    report = build(store, recipe=recipe)
    manifest, gate = report.manifest, report.manifest.gate
    assert report.status == "built"
    assert gate is not None
    assert gate.passed
    assert gate.repeatable
    assert gate.where == "reference"
    assert max(one.relative_l2 for one in gate.outputs) < 0.01
    assert manifest.key.precision == "fp16"
    assert [str(gpu) for gpu in manifest.key.gpus] == ["any GPU of 8.6"]
    assert manifest.source == f"{family}.onnx"
    assert files(store) == sorted([f"{manifest.key.stem}.json", manifest.plan])
    assert file_digests(Path(report.plan)).sha256 == manifest.plan_sha256
    # The replicas are smaller than what was published, and that is said.
    notes = [one for one in report.notes if not one.startswith(f"the file is not {family}: ")]
    if family in SINGLE:
        assert manifest.key.batches == (1,)
        (said,) = notes
        assert "built for batches of 1 only" in said
        assert SINGLE[family] in said
    else:
        assert (manifest.key.batches, notes) == ((1, 4), [])
    assert build(store, recipe=recipe).status == "there"


@pytest.mark.parametrize("family", ["inswapper_128", "yunet_2023_mar"])
@pytest.mark.parametrize(
    ("target", "batches", "profiles"),
    [("sm89", (2,), "each"), ("sm89", (1, 3), "each"), ("sm120", (1, 3), "range")],
)
def test_it_builds_for_other_gpus_and_batches(tmp_path, store, family, target, batches, profiles):
    recipe = write_recipe(tmp_path, family, batches=batches, profiles=profiles)
    key = build(store, recipe=recipe, targets=(target,)).manifest.key
    assert (key.batches, key.profiles) == (batches, profiles)
    assert [gpu.capability for gpu in key.gpus] == [{"sm89": "8.9", "sm120": "12.0"}[target]]


def test_one_engine_may_be_for_several_gpus(store, conv):
    key = build(store, conv, targets=("sm86", "sm120"), batches=(1,)).manifest.key
    assert [gpu.capability for gpu in key.gpus] == ["8.6", "12.0"]
    assert build(store, conv, targets=("sm86",), batches=(1,)).notes == (
        "stale: GPU: built for any GPU of 8.6, any GPU of 12.0, here is any GPU of 8.6",
    )


def test_fp32_is_nearer_to_fp32_than_fp16(store, conv):
    errors = {}
    for precision in ("fp16", "fp32"):
        manifest = build(store, conv, precision=precision, batches=(1, 2)).manifest
        assert manifest.gate is not None
        errors[precision] = manifest.gate.outputs[0].relative_l2
        assert manifest.key.precision == precision
        assert manifest.plan.startswith(f"conv-{precision}-")
    assert errors["fp32"] < 1e-5 < errors["fp16"]


def test_inputs_and_outputs_may_be_half(tmp_path, store):
    recipe = write_conv_recipe(tmp_path, "batches = [1, 2]", "half_io = true")
    manifest = build(store, recipe=recipe).manifest
    assert manifest.key.half_io
    assert manifest.gate is not None
    assert 1e-5 < manifest.gate.outputs[0].relative_l2 < 0.01


def test_nets_that_come_with_ffswap_are_built_with_their_licence(store):
    report = build(store, "face_landmark", batches=(1, 2))
    assert report.status == "built"
    assert report.manifest.licence == "Apache-2.0"
    assert report.manifest.source.startswith("face_landmark")


def test_values_that_leave_fp16_are_islands_of_the_engine(tmp_path, store):
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(4, 4)).astype(np.float32) * 1e6,
        "v": random.normal(size=(4, 4)).astype(np.float32) * 1e-6,
        "one": floats(0.5),
    }
    nodes = [
        node("up: MatMul x w -> a"), node("down: MatMul a v -> b"),
        node("half: Mul b one -> c"), node("squash: Tanh c -> y"),
    ]  # fmt: skip
    path = tmp_path / "broken.onnx"
    onnx.save(net(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}, weights), path)
    manifest = build(store, path, batches=(1, 2)).manifest
    islands = {one.node: one for one in manifest.islands}
    assert set(islands) == {"up", "down"}
    assert islands["up"].value is not None
    assert islands["up"].value > 65504
    assert manifest.gate is not None
    assert manifest.gate.outputs[0].relative_l2 < 0.005
    written = json.loads((store / f"{manifest.key.stem}.json").read_text())
    assert {one["node"] for one in written["islands"]} == {"up", "down"}


def test_nodes_that_a_recipe_names_are_islands(tmp_path, store):
    recipe = write_conv_recipe(tmp_path, "batches = [1]", 'keep_fp32 = ["conv_1"]')
    (island,) = build(store, recipe=recipe).manifest.islands
    assert island.node == "conv_1"
    recipe = write_conv_recipe(tmp_path, "batches = [1]", 'keep_fp32 = ["conv_9"]')
    with pytest.raises(OptionError, match="no node 'conv_9'"):
        build(store, recipe=recipe)


class TestNetsThatMixTheirRows:
    """Such nets run one row at a time, whatever their file calls the batch."""

    @pytest.mark.parametrize("batch", ["N", "batch_size", 1])
    def test_they_are_built_for_one_row_and_the_note_names_the_node(self, tmp_path, store, batch):
        report = build(store, mixing_net(tmp_path / "mix.onnx", batch))
        assert report.manifest.key.batches == (1,)
        assert report.manifest.key.inputs == (("x", "float32", (1, 4)),)
        (said,) = report.notes
        assert said.startswith("built for batches of 1 only: ")
        assert "node 'mean' (ReduceMean)" in said

    @pytest.mark.parametrize("batch", ["N", "batch_size", 1])
    def test_one_row_may_be_asked_for(self, tmp_path, store, batch):
        report = build(store, mixing_net(tmp_path / "mix.onnx", batch), batches=(1,))
        assert (report.manifest.key.batches, report.notes) == ((1,), ())

    @pytest.mark.parametrize("batch", ["N", "batch_size", 1])
    def test_more_rows_are_refused(self, tmp_path, store, batch):
        with pytest.raises(ModelError, match=r"node 'mean' \(ReduceMean\)") as caught:
            build(store, mixing_net(tmp_path / "mix.onnx", batch), batches=(1, 2))
        assert "one row at a time" in str(caught.value.hint)
        assert files(store) == []


@pytest.mark.parametrize("shape", [[], [4]])
def test_an_input_that_is_no_row_is_taken_whole(tmp_path, store, shape):
    path = tmp_path / "offset.onnx"
    onnx.save(net([node("add: Add x o -> y")], {"x": [1, 4], "o": shape}, {"y": [1, 4]}), path)
    assert build(store, path, batches=(1,)).manifest.key.batches == (1,)
    recipe = tmp_path / "offset.toml"
    recipe.write_text('[models.offset]\nfile = "offset.onnx"\nunbatched = ["o"]\nbatches = [1, 2]')
    manifest = build(store, recipe=recipe).manifest
    assert manifest.key.inputs == (("x", "float32", (-1, 4)), ("o", "float32", tuple(shape)))


@pytest.mark.parametrize("line", ["ranges = {z = [0.0, 1.0]}", 'unbatched = ["z"]'])
def test_a_recipe_that_names_an_input_that_is_not_there_is_refused(tmp_path, store, line):
    recipe = write_conv_recipe(tmp_path, line)
    with pytest.raises(ModelError, match=f"{line.split()[0]} names z; the inputs of conv are: x"):
        build(store, recipe=recipe)
    assert files(store) == []


class TestSamples:
    """Rows of the recipe's own."""

    def given(self, folder: Path, **arrays: object) -> Path:
        np.savez(folder / "rows.npz", **arrays)  # type: ignore[arg-type]
        return write_conv_recipe(folder, "batches = [1, 4]", 'samples = "rows.npz"')

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
    def test_fewer_rows_than_the_batch_are_repeated(self, tmp_path, store, dtype):
        rows = np.random.default_rng(0).integers(0, 9, (3, 3, 8, 8)).astype(dtype)
        report = build(store, recipe=self.given(tmp_path, x=rows))
        assert report.manifest.gate is not None
        assert report.manifest.gate.samples == 4
        assert report.manifest.key.samples.startswith("given:")

    def test_a_net_for_one_row_takes_the_first(self, tmp_path, store):
        conv_net(tmp_path / "conv.onnx", batch=1)
        recipe = self.given(tmp_path, x=np.ones((3, 3, 8, 8)))
        assert build(store, recipe=recipe, batches=(1,)).manifest.key.batches == (1,)

    def test_they_decide_what_stays_in_fp32_and_so_are_part_of_the_key(self, tmp_path, store):
        rows = np.ones((1, 3, 8, 8), np.float32)
        assert build(store, recipe=self.given(tmp_path, x=rows)).manifest.islands == ()
        again = build(store, recipe=self.given(tmp_path, x=rows * 1e6))
        assert {one.node for one in again.manifest.islands} >= {"conv_0", "conv_1", "conv_2"}
        assert again.notes == ("stale: its FP32 nodes were chosen with other samples",)

    @pytest.mark.parametrize(
        ("arrays", "found"),
        [
            ({"x": np.ones((4, 3, 8, 9))}, r"float64 \(4, 3, 8, 9\)"),
            ({"x": np.ones((4, 3, 8))}, r"float64 \(4, 3, 8\)"),
            ({"x": np.float32(1)}, r"float32 \(\)"),
            ({"x": np.ones((0, 3, 8, 8))}, r"float64 \(0, 3, 8, 8\)"),
            ({"x": np.full((4, 3, 8, 8), "1")}, r"<U1 \(4, 3, 8, 8\)"),
            ({"z": np.ones((4, 3, 8, 8))}, "nothing"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, tmp_path, store, arrays, found):
        with pytest.raises(ModelError, match=f"hold {found} for the input x: float32 ") as caught:
            build(store, recipe=self.given(tmp_path, **arrays))
        assert caught.value.file == str(tmp_path / "rows.npz")
        assert files(store) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"hello", "is no NumPy archive"), (b"PK\3\4", "is no NumPy archive"), (b"", "is empty")],
    )
    def test_what_is_no_archive_is_refused(self, tmp_path, store, content, message):
        recipe = self.given(tmp_path, x=1)
        (tmp_path / "rows.npz").write_bytes(content)
        with pytest.raises(ModelError, match=message):
            build(store, recipe=recipe)
        (tmp_path / "rows.npz").unlink()
        with pytest.raises(InputMissingError, match="no such file"):
            build(store, recipe=recipe)

    def test_a_single_array_is_refused(self, tmp_path, store):
        recipe = self.given(tmp_path, x=1)
        with (tmp_path / "rows.npz").open("wb") as file:
            np.save(file, np.ones((4, 3, 8, 8)))
        with pytest.raises(ModelError, match="single array; allowed: a NumPy archive"):
            build(store, recipe=recipe)


class TestFindingAgain:
    """An engine is built once, and again when anything in its key differs or it is damaged."""

    def test_the_second_call_builds_nothing(self, store, conv, monkeypatch):
        first = build(store, conv, batches=(1, 2))
        builds = count_builds(monkeypatch)
        again = build(store, conv, batches=(1, 2))
        assert builds.count == 0
        assert (again.status, again.notes) == ("there", ())
        assert (again.plan, again.manifest) == (first.plan, first.manifest)

    def test_force_builds_again_and_leaves_one_engine(self, store, conv, monkeypatch):
        build(store, conv, batches=(1,))
        builds = count_builds(monkeypatch)
        again = build(store, conv, batches=(1,), force=True)
        assert builds.count == 1
        assert (again.status, again.notes) == ("built", ())
        assert files(store) == sorted([f"{again.manifest.key.stem}.json", again.manifest.plan])

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"batches": (2, 4)}, "batch sizes 2, asked for is 2, 4"),
            ({"opt_level": 1}, "optimisation level default, asked for is 1"),
            ({"workspace_gb": 1.0}, "workspace without limit, asked for is of 1 GiB"),
            ({"targets": ("sm89",)}, "GPU: built for any GPU of 8.6, here is any GPU of 8.9"),
        ],
    )
    def test_other_options_give_another_engine(self, store, conv, options, reason):
        first = build(store, conv, batches=(2,))
        other = build(store, conv, **{"batches": (2,), **options})
        assert (other.status, other.notes) == ("built", (f"stale: {reason}",))
        assert other.plan != first.plan
        assert build(store, conv, batches=(2,)).status == "there"

    def test_one_row_is_another_engine_of_the_same_file(self, store, conv):
        build(store, conv, batches=(1,))
        (said,) = build(store, conv, batches=(1, 2)).notes
        assert "batch sizes 1, asked for is 1, 2" in said
        assert "has changed" not in said

    def test_another_precision_is_another_engine_without_a_word(self, store, conv):
        build(store, conv, batches=(1,))
        other = build(store, conv, batches=(1,), precision="fp32")
        assert (other.status, other.notes) == ("built", ())

    def test_a_changed_file_gives_another_engine(self, tmp_path, store, conv):
        build(store, conv, batches=(1,))
        conv_net(tmp_path / "conv.onnx", layers=2)
        again = build(store, conv, batches=(1,))
        assert (again.status, again.notes) == ("built", ("stale: the ONNX file has changed",))

    def test_a_plan_that_was_damaged_is_built_again(self, store, conv):
        plan = Path(build(store, conv, batches=(1,)).plan)
        content = bytearray(plan.read_bytes())
        content[len(content) // 2] ^= 1
        plan.write_bytes(content)
        again = build(store, conv, batches=(1,))
        assert (again.status, again.notes) == ("built", ("corrupt: plan has the wrong sha256",))
        plan = Path(again.plan)
        plan.write_bytes(plan.read_bytes()[:-1])
        (said,) = build(store, conv, batches=(1,)).notes
        assert said.startswith("corrupt: plan has ")
        Path(build(store, conv, batches=(1,)).plan).unlink()
        assert build(store, conv, batches=(1,)).notes == ("corrupt: plan is missing",)

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"key": {"schema": 1}}'])
    def test_a_manifest_that_was_damaged_is_built_again(self, store, conv, content):
        first = build(store, conv, batches=(1,))
        manifest = store / f"{first.manifest.key.stem}.json"
        manifest.write_bytes(content)
        again = build(store, conv, batches=(1,))
        assert again.status == "built"
        assert again.notes[0].startswith("corrupt: manifest cannot be read: ")
        assert build(store, conv, batches=(1,)).status == "there"
        assert files(store) == sorted([manifest.name, again.manifest.plan])
