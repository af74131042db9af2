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

__all__ = ["MachineSurvey", "SwapperChoice", "WouldUse", "choose", "survey"]

# Kinds of model without which it finds no face, or paints over hands.
_NEEDED_KINDS = ("detector", "landmarker", "hand_detector", "hand_landmarker")


@dataclass(frozen=True, kw_only=True)
class SwapperChoice:
    """The swapper that is used without an option.

    Attributes:
        name: of it, or ``none``.
        reason: why this one, or why none.
        problem: why no swap without an option can run, or None.
        hint: what to do about it, or None.
    """

    name: str = EMBEDDED_SWAPPER
    reason: str = "no other is installed"
    problem: str | None = None
    hint: str | None = None


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
        hints: what to do about them, as far as that is known.
    """

    device: str
    device_reason: str
    model: str
    encoder: str | None
    model_reason: str = ""
    problems: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

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

    Takes a few seconds, because encoders and libraries are tried and not just looked up, and the
    files of the best swapper are read.

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


def _swapper(models: Path | None, catalog: Path | None) -> SwapperChoice:
    """The swapper, all of whose files were read."""
    try:
        from ..models import load_catalog
        from ..models.store import ModelStore
        from .swappers import best_swapper, verify_swapper

        known = load_catalog(catalog)
        store = None
        if models is not None:
            store = ModelStore(models, among=known.models.values())
        name, reason = best_swapper(known, store)
        verify_swapper(name, known, store)
    except (ImportError, FfswapError) as error:
        problem = f"no swapper can be chosen: {error}"
        hint = getattr(error, "hint", None)
        return SwapperChoice(name="none", reason=str(error), problem=problem, hint=hint)
    return SwapperChoice(name=name, reason=reason)


def choose(
    engines: Sequence[EngineSurvey],
    encoders: Sequence[EncoderSurvey],
    models: Sequence[ModelSurvey],
    gpus: Sequence[GpuSurvey],
    *,
    reasons: tuple[str | None, str | None, str | None] = (None, None, None),
    swapper: SwapperChoice | None = None,
) -> WouldUse:
    """Say what a swap would use of all this.

    Args:
        engines: as found.
        encoders: as found, the preferred ones first.
        models: as found.
        gpus: as found.
        reasons: why encoders, models and GPUs are empty.
        swapper: that is used without an option; None: the embedded one.
    """
    swapper = swapper or SwapperChoice()
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
    if swapper.problem is not None:
        problems.append(swapper.problem)
    device, why = _device(engines, gpus, swapper.name, reasons[2])
    return WouldUse(
        device=device,
        device_reason=why,
        model=swapper.name,
        model_reason=swapper.reason,
        encoder=encoder,
        problems=tuple(problems),
        hints=() if swapper.hint is None else (swapper.hint,),
    )


def _device(
    engines: Sequence[EngineSurvey], gpus: Sequence[GpuSurvey], swapper: str, no_gpu: str | None
) -> tuple[str, str]:
    """What a swap of a video computes on, and why; see `devices.open_workplace`."""
    if not gpus:
        return "cpu", no_gpu or "no NVIDIA GPU"
    if swapper == EMBEDDED_SWAPPER:
        return "cpu", "the embedded swapper computes on the CPU"
    gpu = f"cuda:{gpus[0].index}"
    for one in engines:
        if one.ok and one.name != "onnxruntime":
            return (
                gpu,
                f"{one.name} {one.version}, if the engines are there (`ffswap engines list`)",
            )
    for one in engines:
        if one.ok and "CUDAExecutionProvider" in one.providers:
            return gpu, f"{one.name} {one.version} on CUDA"
    return "cpu", "nothing here runs nets on a GPU: neither TensorRT nor ONNX Runtime on CUDA"
