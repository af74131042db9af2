"""Engines for a run: found in the store by the model's file, and loaded once for all streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engines.manifest import Manifest
from ..engines.recipe import ModelRecipe
from ..engines.store import EngineStore
from ..engines.tensorrt import TrtEngine
from ..engines.trt_api import TrtApi
from ..errors import EngineError
from ..gpu import Device
from ..models import Catalog
from ..models.onnx_files import fingerprint
from ..options import Precision
from .engine_build import platform_name, target_of
from .engine_check import fixed
from .engine_graph import prepare_graph
from .engine_models import described
from .engine_shelf import Here

__all__ = ["Engines"]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """An engine of the store that could serve.

    Attributes:
        plan: the file.
        manifest: what is known about it.
    """

    plan: Path
    manifest: Manifest


class Engines:
    """The engines of a store that this GPU can run.

    Args:
        store: where they are.
        api: TensorRT, whose version they must be of.
        device: that they must be for; its context is current.
        catalog: the known models.
    """

    def __init__(self, store: EngineStore, api: TrtApi, device: Device, catalog: Catalog) -> None:
        self._store, self._api, self._device, self._catalog = store, api, device, catalog
        self._here = Here(
            versions={api.product: api.version},
            gpu=target_of(device),
            driver_major=device.info.driver_major,
            platform=platform_name(),
        )

    def open(self, model: str, file: Path | None, precision: Precision | None) -> TrtEngine:
        """Load the engine of a model.

        Args:
            model: its name.
            file: its ONNX file; None: it comes with ffswap.
            precision: that the engine must have; None: FP16 before FP32.

        Raises:
            EngineError: there is none that can be used; the message says why, and what builds it.
            ModelError: the file cannot be read.
        """
        candidates, reasons = self._candidates(model, precision)
        if candidates:
            recipe = described(
                ModelRecipe(name=model, file=file, batches=candidates[0].manifest.key.batches),
                self._catalog,
            )
            prepared = prepare_graph(recipe, self._api, explicit_batches=False)
            digest = fingerprint(prepared.original)
            fitting = [one for one in candidates if one.manifest.key.onnx_sha256 == digest]
            if fitting:
                return self._load(model, fitting[0])
            reasons.append("the ONNX file has changed")
        asked = "" if precision is None else f" --{precision}"
        raise EngineError(
            f"there is no engine of {model} that can be used: "
            f"{'; '.join(dict.fromkeys(reasons)) or 'none was built'}",
            hint=f"ffswap build-engine{asked} {model}",
        )

    def _candidates(
        self, model: str, precision: Precision | None
    ) -> tuple[Sequence[_Candidate], list[str]]:
        """Engines of a model for this machine, FP16 first, the newest first; and why not the others."""
        found: list[_Candidate] = []
        reasons = []
        for entry in self._store.entries():
            if entry.model != model or (precision is not None and entry.precision != precision):
                continue
            if entry.problem is not None or entry.manifest is None or entry.plan is None:
                reasons.append(entry.problem or "damaged")
            elif (obstacle := self._here.obstacle(entry.manifest.key)) is not None:
                reasons.append(obstacle)
            elif (problem := self._store.verify(entry)) is not None:
                reasons.append(problem)
            else:
                found.append(_Candidate(plan=entry.plan, manifest=entry.manifest))
        found.sort(key=lambda one: one.manifest.key.precision)
        return found, reasons

    def _load(self, model: str, one: _Candidate) -> TrtEngine:
        key = one.manifest.key
        try:
            plan = one.plan.read_bytes()
        except OSError as error:
            raise EngineError(f"the engine of {model} cannot be read: {error}") from error
        return TrtEngine(
            plan, api=self._api, device=self._device, batches=key.batches, name=model,
            unbatched=fixed(key),
        )  # fmt: skip
