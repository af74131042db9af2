"""What a run on this machine will use, from what the machine has."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .._version import __version__
from . import machine
from .machine import CpuSurvey, EncoderSurvey, EngineSurvey, GpuSurvey, MemorySurvey, ModelSurvey

__all__ = [
    "EMBEDDED_SWAPPER",
    "PREFERRED_SWAPPERS",
    "MachineSurvey",
    "WouldUse",
    "choose",
    "survey",
]

# The embedded swapper is geometry and relighting, not a net: it is in no catalogue.
EMBEDDED_SWAPPER = "mesh"
# From the best: sharpness first, then likeness, as their makers and users report; not measured here.
PREFERRED_SWAPPERS = (
    "hyperswap_1a_256", "hyperswap_1c_256", "hyperswap_1b_256", "inswapper_128",
    "inswapper_128_fp16", "ghost_2_256", "ghost_3_256", "ghost_1_256", "simswap_unofficial_512",
    "simswap_256", "hififace_unofficial_256", "uniface_256", "blendswap_256",
)  # fmt: skip
# Kinds of model without which it finds no face, or paints over hands.
_NEEDED_KINDS = ("detector", "landmarker", "hand_detector", "hand_landmarker")


@dataclass(frozen=True, kw_only=True)
class WouldUse:
    """What a swap without options would use, and what stands in its way.

    Attributes:
        device: as in the report of a run.
        device_reason: why this one.
        model: name of the swap model.
        encoder: FFmpeg's name, or None if none works.
        problems: sentences; a swap can run when there are none.
    """

    device: str
    device_reason: str
    model: str
    encoder: str | None
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


def survey() -> MachineSurvey:
    """Ask this machine.

    Takes a few seconds, because encoders and libraries are tried and not just looked up.
    """
    encoders, encoders_reason = machine.find_encoders()
    gpus, gpus_reason = machine.find_gpus()
    models, models_reason = machine.find_models()
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
        models=models,
        models_reason=models_reason,
        would_use=choose(
            engines, encoders, models, gpus, reasons=(encoders_reason, models_reason, gpus_reason)
        ),
    )


def choose(
    engines: Sequence[EngineSurvey],
    encoders: Sequence[EncoderSurvey],
    models: Sequence[ModelSurvey],
    gpus: Sequence[GpuSurvey],
    *,
    reasons: tuple[str | None, str | None, str | None] = (None, None, None),
) -> WouldUse:
    """Say what a swap would use of all this.

    Args:
        engines: as found.
        encoders: as found, the preferred ones first.
        models: as found.
        gpus: as found.
        reasons: why encoders, models and GPUs are empty.
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
        model=EMBEDDED_SWAPPER,
        encoder=encoder,
        problems=tuple(problems),
    )
