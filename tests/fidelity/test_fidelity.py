"""Nothing is lost: every property of every container, through reader and writer, before the referee."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ffswap.media import ClipReader, ClipWriter, choose
from ffswap.options import EncodeOptions
from tests.fidelity.cells import CELLS, Cell
from tests.fidelity.corpus import CORPUS
from tests.fidelity.referee import differences, facts, likeness, program

# What the usual quality of every encoder reaches with the test picture, and a wrong range, matrix
# or order of frames does not.
LEAST_DB = 30.0

pytestmark = pytest.mark.skipif(
    program("ffprobe") is None and os.environ.get("CI") != "true",
    reason="no ffmpeg program: make ffmpeg",
)


def through(source: Path, target: Path) -> tuple[str, ...]:
    """Reader to writer with nothing done to the frames; what the user is told before and after."""
    with ClipReader(source) as reader:
        plan = choose(target, reader.info, EncodeOptions())
        with ClipWriter(target, reader, plan) as writer:
            before = (*reader.info.warnings, *writer.warnings)
            for item in reader:
                writer.write(item)
            writer.finish()
        after = (*reader.summary.warnings, *writer.warnings)
    assert set(after) == set(before), "all that is lost is known before the work starts"
    return before


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.name}-{cell.container}")
def test_it_is_kept_or_changed_as_the_table_says(cell: Cell, tmp_path: Path):
    source, target = (tmp_path / f"{name}.{cell.container}" for name in ("in", "out"))
    CORPUS[cell.name].recipe(source, cell.container)
    told = through(source, target)
    found = differences(facts(source), facts(target))
    unknown = [one for one in found if not one.startswith(cell.found or ("nothing",))]
    assert unknown == []
    assert len(found) == len(cell.found), found
    if cell.warned:
        assert any(cell.warned in sentence for sentence in told), told
    else:
        assert told == ()
    group, (first, *_), _ = CORPUS[cell.name]
    if group in ("picture", "video codec") and cell.container == first:
        assert likeness(source, target) >= LEAST_DB
