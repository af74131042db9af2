"""Asks for engines of small nets, for GPUs that need not be here, and looks at what lies in a store."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ffswap.engines.build import BuildJob, PlanBuilder
from ffswap.options import BuildOptions
from ffswap.pipeline.engine_build import EngineReport
from ffswap.pipeline.engines import build_engines
from tests.engines.build_nets import conv_net

__all__ = ["Builds", "build", "count_builds", "files", "needs_rtx", "write_conv_recipe"]

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")


def build(
    store: Path,
    *models: Path | str,
    recipe: Path | None = None,
    targets: tuple[str, ...] = ("sm86",),
    progress: Callable[..., None] | None = None,
    cancel: Any = None,
    **options: Any,
) -> EngineReport:
    """Build one engine for an SM86 unless told otherwise."""
    report = build_engines(
        [str(one) for one in models],
        BuildOptions(targets=targets, **options),
        folder=store,
        recipe=recipe,
        progress=progress,
        cancel=cancel,
    )
    (engine,) = report.engines
    return engine


def write_conv_recipe(folder: Path, *lines: str) -> Path:
    """A recipe for a net of three convolutions, which is written beside it if it is not there."""
    net = folder / "conv.onnx"
    if not net.exists():
        conv_net(net)
    recipe = folder / "conv.toml"
    recipe.write_text("\n".join(["[models.conv]", 'file = "conv.onnx"', "opt_level = 0", *lines]))
    return recipe


def files(store: Path) -> list[str]:
    """All in a store but its locks, which stay; a plan, a manifest, something half-written."""
    if not store.exists():
        return []
    return sorted(one.name for one in store.iterdir() if one.suffix != ".lock")


class Builds:
    """How many plans were built, by really building them."""

    count = 0


def count_builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    """Count from now on."""
    builds, real = Builds(), PlanBuilder.begin

    def begin(builder: PlanBuilder, job: BuildJob) -> Any:
        builds.count += 1
        return real(builder, job)

    monkeypatch.setattr(PlanBuilder, "begin", begin)
    return builds
