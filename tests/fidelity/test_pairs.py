"""From each container into each other: what does not come along was named before the work started."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from ffswap.media import ClipReader, ClipWriter, choose, foresee
from ffswap.options import EncodeOptions
from tests.fidelity.corpus import CONTAINERS, codec, ffmpeg, picture, sound, text_file, tone
from tests.fidelity.referee import Facts, facts, program

pytestmark = pytest.mark.skipif(
    program("ffprobe") is None and os.environ.get("CI") != "true",
    reason="no ffmpeg program: make ffmpeg",
)

CHAPTERS = """;FFMETADATA1
title=Ein Titel
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=One
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1000
title=Two
"""

# The other of the two names of a language, which mov uses.
SAME = {"ger": "deu"}


def rich(path: Path, container: str) -> None:
    """Two languages, and subtitles, chapters and a title where the container has them."""
    told = path.with_suffix(".txt")
    told.write_text(CHAPTERS)
    words: list[str | Path] = [*picture(), *tone(300), *tone(500), "-i", told]
    maps = ["-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3"]
    if container not in ("ts", "avi"):
        name = {"mkv": "subrip", "webm": "webvtt"}.get(container, "mov_text")
        words += ["-i", text_file(path)]
        maps += ["-map", "4", "-c:s", name]
    ffmpeg(
        *words, *maps, *codec(container), *sound(container), "-metadata:s:a:0", "language=eng",
        "-metadata:s:a:1", "language=ger", path,
    )  # fmt: skip


def moments(of: Facts) -> list[Fraction]:
    """Times of the frames from the first on; none where the container has no times."""
    times = [row[0] for row in of.frames]
    return [] if None in times else [time - times[0] for time in times]


def languages(of: Facts) -> list[str]:
    """Of the sound, by one name each."""
    found = [s["tags"].get("language") for s in of.streams if s["codec_type"] == "audio"]
    return [SAME.get(one, one) for one in found if one not in (None, "und")]


@pytest.mark.parametrize("after", CONTAINERS)
@pytest.mark.parametrize("before", CONTAINERS)
def test_what_is_not_there_was_named(before: str, after: str, tmp_path: Path):
    source, target = tmp_path / f"in.{before}", tmp_path / f"out.{after}"
    rich(source, before)
    named = foresee(source, target, EncodeOptions())
    with ClipReader(source) as reader:
        plan = choose(target, reader.info, EncodeOptions())
        with ClipWriter(target, reader, plan) as writer:
            assert set(named) == {*reader.info.warnings, *writer.warnings}
            for item in reader:
                writer.write(item)
            writer.finish()
    one, two = facts(source), facts(target)
    assert len(one.frames) == len(two.frames) == 25
    if moments(one) and moments(two):
        pairs = zip(moments(one), moments(two), strict=True)
        assert max(abs(a - b) for a, b in pairs) <= Fraction(1, 1000)  # Matroska's unit
    said = " ".join(named)
    kept = [digest for rows in two.packets.values() for _, digest in rows]
    for index, stream in enumerate(one.streams):
        if stream["codec_type"] not in ("audio", "subtitle") or f"stream {index} (" in said:
            continue
        assert any(s["codec_type"] == stream["codec_type"] for s in two.streams)
        if stream["codec_type"] == "audio" and "ts" not in (before, after):  # it frames AAC anew
            assert {digest for _, digest in one.packets[index]} <= set(kept)
    assert [c[2] for c in one.chapters] == [c[2] for c in two.chapters] or "chapters" in said
    assert one.tags.get("title") == two.tags.get("title") or "tags of the file" in said
    sounds = [s for s in two.streams if s["codec_type"] == "audio"]
    assert languages(one)[: len(sounds)] == languages(two) or "languages" in said
