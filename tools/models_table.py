"""The table of all models in docs/models.md: ``python -m tools.models_table [--write]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from ffswap.models import ModelSpec, load_catalog
from ffswap.models.spec import Kind

__all__ = ["BEGIN", "END", "main", "replaced", "table"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BEGIN = "<!-- begin: python -m tools.models_table --write -->"
END = "<!-- end -->"
HEADER = ("name", "kind", "licence", "terms", "size", "template", "source")


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


def table() -> str:
    """The table in Markdown, by kind and name, with a line feed at its end."""
    catalog = load_catalog()
    rows = [_row(catalog.get(name)) for kind in get_args(Kind) for name in catalog.names(kind)]
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines
    )


def replaced(page: str) -> str:
    """The text with the table between the two marks.

    Raises:
        ValueError: it has not each mark once, in this order.
    """
    before, begin, rest = page.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(f"the page must have {BEGIN!r}, then {END!r}, once each")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into the page.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.models_table", description="Print the table of all models."
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} instead")
    if parser.parse_args(arguments).write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
