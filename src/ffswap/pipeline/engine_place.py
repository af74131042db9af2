"""Where engines are built and for which GPUs, and what of an engine is known before its file is read."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..engines.key import EngineKey, GpuTarget
from ..engines.manifest import Manifest
from ..engines.precision import CONVERTER
from ..engines.recipe import ModelRecipe
from ..engines.trt_api import TrtApi
from ..gpu import Device

__all__ = ["Place", "asked", "is_missing", "platform_name", "target_of"]

# Level 1 of 0 to 5 gave an H100 the speed of the default (3) in a third of the time; see
# docs/benchmarks.md.
DEFAULT_OPT_LEVEL = 1
_GIB = 1 << 30
# A net that mixes its rows, or cannot be freed of its batch, is built for this one.
_SINGLE = (1,)


def platform_name() -> str:
    """System and processor, such as ``linux-x86_64``: a plan is for one of them."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"


def target_of(device: Device) -> GpuTarget:
    """A GPU as engines know it."""
    major, minor = device.info.compute_capability
    return GpuTarget(name=device.info.name, capability=f"{major}.{minor}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What builds, and for which GPUs.

    Attributes:
        api: TensorRT.
        device: the GPU here, or None.
        targets: GPUs to build for ahead of time, or none.
    """

    api: TrtApi
    device: Device | None
    targets: tuple[str, ...]

    @property
    def gpus(self) -> tuple[GpuTarget, ...]:
        """The GPUs that the engines are for."""
        if self.device is None:
            targets = (GpuTarget(name="", capability=target) for target in self.targets)
            return tuple(
                sorted(targets, key=lambda target: [int(n) for n in target.capability.split(".")])
            )
        return (target_of(self.device),)

    @property
    def index(self) -> int | None:
        """Of the GPU here, or None."""
        return None if self.device is None else self.device.info.index


def asked(recipe: ModelRecipe, place: Place) -> dict[str, Any]:
    """The fields of an engine's key that do not depend on what is in the model's file."""
    level, gigabytes = recipe.opt_level, recipe.workspace_gb
    if level is None and place.api.product != "tensorrt_rtx":
        level = DEFAULT_OPT_LEVEL
    return {
        **_of_recipe(recipe),
        "product": place.api.product,
        "version": place.api.version,
        "gpus": place.gpus,
        "driver_major": None if place.device is None else place.device.info.driver_major,
        "platform": platform_name(),
        "opt_level": level,
        "workspace_bytes": None if gigabytes is None else int(gigabytes * _GIB),
    }


def _of_recipe(recipe: ModelRecipe) -> dict[str, Any]:
    tactics = (f"tactics:{name}" for name in recipe.tactics)
    return {
        "model": recipe.name,
        "profiles": recipe.profiles,
        "precision": recipe.precision,
        "half_io": recipe.half_io,
        "islands": tuple(sorted(recipe.keep_fp32)),
        "flags": tuple(sorted([f"converter:{CONVERTER}", *tactics])),
    }


def is_missing(recipe: ModelRecipe, place: Place | None, engines: Iterable[Manifest]) -> bool:
    """Whether an engine has to be built for sure, without a look at the model's file.

    Args:
        recipe: of the model.
        place: None: not known yet.
        engines: those of the store that are whole, as far as is known.

    Returns:
        False: one of them may be it; only the file can tell.
    """
    known = _of_recipe(recipe) if place is None else asked(recipe, place)
    return not any(_may_be(one.key, known, recipe.batches) for one in engines)


def _may_be(key: EngineKey, known: Mapping[str, Any], batches: tuple[int, ...]) -> bool:
    return key.batches in (batches, _SINGLE) and not key.difference(replace(key, **known))
