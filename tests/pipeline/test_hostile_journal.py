"""Journals that were damaged or made by others: no other file is read or removed, and no error is ours."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random

import pytest

from ffswap.errors import FfswapError, InternalError, OptionError, OutputWriteError
from ffswap.media.segments import SegmentFile
from ffswap.pipeline.journal import Journal, work_folder
from tests.fuzz.mutators import mutate_text

FACTS = {"content of target": "ab", "faces": "largest"}
JOURNAL = "journal.jsonl"


def interrupted(folder: Path) -> Path:
    """An output of which three segments are finished; other files lie beside it and around."""
    folder.mkdir()
    output = folder / "out.mkv"
    with Journal(output, FACTS, "refuse") as journal:
        journal.begins(folder / ".out.0123abcd.part.mkv")
        for number in range(3):
            journal.next_file.write_bytes(b"")
            file = SegmentFile(
                name=journal.next_file.name, size_bytes=0, crc32=0, packets=0, frames=0, dropped=0,
                last=None, reorder=0, extradata="",
            )  # fmt: skip
            journal.add(file, None, b"state", float(number))
    for name in ("precious.mkv", ".hidden", "precious.npz", ".out.0123abcd.part.mkv"):
        (folder / name).write_text("mine")
    return output


def resume(output: Path) -> int:
    with Journal(output, FACTS, "resume") as journal:
        return len(journal.records)


def test_an_undamaged_one_goes_on_and_takes_its_temporary_file_away(tmp_path: Path) -> None:
    output = interrupted(tmp_path / "run")
    assert resume(output) == 3
    assert sorted(one.name for one in output.parent.iterdir()) == [
        ".hidden", ".out.mkv.ffswap", "precious.mkv", "precious.npz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"name": "00001.packets"', '"name": "../precious.mkv"'),
        ('"state": "00001.npz"', '"state": "../precious.npz"'),
        ('"state": "00001.npz"', '"state": "/etc/passwd"'),
        ('"size_bytes": 0', '"size_bytes": "0"'),
        ('"frames": 0', '"frames": null'),
        ('"mark": null', '"mark": {"frames": 1}'),
        ('"temporary": ".out.0123abcd.part.mkv"', '"temporary": "precious.mkv"'),
        ('"temporary": ".out.0123abcd.part.mkv"', '"temporary": "../run/.hidden"'),
        ('"temporary": ".out.0123abcd.part.mkv"', '"temporary": 5'),
    ],
)
def test_names_and_types_that_are_not_ours_end_what_is_believed(
    tmp_path: Path, old: str, new: str
) -> None:
    output = interrupted(tmp_path / "run")
    journal = work_folder(output) / JOURNAL
    text = journal.read_text()
    assert old in text
    journal.write_text(text.replace(old, new))
    assert resume(output) < 3 or "temporary" in old
    for name in ("precious.mkv", ".hidden", "precious.npz"):
        assert (output.parent / name).read_text() == "mine"


def test_facts_that_are_no_table_are_those_of_another_version(tmp_path: Path) -> None:
    output = interrupted(tmp_path / "run")
    journal = work_folder(output) / JOURNAL
    lines = journal.read_text().splitlines()
    lines[0] = json.dumps({"journal": 1, "output": "out.mkv", "facts": "all"})
    journal.write_text("\n".join(lines) + "\n")
    assert resume(output) == 0


def test_whatever_is_in_a_journal_only_its_own_files_go(tmp_path: Path) -> None:
    sound, rng = interrupted(tmp_path / "sound"), Random(20)
    ends: set[object] = set()
    text = (work_folder(sound) / JOURNAL).read_text()
    for _ in range(150):
        folder = tmp_path / "run"
        shutil.copytree(sound.parent, folder)
        (work_folder(folder / "out.mkv") / JOURNAL).write_bytes(mutate_text(rng, text)[1])
        try:
            ends.add(resume(folder / "out.mkv"))
        except InternalError:
            raise
        except FfswapError as error:
            ends.add(type(error))
        for name in ("precious.mkv", ".hidden", "precious.npz"):
            assert (folder / name).read_text() == "mine"
        shutil.rmtree(folder)
    assert {0, 3, OptionError} <= ends


@pytest.mark.skipif(os.name != "posix", reason="links of another kind")
def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").write_text("mine")
    work_folder(tmp_path / "out.mkv").symlink_to(tmp_path / "home")
    with pytest.raises(OutputWriteError, match="a link is where the finished segments go"):
        Journal(tmp_path / "out.mkv", FACTS, "discard")
    assert (tmp_path / "home" / "precious").read_text() == "mine"
