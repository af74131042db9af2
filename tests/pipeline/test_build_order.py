"""In which order an engine comes about: what waits for what, and what is loaded how often."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from ffswap.engines import OrtCpuSession, gate
from ffswap.engines._child import Child
from ffswap.engines.build import PendingPlan, PlanBuilder
from ffswap.errors import CancelledError, DeviceError, ModelError, QualityError
from ffswap.models.onnx_files import fingerprint, load_onnx
from ffswap.options import BuildOptions
from ffswap.pipeline import engine_build, engines
from ffswap.pipeline.engine_attempts import Attempt
from ffswap.pipeline.engine_graph import prepare_graph, save_net
from ffswap.pipeline.engines import build_engines
from tests.engines.build_nets import conv_net
from tests.engines.build_processes import has_ended, watch_children
from tests.engines.small_nets import net, node
from tests.pipeline.engine_requests import build, files, needs_rtx

pytestmark = needs_rtx


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    return conv_net(tmp_path / "conv.onnx")


@pytest.fixture
def children(monkeypatch):
    return watch_children(monkeypatch)


@pytest.fixture
def order(monkeypatch):
    """Names of the steps, as they begin."""
    steps: list[str] = []

    def spy(owner: object, name: str, step: str) -> None:
        real = getattr(owner, name)

        def called(*args, **options):
            steps.append(step)
            return real(*args, **options)

        monkeypatch.setattr(owner, name, called)

    spy(Child, "__init__", "start the builder")
    spy(engine_build, "prepare_graph", "read")
    spy(engine_build, "attempts", "convert")
    spy(PlanBuilder, "begin", "hand over")
    spy(engine_build, "prove_batch", "prove")
    spy(engine_build, "fp32_rows", "compute rows")
    spy(PendingPlan, "result", "wait for the plan")
    spy(engine_build, "compare", "compare")
    spy(OrtCpuSession, "__enter__", "load")
    spy(OrtCpuSession, "__exit__", "drop")
    return steps


@pytest.fixture
def mixing(tmp_path: Path, monkeypatch) -> Path:
    """A net that takes the mean of all rows from each, and only the proof finds that out."""
    nodes = [node("mean: ReduceMean x -> m", axes=[0], keepdims=1), node("less: Sub x m -> y")]
    path = tmp_path / "mix.onnx"
    onnx.save(net(nodes, {"x": [1, 4]}, {"y": [1, 4]}), path)
    freed = net(nodes, {"x": ["N", 4]}, {"y": ["N", 4]})
    monkeypatch.setattr("ffswap.pipeline.engine_graph.free_batch", lambda *_, **__: freed)
    return path


def test_the_proof_and_the_rows_of_the_comparison_are_made_while_the_engine_is_built(
    store, conv, order
):
    build(store, conv, batches=(1, 2))
    # The net as it was; then the one with a free batch, which gives the rows as well.
    assert order == [
        "start the builder", "read", "convert", "hand over", "prove", "load", "drop", "load",
        "compute rows", "drop", "wait for the plan", "compare",
    ]  # fmt: skip


def test_a_net_for_one_row_is_loaded_once(store, conv, order):
    build(store, conv, batches=(1,))
    assert order.count("load") == order.count("drop") == 1


def test_nothing_is_started_for_what_is_there(store, conv, children, order):
    build(store, conv, batches=(1,))
    assert len(children) == 1
    order.clear()
    assert build(store, conv, batches=(1,)).status == "there"
    assert len(children) == 1
    assert order == ["read"]


class TestStart:
    """TensorRT is loaded as soon as it is sure that something has to be built."""

    BEFORE = ("start the builder", "read")

    def test_what_is_built_again_in_any_case_is_not_waited_for(self, store, conv, order):
        build(store, conv, batches=(1,))
        order.clear()
        build(store, conv, batches=(1,), force=True)
        assert tuple(order[:2]) == self.BEFORE

    @pytest.mark.parametrize(
        "options",
        [{"batches": (1, 2)}, {"opt_level": 0}, {"precision": "fp32"}, {"targets": ("sm89",)},
         {"workspace_gb": 1.0}],
    )  # fmt: skip
    def test_an_engine_that_was_asked_for_otherwise_is_none(self, store, conv, order, options):
        build(store, conv, batches=(2,))
        order.clear()
        build(store, conv, **{"batches": (2,), **options})
        assert tuple(order[:2]) == self.BEFORE

    def test_of_an_engine_that_may_be_the_one_the_file_is_read_first(self, store, conv, order):
        build(store, conv, batches=(1,))
        conv_net(conv, layers=2)
        order.clear()
        assert build(store, conv, batches=(1,)).status == "built"
        assert tuple(order[:2]) == self.BEFORE[::-1]

    def test_one_model_without_an_engine_is_enough(self, store, conv, order, tmp_path):
        build(store, conv, batches=(1,))
        order.clear()
        models = [str(conv), str(conv_net(tmp_path / "second.onnx", layers=2))]
        options = BuildOptions(targets=("sm86",), batches=(1,))
        report = build_engines(models, options, folder=store)
        assert [one.status for one in report.engines] == ["there", "built"]
        assert order[:4] == [*self.BEFORE, "read", "convert"]

    def test_a_damaged_engine_is_none(self, store, conv, order):
        Path(build(store, conv, batches=(1,)).plan).write_bytes(b"half")
        order.clear()
        build(store, conv, batches=(1,))
        assert tuple(order[:2]) == self.BEFORE

    def test_it_ends_at_once_if_another_process_was_quicker(
        self, store, conv, children, monkeypatch
    ):
        def read_slowly(*args, **options):
            if len(children) == 1:  # ours is there, and loads TensorRT
                assert build(store, conv, batches=(1,)).status == "built"
            return prepare_graph(*args, **options)

        monkeypatch.setattr(engine_build, "prepare_graph", read_slowly)
        assert build(store, conv, batches=(1,)).status == "there"
        assert [child.returncode for child in children] == [-signal.SIGTERM] * 2

    def test_it_ends_with_a_file_that_cannot_be_read(self, store, tmp_path, children):
        (tmp_path / "net.onnx").write_bytes(b"no net")
        with pytest.raises(ModelError, match="is not ONNX"):
            build(store, tmp_path / "net.onnx")
        assert [child.returncode for child in children] == [-signal.SIGTERM]
        assert files(store) == []

    def test_it_ends_where_there_is_no_gpu(self, store, conv, children, monkeypatch):
        def fail(_):
            raise DeviceError("there is no GPU cuda:0")

        monkeypatch.setattr(engines, "Device", fail)
        with pytest.raises(DeviceError, match="is built on the GPU that it is for"):
            build(store, conv, targets=())
        assert [has_ended(child.pid) for child in children] == [True]


def test_one_process_builds_the_engines_of_all_models(store, conv, tmp_path, children):
    models = [str(conv), str(conv_net(tmp_path / "second.onnx", layers=2))]
    report = build_engines(models, BuildOptions(targets=("sm86",), batches=(1, 2)), folder=store)
    assert [one.status for one in report.engines] == ["built", "built"]
    (child,) = children
    assert has_ended(child.pid)


def test_a_failed_proof_gives_up_the_build_and_one_for_single_rows_follows(
    store, mixing, children, order
):
    report = build(store, mixing)
    assert report.manifest.key.batches == (1,)
    (said,) = report.notes
    assert "with 3 rows its output 'y' differs" in said
    assert order.count("hand over") == 2
    assert order.count("wait for the plan") == 1
    assert [child.returncode for child in children] == [-signal.SIGTERM] * 2
    assert files(store) == sorted([f"{report.manifest.key.stem}.json", report.manifest.plan])


def test_a_failed_proof_of_batches_that_were_asked_for_ends_the_build(
    store, mixing, children, order
):
    with pytest.raises(ModelError, match=r"node 'mean' \(ReduceMean\)") as caught:
        build(store, mixing, batches=(1, 2))
    assert "one row at a time" in str(caught.value.hint)
    assert "wait for the plan" not in order
    assert has_ended(children[0].pid)
    assert files(store) == []


def test_a_stop_during_the_proof_ends_the_build(store, conv, children, monkeypatch):
    cancel = threading.Event()
    real = OrtCpuSession.run
    runs = []

    def run(*args):
        runs.append(cancel.is_set())
        cancel.set()
        return real(*args)

    monkeypatch.setattr(OrtCpuSession, "run", run)
    with pytest.raises(CancelledError):
        build(store, conv, batches=(1, 2), cancel=cancel)
    assert runs == [False]  # not even the next row
    assert has_ended(children[0].pid)
    assert files(store) == []


def test_a_second_attempt_uses_the_process_and_the_rows_of_the_first(
    store, conv, children, order, monkeypatch
):
    def twice(_recipe, prepared, _samples, **_options):
        yield Attempt(graph=prepared.graph)
        yield Attempt(graph=prepared.graph)

    def check_limits(*args):
        if order.count("compare") == 1:
            raise QualityError("not good enough")
        return real(*args)

    real = gate.check_limits
    monkeypatch.setattr("ffswap.pipeline.engine_build.attempts", twice)
    monkeypatch.setattr("ffswap.pipeline.engine_build.check_limits", check_limits)
    report = build(store, conv, batches=(1, 2))
    assert report.notes == ("built again with nodes held in FP32: not good enough",)
    assert (order.count("hand over"), order.count("prove"), order.count("load")) == (2, 1, 2)
    assert len(children) == 1


def test_the_time_of_an_engine_is_that_of_all_its_steps(store, conv, monkeypatch):
    clock = SimpleNamespace(monotonic=iter([1000.0, 3000.0]).__next__)
    monkeypatch.setattr("ffswap.pipeline.engine_build.time", clock)
    report = build(store, conv, batches=(1,))
    assert report.manifest.build_seconds < report.seconds == 2000
    assert report.as_dict()["seconds"] == 2000


def test_what_libraries_read_has_its_weights_in_a_file_of_their_own(conv, tmp_path):
    folder = tmp_path / "for TensorRT"
    folder.mkdir()
    graph = load_onnx(conv)
    path = save_net(graph, folder)
    weights = sum(len(one.raw_data) for one in graph.graph.initializer)
    (beside,) = (one for one in folder.iterdir() if one != path)
    assert path.stat().st_size < weights / 2 < beside.stat().st_size
    assert fingerprint(load_onnx(path)) == fingerprint(graph)
