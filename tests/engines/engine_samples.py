"""Keys, manifests and plans of engines that nobody built, and what other processes do with them."""

from __future__ import annotations

import hashlib
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ffswap.engines.key import EngineKey, GpuTarget
from ffswap.engines.manifest import GateFigures, GateLimits, Island, Manifest, OutputFigures
from ffswap.engines.store import EngineStore, Found

H100 = GpuTarget(name="NVIDIA H100 80GB HBM3", capability="9.0")
A10 = GpuTarget(name="NVIDIA A10", capability="8.6")
PLAN = bytes(range(256)) * 8


def key(**changes: Any) -> EngineKey:
    fields: dict[str, Any] = {
        "model": "inswapper_128",
        "product": "tensorrt",
        "version": "8.6.0",
        "gpus": (H100,),
        "driver_major": 535,
        "platform": "linux-x86_64",
        "onnx_sha256": "ab" * 32,
        "inputs": (
            ("target", "float32", (-1, 3, 128, 128)),
            ("source", "float32", (-1, 512)),
        ),
        "batches": (1, 4, 8),
        "profiles": "each",
        "precision": "fp16",
        "half_io": False,
        "islands": ("Conv_10",),
        "opt_level": 1,
        "workspace_bytes": 4 << 30,
        "flags": ("FP16",),
    }
    return EngineKey(**(fields | changes))


def manifest(of: EngineKey, plan: bytes = PLAN, **changes: Any) -> Manifest:
    figures = OutputFigures(
        output="output", relative_l2=0.004, psnr_db=51.5, worst=0.02, peak=1.0, row_error=None
    )
    fields: dict[str, Any] = {
        "key": of,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "plan_bytes": len(plan),
        "built": "2026-01-31T12:00:00Z",
        "build_seconds": 80.5,
        "ffswap": "0.1.0",
        "source": "inswapper_128.onnx",
        "licence": None,
        "islands": (Island(node="Norm_3", operator="ReduceMean", reason="overflow", value=7e4),),
        "constrained": (),
        "limits": GateLimits(),
        "gate": GateFigures(
            where="engine", samples=4, outputs=(figures,), repeatable=True, passed=True
        ),
        "warnings": ("a kernel was skipped",),
    }
    return Manifest(**(fields | changes))


def install(store: EngineStore, of: EngineKey, plan: bytes = PLAN, **changes: Any) -> Path:
    temporary = store.temporary(of)
    temporary.write_bytes(plan)
    return store.install(of, temporary, manifest(of, plan, **changes))


def install_often(folder: Path, seed: int, count: int) -> None:
    """Put one build after another of the same engine in place, each with another plan."""
    store = EngineStore(folder)
    for build in range(count):
        install(store, key(), bytes([seed, build]) * (1000 + build))


def find_often(folder: Path, end: Path, result: Connection) -> None:
    """Look for the engine until the file `end` is there; send what was wrong, and how often it was found."""
    store, wrong, found = EngineStore(folder), set(), 0
    while True:
        last = end.exists()
        answer = store.find(key())
        if isinstance(answer, Found):
            found += 1
            try:
                plan = answer.plan.read_bytes()
            except FileNotFoundError:  # replaced since
                continue
            if hashlib.sha256(plan).hexdigest() != answer.manifest.plan_sha256:
                wrong.add("another plan")
        elif found or answer.reason != "no engine of inswapper_128 at fp16 was built":
            wrong.add(answer.reason)
        if last:
            break
    result.send((sorted(wrong), found))


def prune_often(folder: Path, end: Path, result: Connection) -> None:
    """Tidy up until the file `end` is there; send why things were removed."""
    store, reasons = EngineStore(folder), set()
    while not end.exists():
        removed = store.prune(keep=lambda _: True, dry_run=False)
        reasons |= {one.reason for one in removed if not one.in_use}
        time.sleep(0.005)
    result.send(sorted(reasons))


def hold_lock(folder: Path, pipe: Connection) -> None:
    """Take the lock, say so, and keep it until told to let go, or killed."""
    with EngineStore(folder).lock(key()):
        pipe.send("held")
        pipe.recv()


def die_before_the_manifest(folder: Path) -> None:
    """A build that is cut off after its plan got its name."""

    class Dying(EngineStore):
        def _place_manifest(self, manifest: Manifest) -> None:  # noqa: ARG002
            os._exit(9)

    install(Dying(folder), key())
