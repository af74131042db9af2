"""The benchmark of engines, with workers that only pretend: protocol, order, figures, failures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks.bench_engines import Plan, RunnerSpec, main, measure, runners, tables
from benchmarks.figures import cell, spread
from benchmarks.worker import FEWEST_ITERATIONS, FEWEST_RUNS, RUN_MS, time_runs
from benchmarks.worker_process import WorkerError, WorkerProcess

# A batch takes `ms` milliseconds a face and round, if there is a clock that says so.
WORKER = """
import json, sys
from benchmarks.worker import serve

ms, name, journal, fault = float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

class Fake:
    rounds = 0

    def open(self, batches):
        print("a library greets")
        if fault == "open":
            raise MemoryError("no room for " + name)
        return {"device": "Pretended GPU", "versions": {"fake": "1.0"}, "load_s": None,
                "ready_s": 0.5, "memory_bytes": 3 << 20, "batches": None, "asked": batches}

    def run(self, batch, iterations):
        if fault == "time" and batch == 8:
            raise ValueError("broken at " + str(batch))
        with open(journal, "a") as file:
            print(name, batch, file=file)
        return ms * batch * iterations

serve(Fake())
"""

QUICK = Plan(batches=(1, 8), rounds=3, seconds=0.0, warm_s=0.0)


class Fakes:
    """Runners that pretend; `turns` says which worked, in order, each stretch once."""

    def __init__(self, folder: Path) -> None:
        self.script, self.journal = folder / "fake_worker.py", folder / "journal"
        root = Path(__file__).resolve().parents[1]
        path = f"import sys; sys.path.insert(0, {str(root)!r})"
        self.script.write_text(path + WORKER)

    def spec(self, name: str, ms: float, fault: str = "") -> RunnerSpec:
        words = (sys.executable, str(self.script), str(ms), name, str(self.journal), fault)
        return RunnerSpec(name, f"Runner {name}", words)

    def turns(self) -> list[str]:
        lines = self.journal.read_text().splitlines()
        return [line for line, before in zip(lines, ["", *lines], strict=False) if line != before]


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


def test_a_run_has_enough_iterations_and_gives_milliseconds_of_one():
    asked: list[int] = []

    def run(iterations: int) -> float:
        asked.append(iterations)
        return 2.0 * iterations

    assert time_runs(run, seconds=0, warm_s=0) == [2.0] * FEWEST_RUNS
    assert asked == [FEWEST_ITERATIONS] + [RUN_MS / 2] * FEWEST_RUNS


def test_slow_batches_still_run_several_times():
    asked: list[int] = []
    time_runs(lambda n: asked.append(n) or 1e4 * n, seconds=0, warm_s=0)  # type: ignore[func-returns-value]
    assert asked == [FEWEST_ITERATIONS] * (1 + FEWEST_RUNS)


def test_a_worker_answers_and_what_libraries_print_is_no_answer(fakes: Fakes):
    with WorkerProcess(fakes.spec("a", 0.5).command) as worker:
        assert worker.ask(do="open", batches=[2])["asked"] == [2]
        answer = worker.ask(do="time", batch=2, seconds=0, warm_s=0)
        assert answer == {"ms": [1.0] * FEWEST_RUNS}


def test_a_worker_that_ends_is_an_error_with_its_last_words(fakes: Fakes):
    with (
        WorkerProcess(fakes.spec("a", 1, "open").command) as worker,
        pytest.raises(WorkerError, match=r"ended with exit code 1: .*MemoryError: no room for a$"),
    ):
        worker.ask(do="open", batches=[1])


def test_an_interpreter_that_is_not_there_is_an_error():
    with pytest.raises(WorkerError, match="cannot be started"):
        WorkerProcess(["/no/such/python"])


def test_figures_are_those_of_the_workers(fakes: Fakes):
    result = measure([fakes.spec("a", 0.5), fakes.spec("b", 2.0)], QUICK)
    assert result.keys() == {"machine", "device", "plan", "runners"}
    assert result["device"] == "Pretended GPU"
    assert result["plan"] == {"batches": [1, 8], "rounds": 3, "seconds": 0.0, "warm_s": 0.0}
    first, second = result["runners"]
    assert (first["key"], first["versions"], first["memory_bytes"]) == (
        "a",
        {"fake": "1.0"},
        3 << 20,
    )
    assert first["batches"]["8"] == {
        "ms": {"median": 4.0, "min": 4.0, "max": 4.0},
        "faces_per_s": {"median": 2000.0, "min": 2000.0, "max": 2000.0},
        "ratio": {"median": 1.0, "min": 1.0, "max": 1.0},
    }
    assert second["batches"]["1"]["ms"]["median"] == 2.0
    assert second["batches"]["8"]["ratio"] == {"median": 4.0, "min": 4.0, "max": 4.0}
    json.dumps(result)


def test_runners_take_turns_and_each_round_begins_with_another(fakes: Fakes):
    measure([fakes.spec(name, 1.0) for name in "abc"], QUICK)
    assert [turn for turn in fakes.turns() if turn.endswith("8")] == [
        "a 8", "b 8", "c 8", "b 8", "c 8", "a 8", "c 8", "a 8", "b 8",
    ]  # fmt: skip


@pytest.mark.parametrize("fault", ["open", "time"])
def test_a_runner_that_fails_is_named_and_the_others_go_on(fakes: Fakes, fault: str):
    specs = [fakes.spec("a", 1.0), fakes.spec("b", 1.0, fault), fakes.spec("c", 2.0)]
    result = measure(specs, QUICK)
    assert ["error" in row for row in result["runners"]] == [False, True, False]
    assert "batches" not in result["runners"][1]
    assert result["runners"][2]["batches"]["8"]["ratio"]["median"] == 2.0
    *_, last = tables(result).splitlines()
    assert last.startswith("Runner b failed: it ended with exit code 1: ")


def test_without_the_first_runner_there_is_nothing_to_compare_with(fakes: Fakes):
    with pytest.raises(WorkerError, match="Runner a ended with exit code 1"):
        measure([fakes.spec("a", 1.0, "open"), fakes.spec("b", 1.0)], QUICK)
    assert not fakes.journal.exists()


def test_tables_show_what_was_measured(fakes: Fakes):
    result = measure([fakes.spec("a", 0.5), fakes.spec("b", 2.0)], QUICK)
    text = tables(result)
    assert text.startswith("Pretended GPU; ")
    for line in (
        "| Runner a | 0.50 (0.50..0.50) | 4.00 (4.00..4.00) |",
        "| Runner a | 2000 (2000..2000) | 2000 (2000..2000) |",
        "| Runner b | 4.00 (4.00..4.00) | 4.00 (4.00..4.00) |",
        "| Runner b | - | 0.5 | 3 | fake 1.0 |",
    ):
        assert line in text.splitlines()


def test_spreads_have_the_median_and_both_ends():
    assert cell(spread([3.0, 1.0, 2.5]), 1) == "2.5 (1.0..3.0)"


def arguments(folder: Path, *, onnx: bool) -> argparse.Namespace:
    return argparse.Namespace(
        plan=folder / "net.plan",
        int8_plan=None,
        onnx=folder / "net.onnx" if onnx else None,
        trt_python="python3.10",
        torch_python="env/bin/python",
        ort_python="/opt/ort/bin/python",
    )


def test_each_runner_has_its_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    specs = {spec.key: spec.command for spec in runners(arguments(tmp_path, onnx=True))}
    assert list(specs) == [
        "trt-graph", "trt", "torch-fp16-last", "torch-fp16", "torch-fp32", "ort-fp16", "ort-fp32",
    ]  # fmt: skip
    plan = str((tmp_path / "net.plan").resolve())
    worker = "benchmarks.engine_worker"
    assert specs["trt-graph"] == ("python3.10", "-m", worker, "--plan", plan, "--graph")
    assert specs["trt"] == ("python3.10", "-m", worker, "--plan", plan)
    assert specs["torch-fp32"][0] == str(Path.cwd() / "env" / "bin" / "python")
    assert specs["torch-fp16-last"][-2:] == ("fp16", "--channels-last")
    assert specs["ort-fp16"][0] == str(Path("/opt/ort/bin/python").absolute())
    assert specs["ort-fp16"][-2:] == ("--precision", "fp16")


def test_an_int8_engine_is_a_runner_of_its_own(tmp_path: Path):
    args = arguments(tmp_path, onnx=False)
    args.int8_plan = tmp_path / "int8.plan"
    first, second, *_ = runners(args)
    assert (first.key, second.key) == ("trt-graph", "trt-int8-graph")
    assert second.command[-2:] == (str((tmp_path / "int8.plan").resolve()), "--graph")


def test_without_an_onnx_file_there_is_no_onnx_runtime(tmp_path: Path):
    keys = [spec.key for spec in runners(arguments(tmp_path, onnx=False))]
    assert not [key for key in keys if key.startswith("ort")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script that can be executed")
def test_the_program_prints_tables_and_writes_json(
    fakes: Fakes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    python = tmp_path / "python"
    last = fakes.spec("x", 0.25).command[2:]
    python.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' '{fakes.script}' {' '.join(last[:3])} ''\n"
    )
    python.chmod(0o755)
    plan, report = tmp_path / "net.plan", tmp_path / "report.json"
    plan.write_bytes(b"plan")
    words = ["--plan", str(plan), "--json", str(report), "--only", "torch-fp32"]
    words += ["--trt-python", str(python), "--torch-python", str(python)]
    words += ["--batches", "2", "--rounds", "1", "--seconds", "0", "--warm-s", "0"]
    assert main(words) == 0
    result = json.loads(report.read_text())
    assert [row["key"] for row in result["runners"]] == ["trt-graph", "torch-fp32"]
    assert result["runners"][0]["batches"]["2"]["ms"]["median"] == 0.5
    assert "| TensorRT, CUDA graph | 0.50 (0.50..0.50) |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no such file"),
        (["--batches", "0"], "--rounds and --batches; allowed: 1 or more"),
        (["--only", "jax"], "--only jax; allowed: trt-graph, trt, torch-fp16-last"),
    ],
)
def test_the_program_refuses_what_it_cannot_measure(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = tmp_path / "net.plan"
    if words:
        plan.write_bytes(b"plan")
    with pytest.raises(SystemExit, match="2"):
        main(["--plan", str(plan), *words])
    assert message in capsys.readouterr().err
