"""Engines of this machine: built from models' names and ONNX files, listed, verified, removed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..engines.build import PlanBuilder
from ..engines.recipe import ModelRecipe, load_recipe
from ..engines.store import EngineStore
from ..engines.trt_api import (
    Product,
    TrtApi,
    installed_products,
    load_api,
    preferred_product,
)
from ..errors import DeviceError, OptionError
from ..gpu import Device
from ..models import load_catalog
from ..models.store import ModelStore
from ..options import BuildOptions
from .engine_build import EngineReport, ModelBuild, Phase
from .engine_models import compare, select_models
from .engine_place import Place, is_missing

__all__ = ["BuildReport", "EngineProgress", "build_engines", "recipes_folder"]


@dataclass(frozen=True, kw_only=True)
class EngineProgress:
    """How far a build of several engines has come.

    Attributes:
        model: that is worked on.
        index: of it, from 0.
        count: of all models.
        phase: what is being done.
        done: steps of the phase that are done, or None where nobody knows.
        total: steps of the phase.
        seconds: since the model was begun.
    """

    model: str
    index: int
    count: int
    phase: str
    done: int | None
    total: int | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    Attributes:
        runtime: name and version of the TensorRT that built.
        gpus: that the engines are for.
        ahead_of_time: they were built without running them.
        folder: where they are.
        engines: in the order in which they were asked for.
        seconds: that it took.
    """

    runtime: str
    gpus: tuple[str, ...]
    ahead_of_time: bool
    folder: str
    engines: tuple[EngineReport, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        engines = [one.as_dict() for one in self.engines]
        return {**asdict(replace(self, engines=())), "engines": engines}


def recipes_folder() -> Path:
    """Where the recipes of the package are: beside it in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "engines"


def build_engines(
    models: Sequence[str],
    options: BuildOptions,
    *,
    folder: Path,
    timing_cache: Path | None = None,
    recipe: Path | None = None,
    models_folder: Path | None = None,
    catalog: Path | None = None,
    progress: Callable[[EngineProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> BuildReport:
    """Build what is not there yet, and check it.

    Args:
        models: names of the catalogue or of the recipe, or ONNX files; none: all of the recipe.
        options: what was asked for; it goes before the recipe.
        folder: the engine store; it is made if it is missing.
        timing_cache: measurements of kernels, shared between builds; None: a file in `folder`.
        recipe: None: the one for the default chain.
        models_folder: of the user's model files, for models that do not come with ffswap; or None.
        catalog: the user's own catalogue, or None.
        progress: is called from this thread.
        cancel: ends the build when it is set.

    Raises:
        OptionError: an unknown model, or an option or a recipe that is not allowed.
        InputMissingError: no such ONNX file or recipe.
        ModelError: a model is not installed, or an ONNX file cannot be used as asked.
        DeviceError: there is no such GPU.
        EngineError: there is no TensorRT, or it cannot build this.
        QualityError: the engine's results are not good enough; it was not installed.
        OutputWriteError: the store cannot be written.
        CancelledError: `cancel` was set; what was finished before stays.
    """
    started = time.monotonic()
    _refuse_timing(options, timing_cache)
    known = load_catalog(catalog)
    shelf = None if models_folder is None else ModelStore(models_folder)
    wanted = load_recipe(recipe or recipes_folder() / "default.toml")
    chosen = [_with_options(one, options) for one in select_models(models, wanted, known, shelf)]
    store = EngineStore(folder)
    store.check_writable()
    reports = []
    with _ready(options, chosen, store) as (place, builder):
        for index, one in enumerate(chosen):
            tell = _teller(progress, one.name, index, len(chosen))
            check = partial(compare, recipe=one, catalog=known, store=shelf)
            build = ModelBuild(one, place, builder, store, timing_cache, tell, cancel, check)
            reports.append(
                build.run(force=options.force, explicit_batches=options.batches is not None)
            )
        return BuildReport(
            runtime=place.api.name,
            gpus=tuple(str(gpu) for gpu in place.gpus),
            ahead_of_time=bool(place.targets),
            folder=str(folder),
            engines=tuple(reports),
            seconds=time.monotonic() - started,
        )


def _refuse_timing(options: BuildOptions, timing_cache: Path | None) -> None:
    if options.targets and timing_cache is not None:
        raise OptionError(
            f"--timing-cache {timing_cache} and --for {','.join(options.targets)} exclude each "
            "other: nothing is measured for a GPU that is not here",
            hint="leave out one of them",
        )


def _teller(
    progress: Callable[[EngineProgress], None] | None, model: str, index: int, count: int
) -> Callable[[Phase], None]:
    """Tells of the phases of one model; its time begins now."""
    begun = time.monotonic()

    def tell(phase: Phase) -> None:
        if progress is not None:
            progress(
                EngineProgress(
                    model=model, index=index, count=count, phase=phase.name, done=phase.done,
                    total=phase.total, seconds=time.monotonic() - begun,
                )
            )  # fmt: skip

    return tell


def _with_options(recipe: ModelRecipe, options: BuildOptions) -> ModelRecipe:
    """The recipe with what was asked for on the command line in its place."""
    asked = {
        name: value
        for name in ("precision", "batches", "workspace_gb", "opt_level")
        if (value := getattr(options, name)) is not None
    }
    return replace(recipe, **asked)


@contextmanager
def _ready(
    options: BuildOptions, chosen: Sequence[ModelRecipe], store: EngineStore
) -> Iterator[tuple[Place, PlanBuilder]]:
    """What builds, whose process loads TensorRT as soon as it is sure that there will be a job.

    TensorRT takes longer to load (13 s of version 8.6) than all that is done here before there is a
    job, so the process is started first. What cannot be told without the file, whether an engine
    that was built from it is still the right one, is nearly always answered by yes, and then
    nothing is started at all.
    """
    whole = [one.manifest for one in store.entries() if one.manifest and one.problem is None]
    product: Product = "tensorrt_rtx" if options.targets else preferred_product()
    with PlanBuilder() as builder:
        sure = options.force or any(is_missing(one, None, whole) for one in chosen)
        if sure and product in installed_products():
            builder.start(product, None if options.targets else options.device)
        with _open_place(options) as place:
            if any(is_missing(one, place, whole) for one in chosen):
                builder.start(product, place.index)
            yield place, builder


@contextmanager
def _open_place(options: BuildOptions) -> Iterator[Place]:
    """Find TensorRT and the GPU that the engines are for."""
    if options.targets:
        api = load_api("tensorrt_rtx")
        yield Place(api=api, device=None, targets=options.targets)
        return
    api = load_api()
    with _open_device(api, options.device) as device:
        yield Place(api=api, device=device, targets=())


def _open_device(api: TrtApi, index: int) -> Device:
    try:
        return Device(index)
    except DeviceError as error:
        ahead = (
            "--for sm89 (or another GPU) builds ahead of time on a machine without one"
            if api.compute_capabilities
            else "pip install 'ffswap[rtx-cu13]' and --for sm89 (or another GPU) builds ahead of "
            "time on a machine without one"
        )
        raise DeviceError(
            f"an engine is built on the GPU that it is for: {error.message}",
            hint=f"{error.hint}; or: {ahead}" if error.hint else ahead,
        ) from error
