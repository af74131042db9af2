"""How builds of engines end: refused by the gate, stopped, beside another; and what they tell."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from ffswap.engines.build import PendingPlan
from ffswap.errors import CancelledError, EngineError, QualityError
from ffswap.options import BuildOptions
from ffswap.pipeline.engines import EngineProgress, build_engines
from tests.engines.build_nets import conv_net
from tests.engines.build_processes import watch_children
from tests.engines.small_nets import net, node
from tests.pipeline.engine_requests import build, files, needs_rtx, write_conv_recipe

pytestmark = needs_rtx

PHASES = [
    "reading the model", "converting to FP16", "comparing a batch with its rows",
    "loading TensorRT", "reading the net", "building", "writing the plan", "comparing with FP32",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    return conv_net(tmp_path / "conv.onnx")


class TestGate:
    """What fails it is not installed."""

    @pytest.mark.parametrize(
        ("limit", "said"),
        [
            ("relative_l2 = 1e-9", r"y differs by 0\.00\d+ of its size from FP32, allowed 1e-09"),
            ("psnr_db = 190", r"y has \d+\.\d dB against FP32, asked for 190"),
        ],
    )
    def test_an_engine_that_is_not_good_enough_leaves_nothing(self, tmp_path, store, limit, said):
        conv_net(tmp_path / "conv.onnx", channels=3)
        recipe = write_conv_recipe(tmp_path, "batches = [1, 2]", f"gate = {{{limit}}}")
        with pytest.raises(QualityError, match=said) as caught:
            build(store, recipe=recipe)
        assert "the engine of conv is not good enough: y " in str(caught.value)
        assert "keep_fp32" in str(caught.value.hint)
        assert files(store) == []

    def test_an_engine_that_was_there_before_stays(self, tmp_path, store):
        recipe = write_conv_recipe(tmp_path, "batches = [1]")
        before = build(store, recipe=recipe)
        content = Path(before.plan).read_bytes()
        strict = write_conv_recipe(tmp_path, "batches = [1]", "gate = {relative_l2 = 1e-9}")
        with pytest.raises(QualityError):
            build(store, recipe=strict, force=True)
        assert files(store) == sorted([f"{before.manifest.key.stem}.json", before.manifest.plan])
        assert Path(before.plan).read_bytes() == content
        with pytest.raises(QualityError, match="allowed 1e-09"):
            build(store, recipe=strict)  # nor is it used where it is asked for with these limits
        recipe = write_conv_recipe(tmp_path, "batches = [1]")
        assert build(store, recipe=recipe).status == "there"

    def test_a_net_that_is_broken_itself_is_told_from_a_broken_engine(self, tmp_path, store):
        path = tmp_path / "root.onnx"
        onnx.save(net([node("root: Sqrt x -> y")], {"x": ["N", 4]}, {"y": ["N", 4]}), path)
        with pytest.raises(EngineError, match="the net itself gives values that are not finite"):
            build(store, path, batches=(1,))
        assert files(store) == []


class TestProgress:
    def test_it_tells_of_all_phases_with_sane_numbers(self, store, conv, tmp_path):
        second = conv_net(tmp_path / "second.onnx", layers=2)
        events: list[EngineProgress] = []
        threads = set()

        def progress(event: EngineProgress) -> None:
            events.append(event)
            threads.add(threading.get_ident())

        options = BuildOptions(targets=("sm86",), batches=(1, 2))
        report = build_engines(
            [str(conv), str(second)], options, folder=store, progress=progress
        )  # fmt: skip
        assert threads == {threading.get_ident()}
        for index, name in enumerate(("conv", "second")):
            own = [event for event in events if event.index == index]
            assert {event.model for event in own} == {name}
            phases = list(dict.fromkeys(event.phase for event in own))
            wanted = [one for one in PHASES if index == 0 or one != "loading TensorRT"]
            assert [phase for phase in phases if phase in PHASES] == wanted
            assert any(event.total for event in own)  # TensorRT's own steps
            for before, after in itertools.pairwise(own):
                assert 0 <= before.seconds <= after.seconds
        assert [event.index for event in events] == sorted(event.index for event in events)
        for event in events:
            assert event.count == 2
            assert (event.done is None) == (event.total is None)
            if event.done is not None and event.total is not None:
                assert 0 <= event.done <= event.total
        assert (report.ahead_of_time, report.gpus) == (True, ("any GPU of 8.6",))
        assert report.runtime.startswith("TensorRT for RTX 1.")
        assert json.loads(json.dumps(report.as_dict()))["engines"][1]["model"] == "second"


class TestCancel:
    @pytest.mark.parametrize("phase", [*PHASES, "Building engine"])
    def test_it_leaves_nothing_in_any_phase(self, store, conv, monkeypatch, phase):
        children = watch_children(monkeypatch)
        cancel = threading.Event()

        def progress(event: EngineProgress) -> None:
            if event.phase == phase:
                cancel.set()

        if phase == "comparing with FP32":  # it is the last: told before, and looked at no more
            real = PendingPlan.result

            def stopped(*args, **options):
                done = real(*args, **options)
                cancel.set()
                return done

            monkeypatch.setattr(PendingPlan, "result", stopped)
        with pytest.raises(CancelledError):
            build(store, conv, batches=(1, 2), progress=progress, cancel=cancel)
        assert cancel.is_set()
        assert files(store) == []
        # It is there from the first phase to the last, and never ends by itself.
        assert [child.returncode for child in children] == [-signal.SIGTERM]
        assert build(store, conv, batches=(1, 2)).status == "built"  # the lock was let go

    def test_what_was_finished_before_stays(self, store, conv, tmp_path):
        second = conv_net(tmp_path / "second.onnx", layers=2)
        cancel = threading.Event()

        def progress(event: EngineProgress) -> None:
            if event.index == 1:
                cancel.set()

        options = BuildOptions(targets=("sm86",), batches=(1,))
        with pytest.raises(CancelledError):
            build_engines(
                [str(conv), str(second)], options, folder=store, progress=progress, cancel=cancel
            )
        assert [name.partition("-")[0] for name in files(store)] == ["conv", "conv"]
        assert build(store, conv, batches=(1,)).status == "there"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_an_error_of_the_caller_leaves_nothing_either(self, store, conv, error):
        def progress(event: EngineProgress) -> None:
            if event.phase == "building":
                raise error

        with pytest.raises(error):
            build(store, conv, batches=(1,), progress=progress)
        assert files(store) == []


# A process that builds one engine, waits for a line in each phase that it is told to, and at the
# end prints what became of it.
_BUILDER = """
import json, sys
from pathlib import Path
from ffswap.options import BuildOptions
from ffswap.pipeline.engines import build_engines
net, store, stop_at = sys.argv[1:]
seen = set()
def progress(event):
    if event.phase not in seen:
        seen.add(event.phase)
        print(event.phase, flush=True)
        if event.phase == stop_at:
            sys.stdin.readline()
options = BuildOptions(targets=("sm86",), batches=(1, 2))
report = build_engines([net], options, folder=Path(store), progress=progress)
print(report.engines[0].status, flush=True)
"""


def start_builder(conv: Path, store: Path, stop_at: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    return subprocess.Popen(
        [sys.executable, "-c", _BUILDER, str(conv), str(store), stop_at],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def read_until(process: subprocess.Popen[str], phase: str) -> list[str]:
    assert process.stdout is not None
    lines = list(itertools.takewhile(lambda line: line != f"{phase}\n", process.stdout))
    return [line.strip() for line in lines]


def test_of_two_processes_one_builds_and_the_other_waits_for_it(store, conv):
    with start_builder(conv, store, stop_at="converting to FP16") as first:
        read_until(first, "converting to FP16")  # it holds the lock, and waits for our line
        with start_builder(conv, store) as second:
            waiting = "waiting for another process that builds the same engine"
            assert read_until(second, waiting) == ["reading the model"]
            first_said, _ = first.communicate("go on\n")
            second_said, _ = second.communicate()
    assert first_said.splitlines()[-1] == "built"
    assert second_said.splitlines() == ["there"]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(files(store)) == 2


def test_who_waits_builds_when_the_other_dies(store, conv):
    with start_builder(conv, store, stop_at="converting to FP16") as first:
        read_until(first, "converting to FP16")
        with start_builder(conv, store) as second:
            read_until(second, "waiting for another process that builds the same engine")
            first.kill()
            said, _ = second.communicate()
    assert said.splitlines()[-1] == "built"
    assert len(files(store)) == 2


def test_who_waits_can_be_stopped(store, conv):
    cancel = threading.Event()

    def progress(event: EngineProgress) -> None:
        if event.phase.startswith("waiting"):
            cancel.set()

    with start_builder(conv, store, stop_at="converting to FP16") as first:
        read_until(first, "converting to FP16")
        with pytest.raises(CancelledError, match="while another process builds conv"):
            build(store, conv, batches=(1, 2), progress=progress, cancel=cancel)
        said, _ = first.communicate("go on\n")
    assert said.splitlines()[-1] == "built"


def test_a_child_that_runs_out_of_memory_leaves_nothing(store, conv, monkeypatch):
    children = watch_children(monkeypatch)

    def progress(event: EngineProgress) -> None:
        if event.phase == "comparing a batch with its rows":  # it has just been given its job
            children[-1].kill()  # as the system ends a process that takes too much

    with pytest.raises(EngineError, match="conv: the process was ended by signal SIGKILL") as e:
        build(store, conv, batches=(1,), progress=progress)
    assert "memory" in str(e.value.hint)
    assert files(store) == []


def test_samples_that_overflow_half_inputs_are_refused(tmp_path, store):
    np.savez(tmp_path / "rows.npz", x=np.full((1, 3, 8, 8), 1e6))
    recipe = write_conv_recipe(tmp_path, "half_io = true", 'samples = "rows.npz"')
    with pytest.raises(ValueError, match="'x' holds values up to 1e"):
        build(store, recipe=recipe)
    assert files(store) == []
