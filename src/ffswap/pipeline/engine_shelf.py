"""What is in an engine store, whether this machine can use it, and what may go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..engines.gate import check_limits, measure, reference_rows
from ..engines.key import EngineKey, GpuTarget
from ..engines.manifest import GateFigures, Manifest
from ..engines.recipe import ModelRecipe
from ..engines.store import EngineStore, Entry, Removed
from ..engines.trt_api import TrtApi, installed_products, load_api
from ..errors import DeviceError, EngineError, FfswapError, OptionError
from ..gpu import Device
from ..models import load_catalog, names
from ..models.onnx_files import fingerprint
from .engine_check import compare, fixed, fp32_rows, gate_feeds, noise_for, open_engine
from .engine_graph import Fp32Nets, draw_samples, prepare_graph
from .engine_models import described
from .engine_place import platform_name, target_of
from .machine import find_cpu

__all__ = ["Here", "Shelved", "Verified", "list_engines", "prune_engines", "verify_engines"]


@dataclass(frozen=True, kw_only=True)
class Here:
    """What this machine has to run engines with.

    Attributes:
        versions: of each TensorRT that is installed, by product.
        gpu: the first one, or None.
        driver_major: first number of the driver's version, or None.
        platform: system and processor.
    """

    versions: Mapping[str, str]
    gpu: GpuTarget | None
    driver_major: int | None
    platform: str

    def is_stale(self, key: EngineKey) -> bool:
        """Whether an engine was built by a TensorRT that has been replaced by another version here.

        Engines for other GPUs than the one here are not: they may be somebody else's. Nor is
        anything whose TensorRT cannot be loaded, or whose GPU cannot be asked: that may pass.
        """
        version = self.versions.get(key.product)
        if version in (None, key.version) or key.platform != self.platform:
            return False
        return any(
            not target.name or (self.gpu is not None and target.covers(self.gpu))
            for target in key.gpus
        )

    def obstacle(self, key: EngineKey) -> str | None:
        """Why an engine cannot run here, or None."""
        version = self.versions.get(key.product)
        if version is None:
            return f"built by {key.runtime}, which is not installed"
        if version != key.version:
            return f"built by {key.runtime}, here is {version}"
        built = ", ".join(map(str, key.gpus))
        if self.gpu is None:
            return f"built for {built}, here is no GPU"
        if not any(target.covers(self.gpu) for target in key.gpus):
            return f"built for {built}, here is {self.gpu}"
        if key.driver_major not in (None, self.driver_major):
            return f"built with driver {key.driver_major}, here is {self.driver_major}"
        if key.platform != self.platform:
            return f"built on {key.platform}, here is {self.platform}"
        return None


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """An engine of the store.

    Attributes:
        entry: what the store knows.
        state: ``ok``, ``elsewhere`` (whole, but not for this machine) or ``broken``.
        reason: why it is not ok.
    """

    entry: Entry
    state: Literal["ok", "elsewhere", "broken"]
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        manifest = self.entry.manifest
        return {
            "model": self.entry.model,
            "precision": self.entry.precision,
            "state": self.state,
            "reason": self.reason,
            "file": str(self.entry.path),
            "bytes": self.entry.size_bytes,
            "manifest": None if manifest is None else manifest.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a verification found.

    Attributes:
        entry: the engine.
        problem: why it cannot be used, or None.
        checked: the file alone; or what it computes as well, alone or against FP32.
        gate: what was measured, if it was run.
    """

    entry: Entry
    problem: str | None
    checked: Literal["file", "run", "fp32"]
    gate: GateFigures | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return {
            "model": self.entry.model,
            "file": str(self.entry.path),
            "problem": self.problem,
            "checked": self.checked,
        }


def _here(stack: ExitStack) -> tuple[Here, dict[str, TrtApi], Device | None]:
    """What this machine has; a library or a GPU that does not work counts as missing."""
    apis: dict[str, TrtApi] = {}
    for product in installed_products():
        with suppress(EngineError):
            apis[product] = load_api(product)
    device = None
    with suppress(DeviceError):
        device = stack.enter_context(Device(0))
    here = Here(
        versions={product: api.version for product, api in apis.items()},
        gpu=None if device is None else target_of(device),
        driver_major=None if device is None else device.info.driver_major,
        platform=platform_name(),
    )
    return here, apis, device


def _shelved(entry: Entry, here: Here) -> Shelved:
    if entry.problem is not None or entry.manifest is None:
        return Shelved(entry=entry, state="broken", reason=entry.problem)
    obstacle = here.obstacle(entry.manifest.key)
    return Shelved(entry=entry, state="elsewhere" if obstacle else "ok", reason=obstacle)


def list_engines(folder: Path) -> tuple[Shelved, ...]:
    """All engines of a store, and whether this machine can use them.

    Raises:
        OutputWriteError: the folder cannot be read, or is a file.
    """
    with ExitStack() as stack:
        here, _, _ = _here(stack)
        return tuple(_shelved(entry, here) for entry in EngineStore(folder).entries())


def verify_engines(folder: Path, models: tuple[str, ...] = ()) -> tuple[Verified, ...]:
    """Read all plans and compare them with their digests; run those that this machine can run.

    An engine that runs must give finite values, the same twice, and in a batch what it gives alone;
    one of an embedded model is compared with the net in FP32 as well.

    Args:
        folder: the engine store.
        models: names of models; none: all.

    Raises:
        OptionError: there is no engine of such a model.
        OutputWriteError: the folder cannot be read, or is a file.
    """
    store = EngineStore(folder)
    entries = store.entries()
    unknown = set(models) - {entry.model for entry in entries}
    if unknown:
        there = ", ".join(sorted({entry.model for entry in entries})) or "none"
        raise OptionError(f"there is no engine of {', '.join(sorted(unknown))}; there are: {there}")
    found = []
    with ExitStack() as stack:
        here, apis, device = _here(stack)
        for entry in entries:
            if models and entry.model not in models:
                continue
            problem, manifest = store.verify(entry), entry.manifest
            if problem or manifest is None or device is None or here.obstacle(manifest.key):
                found.append(Verified(entry=entry, problem=problem, checked="file"))
            else:
                found.append(_run(entry, manifest, apis[manifest.key.product], device))
    return tuple(found)


def _run(entry: Entry, manifest: Manifest, api: TrtApi, device: Device) -> Verified:
    key, cores = manifest.key, find_cpu().usable_cores
    checked: Literal["run", "fp32"] = "run"
    assert entry.plan is not None
    try:
        with open_engine(entry.plan, key, api, device) as session:
            recipe = described(
                ModelRecipe(name=key.model, batches=key.batches, precision="fp32"), load_catalog()
            )
            graph = None
            if key.model in names(embedded=True):
                prepared = prepare_graph(recipe, api, explicit_batches=False)
                if fingerprint(prepared.original) == key.onnx_sha256:
                    graph, checked = prepared.graph, "fp32"
            if graph is not None:
                feeds = gate_feeds(draw_samples(recipe, graph, key.batches[-1]), key)
                with Fp32Nets(cores, key.model) as nets:
                    wanted = fp32_rows(graph, feeds, key, nets)
                gate = compare(session, graph, wanted, feeds, key, cores)
            else:
                noise, unbatched = noise_for(key, session), fixed(key)
                wanted = reference_rows(session.run, noise, unbatched=unbatched)
                gate = measure(
                    session.run, wanted, noise, key.batches, where="engine", unbatched=unbatched
                )
        gate = check_limits(gate, manifest.limits, key.model)
    except (FfswapError, OSError) as error:  # of one engine; the others are still looked at
        return Verified(entry=entry, problem=str(error), checked=checked)
    return Verified(entry=entry, problem=None, checked=checked, gate=gate)


def prune_engines(folder: Path, *, stale: bool, dry_run: bool) -> tuple[Removed, ...]:
    """Remove what is broken or was left by builds that did not finish.

    Args:
        folder: the engine store.
        stale: remove engines as well that another version of the TensorRT here has built.
        dry_run: only say what would go.

    Raises:
        OutputWriteError: the folder cannot be read or written.
    """
    with ExitStack() as stack:
        here, _, _ = _here(stack)

        def keep(manifest: Manifest) -> bool:
            return not (stale and here.is_stale(manifest.key))

        return EngineStore(folder).prune(keep=keep, dry_run=dry_run)
