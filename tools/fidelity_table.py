"""The tables of docs/fidelity.md: ``python -m tools.fidelity_table [--write]``.

They are made of the list that the tests of tests/fidelity go through, each entry of which is a test:
what is called kept is compared in full by a program that ffswap does not use, and what is called
changed is compared with what the entry says about it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fidelity.cells import CELLS
from tests.fidelity.corpus import CONTAINERS, CORPUS

__all__ = ["BEGIN", "END", "main", "replaced", "share", "table"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"
BEGIN = "<!-- begin: python -m tools.fidelity_table --write -->"
END = "<!-- end -->"


def share() -> tuple[int, int]:
    """How many cells are kept exactly, and of how many."""
    return sum(not cell.change for cell in CELLS), len(CELLS)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in row) + "\n" for row in rows)  # fmt: skip


def table() -> str:
    """Property by container and the notes below, in Markdown, with a line feed at its end."""
    notes: dict[str, int] = {}
    found: Any = {(cell.name, cell.container): cell for cell in CELLS}
    rows: list[list[str]] = [["property", *CONTAINERS], ["---"] * (len(CONTAINERS) + 1)]
    group = None
    for name, entry in CORPUS.items():
        if entry.group != group:
            group = entry.group
            rows.append([f"**{group}**", *[""] * len(CONTAINERS)])
        row = [name]
        for container in CONTAINERS:
            cell = found.get((name, container))
            if cell is None:
                row.append("")
            elif not cell.change:
                row.append("exact")
            else:
                row.append(f"({notes.setdefault(cell.change, len(notes) + 1)})")
        rows.append(row)
    kept, all_of_them = share()
    told = "".join(f"{number}. {note[0].upper()}{note[1:]}.\n" for note, number in notes.items())
    said = f"{kept} of {all_of_them} cells ({100 * kept / all_of_them:.1f} %) are exact."
    return f"{_lines(rows)}\n{said} The others:\n\n{told}"


def replaced(page: str) -> str:
    """The text with the table between its marks.

    Raises:
        ValueError: it has not each mark once, in this order.
    """
    first, begin, rest = page.partition(BEGIN + "\n")
    _, end, last = rest.partition(END)
    if not (begin and end) or any(mark in first + last for mark in (BEGIN, END)):
        raise ValueError(f"the page must have {BEGIN!r}, then {END!r}, once each")
    return f"{first}{begin}\n{table()}\n{end}{last}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into the page.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.fidelity_table", description="Print what is kept of every property."
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} instead")
    if parser.parse_args(arguments).write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
