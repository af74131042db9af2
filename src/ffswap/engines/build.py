"""Builds plans of TensorRT in a process of their own, which can be ended at any time.

TensorRT 8.6 has no way to stop a build, a crash of it would take the program along, and what it
leaks would stay. The child is in `_build_process`; this is the side of the caller.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from .. import errors
from ..errors import CancelledError, FfswapError, ModelError, OptionError, OutputExistsError
from ..files import check_input, write_error
from ..options.build import MAX_OPT_LEVEL, BuildOptions
from ._child import Child
from .trt_api import Product, TrtApi, installed_products, load_api

__all__ = [
    "BuildEvent",
    "BuildJob",
    "BuildResult",
    "PendingPlan",
    "PlanBuilder",
    "build_plan",
    "job_from_json",
    "known_targets",
    "parse_targets",
]

_POLL_S = 0.1  # a cancelled build ends as soon as a key press is felt to work
_HEARTBEAT_S = 1.0  # between events while TensorRT says nothing


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """What is built, from what, and how.

    Attributes:
        onnx: the net; only the first dimension of its inputs, the batch, may be free. Weights may
            be external data beside it.
        plan: where the plan is written; nothing may be there yet.
        name: of the net, for messages.
        product: of TensorRT; None: the one that is preferred of those installed.
        batches: batch sizes, ascending, each 1 or more.
        profiles: ``each``: tuned for each batch size and usable for these only; ``range``: usable
            for all from the least to the greatest, and tuned for the greatest.
        device: index of the GPU that it is built on and for; not used with `targets`.
        targets: GPUs to build for, which need not be here, such as ``("sm86", "sm120")``; empty:
            the GPU `device`. TensorRT for RTX only.
        half: FP16 is allowed where the graph does not fix the types, and FP32 is FP32, not TF32,
            if it is not. Where types are the graph's own, it only says whether TF32 is allowed.
        constrain: names of ONNX nodes that stay in FP32 although `half`; no effect where types are
            the graph's own.
        workspace_bytes: the most GPU memory that a tactic may use; None: all there is.
        opt_level: 0 (quick build) to 5 (every tactic is tried); None: the library's default, 3.
        timing_cache: file with measurements of earlier builds, shared by all that use the same
            TensorRT on the same kind of GPU; it is made if it is missing. No effect where the
            library keeps none.
        tactics: names of the sources of tactics that may be used, such as
            ``("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")`` where cuBLAS does not work; None: the
            library's default.

    Raises:
        OptionError: a value is not allowed.
    """

    onnx: Path
    plan: Path
    name: str
    product: Product | None = None
    batches: tuple[int, ...]
    profiles: Literal["each", "range"] = "each"
    device: int = 0
    targets: tuple[str, ...] = ()
    half: bool = True
    constrain: tuple[str, ...] = ()
    workspace_bytes: int | None = None
    opt_level: int | None = None
    timing_cache: Path | None = None
    tactics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        batches, level = self.batches, self.opt_level
        _require(
            BuildOptions.are_batches(batches),
            "batches", batches, "one or more sizes, ascending, each 1 or more, none twice",
        )  # fmt: skip
        _require(self.profiles in ("each", "range"), "profiles", self.profiles, "each or range")
        _require(
            self.product is None or self.product in get_args(Product),
            "product", self.product, " or ".join(get_args(Product)),
        )  # fmt: skip
        level_ok = level is None or 0 <= level <= MAX_OPT_LEVEL
        _require(level_ok, "opt_level", level, f"0 to {MAX_OPT_LEVEL}")
        space = self.workspace_bytes
        _require(space is None or space >= 1, "workspace_bytes", space, "1 or more")
        _require(
            len(set(self.targets)) == len(self.targets), "targets", self.targets, "each only once"
        )


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise OptionError(f"{name} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A plan that was built.

    Attributes:
        seconds: from when the job was handed over until the plan was written. What was left then of
            loading TensorRT is part of it.
        plan_bytes: size of the plan.
        product: of TensorRT that built it.
        version: of that product, in full.
        strong_typing: the types of tensors are the graph's own.
        timing_cache_hit: whether there were measurements that could be used; None: none are kept.
        warnings: what TensorRT warned of, and what of the job had no effect; each once.
    """

    seconds: float
    plan_bytes: int
    product: Product
    version: str
    strong_typing: bool
    timing_cache_hit: bool | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BuildEvent:
    """How far a build has come.

    Attributes:
        phase: what is being done, in our words or TensorRT's. A phase may come again, once for each
            profile for instance, and then counts from 0 again.
        done: steps of the phase that are over; None: unknown.
        total: steps of the phase; None: unknown.
        seconds: since the job was handed over.
    """

    phase: str
    done: int | None
    total: int | None
    seconds: float


def known_targets(api: TrtApi) -> tuple[str, ...]:
    """Compute capabilities that this TensorRT can build for without having them, as ``sm86``."""
    if not api.compute_capabilities:
        return ()
    return tuple(
        name.lower() for name in api.module.ComputeCapability.__members__ if name.startswith("SM")
    )


def parse_targets(text: str) -> tuple[str, ...]:
    """Read the GPUs to build for: ``sm89,sm120``, in capitals or not.

    Without TensorRT for RTX only the form is checked; the build then says what is missing.

    Raises:
        OptionError: it is not such a list, one is in it twice, or TensorRT for RTX does not know it.
        EngineError: TensorRT for RTX is installed but cannot be loaded.
    """
    found = tuple(part.strip().lower() for part in text.split(","))
    known: tuple[str, ...] = ()
    if "tensorrt_rtx" in installed_products():
        known = known_targets(load_api("tensorrt_rtx"))
    good = all(one in known if known else re.fullmatch(r"sm\d+", one) for one in found)
    if not good or len(set(found)) < len(found):
        allowed = ", ".join(known) or "compute capabilities such as sm86"
        raise OptionError(
            f"{text!r} names no list of GPUs to build for; allowed: {allowed}",
            hint="several are written as sm86,sm89, each once",
        )
    return found


def build_plan(
    job: BuildJob,
    *,
    progress: Callable[[BuildEvent], None] | None = None,
    cancel: threading.Event | None = None,
) -> BuildResult:
    """Build a plan in a process of its own and wait for it.

    Whatever goes wrong, nothing is left at `job.plan`, and the process has ended.

    Args:
        job: what to build.
        progress: see `PendingPlan.result`.
        cancel: see there.

    Raises:
        FfswapError: as `PlanBuilder.begin` and `PendingPlan.result` say.
    """
    with PlanBuilder() as builder, builder.begin(job) as pending:
        return pending.result(progress=progress, cancel=cancel)


class PlanBuilder:
    """A process that builds plans one after the other and loads TensorRT once for all of them.

    That takes 13 s of TensorRT 8.6 on an H100, so the process may be started before there is a job.
    One in which a build failed, or was given up, is ended; the next job gets another.

    As a context manager it ends the process at the end of the block. Not for several threads.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._setup: Mapping[str, Any] = {}

    def __enter__(self) -> PlanBuilder:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def start(self, product: Product | None, device: int | None) -> None:
        """Let the process load TensorRT; what goes wrong there is an error of the next job.

        Args:
            product: as in a job.
            device: the GPU; None: for jobs with targets.

        Raises:
            EngineError: no process can be started.
        """
        self._ready_child({"product": product, "device": device})

    def _ready_child(self, setup: Mapping[str, Any]) -> Child:
        if self._child is not None and self._child.alive and self._setup == setup:
            return self._child
        self.end()
        self._child, self._setup = Child(f"{__package__}._build_process", setup), setup
        return self._child

    @contextmanager
    def begin(self, job: BuildJob) -> Iterator[PendingPlan]:
        """Hand over a job, which is built while the block runs.

        A block that is left without having asked for the result gives the build up: nothing is left
        at `job.plan`, and the process has ended.

        Raises:
            InputMissingError: there is no such ONNX file.
            ModelError: it is empty, or may not be read.
            EngineError: no process can be started.
            OutputExistsError: there is something at `job.plan`.
            OutputWriteError: it cannot be written there.
        """
        check_input(job.onnx, "an ONNX file", ModelError)
        begun = time.monotonic()
        _reserve(job.plan)
        pending = None
        try:
            child = self._ready_child(_setup(job))
            child.send(_job_to_json(job))
            pending = PendingPlan(job, child, begun)
            yield pending
        finally:
            if pending is None or not pending.built:
                self.end()
                job.plan.unlink(missing_ok=True)

    def end(self) -> None:
        """End the process, whatever it does; the next job gets another."""
        child, self._child = self._child, None
        if child is not None:
            child.end()


class PendingPlan:
    """A plan that is being built; `PlanBuilder.begin` gives it.

    Attributes:
        built: the result is there, and the plan is at its place.
    """

    def __init__(self, job: BuildJob, child: Child, begun: float) -> None:
        self.built = False
        self._job, self._child, self._begun = job, child, begun

    def result(
        self,
        *,
        progress: Callable[[BuildEvent], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> BuildResult:
        """Wait for the plan; to be called once.

        Args:
            progress: called in this thread with what was not told yet, when there is something
                new, and about once a second.
            cancel: when it is set, the build is given up within moments.

        Raises:
            OptionError: targets or tactics that this TensorRT does not know.
            ModelError: the file is no net, or not only its batch is free.
            EngineError: TensorRT is not here, or it cannot read or build the net, or its process
                died.
            DeviceError: there is no such GPU.
            OutputWriteError: the plan cannot be written.
            CancelledError: `cancel` was set.
        """
        job = self._job
        answer = _follow(job, self._child, _Teller(progress, self._begun), cancel)
        result = BuildResult(
            **{**answer["result"], "warnings": tuple(answer["result"]["warnings"])},
            seconds=answer["heard"] - self._begun,
            plan_bytes=job.plan.stat().st_size,
        )
        self.built = True
        return result


def _reserve(plan: Path) -> None:
    """Make an empty file: what stands against writing there is said before minutes of building."""
    try:
        plan.open("xb").close()
    except FileExistsError as error:
        raise OutputExistsError("exists already", file=plan) from error
    except OSError as error:
        raise write_error(error, plan) from error


class _Teller:
    """Sends progress; the clock is this process's own."""

    def __init__(self, progress: Callable[[BuildEvent], None] | None, start: float) -> None:
        self._progress, self._start, self._last = progress, start, start
        self._at: tuple[str, int | None, int | None] = ("starting", None, None)

    def tell(self, phase: str, done: int | None, total: int | None) -> None:
        self._at, self._last = (phase, done, total), time.monotonic()
        if self._progress is not None:
            seconds = self._last - self._start
            self._progress(BuildEvent(phase=phase, done=done, total=total, seconds=seconds))

    def beat(self) -> None:
        """Say the last thing again if that was long ago."""
        if time.monotonic() - self._last >= _HEARTBEAT_S:
            self.tell(*self._at)


def _follow(
    job: BuildJob, child: Child, teller: _Teller, cancel: threading.Event | None
) -> dict[str, Any]:
    """Pass on what the child says until it has a result; that message."""
    while True:
        if cancel is not None and cancel.is_set():
            raise CancelledError(f"the build of {job.name} was stopped")
        message = child.hear(_POLL_S)
        if message is None:
            if child.ended:
                raise child.cause_of_death(job.name)
            teller.beat()
        elif "phase" in message:
            teller.tell(message["phase"], message["done"], message["total"])
        elif "error" in message:
            fault = message["error"]
            kind: type[FfswapError] = getattr(errors, fault["type"])
            raise kind(fault["message"], hint=fault["hint"], file=fault["file"])
        else:
            return message


def _setup(job: BuildJob) -> dict[str, Any]:
    """What a process has to load for a job; see `PlanBuilder.start`."""
    return {"product": job.product, "device": None if job.targets else job.device}


_PATHS = ("onnx", "plan", "timing_cache")


def _job_to_json(job: BuildJob) -> dict[str, Any]:
    data = dataclasses.asdict(job)
    paths = {name: None if data[name] is None else os.fspath(data[name]) for name in _PATHS}
    return {**data, **paths}


def job_from_json(data: Mapping[str, Any]) -> BuildJob:
    """The job that the parent process has sent."""
    lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
    paths = {name: Path(data[name]) for name in _PATHS if data[name] is not None}
    return BuildJob(**{**data, **lists, **paths})
