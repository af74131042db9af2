"""One engine: graph, precision, plan, comparison with FP32, and its place in the store."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from .._version import __version__
from ..engines.build import BuildEvent, BuildJob, BuildResult, PendingPlan, PlanBuilder
from ..engines.gate import Arrays, check_limits
from ..engines.key import EngineKey
from ..engines.manifest import GateFigures, Island, Manifest
from ..engines.recipe import ModelRecipe
from ..engines.store import EngineStore, Found, Miss
from ..errors import CancelledError, QualityError
from ..files import file_digests
from ..models import get, names
from ..models.graph import inputs_of
from ..models.onnx_files import Graph, fingerprint
from .engine_attempts import Attempt, attempts
from .engine_check import compare, fp32_rows, gate_feeds, open_engine
from .engine_graph import (
    PROOF_ROWS,
    Fp32Nets,
    Prepared,
    UnprovenError,
    draw_samples,
    prepare_graph,
    prove_batch,
    samples_digest,
    save_net,
)
from .engine_models import Compared, in_own_names
from .engine_place import Place, asked
from .machine import find_cpu

__all__ = ["EngineReport", "ModelBuild", "Phase"]


@dataclass(frozen=True)
class Phase:
    """What a build is doing; steps are None where nobody knows how many there are."""

    name: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """What became of one model.

    Attributes:
        status: ``built`` now, or ``there`` already.
        plan: the file.
        manifest: what is known about it.
        notes: what the user should know: why it was built, what could not be had.
        seconds: that all of it took, from reading the model on.
    """

    status: Literal["built", "there"]
    plan: str
    manifest: Manifest
    notes: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return {
            "model": self.manifest.key.model,
            "status": self.status,
            "plan": self.plan,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "manifest": self.manifest.as_dict(),
        }


class ModelBuild:
    """Builds the engine of one model.

    Args:
        recipe: what is asked for.
        place: what builds, and for which GPUs.
        builder: builds plans; it is started when the engine has to be built.
        store: where the engine goes.
        timing_cache: measurements of kernels; None: a file in the store.
        tell: is called when a phase begins, and with the steps of a phase.
        cancel: ends the build when it is set.
        compare: looks at the graph as it was read; see `prepare_graph`.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        place: Place,
        builder: PlanBuilder,
        store: EngineStore,
        timing_cache: Path | None,
        tell: Callable[[Phase], None],
        cancel: threading.Event | None,
        compare: Callable[[Graph], Compared],
    ) -> None:
        self._begun = time.monotonic()
        self._recipe, self._place, self._builder, self._store = recipe, place, builder, store
        self._timing_cache, self._tell_phase, self._cancel = timing_cache, tell, cancel
        self._compare_model = compare
        self._notes: list[str] = []

    def run(self, *, force: bool, explicit_batches: bool) -> EngineReport:
        """Build it, or find it built.

        Args:
            force: build it even if it is there.
            explicit_batches: the user named the batch sizes: a net that cannot have them is an
                error, and not built for batches of 1 instead.
        """
        self._tell("reading the model")
        prepared = prepare_graph(
            self._recipe, self._place.api, explicit_batches=explicit_batches,
            compare=self._compare_model,
        )  # fmt: skip
        report = self._find_or_build(prepared, force=force, single=not explicit_batches)
        return replace(report, notes=(*self._notes, *report.notes))

    def _find_or_build(self, prepared: Prepared, *, force: bool, single: bool) -> EngineReport:
        """Look for the engine under its lock, and build it if it is not there."""
        recipe = in_own_names(self._recipe, prepared.names)
        self._recipe = replace(recipe, batches=prepared.batches)
        key = self._key(prepared)
        waiting = partial(self._tell, "waiting for another process that builds the same engine")
        with self._store.lock(key, cancel=self._cancel, waiting=waiting):
            found = self._store.find(key)
            if isinstance(found, Found) and not force and self._is_proved(found.manifest):
                return self._report("there", found.plan, found.manifest, prepared.notes)
            if isinstance(found, Miss) and not found.absent:
                self._notes.append(found.reason)
            self._builder.start(self._place.api.product, self._place.index)
            try:
                manifest, plan = self._build(prepared, key)
            except UnprovenError as error:
                if not single:
                    raise
                reason = error.message
            else:
                return self._report("built", plan, manifest, prepared.notes)
        return self._find_or_build(prepared.single(reason), force=force, single=False)

    def _is_proved(self, manifest: Manifest) -> bool:
        """Whether an engine that is there was compared as it would be if it were built now.

        Raises:
            QualityError: it was, but the limits of now are narrower.
        """
        if manifest.gate is None or (
            manifest.gate.where == "reference" and self._place.device is not None
        ):
            self._notes.append("what is there was built ahead of time, and never run: built again")
            return False
        check_limits(manifest.gate, self._recipe.gate, self._recipe.name)
        return True

    def _report(
        self,
        status: Literal["built", "there"],
        plan: Path,
        manifest: Manifest,
        notes: tuple[str, ...],
    ) -> EngineReport:
        seconds = round(time.monotonic() - self._begun, 1)
        return EngineReport(
            status=status, plan=str(plan), manifest=manifest, notes=notes, seconds=seconds
        )

    def _tell(self, name: str) -> None:
        self._check()
        self._tell_phase(Phase(name))

    def _check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("stopped")

    @cached_property
    def _cores(self) -> int:
        return find_cpu().usable_cores

    def _key(self, prepared: Prepared) -> EngineKey:
        recipe = self._recipe
        return EngineKey(
            **asked(recipe, self._place),
            onnx_sha256=fingerprint(prepared.original),
            inputs=tuple(
                (info.name, str(info.dtype), info.shape) for info in inputs_of(prepared.graph)
            ),
            batches=recipe.batches,
            samples=samples_digest(recipe),
        )

    def _build(self, prepared: Prepared, key: EngineKey) -> tuple[Manifest, Path]:
        samples = draw_samples(self._recipe, prepared.graph, key.batches[-1], prepared.names)
        plan = self._store.temporary(key)
        self._tell("converting to FP16" if self._recipe.precision == "fp16" else "writing the net")
        ways = attempts(
            self._recipe, prepared, samples,
            strong_typing=self._place.api.strong_typing, cores=self._cores,
        )  # fmt: skip
        failed: QualityError | None = None
        wanted: Arrays | None = None
        try:
            for attempt in ways:
                if failed is not None:
                    self._notes.append(f"built again with nodes held in FP32: {failed.message}")
                    plan.unlink()
                with self._handed_over(attempt, plan, key) as pending:
                    if wanted is None:  # the builder is busy with the GPU, and the CPU idle
                        wanted = self._reference(prepared, samples, key)
                    result = pending.result(progress=self._tell_event, cancel=self._cancel)
                try:
                    figures = self._compare(plan, attempt, wanted, samples, key)
                except QualityError as error:
                    failed = error
                    continue
                self._check()
                manifest = self._manifest(key, plan, attempt, result, figures)
                return manifest, self._store.install(key, plan, manifest)
        finally:
            plan.unlink(missing_ok=True)
        assert failed is not None  # there is at least one attempt
        raise failed

    @contextmanager
    def _handed_over(self, attempt: Attempt, plan: Path, key: EngineKey) -> Iterator[PendingPlan]:
        with tempfile.TemporaryDirectory(prefix="ffswap-") as folder:
            job = self._job(save_net(attempt.graph, Path(folder)), plan, key, attempt.constrain)
            with self._builder.begin(job) as pending:
                yield pending

    def _reference(self, prepared: Prepared, samples: Arrays, key: EngineKey) -> Arrays:
        """What the engine is compared with, after the proof that a batch of the net is its rows.

        Raises:
            UnprovenError: it is not.
        """
        rows = draw_samples(self._recipe, prepared.graph, PROOF_ROWS, prepared.names)
        with Fp32Nets(self._cores, self._recipe.name, check=self._check) as nets:
            self._tell("comparing a batch with its rows")
            prove_batch(prepared, rows, nets)
            return fp32_rows(prepared.graph, gate_feeds(samples, key), key, nets)

    def _compare(
        self, plan: Path, attempt: Attempt, wanted: Arrays, samples: Arrays, key: EngineKey
    ) -> GateFigures:
        """Compare a plan, or what it was built from, with FP32."""
        place = self._place
        self._tell("comparing with FP32")
        with ExitStack() as stack:
            session = None
            if place.device is not None:
                session = stack.enter_context(open_engine(plan, key, place.api, place.device))
            figures = compare(
                session, attempt.graph, wanted, gate_feeds(samples, key), key, self._cores,
                check=self._check,
            )  # fmt: skip
        return check_limits(figures, self._recipe.gate, self._recipe.name)

    def _tell_event(self, event: BuildEvent) -> None:
        self._tell_phase(Phase(event.phase, event.done, event.total))

    def _job(
        self, artefact: Path, plan: Path, key: EngineKey, constrain: tuple[str, ...]
    ) -> BuildJob:
        recipe, place = self._recipe, self._place
        return BuildJob(
            onnx=artefact,
            plan=plan,
            name=recipe.name,
            product=place.api.product,
            batches=recipe.batches,
            profiles=recipe.profiles,
            device=place.index or 0,
            targets=place.targets,
            half=recipe.precision == "fp16",
            constrain=constrain,
            workspace_bytes=key.workspace_bytes,
            opt_level=key.opt_level,
            timing_cache=self._timing_cache or self._store.timing_cache(key),
            tactics=recipe.tactics or None,
        )

    def _manifest(
        self,
        key: EngineKey,
        plan: Path,
        attempt: Attempt,
        result: BuildResult,
        gate: GateFigures,
    ) -> Manifest:
        recipe = self._recipe
        return Manifest(
            key=key,
            plan_sha256=file_digests(plan).sha256,
            plan_bytes=result.plan_bytes,
            built=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            build_seconds=round(result.seconds, 1),
            ffswap=__version__,
            source=recipe.file.name if recipe.file is not None else get(recipe.name).file,
            licence=get(recipe.name).licence if recipe.name in names() else None,
            islands=tuple(Island(**asdict(island)) for island in attempt.islands),
            constrained=attempt.constrain,
            gate=gate,
            limits=recipe.gate,
            warnings=result.warnings,
        )
