"""`ffswap build-engine`: build TensorRT engines and check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from ..options import BuildOptions, Precision
from .bars import MODES, clock
from .build_progress import BuildDisplay, make_build_display
from .errors import ExitCode
from .folders import (
    EngineDir,
    ModelsDir,
    completes_hints,
    engine_folder,
    models_folder,
    own_catalogue,
)
from .messages import note, printable, result, result_json
from .signals import StopSignals

if TYPE_CHECKING:
    from ..pipeline.engine_build import EngineReport
    from ..pipeline.engines import BuildReport

__all__ = ["command"]

_Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL|FILE.onnx",
        help="names of models, or ONNX files; none: what the recipe names, and without a recipe "
        "what the default chain needs",
    ),
]
_Half = Annotated[
    bool | None,
    typer.Option(
        "--fp16/--fp32",
        help="FP16 where it is safe (the default), or FP32 everywhere",
        show_default=False,
    ),
]
_Int8 = Annotated[
    bool,
    typer.Option("--int8", help="INT8 where a net bears it, FP16 elsewhere; needs --calibrate"),
]
_Calibrate = Annotated[
    list[Path] | None,
    typer.Option(
        "--calibrate",
        metavar="SET",
        help="folder of a calibration set: real inputs, which INT8 is made and judged with; may be "
        "repeated",
    ),
]
_Report = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE.html", help="what was measured of an INT8 engine, with pictures"
    ),
]
_Batch = Annotated[
    str | None,
    typer.Option("--batch", metavar="N,N,...", help="batch sizes, ascending, such as 1,4,8,16"),
]
_Workspace = Annotated[
    float | None,
    typer.Option("--workspace", metavar="GB", help="GiB of GPU memory for trying kernels"),
]
_OptLevel = Annotated[
    int | None,
    typer.Option("--opt-level", metavar="0-5", help="how long the best kernels are searched for"),
]
_TimingCache = Annotated[
    Path | None,
    typer.Option("--timing-cache", metavar="FILE", help="measurements shared between builds"),
]
_For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="SM,SM,...",
        help="GPUs to build for that need not be here, such as sm89,sm120 (TensorRT for RTX)",
    ),
]
_Recipe = Annotated[
    Path | None, typer.Option("--recipe", metavar="FILE.toml", help="a set of engines to build")
]
_Device = Annotated[
    str, typer.Option("--device", metavar="cuda:N", help="the GPU to build on and for")
]
_Force = Annotated[bool, typer.Option("--force", help="build also what is there already")]
_Progress = Annotated[
    str,
    typer.Option("--progress", metavar="|".join(MODES), help="how progress is shown on stderr"),
]
_Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON object")]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print nothing but errors (and what --json prints)")
]


@completes_hints
def command(
    models: _Models = None,
    half: _Half = None,
    int8: _Int8 = False,
    calibrate: _Calibrate = None,
    report: _Report = None,
    batch: _Batch = None,
    workspace: _Workspace = None,
    opt_level: _OptLevel = None,
    engine_dir: EngineDir = None,
    timing_cache: _TimingCache = None,
    build_for: _For = None,
    recipe: _Recipe = None,
    models_dir: ModelsDir = None,
    device: _Device = "cuda:0",
    force: _Force = False,
    progress: _Progress = "auto",
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Build TensorRT engines on the GPU that they are for, and compare them with FP32."""
    options = BuildOptions(
        precision=_precision(half, int8),
        batches=_batches(batch),
        workspace_gb=workspace,
        opt_level=opt_level,
        targets=_targets(build_for),
        device=_index(device),
        force=force,
    )
    display = make_build_display(progress, quiet=quiet)
    folder = engine_folder(engine_dir)
    with StopSignals(quiet=quiet) as signals:
        built = _run(
            models or [],
            options,
            {
                "folder": folder,
                "timing_cache": timing_cache,
                "recipe": recipe,
                "calibrate": tuple(calibrate or ()),
                "report": report,
            },
            models_folder(models_dir),
            display,
            signals,
        )
    if not quiet:
        _tell(built)
    if as_json:
        result_json(built.as_dict())
    elif not quiet:
        result(*(_line(one) for one in built.engines))
    return ExitCode.OK


def _precision(half: bool | None, int8: bool) -> Precision | None:
    if int8 and half is not None:
        raise OptionError(f"--int8 and --{'fp16' if half else 'fp32'} exclude each other")
    if int8:
        return "int8"
    return None if half is None else ("fp16" if half else "fp32")


def _batches(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise OptionError(f"--batch is {text!r}; allowed: whole numbers, such as 1,4,8,16")
    return tuple(int(part) for part in parts)


def _targets(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    from ..engines.build import parse_targets

    return parse_targets(text)


def _index(device: str) -> int:
    kind, _, index = device.partition(":")
    if kind != "cuda" or (index and not (index.isascii() and index.isdecimal())):
        raise OptionError(f"--device is {device!r}; allowed: cuda, cuda:N")
    return int(index or 0)


def _run(
    models: list[str],
    options: BuildOptions,
    files: dict[str, Any],
    shelf: Path,
    display: BuildDisplay,
    signals: StopSignals,
) -> BuildReport:
    what = "engines that were finished stay, nothing half-written does"
    with signals.told(what, hint="to go on, give the same command"):
        # Imported when it is run: it loads onnx, which --help does not need.
        from ..pipeline import engines

        with display:
            report: BuildReport = engines.build_engines(
                models,
                options,
                **files,
                models_folder=shelf,
                catalog=own_catalogue(shelf),
                progress=display,
                cancel=signals.cancel,
            )
    return report


def _tell(report: BuildReport) -> None:
    for one in report.engines:
        for text in (*one.notes, *one.manifest.warnings):
            note("warning", f"{one.manifest.key.model}: {text}")
    if report.ahead_of_time:
        gpus = ", ".join(report.gpus)
        note(
            "warning",
            f"built ahead of time for {gpus}: no engine was run; its graph was compared with FP32, "
            "and `ffswap engines verify` runs the engine itself on such a GPU",
        )


def _line(one: EngineReport) -> str:
    key, gate = one.manifest.key, one.manifest.gate
    done = f"in {clock(one.seconds)}" if one.status == "built" else "there already"
    error = max((output.relative_l2 for output in gate.outputs), default=0.0) if gate else 0.0
    int8 = one.manifest.int8
    quantised = "" if int8 is None else f"{len(int8.layers)} layers in INT8, "
    return printable(
        f"{key.model} {key.precision} batch {','.join(map(str, key.batches))}: {done}, {quantised}"
        f"{one.manifest.plan_bytes / 1e6:.1f} MB, error {error:.2g}, {one.plan}"
    )
