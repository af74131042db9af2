"""What a measurement was taken on: processor, cores that may be used, versions."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "usable_cores"]

PACKAGES = ("ffswap", "av", "numpy", "onnxruntime", "opencv-python-headless")
CPU_QUOTA = Path(
    "/sys/fs/cgroup/cpu.max"
)  # Linux control groups v2: "quota period" or "max period"


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> float:
    """Cores that this process may keep busy: its affinity, or the container's quota if that is less."""
    if sys.platform == "linux":
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except OSError:
        return cores
    limit = math.inf if quota == "max" else float(quota) / float(period)
    return min(cores, limit)


def describe_machine() -> dict[str, Any]:
    """Plain types only, ready for JSON."""
    return {
        "processor": _processor(),
        "usable_cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
