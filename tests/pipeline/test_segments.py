"""Clips in segments: interrupted at any moment and gone on with, they are as if nothing had happened."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import av
import pytest

import ffswap
from ffswap import EncodeOptions, LabelOptions, SwapOptions
from ffswap.errors import (
    CancelledError,
    MediaError,
    OptionError,
    OutputExistsError,
    OutputWriteError,
)
from ffswap.files import write_error
from ffswap.media import segments as segments_module
from ffswap.pipeline.journal import work_folder
from tests.pipeline.face_clips import FaceClip

Clips = Callable[..., FaceClip]
OPTIONS = SwapOptions(segment_s=0.4, unfinished="resume")
RECIPE = {"frames": 40, "audio": 2, "encoder": "libx264", "options": {"g": "5", "bf": "2"}}


def decoded(path: Path) -> list[tuple[Any, ...]]:
    """Time and content of all frames."""
    with av.open(str(path)) as source:
        return [
            (f.pts, f.time_base, hashlib.sha256(f.to_ndarray().tobytes()).hexdigest())
            for f in source.decode(video=0)
        ]


def packets(path: Path) -> list[tuple[Any, ...]]:
    """All packets of all streams."""
    with av.open(str(path)) as source:
        return [(p.stream.index, p.pts, p.dts, bytes(p)) for p in source.demux() if p.size]


def counts(report: ffswap.SwapReport) -> tuple[Any, ...]:
    """What a report says about the whole clip."""
    names = "frames frames_without_face faces faces_skipped tracks missing_frames corrupt_frames"
    return tuple(getattr(report, name) for name in f"{names} segments warnings".split())


@pytest.fixture
def target(clips: Clips) -> Path:
    return clips("segments.mp4", **RECIPE).path


def stopped(portrait: Path, target: Path, output: Path, options: SwapOptions, at: int) -> None:
    """A run that stops before the encoder gets more frames than this, and has left something."""
    write, given = segments_module.SegmentEncoder.write, 0

    def stops(self: Any, frames: Any) -> None:
        nonlocal given
        given += len(frames)
        if given > at:
            raise CancelledError("enough")
        write(self, frames)

    with (
        mock.patch.object(segments_module.SegmentEncoder, "write", stops),
        pytest.raises(CancelledError) as caught,
    ):
        ffswap.swap(portrait, target, output, options=options)
    assert "--resume" in str(caught.value.hint)
    assert work_folder(output).is_dir()
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "recipe", "suffix", "encoder"),
    [
        ("segments.mp4", RECIPE, ".mp4", None),
        ("segments.mp4", RECIPE, ".mkv", "libx265"),
        ("segments.mp4", RECIPE, ".ts", None),
        ("segments.mp4", RECIPE, ".avi", None),
        ("segments.mp4", RECIPE, ".webm", None),
        ("segments.mp4", RECIPE, ".mov", "prores_ks"),
        ("segments.mp4", RECIPE, ".mp4", "libsvtav1"),
        ("segments.mkv", {"frames": 40, "audio": 1}, ".mkv", "ffv1"),
        ("gaps.mkv", {"pts": [i * i // 3 + 40 * i for i in range(40)], "options": {"g": "5"},
                      "encoder": "libx264"}, ".mp4", None),
        ("open.mkv", {"frames": 40, "encoder": "libx265", "options": {
            "x265-params": "keyint=10:min-keyint=10:open-gop=1:bframes=3:log-level=error"}}, ".mp4", None),
        ("one.mp4", {"frames": 45, "encoder": "libx264", "options": {"g": "999"}}, ".mkv", None),
        ("segments.avi", {"frames": 40, "encoder": "mjpeg", "pix_fmt": "yuvj420p", "options": {}},
         ".mkv", None),
        ("segments.ts", {"frames": 40, "encoder": "libx264", "options": {"g": "5"}}, ".ts", None),
    ],
)  # fmt: skip
def test_it_is_as_if_nothing_had_happened(
    clips: Clips, portrait: Path, tmp_path: Path,
    name: str, recipe: dict[str, Any], suffix: str, encoder: str | None,
) -> None:  # fmt: skip
    target = clips(name, **recipe).path
    options = replace(OPTIONS, encode=EncodeOptions(encoder=encoder))
    if encoder == "libsvtav1":
        options = replace(options, encode=EncodeOptions(encoder=encoder, preset="12"))
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    at_once = tmp_path / f"once{suffix}"
    plain = ffswap.swap(portrait, target, at_once, options=replace(options, segment_s=0))
    wanted = ffswap.swap(portrait, target, whole, options=options)
    assert (plain.segments, plain.temporary_bytes) == (1, 0)
    assert wanted.segments >= (2 if name == "one.mp4" else 3)
    assert wanted.temporary_bytes > 0
    assert counts(wanted)[:-2] == counts(plain)[:-2]
    if suffix != ".avi":  # there times of frames that are shown in another order are a guess
        assert [one[:2] for one in decoded(whole)] == [one[:2] for one in decoded(at_once)]
    others = [[p[1:] for p in packets(path) if p[0]] for path in (whole, at_once)]
    assert others[0] == others[1]
    stopped(portrait, target, output, options, 35)
    found = ffswap.swap(portrait, target, output, options=options)
    assert 0 < found.resumed_frames < found.frames
    assert counts(found) == counts(wanted)
    assert decoded(output) == decoded(whole)
    assert packets(output) == packets(whole)
    assert not work_folder(output).exists()


def test_all_that_is_remembered_goes_on(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    """A range, several faces by place, a label with times, and a lossless encoder."""
    target = clips("segments.mp4", **RECIPE).path
    options = replace(
        OPTIONS, segment_s=0.2, faces="left-right:1", start=ffswap.Position.parse("7f"),
        end=ffswap.Position.parse("38f"), encode=EncodeOptions(encoder="ffv1"),
        label=LabelOptions(text="synthetic", start=ffswap.Position.parse("3f"), end=ffswap.Position.parse("0.9")),
    )  # fmt: skip
    wanted = ffswap.swap(portrait, target, tmp_path / "whole.mkv", options=options)
    once = replace(options, segment_s=0)
    ffswap.swap(portrait, target, tmp_path / "once.mkv", options=once)
    assert decoded(tmp_path / "whole.mkv") == decoded(tmp_path / "once.mkv")
    for at in (8, 12):
        stopped(portrait, target, tmp_path / "out.mkv", options, at)
    found = ffswap.swap(portrait, target, tmp_path / "out.mkv", options=options)
    assert counts(found) == counts(wanted)
    assert packets(tmp_path / "out.mkv") == packets(tmp_path / "whole.mkv")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_clip_of_one_segment_is_not_cut(
    clips: Clips, portrait: Path, tmp_path: Path, suffix: str
) -> None:
    target = clips("segments.mp4", **RECIPE).path
    report = ffswap.swap(
        portrait, target, tmp_path / f"out{suffix}", options=replace(OPTIONS, segment_s=0.9)
    )
    assert (report.segments, report.resumed_frames) == (1, 0)


def test_what_is_left_is_refused_or_thrown_away_when_asked(
    portrait: Path, target: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    stopped(portrait, target, output, OPTIONS, 24)
    before = {file.name for file in work_folder(output).iterdir()}
    with pytest.raises(OutputExistsError, match="has left 2 finished segments") as caught:
        ffswap.swap(portrait, target, output, options=replace(OPTIONS, unfinished="refuse"))
    assert "--resume" in str(caught.value.hint)
    assert "--discard" in str(caught.value.hint)
    assert {file.name for file in work_folder(output).iterdir()} == before
    report = ffswap.swap(portrait, target, output, options=replace(OPTIONS, unfinished="discard"))
    assert report.resumed_frames == 0
    assert not work_folder(output).exists()


@pytest.mark.parametrize("what", ["target", "source", "quality", "version"])
def test_it_does_not_go_on_with_something_else(
    clips: Clips, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    target, photo = tmp_path / "in.mp4", tmp_path / "src.jpg"
    shutil.copy(clips("segments.mp4", **RECIPE).path, target)
    shutil.copy(portrait, photo)
    output, options = tmp_path / "out.mp4", OPTIONS
    stopped(photo, target, output, options, 24)
    says = f"{what} has changed"
    if what in ("target", "source"):
        with (target if what == "target" else photo).open("ab") as file:
            file.write(bytes(8))
    elif what == "quality":
        options = replace(options, encode=EncodeOptions(quality=30))
        says = "encode.quality was null, and is 30 now"
    else:
        monkeypatch.setattr("ffswap.pipeline.facts.__version__", "9.9")
        says = "the version of ffswap was .*, and is 9.9 now"
    with pytest.raises(OptionError, match=says) as caught:
        ffswap.swap(photo, target, output, options=options)
    assert "--discard" in str(caught.value.hint)
    assert work_folder(output).is_dir()


@pytest.mark.parametrize("harm", ["cut", "gone", "torn journal", "state"])
def test_a_damaged_segment_is_done_again(
    portrait: Path, target: Path, tmp_path: Path, harm: str
) -> None:
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    ffswap.swap(portrait, target, whole, options=OPTIONS)
    stopped(portrait, target, output, OPTIONS, 36)
    folder = work_folder(output)
    names = sorted(folder.glob("*.packets"))
    if harm == "cut":
        names[-1].write_bytes(names[-1].read_bytes()[:-9])
    elif harm == "gone":
        names[-1].unlink()
    elif harm == "state":
        max(folder.glob("*.npz")).write_bytes(b"")
    else:
        journal = folder / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-9])
    report = ffswap.swap(portrait, target, output, options=OPTIONS)
    assert 0 < report.resumed_frames <= 10 * (len(names) - 1)
    assert packets(output) == packets(whole)


def test_an_interruption_while_it_is_joined(
    portrait: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    wanted = ffswap.swap(portrait, target, whole, options=OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr("ffswap.media.ClipWriter.write_encoded", _full)
        with pytest.raises(OutputWriteError, match="disk full") as caught:
            ffswap.swap(portrait, target, output, options=OPTIONS)
    assert "--resume" in str(caught.value.hint)
    assert {path.name for path in tmp_path.iterdir()} == {"whole.mp4", ".out.mp4.ffswap"}
    found = ffswap.swap(portrait, target, output, options=OPTIONS)
    assert found.resumed_frames == found.frames
    assert counts(found) == counts(wanted)
    assert packets(output) == packets(whole)


def _full(*_: Any) -> None:
    raise OutputWriteError("disk full, nothing was written")


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "disk full"), (errno.EROFS, "the folder may not be written to")],
)
def test_a_disk_that_fails_amid_the_run(
    portrait: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, says: str,
) -> None:  # fmt: skip
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    ffswap.swap(portrait, target, whole, options=OPTIONS)
    put = segments_module.SegmentEncoder._put
    written = 0

    def fails(self: Any, data: bytes) -> None:
        nonlocal written
        written += 1
        if written > 25:
            raise write_error(OSError(number, "so it is"), output)
        put(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(segments_module.SegmentEncoder, "_put", fails)
        with pytest.raises(OutputWriteError, match=says) as caught:
            ffswap.swap(portrait, target, output, options=OPTIONS)
    assert "--resume" in str(caught.value.hint)
    assert not list(work_folder(output).glob(".*part*"))
    found = ffswap.swap(portrait, target, output, options=OPTIONS)
    assert found.resumed_frames > 0
    assert packets(output) == packets(whole)


def test_a_target_that_goes_away_amid_the_run(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    target, kept = tmp_path / "in.mp4", clips("segments.mp4", **RECIPE).path
    shutil.copy2(kept, target)
    output = tmp_path / "out.mp4"

    def remove(event: Any) -> None:
        if event.frames:
            target.unlink(missing_ok=True)

    with pytest.raises(
        MediaError, match=r"in\.mp4: (went away|was changed) while it was read"
    ) as caught:
        ffswap.swap(portrait, target, output, options=OPTIONS, progress=remove)
    assert "--resume" in str(caught.value.hint)
    shutil.copy2(kept, target)
    assert ffswap.swap(portrait, target, output, options=OPTIONS).resumed_frames > 0


def kill_at(command: list[str], seconds: float) -> None:
    """Kill a run at a moment after its start; it may have ended before."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as program:
        time.sleep(seconds)
        if program.poll() is None:
            program.send_signal(signal.SIGKILL)


def kills(portrait: Path, target: Path, folder: Path, moments: int) -> None:
    """Each run is killed at a random moment and gone on with; all results are one."""
    rng = random.Random(moments)
    whole = folder / "whole.mp4"
    program = [sys.executable, "-m", "ffswap", "swap", "--segment", "0.4", "--json", "-q"]
    begun = time.monotonic()
    subprocess.run([*program, str(portrait), str(target), str(whole)], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    longest, wanted = time.monotonic() - begun, packets(whole)
    for i in range(moments):
        output = folder / f"{i}.mp4"
        command = [*program, "--resume", "--overwrite", str(portrait), str(target), str(output)]
        kill_at(command, rng.uniform(0.3, 1) * longest)
        done = subprocess.run(command, check=True, timeout=60, capture_output=True)
        assert json.loads(done.stdout)["frames"] == len([p for p in wanted if not p[0]])
        assert packets(output) == wanted
        assert decoded(output) == decoded(whole)
        assert not list(folder.glob(".*")), "something is left"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_it_goes_on_after_being_killed(portrait: Path, target: Path, tmp_path: Path) -> None:
    kills(portrait, target, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_it_goes_on_after_being_killed_at_twenty_moments(
    clips: Clips, portrait: Path, tmp_path: Path
) -> None:
    recipe = {**RECIPE, "frames": 120}
    kills(portrait, clips("longer.mp4", **recipe).path, tmp_path, 20)
