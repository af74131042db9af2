"""docs/models.md: its tables are those of catalogue and tests, and its example is a catalogue."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ffswap.models import load_catalog, names
from ffswap.models.spec import FAMILIES, Kind
from tools import models_table
from tools.conformance import CHECKS, ROOT, verified
from tools.models_table import BEGIN, BEGIN_VERIFIED, END, conformance, main, replaced, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checks() -> dict[str, list[str]]:
    return verified()


def test_the_tables_in_the_docs_are_those_that_the_tool_makes(checks: dict[str, list[str]]):
    """If it fails: ``python -m tools.models_table --write``."""
    assert replaced(page(), checks) == page()


def test_of_every_model_its_interface_and_an_answer_are_verified(checks: dict[str, list[str]]):
    assert sorted(checks) == names()
    for name, done in checks.items():
        assert "interface" in done, name
        assert set(done) - {"interface", "names", "scale", "source"}, name
    assert {check for done in checks.values() for check in done} == set(CHECKS)


def test_a_model_of_which_nothing_was_verified_is_shown_as_such():
    rows = conformance({"2dfan4": ["points"]}).splitlines()
    assert (
        "| `2dfan4` | input (N, 3, 256, 256) | (N, 68, 2 or more), (N, 68, 64, 64) | points | no |"
        in rows
    )
    assert "| `fan_68_5` | input (N, 5, 2) | (N, 68, 2) | **nothing** | no |" in rows
    embedded = [row for row in rows if row.endswith("| yes |")]
    assert [row.split("`")[1] for row in embedded] == [
        *("face_detection_full_range", "face_landmark", "palm_detection", "hand_landmark")
    ]


MARKED = """
import pytest

@pytest.mark.conformance({marker})
@pytest.mark.parametrize("name", ["gfpgan_1.4", "codeformer"])
def test_one(name): ...
"""


@pytest.mark.parametrize(
    ("marker", "found"),
    [
        ("'blend'", {"codeformer": ["blend"], "gfpgan_1.4": ["blend"]}),
        ("'faces', models=['scrfd_2.5g']", {"scrfd_2.5g": ["faces"]}),
        ("'taste'", None),
        ("'faces', models=['scrfd']", None),
    ],
)
def test_markers_are_read_and_checked(
    tmp_path: Path, marker: str, found: dict[str, list[str]] | None
):
    (tmp_path / "test_marked.py").write_text(MARKED.format(marker=marker))
    command = [sys.executable, "-m", "tools.conformance", str(tmp_path / "test_marked.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found is None:
        assert done.returncode
        assert "allowed: one of interface, " in done.stdout + done.stderr
    else:
        assert json.loads(done.stdout.splitlines()[-1]) == found


def test_the_table_has_every_model_once(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    header, rule, *rows = capsys.readouterr().out.partition("\n\n")[0].splitlines()
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    checks: dict[str, list[str]],
):  # fmt: skip
    file = tmp_path / "models.md"
    file.write_text(f"1\n{BEGIN}\nold\n{END}\n2\n{BEGIN_VERIFIED}\n{END}\n3\n")
    monkeypatch.setattr(models_table, "PAGE", file)
    assert main(["--write"]) == 0
    assert file.read_text() == (
        f"1\n{BEGIN}\n\n{table()}\n{END}\n2\n{BEGIN_VERIFIED}\n\n{conformance(checks)}\n{END}\n3\n"
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        "", BEGIN + "\n", END, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}{END}",
        f"{BEGIN}\n{END}{BEGIN_VERIFIED}\n", f"{BEGIN_VERIFIED}\n{END}{BEGIN}\n{END}",
    ],
)  # fmt: skip
def test_a_page_without_the_marks_is_refused(text: str):
    with pytest.raises(ValueError, match="must have"):
        replaced(text, {})


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
