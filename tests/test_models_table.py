"""docs/models.md: its table is the catalogue's, and its example is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from ffswap.models import load_catalog, names
from ffswap.models.spec import FAMILIES, Kind
from tools import models_table
from tools.models_table import BEGIN, END, main, replaced, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_table_in_the_docs_is_the_one_that_the_tool_makes():
    assert replaced(page()) == page()


def test_the_table_has_every_model_once(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split(" | ")[0] == "| name"
    assert set(rule) == set("| -")
    assert sorted(re.findall(r"^\| `([^`]+)` \|", "\n".join(rows), re.MULTILINE)) == names()
    assert {row.count("|") for row in (header, rule, *rows)} == {8}


@pytest.mark.parametrize(
    "row",
    [
        "| `inswapper_128` | swapper | Non-Commercial | non-commercial | 128 | arcface_128 "
        "| embedding of arcface_w600k_r50, unit, matrix in the file, unit |",
        "| `hififace_unofficial_256` | swapper | Unknown | unknown | 256 | mtcnn_512 "
        "| embedding of arcface_w600k_r50, crossface_hififace, unit |",
        "| `blendswap_256` | swapper | Non-Commercial | non-commercial | 256 | ffhq_512 "
        "| picture, 112, arcface_112_v2 |",
        "| `face_landmark` | landmarker | Apache-2.0 | open, embedded | 192 | | |",
    ],
)
def test_a_row_says_what_the_entry_says(row: str):
    assert row in table().splitlines()


def test_it_writes_between_the_marks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "models.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(models_table, "PAGE", file)
    assert main(["--write"]) == 0
    assert file.read_text() == f"before\n{BEGIN}\n\n{table()}\n{END}\nafter\n"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text", ["", BEGIN + "\n", END, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}{END}"]
)
def test_a_page_without_the_marks_is_refused(text: str):
    with pytest.raises(ValueError, match="must have"):
        replaced(text)


def test_the_example_in_the_docs_is_a_catalogue(tmp_path: Path):
    (example,) = re.findall(r"```toml\n(.*?)```", page(), re.DOTALL)
    (tmp_path / "own.toml").write_text(example)
    spec = load_catalog(tmp_path / "own.toml").get("my_swapper")
    assert (spec.kind, spec.template, spec.needs) == ("swapper", "wide", ("arcface_w600k_r50",))


def test_the_docs_name_every_family():
    rows = re.findall(r"^\| (\w+) \| ([a-z_, ]+) \| .*\|$", page(), re.MULTILINE)
    found: dict[str, list[str]] = {}
    for kind, families in rows:
        if kind in get_args(Kind):
            found[kind] = sorted([*found.get(kind, []), *families.split(", ")])
    assert found == {kind: sorted(families) for kind, families in FAMILIES.items()}
