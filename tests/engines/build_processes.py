"""Processes that build, seen from outside: which there are, and whether they have ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ffswap.engines.build import BuildJob

__all__ = ["ends_soon", "has_ended", "start_parent", "watch_children"]

# Ample for any machine: only a process that does not mean to end takes that long.
_SOON_S = 30

_PARENT = """
import json, signal, subprocess, sys
from ffswap.engines.build import PlanBuilder, job_from_json
real = subprocess.Popen
def spy(*args, **options):
    global child
    child = real(*args, **options)
    return child
subprocess.Popen = spy
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may ignore it
def progress(event):
    if event.phase not in ("loading TensorRT", "reading the net"):
        print(child.pid, flush=True)
with PlanBuilder() as builder:
    with builder.begin(job_from_json(json.loads(sys.argv[1]))) as pending:
        pending.result(progress=progress)
    print("built", flush=True)
    sys.stdin.readline()
"""


def start_parent(job: BuildJob) -> subprocess.Popen[bytes]:
    """A process that builds; it prints the id of its child as soon as TensorRT is at it.

    When the plan is there it prints ``built``, and waits for a line before it ends the child.
    """
    data = {**vars(job), "onnx": str(job.onnx), "plan": str(job.plan)}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    return subprocess.Popen(
        [sys.executable, "-c", _PARENT, json.dumps(data)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or dead and nobody has asked for its exit code."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def ends_soon(pid: int) -> bool:
    """Wait for the end of a process; if it does not come, kill it and say no."""
    deadline = time.monotonic() + _SOON_S
    while not has_ended(pid):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            return False
        time.sleep(0.02)
    return True


def watch_children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that is started from now on, in that order."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def spy(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", spy)
    return started
