"""The tables of docs/models.md: ``python -m tools.models_table [--write]``.

One says what each model of the catalogue is, the other what was verified of it: its interface comes
from the catalogue, the checks from the markers of the tests (see `tools.conformance`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from ffswap.models import ModelSpec, load_catalog
from ffswap.models.ports import Port, wanted_inputs, wanted_outputs
from ffswap.models.spec import Kind
from tools.conformance import CHECKS, verified

__all__ = ["BEGIN", "BEGIN_VERIFIED", "END", "conformance", "main", "replaced", "table"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BEGIN = "<!-- begin: python -m tools.models_table --write -->"
BEGIN_VERIFIED = "<!-- begin: what was verified, by the same command -->"
END = "<!-- end -->"
HEADER = ("name", "kind", "licence", "terms", "size", "template", "source")
VERIFIED_HEADER = ("model", "inputs", "outputs", "verified", "run with real weights")

# More outputs than this are said by the first and the last.
MOST_PORTS = 4


def _size(spec: ModelSpec) -> str:
    if spec.image is None:
        return ""
    width, height = spec.image.size
    return str(width) if width == height else f"{width} x {height}"


def _source(spec: ModelSpec) -> str:
    """How a swapper is told whose face it makes, in a few words."""
    source = spec.source
    if source is None:
        return ""
    if source.image is not None:
        return f"picture, {source.image.size[0]}, {source.template}"
    steps = [f"embedding of {source.recogniser}"]
    steps += ["unit"] * source.unit_before
    steps += ["matrix in the file"] * source.projected
    steps += [source.converter] if source.converter else []
    steps += ["unit"] * source.unit_after
    return ", ".join(steps)


def _row(spec: ModelSpec) -> tuple[str, ...]:
    terms = f"{spec.terms}, embedded" if spec.embedded else spec.terms
    return (
        f"`{spec.name}`", spec.kind, spec.licence, terms, _size(spec), spec.template or "",
        _source(spec),
    )  # fmt: skip


def _models() -> list[ModelSpec]:
    """All of the catalogue, by kind and name."""
    catalog = load_catalog()
    return [catalog.get(name) for kind in get_args(Kind) for name in catalog.names(kind)]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines
    )


def table() -> str:
    """The table of all models in Markdown, by kind and name, with a line feed at its end."""
    return _markdown([HEADER, ("---",) * len(HEADER), *map(_row, _models())])


def _ports(ports: Sequence[Port]) -> str:
    """Names where there are some, and shapes; N is the batch."""
    said = [f"{port.name or ''} {port.shape_in_words}".strip() for port in ports]
    if len(said) > MOST_PORTS:
        return f"{len(said)}: {said[0]} to {said[-1]}"
    return ", ".join(said)


def conformance(checks: Mapping[str, Sequence[str]]) -> str:
    """The table of what was verified and its legend in Markdown, with a line feed at its end.

    Args:
        checks: by name of the model, keys of `tools.conformance.CHECKS`.
    """
    rows = [
        (
            f"`{spec.name}`", _ports(wanted_inputs(spec)), _ports(wanted_outputs(spec)),
            ", ".join(checks.get(spec.name, ())) or "**nothing**",
            "yes" if spec.embedded else "no",
        )
        for spec in _models()
    ]  # fmt: skip
    lines = _markdown([VERIFIED_HEADER, ("---",) * len(VERIFIED_HEADER), *rows])
    legend = "".join(f"- **{check}**: {how}.\n" for check, how in CHECKS.items())
    return f"{lines}\n{legend}"


def replaced(page: str, checks: Mapping[str, Sequence[str]]) -> str:
    """The text with each table between its two marks.

    Raises:
        ValueError: it has not each mark once, in this order.
    """
    first, begin, rest = page.partition(BEGIN + "\n")
    _, end, middle = rest.partition(END)
    second, begin_2, rest = middle.partition(BEGIN_VERIFIED + "\n")
    _, end_2, last = rest.partition(END)
    marks = (BEGIN, END, BEGIN_VERIFIED, END)
    outside = first + second + last
    if not all((begin, end, begin_2, end_2)) or any(mark in outside for mark in marks):
        raise ValueError(f"the page must have {', then '.join(map(repr, marks))}, once each")
    return (
        f"{first}{begin}\n{table()}\n{end}{second}{begin_2}\n{conformance(checks)}\n{end_2}{last}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the tables, or write them into the page.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.models_table", description="Print the tables of all models."
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} instead")
    write, checks = parser.parse_args(arguments).write, verified()
    if write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), checks), encoding="utf-8")
    else:
        print(f"{table()}\n{conformance(checks)}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
