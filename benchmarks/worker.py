"""The child's half of a measurement: answers requests, one JSON object a line. Standard library only.

The parent writes a request to standard input and reads the answer from standard output:

    {"do": "open", "batches": [1, 8]}       {"versions": {...}, "device": "...", ...}
    {"do": "time", "batch": 8, "seconds": 1.0, "warm_s": 0.5}      {"ms": [7.1, 7.0]}

At the end of its input the child ends. When something fails it ends with a traceback, and the parent
shows what was said last.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Runner", "serve", "time_runs"]

RUN_MS = 50.0
"""A run is so many iterations that it takes this long: an event's resolution is half a microsecond,
and what starting and ending a run costs is spread over them."""
FEWEST_ITERATIONS = 3
FEWEST_RUNS = 3


class Runner(Protocol):
    """A net that is ready to be timed."""

    def open(self, batches: list[int]) -> dict[str, Any]:
        """Load the net and run every batch size once.

        Returns:
            ``device``: name of the GPU; ``versions``: of what runs it; ``load_s``: time from the
            file to a loaded net, or None if there is no file; ``ready_s``: the same up to the first
            result of every batch size; ``memory_bytes``: by which the free memory of the device
            became less.
        """

    def run(self, batch: int, iterations: int) -> float:
        """Run a batch again and again; milliseconds of the device for all of it."""


def time_runs(run: Callable[[int], float], *, seconds: float, warm_s: float) -> list[float]:
    """Time runs of several iterations each.

    Args:
        run: takes a number of iterations and gives the milliseconds of all of them.
        seconds: least time that is measured.
        warm_s: least time of running before it, for clocks and caches.

    Returns:
        Milliseconds of one iteration, a number for each run.
    """
    end = time.perf_counter() + warm_s
    each_ms = run(FEWEST_ITERATIONS) / FEWEST_ITERATIONS
    while time.perf_counter() < end:
        each_ms = run(FEWEST_ITERATIONS) / FEWEST_ITERATIONS
    iterations = max(FEWEST_ITERATIONS, math.ceil(RUN_MS / max(each_ms, 1e-3)))
    end = time.perf_counter() + seconds
    found: list[float] = []
    while len(found) < FEWEST_RUNS or time.perf_counter() < end:
        found.append(run(iterations) / iterations)
    return found


def serve(runner: Runner) -> None:
    """Answer requests until there are no more.

    Whatever libraries print to standard output goes to standard error instead.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            print(json.dumps(_answer(runner, json.loads(line))), file=answers, flush=True)


def _answer(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "open":
        return runner.open(request["batches"])
    batch = int(request["batch"])
    runs = time_runs(
        lambda iterations: runner.run(batch, iterations),
        seconds=request["seconds"],
        warm_s=request["warm_s"],
    )
    return {"ms": runs}
