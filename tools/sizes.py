"""Prints the largest files and functions of the package, and fails when one is over the limit.

The budget is what we aim at; the limit leaves room for the rare piece that reads better whole.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Size", "main", "sizes"]

ROOT = Path(__file__).resolve().parents[1]
FILE_BUDGET, FILE_LIMIT = 400, 450  # lines
FUNCTION_BUDGET, FUNCTION_LIMIT = 60, 80  # lines, without decorators


@dataclass(frozen=True)
class Size:
    """A file, or a function in one, and how many lines it has."""

    place: str
    lines: int
    budget: int
    limit: int


def sizes(folder: Path) -> Iterator[Size]:
    """Every Python file and every function below a folder."""
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(folder).as_posix()
        yield Size(name, text.count("\n"), FILE_BUDGET, FILE_LIMIT)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                place = f"{name}:{node.lineno} {node.name}()"
                yield Size(place, lines, FUNCTION_BUDGET, FUNCTION_LIMIT)


def main() -> int:
    """Print what is over the budget; 1 if anything is over the limit."""
    found = list(sizes(ROOT / "src" / "ffswap"))
    over = sorted((s for s in found if s.lines > s.budget), key=lambda s: -s.lines / s.budget)
    for size in over:
        verdict = "OVER THE LIMIT" if size.lines > size.limit else "over the budget"
        print(f"{size.lines:5} lines, {verdict} ({size.budget}/{size.limit}): {size.place}")
    bad = any(size.lines > size.limit for size in over)
    print(f"sizes: {len(found)} files and functions, {len(over)} over the budget")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
