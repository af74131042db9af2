"""`ffswap inspect`: what a file says about how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import LimitOptions
from .errors import ExitCode
from .limits import MaxHours, MaxMegapixels
from .messages import printable, result, result_json

if TYPE_CHECKING:
    from ..pipeline.inspect import Inspection
    from ..provenance.reading import Action, Credentials

__all__ = ["command"]

_CODES = {
    "nothing": ExitCode.OK,
    "credentials": ExitCode.OK,
    "synthetic": ExitCode.SYNTHETIC,
    "invalid": ExitCode.INVALID,
}
_VERDICTS = {
    "nothing": "says nothing about how it was made (which does not make it an original)",
    "credentials": "its credentials hold, and say nothing of a machine that made or changed faces",
    "synthetic": "SYNTHETIC: made or changed by a machine",
    "invalid": "INVALID: its credentials do not hold",
}
_MARKS = {
    "marked": "found, confidence {0.confidence:.4f}",
    "not marked": "not found (none was made, or it was lost); {0.faces} faces were looked at",
    "no face": "none was looked for, since no face was found",
}
_STATES = {
    "trusted": "valid, from a signer whose authority you trust",
    "valid": "valid, from an unverified signer",
    "invalid": "invalid",
}


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="video or picture")],
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", metavar="FILE.pem", help="certificates of authorities that you trust"
        ),
    ] = None,
    pixels: Annotated[
        bool,
        typer.Option(
            "--mark/--no-mark",
            help="look for the mark in the pixels, which decodes the file; or read credentials alone",
        ),
    ] = True,
    max_megapixels: MaxMegapixels = 100.0,
    max_hours: MaxHours = 24.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as one JSON object")
    ] = False,
) -> int:
    """Show who made FILE, how, and whether that can be relied on.

    Exit code 0: nothing synthetic was found; 10: marked as synthetic; 11: its credentials are invalid,
    or it was changed after they were signed.
    """
    # Imported when it is run: --help does not need it.
    from ..pipeline import inspect

    limits = LimitOptions(megapixels=max_megapixels, hours=max_hours)
    found: Inspection = inspect.inspect(file, trust=trust, pixels=pixels, limits=limits)
    if as_json:
        result_json(found.as_dict())
    else:
        result(*(printable(line) for line in _lines(found)))
    return _CODES[found.verdict]


def _lines(found: Inspection) -> list[str]:
    lines = [f"{found.file}: {_VERDICTS[found.verdict]}"]
    if found.credentials is None:
        lines.append("credentials: none")
    else:
        lines += _credentials(found.credentials)
    if found.mark is not None:
        lines.append(f"mark in the pixels: {_MARKS[found.mark.verdict].format(found.mark)}")
    return lines


def _credentials(found: Credentials) -> list[str]:
    where = "in the file" if found.place == "embedded" else f"in {found.file}"
    lines = [f"credentials: {_STATES[found.state]}, {where}"]
    lines += [f"  problem: {problem}" for problem in found.problems]
    if found.tampered:
        lines.append("  the file or its credentials were changed after signing")
    if found.signer or found.organisation:
        names = dict.fromkeys(name for name in (found.signer, found.organisation) if name)
        lines.append(f"  signed by: {', '.join(names)}")
    if found.time:
        lines.append(f"  signed at: {found.time} (confirmed by a time-stamp server)")
    if found.tool:
        lines.append(f"  written by: {found.tool}")
    lines += [f"  {_action(one)}" for one in found.actions]
    for parent in found.parents:
        own = "without credentials" if parent.signer is None else f"signed by {parent.signer}"
        lines.append(f"  made from: {parent.format or 'a file'}, {own}")
        lines += [f"    problem: {problem}" for problem in parent.problems]
    return lines


def _action(one: Action) -> str:
    kind = None if one.source_type is None else one.source_type.rsplit("/", 1)[-1]
    parts = [
        one.description,
        None if kind is None else f"source type {kind}",
        f"with {', '.join(one.models)}" if one.models else None,
        one.tool,
        one.when,
    ]
    words = "; ".join(part for part in parts if part)
    return f"{'action' if one.own else 'before'}: {one.action}" + (f" ({words})" if words else "")
