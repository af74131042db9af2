"""What a run on this machine will use, from what the machine has."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import FfswapError
from . import machine
from .machine import CpuSurvey, EncoderSurvey, EngineSurvey, GpuSurvey, MemorySurvey, ModelSurvey
from .preferences import EMBEDDED_SWAPPER

__all__ = ["MachineSurvey", "WouldUse", "choose", "survey"]

# Kinds of model without which it finds no face, or paints over hands.
_NEEDED_KINDS = ("detector", "landmarker", "hand_detector", "hand_landmarker")


@dataclass(frozen=True, kw_only=True)
class WouldUse:
    """What a swap without options would use, and what stands in its way.

    Attributes:
        device: as in the report of a run.
        device_reason: why this one.
        model: name of the swap model.
        model_reason: why this one.
        encoder: FFmpeg's name, or None if none works.
        problems: sentences; a swap can run when there are none.
    """

    device: str
    device_reason: str
    model: str
    encoder: str | None
    model_reason: str = ""
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a swap can run on this machine."""
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class MachineSurvey:
    """Everything that the choice of device, model and encoder rests on.

    Attributes:
        libraries: version of each library, or None where it is not installed.
        encoders_reason: why `encoders` is empty.
        gpus_reason: why `gpus` is empty.
        models_reason: why `models` is empty.
    """

    ffswap: str
    python: str
    platform: str
    cpu: CpuSurvey
    memory: MemorySurvey
    would_use: WouldUse
    libraries: Mapping[str, str | None] = field(default_factory=dict)
    engines: tuple[EngineSurvey, ...] = ()
    encoders: tuple[EncoderSurvey, ...] = ()
    encoders_reason: str | None = None
    gpus: tuple[GpuSurvey, ...] = ()
    gpus_reason: str | None = None
    models: tuple[ModelSurvey, ...] = ()
    models_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, `ok` included, ready for JSON."""
        return {"ok": self.would_use.ok, **asdict(self)}


def survey(models: Path | None = None, catalog: Path | None = None) -> MachineSurvey:
    """Ask this machine.

    Takes a few seconds, because encoders and libraries are tried and not just looked up.

    Args:
        models: folder of the user's model files, or None.
        catalog: the user's own catalogue, or None.
    """
    encoders, encoders_reason = machine.find_encoders()
    gpus, gpus_reason = machine.find_gpus()
    found, models_reason = machine.find_models()
    engines = machine.find_engines()
    return MachineSurvey(
        ffswap=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        cpu=machine.find_cpu(),
        memory=machine.find_memory(),
        libraries=machine.find_libraries(),
        engines=engines,
        encoders=encoders,
        encoders_reason=encoders_reason,
        gpus=gpus,
        gpus_reason=gpus_reason,
        models=found,
        models_reason=models_reason,
        would_use=choose(
            engines,
            encoders,
            found,
            gpus,
            reasons=(encoders_reason, models_reason, gpus_reason),
            swapper=_swapper(models, catalog),
        ),
    )


def _swapper(models: Path | None, catalog: Path | None) -> tuple[str, str]:
    try:
        from ..models import load_catalog
        from ..models.store import ModelStore
        from .swappers import best_swapper

        return best_swapper(load_catalog(catalog), None if models is None else ModelStore(models))
    except (ImportError, FfswapError) as error:
        return EMBEDDED_SWAPPER, f"models cannot be looked up: {error}"


def choose(
    engines: Sequence[EngineSurvey],
    encoders: Sequence[EncoderSurvey],
    models: Sequence[ModelSurvey],
    gpus: Sequence[GpuSurvey],
    *,
    reasons: tuple[str | None, str | None, str | None] = (None, None, None),
    swapper: tuple[str, str] = (EMBEDDED_SWAPPER, "no other is installed"),
) -> WouldUse:
    """Say what a swap would use of all this.

    Args:
        engines: as found.
        encoders: as found, the preferred ones first.
        models: as found.
        gpus: as found.
        reasons: why encoders, models and GPUs are empty.
        swapper: that is used without an option, and why.
    """
    problems: list[str] = []
    runtime = next((one for one in engines if one.name == "onnxruntime"), None)
    if runtime is None or not runtime.ok:
        why = "not found" if runtime is None else runtime.reason
        problems.append(f"onnxruntime does not work: {why}")
    encoder = next((one.name for one in encoders if one.ok), None)
    if encoder is None:
        why = (
            reasons[0] or "; ".join(f"{one.name}: {one.reason}" for one in encoders) or "none known"
        )
        problems.append(f"no video encoder works: {why}")
    missing = [kind for kind in _NEEDED_KINDS if kind not in {one.kind for one in models}]
    if missing:
        why = f": {reasons[1]}" if reasons[1] else ""
        problems.append(f"no model of the kind {' and '.join(missing)}{why}")
    why_cpu = "this version computes on the CPU" if gpus else reasons[2] or "no NVIDIA GPU"
    return WouldUse(
        device="cpu",
        device_reason=why_cpu,
        model=swapper[0],
        model_reason=swapper[1],
        encoder=encoder,
        problems=tuple(problems),
    )
