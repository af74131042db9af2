"""Builds with a stand-in for TensorRT 8.6: what it is asked for, and what becomes of its failures.

No TensorRT but that for RTX runs without a GPU, so these tests show our side only: that the right
calls are made, and that whatever the library does ends well.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from ffswap.engines import _child, build
from ffswap.engines.build import BuildEvent, BuildResult, build_plan
from ffswap.errors import CancelledError, DeviceError, EngineError, InternalError, OptionError
from tests.engines.build_nets import FAKES, conv_net, job, save_net
from tests.engines.build_processes import ends_soon, start_parent, watch_children

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in ends itself by signals")


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net; builds get the stand-ins, because the search path is handed on to them."""
    monkeypatch.setattr(sys, "path", [str(FAKES), *sys.path])
    return conv_net(tmp_path / "net.onnx")


def run(net: Path, **options: Any) -> tuple[BuildResult, dict[str, Any]]:
    """The result of a build, and what the stand-in was asked for."""
    done = job(net.parent, net, **{"product": "tensorrt", "targets": (), **options})
    try:
        result = build_plan(done)
        return result, json.loads(done.plan.read_text())
    finally:
        done.plan.unlink(missing_ok=True)


def test_a_plain_build(net):
    result, asked = run(net)
    assert (result.product, result.version) == ("tensorrt", "8.6.0")
    assert (result.strong_typing, result.timing_cache_hit) == (False, None)
    assert result.warnings == ("plugins are there",)
    assert asked == {
        "flags": ["TF32", "FP16"],
        "profiles": [],
        "calls": [["PROFILE_SHARING_0806", True]],
        "level": 3,
        "inputs": {"x": [1, 3, 8, 8]},
        "held": {},
        "known": None,
    }


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [("each", [(1, 1, 1), (2, 2, 2), (8, 8, 8)]), ("range", [(1, 8, 8)])],
)
def test_profiles(net, profiles, expected):
    _, asked = run(net, batches=(1, 2, 8), profiles=profiles)
    wanted = [{"x": [[rows, 3, 8, 8] for rows in shapes]} for shapes in expected]
    assert asked["profiles"] == wanted
    assert asked["inputs"] == {"x": [-1, 3, 8, 8]}


def test_options_reach_the_library(net):
    tactics = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    _, asked = run(net, half=False, workspace_bytes=1 << 20, opt_level=1, tactics=tactics)
    assert asked["flags"] == []
    assert ["WORKSPACE", 1 << 20] in asked["calls"]
    assert ["tactics", 0b11000] in asked["calls"]
    assert asked["level"] == 1
    _, asked = run(net, tactics=())
    assert ["tactics", 0] in asked["calls"]


def test_layers_are_held_in_fp32(net):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="one"),
        helper.make_node("Shape", ["a"], ["b"], name="size"),
        helper.make_node("Relu", ["a"], ["y"], name="two"),
    ]
    save_net(net, nodes, {"x": ["N", 4], "y": ["N", 4]})
    result, asked = run(net, constrain=("one", "size", "lost"))
    assert asked["held"] == {"one": {"0": "FLOAT"}}
    assert asked["flags"] == ["TF32", "FP16", "OBEY_PRECISION_CONSTRAINTS"]
    assert result.warnings[0] == "no layer is called lost: not held in FP32"
    _, asked = run(net, constrain=("one",), half=False)
    assert (asked["held"], asked["flags"]) == ({}, [])


def test_measurements_are_shared(net):
    cache = net.parent / "cache" / "timing"
    cache.parent.mkdir()
    result, asked = run(net, timing_cache=cache)
    assert (result.timing_cache_hit, len(asked["known"])) == (False, 6)
    other = save_net(
        net, [helper.make_node("Relu", ["x"], ["y"], name="other")], {"x": ["N"], "y": ["N"]}
    )
    result, asked = run(other, timing_cache=cache)
    assert (result.timing_cache_hit, len(asked["known"])) == (True, 7)
    assert {one.name for one in cache.parent.iterdir()} <= {"timing", "timing.lock"}


def test_what_others_measured_in_the_meantime_is_kept(net, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT", "slow")
    cache = net.parent / "timing"

    def progress(event: BuildEvent) -> None:
        # It has read the file by now, and writes it in the end.
        if event.phase == "building" and not cache.exists():
            cache.write_bytes(b'FAKE["of another build"]')

    done = job(net.parent, net, product="tensorrt", targets=(), timing_cache=cache)
    build_plan(done, progress=progress)
    assert "of another build" in json.loads(cache.read_bytes()[4:])
    assert "conv_0" in json.loads(cache.read_bytes()[4:])


def test_a_damaged_cache_is_a_miss_and_is_replaced(net):
    cache = net.parent / "timing"
    cache.write_bytes(b"rubbish")
    result, _ = run(net, timing_cache=cache)
    assert result.timing_cache_hit is False
    assert f"the timing cache {cache} is damaged" in result.warnings[0]
    assert run(net, timing_cache=cache)[0].timing_cache_hit is True


def test_a_cache_that_cannot_be_written_is_a_warning(net):
    cache = net / "timing"  # as if the net were a folder
    result, _ = run(net, timing_cache=cache)
    assert result.timing_cache_hit is False
    assert [one.partition(":")[0] for one in result.warnings[:2]] == [
        f"the timing cache {cache} was not read",
        f"the timing cache {cache} was not written",
    ]


@pytest.mark.parametrize(
    ("mode", "error", "message", "hint"),
    [
        ("nothing", EngineError, "net cannot be built: TensorRT gave no reason", None),
        ("Error Code 9: no kernel", EngineError, "built: Error Code 9: no kernel", None),
        (
            "Error Code 2: OutOfMemory (Requested size was 9 bytes.)",
            EngineError,
            "OutOf",
            "--batch",
        ),
        ("Error: Unexpected exception std::bad_alloc", EngineError, "bad_alloc", "--batch"),
        ("Error: Cuda Runtime (out of memory)", EngineError, "out of memory", "--batch"),
        ("Error: insufficient workspace", EngineError, "workspace", "more memory with --workspace"),
        ("memory", EngineError, "net: the memory is not enough", "--batch"),
        ("crash", EngineError, r"ended by signal SIGSEGV; its last words: .*stack smashed", None),
        ("bug", InternalError, r"ended with 1 and no result.*that nobody thought of", None),
    ],
)
def test_failures(net, monkeypatch, mode, error, message, hint):
    monkeypatch.setenv("FAKE_TENSORRT", mode)
    with pytest.raises(error, match=message) as caught:
        run(net)
    assert type(caught.value) is error
    assert (caught.value.hint is None) == (hint is None)
    assert hint is None or hint in str(caught.value.hint)
    assert [one.name for one in net.parent.iterdir()] == ["net.onnx"]


def test_time_passes_while_the_library_says_nothing(net, monkeypatch):
    monkeypatch.setattr(build, "_HEARTBEAT_S", 0.2)
    enough = net.parent / "enough.txt"
    monkeypatch.setenv("FAKE_TENSORRT", "patient")
    monkeypatch.setenv("FAKE_READY", str(enough))
    beats: list[BuildEvent] = []

    def progress(event: BuildEvent) -> None:
        if event.phase == "building":
            beats.append(event)
            if len(beats) == 3:
                enough.touch()

    build_plan(job(net.parent, net, product="tensorrt", targets=()), progress=progress)
    assert {(event.done, event.total) for event in beats} == {(None, None)}
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(beats))


@pytest.fixture
def ready(net: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as soon as the stand-in builds, listens to nobody, and comes to no end."""
    path = net.parent / "ready.txt"
    monkeypatch.setenv("FAKE_TENSORRT", "stubborn")
    monkeypatch.setenv("FAKE_READY", str(path))
    return path


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_a_child_that_does_not_listen_is_killed(net, ready, monkeypatch):
    monkeypatch.setattr(_child, "_GRACE_S", 0.2)
    children = watch_children(monkeypatch)
    cancel = threading.Event()
    done = job(net.parent, net, product="tensorrt", targets=())

    def cancel_when_ready() -> None:
        wait_for(ready)
        cancel.set()

    canceller = threading.Thread(target=cancel_when_ready)
    canceller.start()
    with pytest.raises(CancelledError):
        build_plan(done, cancel=cancel)
    canceller.join()
    assert children[0].returncode == -signal.SIGKILL
    assert not done.plan.exists()


def test_a_child_that_does_not_listen_goes_with_its_parent(net, ready):
    done = job(net.parent, net, product="tensorrt", targets=())
    with start_parent(done) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(ready)
        parent.kill()
    assert ends_soon(pid)
    assert not done.plan.exists()


def test_a_parser_that_stops_early_still_names_every_operator_that_is_missing(net):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Soothsay", ["a"], ["b"], name="first"),
        helper.make_node("Divine", ["b"], ["y"], name="second"),
    ]
    save_net(net, nodes, {"x": ["N", 4], "y": ["N", 4]})
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.0: node first \(Soothsay\): ") as caught:
        run(net)
    assert "UNSUPPORTED_NODE: No importer registered (parseNode, line 7)" in caught.value.message
    assert "TensorRT has no Soothsay, Divine: " in str(caught.value.hint)


def test_what_this_tensorrt_cannot_do_is_refused(net):
    with pytest.raises(OptionError, match=r"TensorRT 8\.6\.0 builds for the GPU that is here"):
        run(net, targets=("sm86",))
    with pytest.raises(OptionError, match="has no tactics MAGIC; allowed: CUBLAS, "):
        run(net, tactics=("MAGIC",))
    with pytest.raises(DeviceError, match=r"there is no GPU cuda:3; allowed: cuda:0"):
        run(net, device=3)
