"""The worker that times sessions, with a device that only pretends; and the graphs that it makes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks import engine_worker
from benchmarks.engine_worker import EngineRunner, feed, ort_graph
from ffswap.engines import TensorSpec
from tools.replicas import make

TARGET = TensorSpec("target", np.dtype(np.float32), (-1, 3, 4, 4))
SOURCE = TensorSpec("source", np.dtype(np.float32), (-1, 8))
OUTPUT = TensorSpec("output", np.dtype(np.float16), (-1, 3, 4, 4))


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    path = tmp_path / "inswapper.onnx"
    path.write_bytes(make("inswapper_128").SerializeToString())
    return path


def test_pictures_are_0_to_1_and_embeddings_of_length_one():
    picture, rows = feed(TARGET, 5), feed(SOURCE, 5)
    assert picture.shape == (5, 3, 4, 4)
    assert rows.shape == (5, 8)
    assert picture.dtype == rows.dtype == np.float32
    assert (picture >= 0).all()
    assert (picture <= 1).all()
    assert picture.std() > 0.2
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_graphs_take_any_batch_and_keep_float32_ports(replica: Path, precision: str):
    graph = ort_graph(replica, precision)
    kinds = {tensor.data_type for tensor in onnx.load_from_string(graph).graph.initializer}
    assert (onnx.TensorProto.FLOAT16 in kinds) == (precision == "fp16")
    sessions = [
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"])
        for one in (graph, ort_graph(replica, "fp32"))
    ]
    rng = np.random.default_rng(0)
    feeds = {
        "target": rng.uniform(0, 1, (3, 3, 32, 32)).astype(np.float32),
        "source": rng.standard_normal((3, 512)).astype(np.float32) / 22,
    }
    got, want = (session.run(None, feeds)[0] for session in sessions)
    assert (got.shape, got.dtype) == ((3, 3, 32, 32), np.float32)
    np.testing.assert_allclose(got, want, atol=0.02)  # FP16 has three decimal digits


class FakeDevice:
    """Keeps count of memory; its arrays, streams and events remember what was done with them."""

    def __init__(self, index: int) -> None:
        self.info = SimpleNamespace(name=f"Pretended GPU {index}", driver=(12, 4))
        self.free, self.done = 1 << 20, list[str]()

    def free_bytes(self) -> int:
        return self.free

    def stream(self) -> Any:
        def record(event: Any) -> Any:
            self.done.append("event")
            return event

        return SimpleNamespace(record=record, synchronize=lambda: None)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        content = np.zeros(shape, dtype)
        self.free -= content.nbytes

        def copy_from(array: Any, _stream: Any) -> None:
            content[...] = array

        return SimpleNamespace(content=content, copy_from=copy_from)


class FakeEvent:
    def __init__(self, *, timing: bool) -> None:
        assert timing

    def synchronize(self) -> None: ...

    def milliseconds_since(self, _start: FakeEvent) -> float:
        return 12.0

    def close(self) -> None: ...


class FakeRunner(EngineRunner):
    """Loads a session without a net."""

    def load(self, batches: tuple[int, ...]) -> Any:
        self.bound: dict[int, dict[str, Any]] = {}
        self.batches = batches

        def bind(batch: int, buffers: dict[str, Any]) -> Any:
            self.bound[batch] = buffers
            done: list[str] = self.device.done  # type: ignore[attr-defined]
            return SimpleNamespace(enqueue=lambda _stream: done.append(f"batch {batch}"))

        ins = {"target": TARGET, "source": SOURCE}
        return SimpleNamespace(inputs=ins, outputs={"output": OUTPUT}, runtime="Fake 1", bind=bind)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    monkeypatch.setattr(engine_worker, "Device", FakeDevice)
    monkeypatch.setattr(engine_worker, "Event", FakeEvent)
    return FakeRunner()


def test_opening_binds_and_runs_every_batch_size_once(runner: FakeRunner):
    answer = runner.open([1, 2])
    assert runner.batches == (1, 2)
    assert runner.device.done == ["batch 1", "batch 2"]  # type: ignore[attr-defined]
    assert answer["device"] == "Pretended GPU 0"
    assert answer["versions"].keys() == {"python", "runtime", "driver"}
    assert (answer["versions"]["runtime"], answer["versions"]["driver"]) == ("Fake 1", "CUDA 12.4")
    assert 0 <= answer["load_s"] <= answer["ready_s"]
    rows = 48 * 4 + 8 * 4 + 48 * 2  # bytes
    assert answer["memory_bytes"] == 3 * rows
    assert runner.bound[2]["target"].content.std() > 0.2
    assert runner.bound[2]["output"].content.dtype == np.float16


def test_a_run_is_its_iterations_between_two_events(runner: FakeRunner):
    runner.open([1, 2])
    runner.device.done.clear()  # type: ignore[attr-defined]
    assert runner.run(2, 3) == 12.0
    assert runner.device.done == ["event", *["batch 2"] * 3, "event"]  # type: ignore[attr-defined]
