"""What is in a store: listed, verified and removed, with real engines for GPUs that are not here."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ffswap.engines.key import GpuTarget
from ffswap.engines.manifest import Manifest
from ffswap.engines.store import EngineStore
from ffswap.engines.trt_api import load_api
from ffswap.errors import DeviceError, EngineError, OptionError, OutputWriteError
from ffswap.gpu import Device
from ffswap.pipeline import engine_shelf
from ffswap.pipeline.engine_place import platform_name
from ffswap.pipeline.engine_shelf import Here, list_engines, prune_engines, verify_engines
from tests.engines.build_nets import conv_net
from tests.pipeline.engine_requests import build, files, needs_rtx

pytestmark = needs_rtx


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two engines; no test changes it."""
    folder = tmp_path_factory.mktemp("built")
    store = folder / "store"
    build(store, conv_net(folder / "alpha.onnx"), batches=(1, 2))
    build(store, conv_net(folder / "beta.onnx", layers=2), batches=(1,), precision="fp32")
    return store


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(built, tmp_path / "store"))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(index: int) -> Device:
        raise DeviceError(f"there is no GPU {index}")

    monkeypatch.setattr("ffswap.pipeline.engine_shelf.Device", refuse)


def newer(product):
    """The TensorRT that is here, in a version that comes after it."""
    return replace(load_api(product), version="99.0")


def plan_of(store: Path, model: str) -> Path:
    (plan,) = store.glob(f"{model}-*.plan")
    return plan


def manifest_of(store: Path, model: str) -> Path:
    (manifest,) = store.glob(f"{model}-*.json")
    return manifest


def damage(plan: Path) -> None:
    """Another byte in the middle: its size tells nothing."""
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)


def key_of(store: Path, model: str):
    (one,) = (one for one in EngineStore(store).entries() if one.model == model)
    assert isinstance(one.manifest, Manifest)
    return one.manifest.key


class TestHere:
    """Whether this machine can use an engine, and the reason if not."""

    def here(self, **changes) -> Here:
        usual = {
            "versions": {"tensorrt_rtx": load_api("tensorrt_rtx").version},
            "gpu": GpuTarget(name="NVIDIA GeForce RTX 3090", capability="8.6"),
            "driver_major": 13,
            "platform": platform_name(),
        }
        return Here(**{**usual, **changes})

    def test_an_engine_for_a_capability_runs_on_every_gpu_that_has_it(self, built):
        assert self.here().obstacle(key_of(built, "alpha")) is None

    def test_another_machine_is_an_obstacle_that_is_named(self, built):
        key = key_of(built, "alpha")
        ada = GpuTarget(name="NVIDIA L4", capability="8.9")
        for changes, said in (
            ({"versions": {}}, f"built by {key.runtime}, which is not installed"),
            ({"versions": {"tensorrt_rtx": "0.1"}}, f"built by {key.runtime}, here is 0.1"),
            ({"gpu": None}, "built for any GPU of 8.6, here is no GPU"),
            ({"gpu": ada}, "built for any GPU of 8.6, here is NVIDIA L4 (8.9)"),
            ({"platform": "win"}, f"built on {platform_name()}, here is win"),
        ):
            assert self.here(**changes).obstacle(key) == said
        assert self.here().obstacle(replace(key, driver_major=12)) == (
            "built with driver 12, here is 13"
        )


class TestList:
    def test_whole_engines_without_their_gpu_are_elsewhere(self, built):
        alpha, beta = list_engines(built)
        assert (alpha.entry.model, beta.entry.model) == ("alpha", "beta")
        assert {one.state for one in (alpha, beta)} == {"elsewhere"}
        assert alpha.reason == "built for any GPU of 8.6, here is no GPU"
        described = alpha.as_dict()
        assert described["bytes"] == sum(
            one.stat().st_size for one in (plan_of(built, "alpha"), manifest_of(built, "alpha"))
        )
        assert described["manifest"]["key"]["batches"] == [1, 2]
        assert beta.as_dict()["precision"] == "fp32"

    def test_with_their_gpu_they_are_ok(self, built, monkeypatch):
        here = Here(
            versions={"tensorrt_rtx": load_api("tensorrt_rtx").version},
            gpu=GpuTarget(name="NVIDIA GeForce RTX 3090", capability="8.6"),
            driver_major=13,
            platform=platform_name(),
        )
        monkeypatch.setattr("ffswap.pipeline.engine_shelf._here", lambda _: (here, {}, None))
        assert [(one.state, one.reason) for one in list_engines(built)] == [("ok", None)] * 2

    def test_without_tensorrt_they_are_listed_all_the_same(self, built, monkeypatch):
        monkeypatch.setattr("ffswap.pipeline.engine_shelf.installed_products", dict)
        for one in list_engines(built):
            assert one.state == "elsewhere"
            assert str(one.reason).endswith("which is not installed")

    def test_a_tensorrt_that_is_there_twice_counts_as_missing(self, built, monkeypatch):
        monkeypatch.setattr("importlib.metadata.version", lambda _: "1.0")
        assert "which is not installed" in str(list_engines(built)[0].reason)

    def test_broken_engines_say_why(self, store):
        plan_of(store, "alpha").unlink()
        manifest_of(store, "beta").write_text("{")
        alpha, beta, orphan = list_engines(store)
        assert (alpha.state, alpha.reason) == ("broken", "plan is missing")
        assert beta.state == "broken"
        assert "manifest cannot be read" in str(beta.reason)
        assert beta.as_dict()["manifest"] is None
        assert (orphan.entry.model, orphan.reason) == ("beta", "plan has no manifest")

    def test_a_folder_that_is_not_there_holds_no_engines(self, tmp_path):
        assert list_engines(tmp_path / "none") == ()
        assert verify_engines(tmp_path / "none") == ()
        assert prune_engines(tmp_path / "none", stale=True, dry_run=False) == ()
        assert not (tmp_path / "none").exists()

    def test_a_file_is_no_folder(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputWriteError, match="engines need a folder"):
            list_engines(tmp_path / "file")


class TestVerify:
    def test_without_a_gpu_the_files_are_read_and_nothing_is_run(self, built):
        found = verify_engines(built)
        assert [(one.problem, one.checked, one.gate) for one in found] == [(None, "file", None)] * 2

    def test_a_byte_that_changed_is_found(self, store):
        damage(plan_of(store, "alpha"))
        assert list_engines(store)[0].state == "elsewhere"  # sizes are compared, not digests
        alpha, beta = verify_engines(store)
        assert (alpha.problem, beta.problem) == ("plan has the wrong sha256", None)
        assert alpha.as_dict()["problem"] == "plan has the wrong sha256"

    def test_models_are_chosen_by_name(self, built):
        (beta,) = verify_engines(built, ("beta",))
        assert beta.entry.model == "beta"
        with pytest.raises(OptionError, match="no engine of delta, gamma; there are: alpha, beta"):
            verify_engines(built, ("gamma", "beta", "delta"))

    def test_an_empty_store_has_no_model(self, tmp_path):
        with pytest.raises(OptionError, match="no engine of alpha; there are: none"):
            verify_engines(tmp_path, ("alpha",))


class TestPrune:
    def test_whole_engines_stay(self, store):
        before = files(store)
        assert prune_engines(store, stale=False, dry_run=False) == ()
        assert files(store) == before

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_broken_engines_go_with_both_their_files(self, store, dry_run):
        damage(plan_of(store, "alpha"))
        before = set(files(store))
        removed = prune_engines(store, stale=False, dry_run=dry_run)
        assert {one.reason for one in removed} == {"plan has the wrong sha256"}
        gone = {one.path.name for one in removed}
        assert gone == {name for name in before if name.startswith("alpha")}
        assert set(files(store)) == (before if dry_run else before - gone)
        assert all(one.size_bytes > 0 for one in removed)

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_engines_of_another_tensorrt_go_when_asked_for(self, store, dry_run, monkeypatch):
        before = files(store)
        monkeypatch.setattr(engine_shelf, "load_api", newer)
        removed = prune_engines(store, stale=True, dry_run=dry_run)
        assert sorted(one.path.name for one in removed) == before
        assert files(store) == (before if dry_run else [])

    def test_engines_of_this_tensorrt_stay_wherever_they_are_for(self, store):
        before = files(store)
        assert prune_engines(store, stale=True, dry_run=False) == ()
        assert files(store) == before

    def test_engines_stay_while_tensorrt_cannot_be_asked(self, store, monkeypatch):
        def broken(product):
            raise EngineError(f"{product} is installed but cannot be loaded")

        monkeypatch.setattr(engine_shelf, "load_api", broken)
        before = files(store)
        assert prune_engines(store, stale=True, dry_run=False) == ()
        assert files(store) == before

    def test_what_builds_left_goes_after_a_day(self, store):
        key, whole = key_of(store, "alpha"), files(store)
        old, young = (EngineStore(store).temporary(key) for _ in range(2))
        for part in (old, young):
            part.write_bytes(b"half")
        long_ago = time.time() - 25 * 3600
        os.utime(old, (long_ago, long_ago))
        (removed,) = prune_engines(store, stale=False, dry_run=False)
        assert (removed.path, removed.reason) == (old, "left by a build that did not finish")
        assert files(store) == sorted([*whole, young.name])

    def test_files_of_others_stay(self, store, monkeypatch):
        (store / "alpha.onnx").write_text("mine")
        (store / "notes.json").write_text("{")
        (store / "old.plan").write_text("mine")
        monkeypatch.setattr(engine_shelf, "load_api", newer)
        prune_engines(store, stale=True, dry_run=False)
        assert files(store) == ["alpha.onnx", "notes.json", "old.plan"]

    def test_an_engine_that_somebody_builds_is_left(self, store):
        damage(plan_of(store, "alpha"))
        before = files(store)
        with EngineStore(store).lock(key_of(store, "alpha")):
            removed = prune_engines(store, stale=False, dry_run=False)
        assert [one.in_use for one in removed] == [True, True]
        assert files(store) == before
