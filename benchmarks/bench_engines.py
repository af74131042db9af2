"""How fast engines are beside PyTorch and ONNX Runtime: the same net, side by side in one run.

    python -m benchmarks.bench_engines --plan FILE [--int8-plan FILE] --onnx FILE [--torch-python PATH] [--json FILE]

The net is inswapper_128, of which `python -m tools.replicas OUT inswapper_128 --full` writes a replica
with random weights, and `ffswap build-engine` makes a plan of that. PyTorch runs the same layers.

Every runner is a process of its own, so that each may have its own interpreter and libraries. All are
opened one after the other; then rounds follow, and in a round each runner times each batch size while
the others wait. Before each measurement it runs for a while unmeasured, so that clocks are up. Times
are the device's own, from events around runs of several iterations. The order of runners turns with
every round.

A ratio is taken within one round: time of the runner by the time of the first runner, TensorRT, for the
same batch size. Tables show the median over rounds, with least and greatest in brackets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine
from benchmarks.worker_process import WorkerError, WorkerProcess

__all__ = ["Plan", "RunnerSpec", "main", "measure", "runners", "tables"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        batches: faces in a batch.
        rounds: how often every runner times every batch size.
        seconds: least time of each measurement.
        warm_s: least time of running before it.
    """

    batches: tuple[int, ...] = (1, 4, 8, 16)
    rounds: int = 5
    seconds: float = 1.0
    warm_s: float = 0.5


@dataclass(frozen=True)
class RunnerSpec:
    """A runner: a key to ask for it, a name for tables, and the command that starts it."""

    key: str
    name: str
    command: tuple[str, ...]


def _interpreter(path: str) -> str:
    """Valid in another folder; links stay, because an environment is known by its link."""
    return str(Path(path).absolute()) if Path(path).name != path else path


def runners(args: argparse.Namespace) -> list[RunnerSpec]:
    """All runners for which there is something to run; the first is the one to compare with."""
    engine, net = "benchmarks.engine_worker", "benchmarks.torch_inswapper"
    trt = (_interpreter(args.trt_python), "-m", engine, "--plan", str(args.plan.resolve()))
    engines = [RunnerSpec("trt-graph", "TensorRT, CUDA graph", (*trt, "--graph"))]
    if args.int8_plan is not None:
        int8 = (*trt[:-1], str(args.int8_plan.resolve()), "--graph")
        engines.append(RunnerSpec("trt-int8-graph", "TensorRT INT8, CUDA graph", int8))
    torch = (_interpreter(args.torch_python), "-m", net, "--precision")
    found = [
        *engines,
        RunnerSpec("trt", "TensorRT, plain enqueue", trt),
        RunnerSpec(
            "torch-fp16-last", "PyTorch FP16 channels-last", (*torch, "fp16", "--channels-last")
        ),
        RunnerSpec("torch-fp16", "PyTorch FP16", (*torch, "fp16")),
        RunnerSpec("torch-fp32", "PyTorch FP32 (TF32 off)", (*torch, "fp32")),
    ]
    if args.onnx is not None:
        ort = (_interpreter(args.ort_python), "-m", engine, "--onnx", str(args.onnx.resolve()))
        for kind in ("fp16", "fp32"):
            command = (*ort, "--precision", kind)
            found.append(RunnerSpec(f"ort-{kind}", f"ONNX Runtime CUDA {kind.upper()}", command))
    return found


class _Turns:
    """Opened runners, what they said of themselves, and their times."""

    def __init__(self, specs: Sequence[RunnerSpec], plan: Plan) -> None:
        self._specs, self._plan = specs, plan
        self._workers: dict[str, WorkerProcess] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        # Of each runner and batch size: milliseconds of a batch, one number for each round.
        self.ms: dict[str, dict[int, list[float]]] = {
            spec.key: {batch: [] for batch in plan.batches} for spec in specs
        }

    def run(self) -> None:
        """Open all, measure all, close all; a runner that fails is left out from there on.

        Raises:
            WorkerError: the first one failed.
        """
        with ExitStack() as stack:
            for spec in self._specs:
                self._open(spec, stack)
            for turn in range(self._plan.rounds):
                order = list(self._workers)
                start = turn % max(len(order), 1)
                for batch in self._plan.batches:
                    for key in order[start:] + order[:start]:
                        self._time(key, batch)

    def _open(self, spec: RunnerSpec, stack: ExitStack) -> None:
        print(f"opening {spec.name}", file=sys.stderr)
        try:
            worker = stack.enter_context(WorkerProcess(spec.command))
            self.answers[spec.key] = worker.ask(do="open", batches=list(self._plan.batches))
        except WorkerError as error:
            self._fail(spec.key, error)
        else:
            self._workers[spec.key] = worker

    def _time(self, key: str, batch: int) -> None:
        if key in self.errors:
            return
        plan = self._plan
        try:
            answer = self._workers[key].ask(
                do="time", batch=batch, seconds=plan.seconds, warm_s=plan.warm_s
            )
        except WorkerError as error:
            self._fail(key, error)
        else:
            self.ms[key][batch].append(median(answer["ms"]))

    def _fail(self, key: str, error: WorkerError) -> None:
        if key == self._specs[0].key:
            raise WorkerError(f"{self._specs[0].name} {error}")
        print(f"{key} {error}", file=sys.stderr)
        self.errors[key] = str(error)
        self._workers.pop(key, None)


def _batch_figures(batch: int, ms: list[float], first: list[float]) -> dict[str, Any]:
    return {
        "ms": spread(ms),
        "faces_per_s": spread([1e3 * batch / one for one in ms]),
        "ratio": spread([one / other for one, other in zip(ms, first, strict=True)]),
    }


def measure(specs: Sequence[RunnerSpec], plan: Plan) -> dict[str, Any]:
    """Run the plan.

    Args:
        specs: what is measured; the first is the one to compare with.
        plan: how.

    Returns:
        ``machine``, ``device``, ``plan`` and ``runners``; plain types only. A runner that failed
        has an ``error`` and no figures.

    Raises:
        WorkerError: the first one failed, so there is nothing to compare with.
    """
    turns = _Turns(specs, plan)
    turns.run()
    first = specs[0].key
    rows = []
    for spec in specs:
        row: dict[str, Any] = {"key": spec.key, "name": spec.name}
        if spec.key in turns.errors:
            row["error"] = turns.errors[spec.key]
        else:
            row.update(turns.answers[spec.key])
            row["batches"] = {
                str(batch): _batch_figures(batch, ms, turns.ms[first][batch])
                for batch, ms in turns.ms[spec.key].items()
            }
        rows.append(row)
    return {
        "machine": describe_machine(),
        "device": turns.answers[first]["device"],
        "plan": {
            "batches": list(plan.batches),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "warm_s": plan.warm_s,
        },
        "runners": rows,
    }


def _table(rows: list[dict[str, Any]], batches: list[int], key: str, digits: int) -> list[str]:
    lines = ["| | " + " | ".join(f"batch {batch}" for batch in batches) + " |"]
    lines.append("|---" * (len(batches) + 1) + "|")
    for row in rows:
        cells = [cell(row["batches"][str(batch)][key], digits) for batch in batches]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return lines


def tables(result: dict[str, Any]) -> str:
    """The result as text with tables in Markdown."""
    plan, machine = result["plan"], result["machine"]
    rows = [row for row in result["runners"] if "error" not in row]
    lines = [
        f"{result['device']}; {machine['processor']}, {machine['usable_cores']:g} usable cores, "
        f"{machine['system']}",
        f"{plan['rounds']} rounds of at least {plan['seconds']:g} s, "
        f"each after {plan['warm_s']:g} s of running",
    ]
    captions = {
        "ms": ("milliseconds a batch", 2),
        "faces_per_s": ("faces a second", 0),
        "ratio": (f"time by that of {result['runners'][0]['name']}, round by round", 2),
    }
    for key, (caption, digits) in captions.items():
        lines += ["", f"{caption}:", "", *_table(rows, plan["batches"], key, digits)]
    lines += ["", "| | loaded, s | ready, s | memory, MiB | versions |", "|---|---|---|---|---|"]
    for row in rows:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        load = "-" if row["load_s"] is None else f"{row['load_s']:.1f}"
        memory = f"{row['memory_bytes'] / 2**20:.0f}"
        lines.append(f"| {row['name']} | {load} | {row['ready_s']:.1f} | {memory} | {versions} |")
    failed = [row for row in result["runners"] if "error" in row]
    lines += [f"\n{row['name']} failed: it {row['error']}" for row in failed]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_engines",
        description="Engines beside PyTorch and ONNX Runtime, on one GPU.",
    )
    parser.add_argument("--plan", type=Path, required=True, help="engine of inswapper_128")
    parser.add_argument("--int8-plan", type=Path, help="engine of the same net in INT8")
    parser.add_argument("--onnx", type=Path, help="float32 file; without it no ONNX Runtime")
    for name, library in (("trt", "TensorRT"), ("torch", "PyTorch"), ("ort", "ONNX Runtime")):
        parser.add_argument(
            f"--{name}-python", default=sys.executable, metavar="PATH",
            help=f"interpreter that has {library}; default: this one",
        )  # fmt: skip
    parser.add_argument("--batches", type=int, nargs="+", default=list(Plan.batches))
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="of each measurement")
    parser.add_argument("--warm-s", type=float, default=Plan.warm_s, help="running before it")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="these runners besides trt-graph")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a runner failed.

    Args:
        arguments: of the command line; None: those of the process.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    if min(args.rounds, *args.batches) < 1:
        parser.error("--rounds and --batches; allowed: 1 or more")
    for path in (args.plan, args.int8_plan, args.onnx):
        if path is not None and not path.is_file():
            parser.error(f"no such file: {path}")
    specs = runners(args)
    if args.only is not None:
        keys = [spec.key for spec in specs]
        if unknown := [key for key in args.only if key not in keys]:
            parser.error(f"--only {' '.join(unknown)}; allowed: {', '.join(keys)}")
        specs = [spec for spec in specs if spec is specs[0] or spec.key in args.only]
    plan = Plan(
        batches=tuple(args.batches), rounds=args.rounds, seconds=args.seconds, warm_s=args.warm_s
    )
    try:
        result = measure(specs, plan)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables(result))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(any("error" in row for row in result["runners"]))


if __name__ == "__main__":
    sys.exit(main())
