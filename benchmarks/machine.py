"""What a measurement was taken on: processor, cores that may be used, versions."""

from __future__ import annotations

import platform
from typing import Any

from ffswap import __version__
from ffswap.pipeline.machine import find_cpu, find_libraries

__all__ = ["describe_machine", "usable_cores"]


def usable_cores() -> float:
    """Cores that this process may keep busy: its affinity, or the container's quota if that is less."""
    cpu = find_cpu()
    return min(float(cpu.usable_cores), cpu.quota_cores or float("inf"))


def describe_machine() -> dict[str, Any]:
    """Plain types only, ready for JSON."""
    installed = {name: version for name, version in find_libraries().items() if version}
    return {
        "processor": find_cpu().name,
        "usable_cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {"ffswap": __version__, **installed},
    }
