"""What this machine has. Asks, and never guesses.

Libraries that talk to a driver are asked in a process of their own: a broken installation may end
the process that imports it, and the survey is wanted most on just such a machine. Encoders and
models are asked of the layers that own them; these are imported inside functions, because they
load FFmpeg and the nets, which importing this module must not.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import FfswapError

__all__ = [
    "CpuSurvey",
    "EncoderSurvey",
    "EngineSurvey",
    "GpuSurvey",
    "MemorySurvey",
    "ModelSurvey",
    "cgroup_limits",
    "find_cpu",
    "find_encoders",
    "find_engines",
    "find_gpus",
    "find_libraries",
    "find_memory",
    "find_models",
]

NOT_INSTALLED = "not installed"
# Importing TensorRT for the first time after a boot takes up to half of this on a network disk.
_ASK_TIMEOUT_S = 60
# Version 1 control groups write "no limit" as the largest page-aligned 63-bit number.
_NO_MEMORY_LIMIT = 1 << 60
# What is shown, and the distributions that may provide it, the likeliest first.
_LIBRARIES = {
    "av": ("av",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "opencv": ("opencv-python-headless", "opencv-python"),
    "pillow": ("pillow",),
    "c2pa": ("c2pa-python",),
    "cuda-core": ("cuda-core",),
    "cuda-bindings": ("cuda-bindings",),
    "tensorrt": ("tensorrt-cu13", "tensorrt-cu12", "tensorrt"),
    "tensorrt-rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
}

_ASK_VERSION = "import {0} as m; print(json.dumps({{'version': m.__version__}}))"
_ASK_ONNXRUNTIME = (
    "import onnxruntime as m; "
    "print(json.dumps({'version': m.__version__, 'providers': m.get_available_providers()}))"
)
_ASK_CUDA = """
from cuda.bindings import driver
def call(name, *args):
    code, *values = getattr(driver, name)(*args)
    if int(code) != 0:
        raise SystemExit(f"{name}: {code.name}")
    return values[0] if values else None
attribute = driver.CUdevice_attribute
prefix = "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_"
call("cuInit", 0)
gpus = []
for index in range(call("cuDeviceGetCount")):
    device = call("cuDeviceGet", index)
    major, minor = (
        call("cuDeviceGetAttribute", getattr(attribute, prefix + part), device)
        for part in ("MAJOR", "MINOR")
    )
    gpus.append({
        "index": index,
        "name": call("cuDeviceGetName", 256, device).split(b"\\0")[0].decode(),
        "memory_bytes": call("cuDeviceTotalMem", device),
        "compute_capability": f"{major}.{minor}",
    })
version = call("cuDriverGetVersion")
print(json.dumps({"gpus": gpus, "driver": f"CUDA {version // 1000}.{version % 1000 // 10}"}))
"""

Answer: TypeAlias = "tuple[dict[str, Any] | None, str | None]"


@dataclass(frozen=True, kw_only=True)
class CpuSurvey:
    """The processor.

    Attributes:
        name: as the system gives it.
        logical_cores: of the machine.
        usable_cores: what affinity and the control group's quota leave to this process.
        quota_cores: that quota, or None.
    """

    name: str
    logical_cores: int
    usable_cores: int
    quota_cores: float | None


@dataclass(frozen=True, kw_only=True)
class MemorySurvey:
    """Main memory in bytes; None where the system does not say, or sets no limit."""

    total_bytes: int | None
    available_bytes: int | None
    limit_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class EncoderSurvey:
    """A video encoder, and whether it really encoded a frame here; if not, why."""

    name: str
    ok: bool
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class EngineSurvey:
    """A library that runs nets, and whether it can be imported here; if not, why."""

    name: str
    ok: bool
    version: str | None
    reason: str | None
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuSurvey:
    """An NVIDIA GPU. `driver` is the driver's version, or the CUDA version that it speaks."""

    index: int
    name: str
    memory_bytes: int | None
    driver: str | None
    compute_capability: str | None


@dataclass(frozen=True, kw_only=True)
class ModelSurvey:
    """A model of the catalogue."""

    name: str
    kind: str
    licence: str
    vendor: str


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # not this system's way to say it


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _cgroup_folders(root: Path) -> Iterator[Path]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        parts = [part for part in group.split("/") if part]
        for controller in sorted({controllers, *controllers.split(",")}):
            base = root / "sys/fs/cgroup" / controller
            yield base
            if ".." not in parts:
                yield from (base.joinpath(*parts[: depth + 1]) for depth in range(len(parts)))


def cgroup_limits(root: Path = Path("/")) -> tuple[float | None, int | None]:
    """Cores and bytes of memory that the control groups (version 1 or 2) leave to this process.

    Every group above the process's own limits it too. Inside a container the path in ``/proc``
    may be the host's, which cannot be seen: then the groups that can be seen count.
    """
    cores: list[float] = []
    memory: list[int] = []
    for folder in _cgroup_folders(root):
        quota, period = (*_read(folder / "cpu.max").split(), "", "")[:2]
        used = _number(quota or _read(folder / "cpu.cfs_quota_us"))
        every = _number(period or _read(folder / "cpu.cfs_period_us"))
        if used and every:
            cores.append(used / every)
        limit = _number(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes"))
        if limit and limit < _NO_MEMORY_LIMIT:
            memory.append(limit)
    return min(cores, default=None), min(memory, default=None)


def find_cpu(root: Path = Path("/")) -> CpuSurvey:
    """Name and cores of the processor."""
    logical = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    quota, _ = cgroup_limits(root)
    named = (line.partition(":") for line in _read(root / "proc/cpuinfo").splitlines())
    name = next((value.strip() for key, _, value in named if key.strip() == "model name"), "")
    return CpuSurvey(
        name=name or platform.processor() or platform.machine(),
        logical_cores=logical,
        usable_cores=allowed if quota is None else max(1, min(allowed, math.ceil(quota))),
        quota_cores=quota,
    )


def find_memory(root: Path = Path("/")) -> MemorySurvey:
    """Main memory: what there is, what is free, what the control group allows."""
    lines = (line.partition(":") for line in _read(root / "proc/meminfo").splitlines())
    sizes = {key: _number(value.removesuffix("kB")) for key, _, value in lines}
    total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    return MemorySurvey(
        total_bytes=None if total is None else total * 1024,
        available_bytes=None if available is None else available * 1024,
        limit_bytes=cgroup_limits(root)[1],
    )


def find_libraries() -> dict[str, str | None]:
    """Versions by the installed metadata; nothing is imported."""

    def version(names: Sequence[str]) -> str | None:
        for name in names:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return None

    return {label: version(names) for label, names in _LIBRARIES.items()}


def _run(command: Sequence[str]) -> tuple[str | None, str | None]:
    """Standard output, or the reason why there is none."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode == 0:
        return done.stdout, None
    last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
    ended = f" (ended by signal {-done.returncode})" if done.returncode < 0 else ""
    return None, last + ended


def ask(module: str, script: str) -> Answer:
    """Run a script that imports a module in a process of its own.

    Args:
        module: name of the top-level package; it is looked for, not imported.
        script: prints a JSON object as its last line.
    """
    if importlib.util.find_spec(module) is None:
        return None, NOT_INSTALLED
    script = "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\n" + script
    output, reason = _run([sys.executable, "-I", "-c", script, json.dumps(sys.path)])
    if output is None:
        return None, reason
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer, None


def find_engines(ask: Callable[[str, str], Answer] = ask) -> tuple[EngineSurvey, ...]:
    """The libraries that run nets. Importing one may fail in many ways; the reason is kept."""
    found = []
    for name in ("onnxruntime", "tensorrt", "tensorrt_rtx"):
        script = _ASK_ONNXRUNTIME if name == "onnxruntime" else _ASK_VERSION.format(name)
        answer, reason = ask(name, script)
        answer = answer or {}
        found.append(
            EngineSurvey(
                name=name,
                ok=reason is None,
                version=answer.get("version"),
                reason=reason,
                providers=tuple(answer.get("providers", ())),
            )
        )
    return tuple(found)


def find_gpus(
    ask: Callable[[str, str], Answer] = ask,
    run: Callable[[Sequence[str]], tuple[str | None, str | None]] = _run,
    which: Callable[[str], str | None] = shutil.which,
) -> tuple[tuple[GpuSurvey, ...], str | None]:
    """NVIDIA GPUs through cuda-python, else through nvidia-smi, else none and the reason."""
    answer, why_cuda = ask("cuda", _ASK_CUDA)
    if answer is not None and answer["gpus"]:
        return tuple(GpuSurvey(driver=answer["driver"], **gpu) for gpu in answer["gpus"]), None
    if why_cuda != NOT_INSTALLED:
        # nvidia-smi would list GPUs that the driver has just refused.
        return (), f"no NVIDIA GPU (cuda-python: {why_cuda or 'no device'})"
    program = which("nvidia-smi")
    fields = "index,name,memory.total,driver_version,compute_cap"
    output, why_smi = (
        (None, "not found")
        if program is None
        else run([program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    )
    gpus = []
    for row in csv.reader((output or "").splitlines(), skipinitialspace=True):
        if len(row) == 5 and (index := _number(row[0])) is not None:
            mib = _number(row[2])
            gpus.append(
                GpuSurvey(
                    index=index,
                    name=row[1],
                    memory_bytes=None if mib is None else mib << 20,
                    driver=row[3],
                    compute_capability=row[4],
                )
            )
    if gpus:
        return tuple(gpus), None
    return (), f"no NVIDIA GPU (cuda-python: {why_cuda}; nvidia-smi: {why_smi or 'no device'})"


def find_encoders() -> tuple[tuple[EncoderSurvey, ...], str | None]:
    """The video encoders, each tried on a frame, in the order in which they are preferred."""
    try:
        from ..media import list_usable  # type: ignore[attr-defined,unused-ignore]

        found: Any = list_usable()
    except (ImportError, OSError, FfswapError) as error:
        return (), f"{type(error).__name__}: {error}"
    named = found.items() if isinstance(found, Mapping) else [(one.name, one) for one in found]
    return tuple(
        EncoderSurvey(name=name, ok=one.ok, reason=None if one.ok else one.reason)
        for name, one in named
    ), None


def find_models() -> tuple[tuple[ModelSurvey, ...], str | None]:
    """The models that come with ffswap."""
    try:
        from ..models import get, names  # type: ignore[attr-defined,unused-ignore]

        specs = [(name, get(name)) for name in names(embedded=True)]
    except (ImportError, OSError, FfswapError) as error:
        return (), f"{type(error).__name__}: {error}"
    return tuple(
        ModelSurvey(name=name, kind=spec.kind, licence=spec.licence, vendor=spec.vendor)
        for name, spec in specs
    ), None
