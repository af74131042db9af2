"""docs/fidelity.md: its table is that of the tests, and what it must reach."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fidelity.cells import CELLS
from tests.fidelity.corpus import CONTAINERS, CORPUS
from tools import fidelity_table
from tools.fidelity_table import BEGIN, END, PAGE, main, replaced, share, table

LEAST_SHARE = 0.95


def test_the_table_in_the_docs_is_the_one_that_the_tool_makes():
    """If it fails: ``python -m tools.fidelity_table --write``."""
    page = PAGE.read_text(encoding="utf-8")
    assert replaced(page) == page


def test_nearly_all_is_kept_exactly():
    kept, cells = share()
    assert cells == len(CELLS) == sum(len(entry.containers) for entry in CORPUS.values())
    assert kept / cells >= LEAST_SHARE


def test_every_property_has_a_row_and_every_change_a_note():
    rows = re.findall(r"^\| ([^*|]+) \|(.*)\|$", table(), re.MULTILINE)
    assert [name for name, _ in rows[:2]] == ["property", "---"]
    assert [name for name, _ in rows[2:]] == list(CORPUS)
    notes = {int(number) for number in re.findall(r"\((\d+)\)", table())}
    assert notes == {int(number) for number in re.findall(r"^(\d+)\. ", table(), re.MULTILINE)}
    assert {row.count("|") for _, row in rows} == {len(CONTAINERS) - 1}


def test_it_writes_between_the_marks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "fidelity.md"
    file.write_text(f"1\n{BEGIN}\nold\n{END}\n2\n")
    monkeypatch.setattr(fidelity_table, "PAGE", file)
    assert main(["--write"]) == 0
    assert file.read_text() == f"1\n{BEGIN}\n\n{table()}\n{END}\n2\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}{END}"])
def test_a_page_without_the_marks_is_refused(text: str):
    with pytest.raises(ValueError, match="must have"):
        replaced(text)
