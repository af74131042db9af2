"""`ffswap doctor`: what this machine has, and whether a swap can run on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .errors import ExitCode
from .folders import models_folder, own_catalogue
from .messages import note, printable, result, result_json

if TYPE_CHECKING:
    from ..pipeline.machine import CpuSurvey, EngineSurvey, GpuSurvey, MemorySurvey
    from ..pipeline.plan import MachineSurvey

__all__ = ["command"]

# Title, and rows of: name, whether it works (None: not a question of working), what there is to say.
Section: TypeAlias = "tuple[str, list[tuple[str, bool | None, str]]]"
_MARKS = {True: "ok", False: "no", None: ""}


def command(
    as_json: Annotated[
        bool, typer.Option("--json", help="print the survey as one JSON object")
    ] = False,
) -> int:
    """Show what this machine has, and what a swap would use. Exit code 5: no swap can run."""
    # Imported when it is run: it is the pipeline's, which --help does not need.
    from ..pipeline import plan

    folder = models_folder(None)
    survey = plan.survey(folder, own_catalogue(folder))
    if as_json:
        result_json(survey.as_dict())
    else:
        _show(_sections(survey))
    if survey.would_use.ok:
        return ExitCode.OK
    note("error", f"no swap can run on this machine: {survey.would_use.problems[0]}")
    for hint in survey.would_use.hints:
        note("hint", hint)
    return ExitCode.MACHINE


def _size(size: int | None) -> str:
    return "?" if size is None else f"{size / (1 << 30):.1f} GiB"


def _cpu(cpu: CpuSurvey) -> str:
    quota = "" if cpu.quota_cores is None else f" (quota {cpu.quota_cores:g})"
    return f"{cpu.name}, {cpu.usable_cores} of {cpu.logical_cores} cores usable{quota}"


def _memory(memory: MemorySurvey) -> str:
    limit = "" if memory.limit_bytes is None else f", limit {_size(memory.limit_bytes)}"
    return f"{_size(memory.total_bytes)}, {_size(memory.available_bytes)} free{limit}"


def _gpu(gpu: GpuSurvey) -> str:
    return (
        f"{gpu.name}, {_size(gpu.memory_bytes)}, compute capability "
        f"{gpu.compute_capability or '?'}, driver {gpu.driver or '?'}"
    )


def _engine(engine: EngineSurvey) -> str:
    if not engine.ok:
        return engine.reason or "unknown reason"
    return f"{engine.version} {', '.join(engine.providers)}".strip()


def _sections(survey: MachineSurvey) -> list[Section]:
    use = survey.would_use
    return [
        (
            "Machine",
            [
                ("ffswap", None, f"{survey.ffswap}, {survey.python}, {survey.platform}"),
                ("cpu", None, _cpu(survey.cpu)),
                ("memory", None, _memory(survey.memory)),
            ],
        ),
        (
            "Libraries",
            [(name, None, found or "not installed") for name, found in survey.libraries.items()],
        ),
        ("Engines", [(one.name, one.ok, _engine(one)) for one in survey.engines]),
        (
            "GPUs",
            [(f"cuda:{gpu.index}", True, _gpu(gpu)) for gpu in survey.gpus]
            or [("-", False, survey.gpus_reason or "none")],
        ),
        (
            "Encoders",
            [(one.name, one.ok, one.reason or "") for one in survey.encoders]
            or [("-", False, survey.encoders_reason or "none")],
        ),
        (
            "Models",
            [
                (one.name, None, f"{one.kind}, {one.licence}, from {one.vendor}")
                for one in survey.models
            ]
            or [("-", False, survey.models_reason or "none")],
        ),
        (
            "A swap would use",
            [
                ("device", None, f"{use.device} ({use.device_reason})"),
                ("model", None, f"{use.model} ({use.model_reason})"),
                ("encoder", None, use.encoder or "none"),
                ("possible", use.ok, "" if use.ok else "; ".join(use.problems)),
            ],
        ),
    ]


def _show(sections: list[Section]) -> None:
    if sys.stdout.isatty():
        _show_rich(sections)
    else:
        _show_plain(sections)


def _show_plain(sections: list[Section]) -> None:
    width = max(len(name) for _, rows in sections for name, _, _ in rows)
    for title, rows in sections:
        lines = (
            f"  {printable(name):{width}}  {_MARKS[ok]:2}  {printable(text)}".rstrip()
            for name, ok, text in rows
        )
        result(title, *lines)


def _show_rich(sections: list[Section]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {True: "green", False: "red", None: ""}
    table = Table(box=None, show_header=False, pad_edge=False)
    for title, rows in sections:
        table.add_row(Text(title, style="bold"))
        for name, ok, text in rows:
            mark = Text(_MARKS[ok], style=styles[ok])
            table.add_row(Text("  " + printable(name)), mark, Text(printable(text)))
    console = Console()
    with console.capture() as captured:
        console.print(table)
    result(captured.get().rstrip("\n"))
