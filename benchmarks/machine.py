"""What a measurement was taken on: processor, cores that may be used, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from ffswap.pipeline.machine import find_cpu

__all__ = ["describe_machine", "usable_cores"]

PACKAGES = ("ffswap", "av", "numpy", "onnxruntime", "opencv-python-headless")


def usable_cores() -> float:
    """Cores that this process may keep busy: its affinity, or the container's quota if that is less."""
    cpu = find_cpu()
    return min(float(cpu.usable_cores), cpu.quota_cores or float("inf"))


def describe_machine() -> dict[str, Any]:
    """Plain types only, ready for JSON."""
    return {
        "processor": find_cpu().name,
        "usable_cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
