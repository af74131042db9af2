"""`ffswap models`: the models that ffswap knows, and their files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .bars import MODES
from .errors import STOPPED_HINT, ExitCode
from .folders import (
    OFFLINE_VARIABLE,
    ModelsDir,
    completed,
    completes_hints,
    models_folder,
    offline,
    own_catalogue,
)
from .groups import show_help
from .messages import note, printable, result, result_json, table
from .pull_progress import make_pull_display
from .signals import StopSignals
from .verdicts import tell_verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models import ModelSpec
    from ..pipeline.model_reports import ModelReport, Verified

__all__ = ["app"]

app = typer.Typer(
    name="models",
    rich_markup_mode=None,
    help="List, pull, add, verify and remove models.",
)
app.callback(invoke_without_command=True)(show_help)

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
@completes_hints
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
        result(*table(_HEAD, map(_row, found)))
    return ExitCode.OK


@app.command("info")
@completes_hints
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
@completes_hints
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
    display = make_pull_display(progress, quiet=quiet)
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
@completes_hints
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
    told = "nothing was added"
    with StopSignals(quiet=quiet) as signals, signals.told(told, hint=STOPPED_HINT):
        report = models.add_model(
            name,
            file,
            specs,
            folder,
            accept_licence=accept_licence,
            cancel=signals.cancel,
        )
    if as_json:
        result_json(report.as_dict())
    elif not quiet:
        result(printable(_line(report, "added")))
    return ExitCode.OK


@app.command("verify")
@completes_hints
def verify_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="names of models; none: all")
    ] = None,
    models_dir: ModelsDir = None,
    as_json: _Json = False,
) -> int:
    """Read the files and compare them with pins and catalogue. Exit code 3: one is bad."""
    from ..pipeline import models

    folder = models_folder(models_dir)
    found = models.verify_models(names or (), _catalogue(folder), folder)
    hints = [f"{one.model}: {one.hint}" for one in found if one.hint is not None]
    return tell_verified(
        "models", folder, found, _verdict,
        hints=[completed(hint, {"models_dir": models_dir}) for hint in hints],
        code=ExitCode.INPUT, as_json=as_json,
    )  # fmt: skip


@app.command("remove")
@completes_hints
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
