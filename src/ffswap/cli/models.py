"""`ffswap models`: the models that ffswap knows, and their files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .bars import MODES
from .errors import ExitCode
from .folders import (
    MODELS_DIR_VARIABLE,
    OFFLINE_VARIABLE,
    models_folder,
    offline,
    own_catalogue,
)
from .messages import note, printable, result, result_json
from .pull_progress import make_pull_display
from .signals import StopSignals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..models import ModelSpec
    from ..pipeline.model_reports import ModelReport, Verified

__all__ = ["ModelsDir", "app"]

app = typer.Typer(
    name="models",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, pull, add, verify and remove models.",
)

ModelsDir = Annotated[
    Path | None,
    typer.Option(
        "--models-dir",
        metavar="DIR",
        help=f"where models are kept; left out: {MODELS_DIR_VARIABLE}, or the user's data folder",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON object")]
_Names = Annotated[list[str], typer.Argument(metavar="NAME", help="names of models")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="name of a model")]
_Accept = Annotated[
    bool, typer.Option("--accept-licence", help="accept the licences that are shown")
]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print nothing but errors (and what --json prints)")
]
_From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FOLDER|FILE|URL",
        help="take the files from there; left out: the addresses of the catalogue",
    ),
]
_Offline = Annotated[
    bool,
    typer.Option("--offline", help=f"fetch nothing: say what is missing (or {OFFLINE_VARIABLE}=1)"),
]
_Progress = Annotated[
    str,
    typer.Option("--progress", metavar="|".join(MODES), help="how progress is shown on stderr"),
]
_STATES = {
    "embedded": "comes with ffswap",
    "installed": "installed",
    "missing": "not installed",
    "damaged": "damaged",
    "unpinned": "there, but never added",
}


@app.command("list")
def list_command(
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="only these, such as swapper")
    ] = None,
    models_dir: ModelsDir = None,
    as_json: _Json = False,
) -> int:
    """Show all models, their licences, and which of them are installed."""
    from ..pipeline import models

    folder = models_folder(models_dir)
    found = models.list_models(_catalogue(folder), folder, kind=kind)
    if as_json:
        result_json({"folder": str(folder), "models": [one.as_dict() for one in found]})
    else:
        result(*_table([_row(one) for one in found]))
    return ExitCode.OK


@app.command("info")
def info_command(name: _Name, models_dir: ModelsDir = None, as_json: _Json = False) -> int:
    """Show all that is known of one model."""
    from ..pipeline import models

    folder = models_folder(models_dir)
    report = models.model_report(name, _catalogue(folder), folder)
    if as_json:
        result_json(report.as_dict())
    else:
        result(*map(printable, _facts(report)))
    return ExitCode.OK


@app.command("pull")
def pull_command(
    names: _Names,
    accept_licence: _Accept = False,
    source: _From = None,
    no_network: _Offline = False,
    models_dir: ModelsDir = None,
    progress: _Progress = "auto",
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Fetch models, and what they need, into the models folder, and check them.

    A download that was cut off goes on where it stopped.
    """
    from ..pipeline import models
    from ..pipeline.model_reports import licence_line

    folder = models_folder(models_dir)
    display = make_pull_display("none" if quiet else progress)
    specs = _catalogue(folder)
    if not quiet:
        for one in models.to_pull(names, specs, folder):
            if one.status != "installed":
                note("licence", licence_line(one.spec))
    what = "what was fetched stays, and no model is half there"
    with (
        StopSignals(quiet=quiet) as signals,
        signals.told(what, hint="to go on, give the same command"),
        display,
    ):
        report = models.pull_models(
            names,
            specs,
            folder,
            accept_licence=accept_licence,
            source=source,
            offline=offline(no_network),
            repeat=_repeat(models_dir),
            progress=display,
            cancel=signals.cancel,
        )
    if as_json:
        result_json(report.as_dict())
    elif not quiet:
        result(
            *(
                printable(_line(one, "fetched" if one.fetched else "there already"))
                for one in report.models
            )
        )
    return ExitCode.OK


@app.command("add")
def add_command(
    name: _Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="its ONNX file, of any name")],
    accept_licence: _Accept = False,
    models_dir: ModelsDir = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Put a file that you have into the models folder; it stays where it is, too."""
    from ..pipeline import models
    from ..pipeline.model_reports import licence_line

    folder = models_folder(models_dir)
    specs = _catalogue(folder)
    if not quiet and name in specs:
        note("licence", licence_line(specs[name]))
    hint = "to start again, give the same command"
    with StopSignals(quiet=quiet) as signals, signals.told("nothing was added", hint=hint):
        report = models.add_model(
            name,
            file,
            specs,
            folder,
            accept_licence=accept_licence,
            repeat=_repeat(models_dir),
            cancel=signals.cancel,
        )
    if as_json:
        result_json(report.as_dict())
    elif not quiet:
        result(printable(_line(report, "added")))
    return ExitCode.OK


@app.command("verify")
def verify_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="names of models; none: all")
    ] = None,
    models_dir: ModelsDir = None,
    as_json: _Json = False,
) -> int:
    """Read the files and compare them with what was pinned. Exit code 3: one is bad."""
    from ..pipeline import models

    folder = models_folder(models_dir)
    found = models.verify_models(names or (), _catalogue(folder), folder)
    if as_json:
        result_json({"folder": str(folder), "models": [one.as_dict() for one in found]})
    else:
        result(*(printable(_verdict(one)) for one in found))
    bad = [one.model for one in found if one.problem is not None]
    if bad:
        note("error", f"{len(bad)} of {len(found)} models cannot be used")
        note("hint", f"`ffswap models pull {' '.join(bad)}` fetches what is missing or damaged")
    return ExitCode.INPUT if bad else ExitCode.OK


@app.command("remove")
def remove_command(names: _Names, models_dir: ModelsDir = None, as_json: _Json = False) -> int:
    """Remove models, their pins, and that their licences were accepted."""
    from ..pipeline import models

    folder = models_folder(models_dir)
    removed = models.remove_models(names, _catalogue(folder), folder)
    if as_json:
        result_json({"folder": str(folder), "models": [one.as_dict() for one in removed]})
    else:
        result(*(f"removed: {one.model} ({one.size_bytes / 1e6:.1f} MB)" for one in removed))
    return ExitCode.OK


def _catalogue(folder: Path) -> Mapping[str, ModelSpec]:
    from ..models import load_catalog

    return load_catalog(own_catalogue(folder)).models


def _repeat(models_dir: Path | None) -> list[str]:
    """What a command in a message must have in common with this one."""
    return [] if models_dir is None else ["--models-dir", str(models_dir)]


_HEAD = ("MODEL", "KIND", "LICENCE", "TERMS", "VENDOR", "MB", "STATE")


def _row(one: ModelReport) -> tuple[str, ...]:
    spec = one.spec
    state = _STATES[one.status]
    if one.reason is not None:
        state += f": {one.reason}"
    elif one.status == "installed" and not one.accepted:
        state += ", licence not accepted"
    size = "" if one.pin is None else f"{one.pin.size_bytes / 1e6:.1f}"
    return (spec.name, spec.kind, spec.licence, spec.terms, spec.vendor, size, state)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    whole = [_HEAD, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in whole
    ]


def _facts(one: ModelReport) -> list[str]:
    spec, pin, consent = one.spec, one.pin, one.consent
    known = one.as_dict()
    facts = {
        "model": spec.name,
        "kind": f"{spec.kind} ({spec.family})",
        "licence": spec.licence,
        "terms": spec.terms + (f", accepted {consent.accepted}" if consent else ""),
        "vendor": spec.vendor if spec.year is None else f"{spec.vendor}, {spec.year}",
        "needs": ", ".join(spec.needs),
        "state": _STATES[one.status] + (f": {one.reason}" if one.reason else ""),
        "file": spec.file if one.path is None else str(one.path),
        "size": "" if pin is None else f"{pin.size_bytes} bytes",
        "sha256": f"{pin.sha256} (pinned {pin.added})" if pin else spec.sha256 or "",
        "crc32": pin.crc32 if pin else spec.crc32 or "",
        "from": pin.origin if pin else "",
    }
    lines = [f"{name}: {text}" for name, text in facts.items() if text]
    lines += [f"address: {text}" for text in known["addresses"]]
    return [*lines, *(f"note: {text}" for text in spec.notes.strip().splitlines())]


def _line(one: ModelReport, done: str) -> str:
    assert one.pin is not None
    return f"{one.spec.name}: {done}, {one.pin.size_bytes / 1e6:.1f} MB, {one.path}"


def _verdict(one: Verified) -> str:
    where = "comes with ffswap" if one.path is None else str(one.path)
    return f"{one.model} {where}: {'ok' if one.problem is None else f'bad: {one.problem}'}"
