"""Sessions of ONNX Runtime: what they say of themselves, what they refuse, what they compute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import ffswap.engines
from ffswap.engines import OrtCpuSession, Session, TensorSpec
from ffswap.errors import InputMissingError, InternalError, MachineError, OptionError


def model(*, opset: int = 17, kind: str = "Add", ir: int = 8) -> bytes:
    """total = a + b: a (N, 2) and b (N, 2) float32."""
    dims: list[str | int] = ["N", 2]
    ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n in "ab"]
    out = helper.make_tensor_value_info("total", TensorProto.FLOAT, dims)
    graph = helper.make_graph([helper.make_node(kind, ["a", "b"], ["total"])], "g", ins, [out])
    opsets = [helper.make_opsetid("", opset)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString())


def pair(rows: int = 3, columns: int = 2) -> dict[str, NDArray[Any]]:
    """Feeds whose sum is 10 everywhere."""
    a = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    return {"a": a, "b": 10 - a}


def test_all_is_sorted():
    assert ffswap.engines.__all__ == sorted(ffswap.engines.__all__)


def test_what_it_says_of_itself():
    session: Session = OrtCpuSession(model(), name="adder")
    with session:
        spec = TensorSpec("a", np.dtype(np.float32), (-1, 2))
        assert list(session.inputs) == ["a", "b"]
        assert session.inputs["a"] == spec
        assert str(spec) == "a: float32 (N, 2)"
        assert session.outputs == {"total": TensorSpec("total", np.dtype(np.float32), (-1, 2))}
        assert session.device == "cpu"
        assert session.runtime == f"ONNX Runtime {onnxruntime.__version__}"
        assert "adder" in repr(session)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_it_computes(rows: int, threads: int):
    with OrtCpuSession(model(), threads=threads) as session:
        feeds = pair(rows)
        before = {name: array.copy() for name, array in feeds.items()}
        out = session.run(feeds)
        np.testing.assert_array_equal(out["total"], np.full((rows, 2), 10, np.float32))
        out["total"][:] = 0  # belongs to the caller
        for name, array in feeds.items():
            np.testing.assert_array_equal(array, before[name])


def test_strided_feeds_are_read_in_order():
    a = np.arange(12, dtype=np.float32).reshape(2, 6)
    with OrtCpuSession(model()) as session:
        got = session.run({"a": a[:, ::3], "b": a[::-1, 1:3]})["total"]
    np.testing.assert_array_equal(got, a[:, ::3] + a[::-1, 1:3])


def test_options_of_the_library(monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    real = onnxruntime.InferenceSession

    def spy(source: Any, options: Any, providers: list[str]) -> Any:
        seen.append((options, providers))
        return real(source, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    OrtCpuSession(model(), threads=2).close()
    ((options, providers),) = seen
    assert providers == ["CPUExecutionProvider"]
    assert (options.intra_op_num_threads, options.log_severity_level) == (2, 3)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, r"adder takes \['a', 'b'\], not \['a'\]"),
        ({"c": np.zeros((3, 2), np.float32)}, r"not \['a', 'b', 'c'\]"),
        ({"a": np.zeros((3, 2))}, r"adder takes a: float32 \(N, 2\), not float64 \(3, 2\)"),
        ({"a": np.zeros((3, 5), np.float32)}, r"not float32 \(3, 5\)"),
        ({"a": np.zeros(2, np.float32)}, r"not float32 \(2,\)"),
        ({"a": [[1.0, 2.0]]}, "not a list"),
        ({"a": np.zeros((1, 2), np.float32)}, r"batch sizes \[1, 3\]"),
        (pair(0), r"batch sizes \[0\]"),
    ],
)
def test_wrong_feeds_are_refused(change: dict[str, Any], message: str):
    feeds = {k: v for k, v in (pair() | change).items() if v is not None}
    with (
        OrtCpuSession(model(), name="adder") as session,
        pytest.raises(InternalError, match=message),
    ):
        session.run(feeds)


def test_closed_session_refuses_to_run():
    session = OrtCpuSession(model(), name="adder")
    with session:
        pass
    session.close()
    with pytest.raises(InternalError, match="adder is closed"):
        session.run(pair())


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"\x08", InternalError, "broken cannot be loaded"),
        (b"not a model", InternalError, "broken cannot be loaded"),
        (model()[:40], InternalError, "broken cannot be loaded"),
        (model(opset=99), MachineError, "broken cannot be loaded.*99"),
        (model(ir=99), MachineError, "broken cannot be loaded.*99"),
        (model(kind="Divination"), MachineError, "broken cannot be loaded.*Divination"),
    ],
)
def test_load_errors(data: bytes, error: type[Exception], message: str):
    with pytest.raises(error, match=f"(?s){message}") as caught:
        OrtCpuSession(data, name="broken")
    assert caught.value.__cause__ is not None


def test_empty_model_is_refused():
    with pytest.raises(InternalError, match="broken cannot be loaded: it is empty"):
        OrtCpuSession(b"", name="broken")


def test_errors_while_running():
    # Shapes that only the run can compare: the two free columns differ.
    dims: list[str | int] = ["N", "C"]
    ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n in "ab"]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "g", ins, [out])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"a": np.zeros((1, 2), np.float32), "b": np.zeros((1, 3), np.float32)}
    with (
        OrtCpuSession(data.SerializeToString(), name="adder") as session,
        pytest.raises((InternalError, MachineError), match="adder failed: ") as caught,
    ):
        session.run(feeds)
    assert caught.value.__cause__ is not None


def test_paths(tmp_path: Path):
    path = tmp_path / "adder.onnx"
    with pytest.raises(InputMissingError, match=r"adder\.onnx"):
        OrtCpuSession(path)
    path.write_bytes(model())
    for given in (path, str(path)):
        with OrtCpuSession(given) as session:
            assert session.run(pair())["total"].sum() == 60
            assert "adder.onnx" in repr(session)
    with pytest.raises(InputMissingError):
        OrtCpuSession(tmp_path)


def test_threads_are_checked():
    with pytest.raises(OptionError, match="threads is 0; allowed: 1 or more"):
        OrtCpuSession(model(), threads=0)


def test_missing_library_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MachineError, match="cannot be loaded") as caught:
        OrtCpuSession(model())
    assert caught.value.hint == "pip install onnxruntime"


def test_importing_engines_loads_no_runtime():
    code = "import sys, ffswap.engines; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_binding_reads_and_writes_the_same_buffers_again():
    with OrtCpuSession(model(), name="adder") as session:
        assert session.buckets == ()
        feeds = pair(3)
        total = np.zeros((3, 2), np.float32)
        binding = session.bind(3, {**feeds, "total": total})
        assert binding.batch == 3
        binding.enqueue(None)
        assert (total == 10).all()
        feeds["a"] += 5
        binding.enqueue(None)
        assert (total == 15).all()
        binding.close()
        binding.close()
        with pytest.raises(InternalError, match="the binding of adder is closed"):
            binding.enqueue(None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total": None}, "binds"),
        ({"total": np.zeros((2, 2), np.float32)}, r"binds float32 \(3, 2\) on cpu as total"),
        ({"total": np.zeros((3, 2), np.float64)}, "not float64"),
        ({"total": np.zeros((2, 3), np.float32).T}, "contiguous"),
        ({"more": np.zeros((3, 2), np.float32)}, "binds"),
    ],
)
def test_buffers_that_do_not_fit_are_not_bound(change: dict[str, Any], message: str):
    buffers = {**pair(3), "total": np.zeros((3, 2), np.float32), **change}
    buffers = {name: array for name, array in buffers.items() if array is not None}
    with (
        OrtCpuSession(model(), name="adder") as session,
        pytest.raises(InternalError, match=message),
    ):
        session.bind(3, buffers)


def test_an_empty_batch_is_not_bound():
    with (
        OrtCpuSession(model(), name="adder") as session,
        pytest.raises(InternalError, match="batch 0; allowed: 1 or more"),
    ):
        session.bind(0, {})
