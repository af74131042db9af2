"""Plans of TensorRT for RTX, really built here, for GPUs that need not be; and how builds end."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from onnx import helper, numpy_helper

from ffswap.engines import build
from ffswap.engines.build import BuildEvent, BuildJob, build_plan, parse_targets
from ffswap.errors import (
    CancelledError,
    DeviceError,
    EngineError,
    InputMissingError,
    ModelError,
    OptionError,
    OutputExistsError,
    OutputWriteError,
)
from tests.engines.build_nets import conv_net, job, save_net
from tests.engines.build_processes import ends_soon, has_ended, start_parent, watch_children

resource = pytest.importorskip("resource")  # limits of processes, which Windows does not have

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")

# Enough layers for seconds of building on any machine.
_MANY = 2500


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return conv_net(tmp_path / "net.onnx")


def leftovers(folder: Path) -> list[str]:
    """Files that are not nets."""
    return sorted(one.name for one in folder.iterdir() if one.suffix != ".onnx")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that builds, in the order of their start."""
    return watch_children(monkeypatch)


def header_mask(plan: Path) -> int:
    """The header of TensorRT for RTX behind its length and version, as one number."""
    return int.from_bytes(plan.read_bytes()[28:64], "little")


@needs_rtx
@pytest.mark.parametrize(
    "options", [{}, {"batches": (1, 4)}, {"batches": (1, 4), "profiles": "range"}]
)
def test_it_builds_for_gpus_that_are_not_here(tmp_path, net, options):
    masks = {}
    for targets in (("sm86",), ("sm89",), ("sm120",), ("sm86", "sm120")):
        done = job(tmp_path, net, targets=targets, **options)
        result = build_plan(done)
        assert result.plan_bytes == done.plan.stat().st_size > net.stat().st_size
        assert (result.product, result.strong_typing) == ("tensorrt_rtx", True)
        assert result.version.count(".") == 3
        assert (result.timing_cache_hit, result.warnings) == (None, ())
        assert result.seconds > 0
        masks[targets] = header_mask(done.plan)
        done.plan.unlink()
    assert len(set(masks.values())) == 4
    # The header has one bit for each compute capability.
    assert masks["sm86", "sm120"] == masks["sm86",] | masks["sm120",]
    assert leftovers(tmp_path) == []


@needs_rtx
def test_the_runtime_knows_the_plan_as_far_as_it_can_tell_without_a_gpu(tmp_path, net):
    # Without a GPU no plan is valid and none can be loaded; but a damaged one is called so.
    import tensorrt_rtx

    done = job(tmp_path, net)
    build_plan(done)
    runtime = tensorrt_rtx.Runtime(tensorrt_rtx.Logger(tensorrt_rtx.Logger.INTERNAL_ERROR))
    malformed = int(tensorrt_rtx.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
    size = runtime.engine_header_size
    header = done.plan.read_bytes()[:size]
    assert not runtime.get_engine_validity(header)[1] & malformed
    assert runtime.get_engine_validity(bytes(size))[1] & malformed


@needs_rtx
def test_weights_may_be_external_data(tmp_path):
    import onnx

    net = conv_net(tmp_path / "net.onnx", channels=32)
    model = onnx.load(net)
    onnx.save(model, net, save_as_external_data=True, location="net.data", size_threshold=0)
    assert net.stat().st_size < (tmp_path / "net.data").stat().st_size
    assert build_plan(job(tmp_path, net)).plan_bytes > (tmp_path / "net.data").stat().st_size


@needs_rtx
def test_all_options_are_taken(tmp_path, net):
    tactics = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    options: dict[str, Any] = {
        "half": False, "workspace_bytes": 1 << 28, "opt_level": 1, "tactics": tactics,
        "constrain": ("conv_0",), "timing_cache": tmp_path / "cache",
    }  # fmt: skip
    assert build_plan(job(tmp_path, net, **options)).timing_cache_hit is None
    assert leftovers(tmp_path) == ["net.plan"]


@needs_rtx
def test_an_input_without_the_batch_is_left_alone(tmp_path):
    nodes = [helper.make_node("Add", ["x", "offset"], ["y"], name="add")]
    shapes: dict[str, list[Any]] = {"x": ["N", 4], "offset": [1, 4], "y": ["N", 4]}
    net = save_net(tmp_path / "net.onnx", nodes, shapes)
    for batches in ((2,), (1, 8)):
        done = job(tmp_path, net, batches=batches)
        assert build_plan(done).plan_bytes
        done.plan.unlink()


@needs_rtx
@pytest.mark.parametrize(("batches", "good"), [((2,), True), ((1,), False), ((1, 2), False)])
def test_a_fixed_batch_must_be_the_one_asked_for(tmp_path, batches, good):
    done = job(tmp_path, conv_net(tmp_path / "net.onnx", batch=2), batches=batches)
    if good:
        assert build_plan(done).plan_bytes
        return
    with pytest.raises(ModelError, match=r"net has a fixed batch of \[2\], not \(1,"):
        build_plan(done)


@needs_rtx
def test_progress_is_told_and_ends(tmp_path, net):
    events: list[BuildEvent] = []
    threads = set()

    def progress(event: BuildEvent) -> None:
        events.append(event)
        threads.add(threading.get_ident())

    build_plan(job(tmp_path, net, batches=(1, 2, 4)), progress=progress)
    assert threads == {threading.get_ident()}
    # While nothing was heard, it says so about once a second.
    phases = list(dict.fromkeys(one.phase for one in events if one.phase != "starting"))
    assert phases[:2] == ["loading TensorRT", "reading the net"]
    assert "Building engine" in phases
    end = events[-1]
    assert (end.phase, end.done, end.total) == ("writing the plan", 1, 1)
    counted = [event for event in events if event.total is not None]
    assert len(counted) > 5
    assert all(0 <= (event.done or 0) <= (event.total or 0) for event in counted)
    for before, after in itertools.pairwise(events):
        assert before.seconds <= after.seconds
        if before.phase == after.phase and after.done:
            assert (before.done or 0) <= after.done


def foreign_net(path: Path) -> Path:
    nodes = [
        helper.make_node("Soothsay", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="between"),
        helper.make_node("Divine", ["b"], ["y"], name="second", domain="mine"),
    ]
    return save_net(path, nodes, {"x": ["N", 4], "y": ["N", 4]})


@needs_rtx
def test_every_error_of_the_parser_is_shown(tmp_path):
    with pytest.raises(EngineError, match="net cannot be read by TensorRT for RTX") as caught:
        build_plan(job(tmp_path, foreign_net(tmp_path / "net.onnx")))
    message = caught.value.message
    assert "node first (Soothsay): INVALID_NODE: " in message
    assert "node second (Divine): INVALID_NODE: " in message
    assert message.count("Plugin not found") == 2
    assert caught.value.hint is not None
    assert "TensorRT has no Soothsay, Divine: " in caught.value.hint
    assert leftovers(tmp_path) == []


@needs_rtx
def test_a_truncated_net_is_refused(tmp_path, net):
    net.write_bytes(net.read_bytes()[:-500])
    with pytest.raises(EngineError, match=r"net cannot be read.*Failed to parse the ONNX model"):
        build_plan(job(tmp_path, net))
    assert leftovers(tmp_path) == []


@needs_rtx
def test_what_is_no_net_is_refused_though_the_parser_takes_it(tmp_path, net):
    net.write_bytes(b"hello world")
    with pytest.raises(ModelError, match="net is not an ONNX net"):
        build_plan(job(tmp_path, net))


@needs_rtx
def test_a_free_size_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="relu")]
    shape = ["N", 3, "H", "W"]
    net = save_net(tmp_path / "net.onnx", nodes, {"x": shape, "y": shape})
    with pytest.raises(
        ModelError, match=r"input 'x' has the shape \(-1, 3, -1, -1\).*axis 2, 3 is"
    ):
        build_plan(job(tmp_path, net))


@needs_rtx
def test_a_failed_build_says_why(tmp_path):
    import numpy as np

    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"], name="impossible")]
    weights = [numpy_helper.from_array(np.array([0, 5]), "s")]
    net = save_net(tmp_path / "net.onnx", nodes, {"x": ["N", 4], "y": ["N", 5]}, weights)
    with pytest.raises(
        EngineError, match=r"net cannot be built: .*impossible: volume mismatch"
    ) as e:
        build_plan(job(tmp_path, net))
    assert "Cuda Runtime" not in e.value.message  # noise of a machine without a GPU
    assert leftovers(tmp_path) == []


@needs_rtx
def test_without_targets_a_gpu_is_needed(tmp_path, net, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where there is one
    with pytest.raises(DeviceError, match="net cannot be built: ") as caught:
        build_plan(job(tmp_path, net, targets=()))
    assert "--for sm86,sm89" in str(caught.value.hint)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": ()}, r"batches is \(\); allowed: one or more sizes, ascending"),
        ({"batches": (0, 1)}, r"batches is \(0, 1\)"),
        ({"batches": (4, 1)}, r"batches is \(4, 1\)"),
        ({"batches": (1, 1)}, r"batches is \(1, 1\)"),
        ({"profiles": "some"}, "profiles is 'some'; allowed: each or range"),
        ({"product": "torch"}, "product is 'torch'; allowed: tensorrt or tensorrt_rtx"),
        ({"opt_level": 6}, "opt_level is 6; allowed: 0 to 5"),
        ({"workspace_bytes": 0}, "workspace_bytes is 0; allowed: 1 or more"),
        ({"targets": ("sm86", "sm86")}, "targets is .*; allowed: each only once"),
    ],
)
def test_options_are_checked(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        job(tmp_path, tmp_path / "net.onnx", **options)


@needs_rtx
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ("sm86", "sm10")}, "cannot build for sm10; allowed: .*sm86, sm89, .*sm120"),
        ({"tactics": ("MAGIC",)}, "has no tactics MAGIC; allowed: .*JIT_CONVOLUTIONS"),
    ],
)
def test_unknown_names_are_refused(tmp_path, net, options, message):
    with pytest.raises(OptionError, match=message):
        build_plan(job(tmp_path, net, **options))
    assert leftovers(tmp_path) == []


@needs_rtx
def test_targets_are_read():
    assert parse_targets("sm89") == ("sm89",)
    assert parse_targets(" SM89,sm120 ") == ("sm89", "sm120")
    for wrong in ("", "sm86,", "sm10", "8.6", "current", "sm86,SM86"):
        with pytest.raises(OptionError, match=r"allowed: .*sm86, sm89, .*sm120"):
            parse_targets(wrong)


def test_targets_are_read_without_tensorrt(monkeypatch):
    monkeypatch.setattr(build, "installed_products", dict)
    assert parse_targets("sm89,SM999") == ("sm89", "sm999")
    with pytest.raises(OptionError, match="allowed: compute capabilities such as sm86"):
        parse_targets("ada")


def test_a_missing_tensorrt_names_what_to_install(tmp_path, net, monkeypatch):
    # A module that cannot be found is how one that is not installed looks.
    finder = "import importlib.util as u, sys\nfind = u.find_spec\nu.find_spec = "
    finder += "lambda name, *a: None if name.startswith('tensorrt') else find(name, *a)\n"
    (tmp_path / "sitecustomize.py").write_text(finder)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="tensorrt is not installed") as caught:
        build_plan(job(tmp_path, net, product="tensorrt", targets=()))
    assert "pip install 'ffswap[trt-cu13]'" in str(caught.value.hint)
    assert not (tmp_path / "net.plan").exists()


@needs_rtx
def test_two_cudas_at_once_are_refused(tmp_path, net, monkeypatch):
    names = ("tensorrt_rtx_cu12", "tensorrt_rtx_cu13")
    for name in names:
        folder = tmp_path / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])  # the child has it, too
    with pytest.raises(EngineError, match="for CUDA 12 and for CUDA 13 at once") as caught:
        build_plan(job(tmp_path, net))
    for name in names:
        assert name.replace("_", "-") in caught.value.message
    assert not (tmp_path / "net.plan").exists()


def test_files_that_cannot_be_read_or_written(tmp_path, net):
    with pytest.raises(InputMissingError):
        build_plan(job(tmp_path, tmp_path / "none.onnx"))
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="is empty"):
        build_plan(job(tmp_path, tmp_path / "empty.onnx"))
    with pytest.raises(OutputWriteError):
        build_plan(job(tmp_path / "nowhere", net))
    with pytest.raises(OutputWriteError):
        build_plan(job(Path("/proc"), net))  # which takes no files, not even from root
    (tmp_path / "net.plan").write_text("precious")
    with pytest.raises(OutputExistsError, match="exists already"):
        build_plan(job(tmp_path, net))
    assert (tmp_path / "net.plan").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no such rights here")
def test_a_folder_that_may_not_be_written_to(tmp_path, net, children):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        folder = Path("/sys")  # root may write to any other
    with pytest.raises(OutputWriteError, match="may not be written to"):
        build_plan(job(folder, net))
    assert children == []  # said before minutes of building


@needs_rtx
def test_a_full_disk_leaves_nothing(tmp_path, net):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, limits[1]))  # the child inherits it
    try:
        with pytest.raises(OutputWriteError, match="disk full") as caught:
            build_plan(job(tmp_path, net))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.file == str(tmp_path / "net.plan")
    assert leftovers(tmp_path) == []


@needs_rtx
def test_cancelling_ends_the_build(tmp_path, children):
    net = conv_net(tmp_path / "net.onnx", layers=_MANY)
    cancel = threading.Event()
    sessions = {os.getsid(0)}

    def progress(event: BuildEvent) -> None:
        if event.total is not None and not cancel.is_set():  # TensorRT is at it
            sessions.add(os.getsid(children[0].pid))
            cancel.set()

    with pytest.raises(CancelledError, match="build of net was stopped"):
        build_plan(job(tmp_path, net), progress=progress, cancel=cancel)
    (child,) = children
    assert child.returncode == -signal.SIGTERM
    assert len(sessions) == 2  # so Ctrl-C in a terminal does not reach it
    assert has_ended(child.pid)
    assert leftovers(tmp_path) == []


def test_a_build_that_is_cancelled_before_it_begins(tmp_path, net):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        build_plan(job(tmp_path, net), cancel=cancel)
    assert leftovers(tmp_path) == []


@needs_rtx
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_progress_raises_ends_the_build(tmp_path, net, children, error):
    def progress(event: BuildEvent) -> None:
        if event.phase == "reading the net":
            raise error

    with pytest.raises(error):
        build_plan(job(tmp_path, net), progress=progress)
    (child,) = children
    assert has_ended(child.pid)
    assert leftovers(tmp_path) == []


@needs_rtx
def test_a_killed_child_is_an_error(tmp_path, children):
    net = conv_net(tmp_path / "net.onnx", layers=_MANY)

    def progress(event: BuildEvent) -> None:
        if event.total is not None:
            children[0].kill()

    with pytest.raises(EngineError, match="net: the process was ended by signal SIGKILL") as caught:
        build_plan(job(tmp_path, net), progress=progress)
    assert "memory" in str(caught.value.hint)
    assert leftovers(tmp_path) == []


@needs_rtx
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_child_does_not_outlive_its_parent(tmp_path, how):
    net = conv_net(tmp_path / "net.onnx", layers=_MANY)
    with start_parent(job(tmp_path, net)) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not has_ended(pid)
        parent.send_signal(how)
        said, words = parent.communicate()
    assert b"built" not in said  # a plan that was whole before the signal came stays
    assert parent.returncode == -how, words.decode()
    assert ends_soon(pid)
    assert leftovers(tmp_path) == []


@needs_rtx
def test_two_builds_at_once(tmp_path, net):
    jobs: list[BuildJob] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        jobs.append(job(tmp_path / name, net, name=name))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(build_plan, jobs))
    assert [one.plan_bytes for one in results] == [one.plan.stat().st_size for one in jobs]


@needs_rtx
def test_modules_of_the_working_directory_are_not_taken(tmp_path, net, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('wrong json')")
    monkeypatch.chdir(tmp_path)
    assert build_plan(job(tmp_path, net)).plan_bytes


def test_all_is_sorted():
    assert build.__all__ == sorted(build.__all__)
