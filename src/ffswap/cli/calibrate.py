"""`ffswap calibrate`: collect real inputs of a swap's nets, which INT8 engines are made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import CalibrateOptions, LimitOptions
from .errors import ExitCode
from .folders import ModelsDir, completes_hints, models_folder, own_catalogue
from .limits import MaxHours, MaxMegapixels
from .messages import note, printable, result, result_json, table
from .signals import StopSignals

if TYPE_CHECKING:
    from ..pipeline.calibrate import CalibrationReport

__all__ = ["command"]

_From = Annotated[
    list[Path],
    typer.Option(
        "--from",
        metavar="VIDEO|PICTURE|FOLDER",
        help="where faces are taken from; may be repeated",
    ),
]
_Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="SET", help="folder of the set; is made")
]
_Source = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        metavar="PHOTO",
        help="a face to put in; may be repeated; left out: the faces of the clips, each on another "
        "person",
    ),
]
_Model = Annotated[
    str, typer.Option("--model", metavar="NAME|FILE.onnx", help="the swapper; auto: as in a swap")
]
_Detector = Annotated[
    str, typer.Option("--detector", metavar="NAME|FILE.onnx", help="what finds faces")
]
_Landmarker = Annotated[
    str, typer.Option("--landmarker", metavar="NAME|FILE.onnx", help="what finds points in a face")
]
_Count = Annotated[
    int, typer.Option("--count", metavar="N", help="rows kept for each net at the most, 32 to 2048")
]
_Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="cores that may be used")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace a set that is there")]
_Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON object")]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print nothing but errors (and what --json prints)")
]


@completes_hints
def command(
    clips: _From,
    output: _Output,
    source: _Source = None,
    model: _Model = "auto",
    detector: _Detector = "auto",
    landmarker: _Landmarker = "auto",
    count: _Count = 256,
    threads: _Threads = None,
    overwrite: _Overwrite = False,
    models_dir: ModelsDir = None,
    max_megapixels: MaxMegapixels = 100.0,
    max_hours: MaxHours = 24.0,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Collect a calibration set: few faces, as different as can be, as the nets see them.

    It is a folder of crops of faces: look at faces.png in it, and delete it when it is no longer
    needed.
    """
    options = CalibrateOptions(
        model=model,
        detector=detector,
        landmarker=landmarker,
        count=count,
        threads=threads,
        overwrite=overwrite,
        limits=LimitOptions(megapixels=max_megapixels, hours=max_hours),
    )
    shelf = models_folder(models_dir)
    with (
        StopSignals(quiet=quiet) as signals,
        signals.told("no set was written", hint="to begin anew, give the same command"),
    ):
        # Imported when it is run: it loads onnx, which --help does not need.
        from ..pipeline import calibrate

        report: CalibrationReport = calibrate.calibrate(
            clips,
            output,
            options,
            sources=source or (),
            models_folder=shelf,
            catalog=own_catalogue(shelf),
            tell=None if quiet else _progress,
            cancel=signals.cancel,
        )
    if not quiet:
        for text in report.warnings:
            note("warning", text)
    if as_json:
        result_json(report.as_dict())
    elif not quiet:
        result(*_lines(report))
    return ExitCode.OK


def _progress(text: str) -> None:
    note("progress", text)


def _lines(report: CalibrationReport) -> list[str]:
    lines = [
        printable(
            f"{report.folder}: from {report.faces} faces in {report.frames} frames, "
            f"in {report.seconds:.1f} s"
        ),
        *(printable(f"  {one.model}: {one.rows} rows") for one in report.nets),
    ]
    if report.persons is not None:
        lines.append(f"  persons: {report.persons}")
    rows = [(one.kind, one.name, str(one.rows)) for one in report.coverage]
    return [*lines, *table(("group", "name", "faces"), rows)]
