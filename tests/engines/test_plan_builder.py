"""One process for several builds: loaded once and early, and never used again after a failure."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from onnx import helper

from ffswap.engines import build
from ffswap.engines.build import BuildEvent, BuildJob, BuildResult, PlanBuilder
from ffswap.errors import (
    CancelledError,
    DeviceError,
    EngineError,
    FfswapError,
    InternalError,
    OptionError,
    OutputExistsError,
)
from tests.engines.build_nets import FAKES, conv_net, job, save_net
from tests.engines.build_processes import ends_soon, has_ended, start_parent, watch_children

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in ends itself by signals")

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")


@pytest.fixture
def children(monkeypatch):
    """Every process that builds, in the order of their start."""
    return watch_children(monkeypatch)


@pytest.fixture(autouse=True)
def events(tmp_path, monkeypatch) -> Callable[[], list[str]]:
    """What takes long in the stand-in for TensorRT 8.6, which builds get: as it has come so far."""
    path = tmp_path / "events"
    path.touch()
    monkeypatch.setenv("FAKE_EVENTS", str(path))
    monkeypatch.setattr(sys, "path", [str(FAKES), *sys.path])
    return lambda: path.read_text().split()


def weak(folder: Path, layer: str = "relu", **options: Any) -> BuildJob:
    """For the stand-in, of a net with one layer, whose name may be something that goes wrong."""
    node = helper.make_node("Relu", ["x"], ["y"], name=layer)
    net = save_net(folder / f"{layer}.onnx", [node], {"x": ["N", 4], "y": ["N", 4]})
    given = {"product": "tensorrt", "targets": (), "plan": folder / f"{layer}.plan", **options}
    return job(folder, net, **{"name": layer, **given})


def run(builder: PlanBuilder, done: BuildJob) -> BuildResult:
    with builder.begin(done) as pending:
        return pending.result()


# Ample for any machine: only what never comes takes that long.
_SOON_S = 30


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_process_builds_plan_after_plan(tmp_path, events, children):
    with PlanBuilder() as builder:
        for layer in ("one", "two", "three"):
            done = weak(tmp_path, layer)
            assert run(builder, done).plan_bytes == done.plan.stat().st_size
            assert json.loads(done.plan.read_text())["inputs"] == {"x": [1, 4]}
        assert len(children) == 1
        assert not has_ended(children[0].pid)
    assert events() == ["loaded", "built", "built", "built"]
    assert has_ended(children[0].pid)


def test_it_loads_tensorrt_before_there_is_a_job(tmp_path, events, children):
    with PlanBuilder() as builder:
        builder.start("tensorrt", 0)
        wait_until(events)
        assert events() == ["loaded"]
        builder.start("tensorrt", 0)
        run(builder, weak(tmp_path))
    assert events() == ["loaded", "built"]
    assert len(children) == 1


def test_a_process_that_was_not_needed_is_ended(children):
    with PlanBuilder() as builder:
        builder.start("tensorrt", 0)
    assert has_ended(children[0].pid)
    with PlanBuilder():
        pass
    assert len(children) == 1


def test_a_plan_is_built_while_its_owner_does_something_else(tmp_path, events):
    done = weak(tmp_path)
    with PlanBuilder() as builder, builder.begin(done) as pending:
        wait_until(lambda: "built" in events() and done.plan.stat().st_size)
        before = pending.built
        told: list[BuildEvent] = []
        result = pending.result(progress=told.append)
        assert (before, pending.built) == (False, True)
    phases = [event.phase for event in told if event.phase != "starting"]
    assert phases[:3] == ["loading TensorRT", "reading the net", "building"]
    assert result.plan_bytes == done.plan.stat().st_size


def test_its_time_ends_with_the_plan_however_late_it_is_asked_for(tmp_path, monkeypatch):
    with PlanBuilder() as builder, builder.begin(weak(tmp_path)) as pending:
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 1000)
        monkeypatch.setattr(build, "time", later)
        assert 0 < pending.result().seconds < 1000


def test_what_is_said_of_one_net_is_not_said_of_the_next(tmp_path, events):
    with PlanBuilder() as builder:
        odd = run(builder, weak(tmp_path, "odd"))
        assert odd.warnings == ("plugins are there", "this net is odd")
        # What was said while the library was loaded is true of all that it builds.
        assert run(builder, weak(tmp_path, "even")).warnings == ("plugins are there",)
        with pytest.raises(EngineError, match="built: TensorRT gave no reason"):
            run(builder, weak(tmp_path, "nothing"))
    assert events() == ["loaded", "built", "built", "built"]


def test_loading_is_told_of_once(tmp_path):
    phases: list[list[str]] = []
    with PlanBuilder() as builder:
        for layer in ("one", "two"):
            told: list[BuildEvent] = []
            with builder.begin(weak(tmp_path, layer)) as pending:
                pending.result(progress=told.append)
            # While nothing was heard, it says so about once a second.
            phases.append([event.phase for event in told if event.phase != "starting"])
    assert phases[0] == ["loading TensorRT", *phases[1]]
    assert phases[1][0] == "reading the net"


@pytest.mark.parametrize(
    ("layer", "error"),
    [("crash", EngineError), ("bug", InternalError), ("memory", EngineError),
     ("nothing", EngineError)],
)  # fmt: skip
def test_a_job_after_a_failure_gets_another_process(tmp_path, events, children, layer, error):
    with PlanBuilder() as builder:
        run(builder, weak(tmp_path, "before"))
        done = weak(tmp_path, layer)
        with pytest.raises(error, match=layer):
            run(builder, done)
        assert has_ended(children[0].pid)
        assert not done.plan.exists()
        after = weak(tmp_path, "after")
        assert run(builder, after).plan_bytes == after.plan.stat().st_size
        assert (tmp_path / "before.plan").stat().st_size
    assert events() == ["loaded", "built", "built", "loaded", "built"]


def test_a_crash_is_not_explained_with_what_was_printed_before(tmp_path):
    with PlanBuilder() as builder:
        run(builder, weak(tmp_path))
        with pytest.raises(EngineError, match="stack smashed") as caught:
            run(builder, weak(tmp_path, "crash"))
    assert "a line that a library prints" not in caught.value.message


def test_a_job_after_a_cancelled_one_gets_another_process(tmp_path, children):
    cancel = threading.Event()
    cancel.set()
    with PlanBuilder() as builder:
        done = weak(tmp_path)
        with pytest.raises(CancelledError), builder.begin(done) as pending:
            pending.result(cancel=cancel)
        assert has_ended(children[0].pid)
        assert not done.plan.exists()
        assert run(builder, done).plan_bytes
    assert len(children) == 2


def test_a_build_whose_result_nobody_wants_is_given_up(tmp_path, children):
    done = weak(tmp_path)
    with PlanBuilder() as builder:
        with builder.begin(done):
            assert done.plan.exists()
        assert has_ended(children[0].pid)
        assert not done.plan.exists()
        with pytest.raises(ZeroDivisionError), builder.begin(done):
            raise ZeroDivisionError
        assert has_ended(children[1].pid)
        assert not done.plan.exists()


def test_a_plan_that_was_asked_for_stays_whatever_comes_then(tmp_path, children):
    done = weak(tmp_path)
    with PlanBuilder() as builder:
        with pytest.raises(FileNotFoundError), builder.begin(done) as pending:
            Path(str(pending.result().version)).unlink()
        assert done.plan.stat().st_size
        run(builder, weak(tmp_path, "next"))
    assert len(children) == 1


def test_a_process_that_dies_while_it_waits_is_replaced(tmp_path, children):
    with PlanBuilder() as builder:
        builder.start("tensorrt", 0)
        children[0].kill()
        children[0].wait()
        assert run(builder, weak(tmp_path)).plan_bytes
    assert len(children) == 2


def test_another_gpu_or_product_is_another_process(tmp_path, children):
    with PlanBuilder() as builder:
        builder.start("tensorrt", None)
        run(builder, weak(tmp_path))
        assert has_ended(children[0].pid)
        with pytest.raises(DeviceError):
            run(builder, weak(tmp_path, "other", device=3))
    assert len(children) == 3


@pytest.mark.parametrize(
    ("device", "options", "error", "message"),
    [
        (3, {"device": 3}, DeviceError, "^relu cannot be built: there is no GPU cuda:3"),
        (None, {"targets": ("sm86",)}, OptionError, "builds for the GPU that is here"),
    ],
)
def test_what_goes_wrong_early_is_an_error_of_the_job(
    tmp_path, events, children, device, options, error, message
):
    with PlanBuilder() as builder:
        builder.start("tensorrt", device)
        with pytest.raises(FfswapError, match=message) as caught:
            run(builder, weak(tmp_path, **options))
    assert type(caught.value) is error
    assert len(children) == 1
    assert events() == []


def test_no_process_is_started_for_what_cannot_be_written(tmp_path, children):
    done = weak(tmp_path)
    done.plan.write_text("precious")
    with PlanBuilder() as builder, pytest.raises(OutputExistsError):
        run(builder, done)
    assert done.plan.read_text() == "precious"
    assert children == []


def test_a_process_that_waits_ends_with_its_parent_and_what_it_built_stays(tmp_path):
    done = weak(tmp_path)
    with start_parent(done) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: parent.stdout is None or parent.stdout.readline() == b"built\n")
        assert not has_ended(pid)
        parent.kill()
    assert ends_soon(pid)
    assert json.loads(done.plan.read_text())


@needs_rtx
def test_tensorrt_for_rtx_builds_plan_after_plan_in_one_process(tmp_path, children):
    net = conv_net(tmp_path / "net.onnx")
    nodes = [helper.make_node("Soothsay", ["x"], ["y"], name="first")]
    foreign = save_net(tmp_path / "foreign.onnx", nodes, {"x": ["N", 4], "y": ["N", 4]})
    with PlanBuilder() as builder:
        builder.start("tensorrt_rtx", None)
        for target, batches in (("sm86", (1,)), ("sm120", (1, 4)), ("sm86", (2,))):
            options: dict[str, Any] = {"targets": (target,), "batches": batches}
            alone = job(tmp_path, net, plan=tmp_path / "alone.plan", **options)
            size = build.build_plan(alone).plan_bytes
            alone.plan.unlink()
            done = job(tmp_path, net, **options)
            result = run(builder, done)
            assert (result.plan_bytes, result.warnings) == (size, ())
            done.plan.unlink()
        assert [has_ended(child.pid) for child in children] == [False, True, True, True]
        with pytest.raises(EngineError, match="cannot be read by TensorRT for RTX") as caught:
            run(builder, job(tmp_path, foreign))
        assert caught.value.message.count("Plugin not found") == 1
    assert has_ended(children[0].pid)
