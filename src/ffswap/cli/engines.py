"""`ffswap engines`: what is in the engine store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ExitCode
from .folders import EngineDir, completed, completes_hints, engine_folder
from .groups import show_help
from .messages import note, printable, result, result_json, table
from .verdicts import tell_verified

if TYPE_CHECKING:
    from ..pipeline.engine_shelf import Shelved, Verified

__all__ = ["app"]

app = typer.Typer(
    name="engines",
    rich_markup_mode=None,
    help="List, verify and remove built engines.",
)
app.callback(invoke_without_command=True)(show_help)

_Json = Annotated[bool, typer.Option("--json", help="print the result as one JSON object")]
_CHECKED = {
    "file": "file whole, not run here",
    "run": "file whole, runs",
    "fp32": "agrees with FP32",
}


def _folder(given: Path | None) -> Path:
    """The engine store; engines are native code, so that it matters who can write there."""
    from ..locks import open_to_others

    folder = engine_folder(given)
    if (why := open_to_others(folder)) is not None:
        note("warning", f"{why}: whoever does can replace engines, which are programs")
    return folder


@app.command("list")
@completes_hints
def list_command(engine_dir: EngineDir = None, as_json: _Json = False) -> int:
    """Show all engines, what was measured of them, and whether this machine can use them."""
    from ..pipeline import engine_shelf

    folder = _folder(engine_dir)
    engines = engine_shelf.list_engines(folder)
    if as_json:
        result_json({"folder": str(folder), "engines": [one.as_dict() for one in engines]})
    elif engines:
        result(*table(_HEAD, map(_row, engines)))
    else:
        hint = f"no engines in {folder}; `ffswap build-engine` builds some"
        note("hint", completed(hint, {"engine_dir": engine_dir}))
    return ExitCode.OK


@app.command("verify")
@completes_hints
def verify_command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="names of models; none: all")
    ] = None,
    engine_dir: EngineDir = None,
    as_json: _Json = False,
) -> int:
    """Check all files, and run the engines that this machine can run. Exit code 5: one is bad."""
    from ..pipeline import engine_shelf

    folder = _folder(engine_dir)
    found = engine_shelf.verify_engines(folder, tuple(models or ()))
    hint = "`ffswap engines prune` removes broken ones; `ffswap build-engine` builds them"
    return tell_verified(
        "engines", folder, found, _verdict,
        hints=[completed(hint, {"engine_dir": engine_dir})], code=ExitCode.MACHINE, as_json=as_json,
    )  # fmt: skip


@app.command("prune")
@completes_hints
def prune_command(
    stale: Annotated[
        bool,
        typer.Option("--stale", help="also engines that another version of TensorRT built"),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    engine_dir: EngineDir = None,
    as_json: _Json = False,
) -> int:
    """Remove broken engines and what unfinished builds left."""
    from ..pipeline import engine_shelf

    folder = engine_folder(engine_dir)
    removed = engine_shelf.prune_engines(folder, stale=stale, dry_run=dry_run)
    gone = [one for one in removed if not one.in_use]
    if as_json:
        rows = [
            {
                "file": str(one.path),
                "bytes": one.size_bytes,
                "reason": one.reason,
                "in_use": one.in_use,
            }
            for one in removed
        ]
        result_json({"folder": str(folder), "dry_run": dry_run, "files": rows})
        return ExitCode.OK
    verb = "would remove" if dry_run else "removed"
    for one in removed:
        done = "left, in use" if one.in_use else verb
        result(printable(f"{done}: {one.path} ({one.size_bytes / 1e6:.1f} MB, {one.reason})"))
    result(f"{verb} {len(gone)} files, {sum(one.size_bytes for one in gone) / 1e6:.1f} MB")
    return ExitCode.OK


_HEAD = ("MODEL", "PRECISION", "BATCH", "FOR", "BUILT BY", "MB", "ERROR", "STATE")


def _row(one: Shelved) -> tuple[str, ...]:
    manifest, size = one.entry.manifest, f"{one.entry.size_bytes / 1e6:.1f}"
    state = one.state if one.reason is None else f"{one.state}: {one.reason}"
    if manifest is None:
        return (one.entry.model, one.entry.precision, "?", "?", "?", size, "?", state)
    key, gate = manifest.key, manifest.gate
    error = "?"
    if gate is not None:
        error = f"{max((output.relative_l2 for output in gate.outputs), default=0):.1e}"
        error += "" if gate.where == "engine" else " (graph)"
    return (
        key.model, key.precision, ",".join(map(str, key.batches)), ", ".join(map(str, key.gpus)),
        key.runtime, size, error, state,
    )  # fmt: skip


def _verdict(one: Verified) -> str:
    state = f"ok ({_CHECKED[one.checked]})" if one.problem is None else f"bad: {one.problem}"
    return f"{one.entry.model} {one.entry.precision} {one.entry.path.name}: {state}"
