"""A swap over a clip, from file to file: what changes, and what does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import ffswap
from ffswap import EncodeOptions, Position, SwapOptions, SwapReport
from tests.media.media_clips import Clip, content, same_frames
from tests.pipeline.face_clips import (
    FaceClip,
    Place,
    astronaut,
    changed,
    face_mask,
    hopper,
)

Clips = Callable[..., FaceClip]

FFV1 = EncodeOptions(encoder="ffv1")
X264 = EncodeOptions(quality=0)

# The painted mask is soft and a few pixels wider than the face.
GROW_PX = 6


def packets(path: Path) -> dict[int, list[tuple[bytes, Any, Any]]]:
    """Of the streams beside the video: bytes, pts and dts of each packet, in seconds."""
    found: dict[int, list[tuple[bytes, Any, Any]]] = {}
    with av.open(str(path)) as source:
        for packet in source.demux():
            if packet.size and packet.stream.type == "audio":
                base = packet.time_base
                unit = Fraction(base.numerator, base.denominator)
                times = (packet.pts * unit, packet.dts * unit)
                found.setdefault(packet.stream.index, []).append((bytes(packet), *times))
    return found


def swap(source: Path, clip: FaceClip, output: Path, **options: Any) -> SwapReport:
    return ffswap.swap(source, clip.path, output, options=SwapOptions(**options))


def check(clip: FaceClip, output: Path) -> None:
    """The face has changed in every frame, and nothing else has."""
    before, after = content(clip.path), content(output)
    assert after.pts == before.pts
    assert after.rotation == before.rotation
    assert after.tags == before.tags
    assert len(after.frames) == len(before.frames) == len(before.pts)
    for i, (old, new) in enumerate(zip(before.frames, after.frames, strict=True)):
        outside, share = changed(old, new, clip.mask(i, GROW_PX))
        assert outside == 0, f"frame {i}"
        assert share > 0.3, f"frame {i}"
    assert packets(output) == packets(clip.path)


@pytest.mark.parametrize(
    ("name", "recipe", "suffix", "encode"),
    [
        ("plain.mkv", {}, ".mkv", FFV1),
        ("sound.mp4", {"audio": 2}, ".mp4", X264),
        ("bframes.mp4",
         {"options": {"preset": "medium", "crf": "10", "bf": "3"}, "frames": 14, "audio": 1},
         ".mp4", X264),
        ("vfr.mp4",
         {"time_base": Fraction(1, 90000), "pts": [0, 3003, 6006, 15000, 15100, 40000, 41000]},
         ".mp4", X264),
        ("late.mkv",
         {"time_base": Fraction(1, 1000), "pts": [500 + 40 * i for i in range(6)], "audio": 1},
         ".mkv", FFV1),
        ("ntsc.mp4", {"rate": Fraction(30000, 1001), "frames": 6}, ".mp4", X264),
        ("odd_base.mp4",
         {"rate": Fraction(30000, 1001), "time_base": Fraction(1, 30011),
          "pts": [7 + 1001 * i for i in range(6)]},
         ".mp4", X264),
        ("longer_sound.mkv", {"audio": 1, "audio_s": 3.0, "frames": 5}, ".mkv", FFV1),
        ("one_frame.mp4", {"frames": 1}, ".mp4", X264),
    ],
)  # fmt: skip
def test_the_face_changes_and_nothing_else(
    clips: Clips,
    portrait: Path,
    tmp_path: Path,
    name: str,
    recipe: dict[str, Any],
    suffix: str,
    encode: EncodeOptions,
) -> None:
    clip = clips(name, **recipe)
    output = tmp_path / f"out{suffix}"
    report = swap(portrait, clip, output, encode=encode)
    check(clip, output)
    frames = len(content(clip.path).pts)
    assert (report.frames, report.faces, report.tracks) == (frames, frames, 1)
    assert (report.frames_without_face, report.missing_frames, report.corrupt_frames) == (0, 0, 0)
    assert report.complete
    assert report.warnings == ()
    assert report.credentials is not None
    assert {*tmp_path.iterdir()} == {output, Path(report.credentials.file)}


@pytest.mark.parametrize(("suffix", "encode"), [(".mkv", FFV1), (".mp4", X264)])
def test_a_clip_without_a_face_comes_out_as_it_is(
    portrait: Path, tmp_path: Path, suffix: str, encode: EncodeOptions
) -> None:
    target = Clip(tmp_path / "in.mp4", frames=10, audio=1, noisy=False).make()
    output = tmp_path / f"out{suffix}"
    report = ffswap.swap(portrait, target, output, options=SwapOptions(encode=encode))
    before, after = content(target), content(output)
    assert same_frames(before, after)
    assert before.packets == after.packets
    assert (report.faces, report.frames_without_face) == (0, 10)
    assert report.warnings == ("no face was found in the target; it is unchanged",)


def two_faces(clips: Clips) -> FaceClip:
    return clips(
        "two.mkv", width=480, height=270, frames=6,
        faces=((astronaut(), Place(120, 120, 0.8)), (hopper(), Place(350, 140, 0.55))),
    )  # fmt: skip


@pytest.mark.parametrize("faces", ["largest", "all"])
def test_one_face_or_all(clips: Clips, folder: Path, tmp_path: Path, faces: Any) -> None:
    clip = two_faces(clips)
    output = tmp_path / "out.mkv"
    report = swap(folder / "astronaut.png", clip, output, faces=faces, encode=FFV1)
    before, after = content(clip.path), content(output)
    for i, (old, new) in enumerate(zip(before.frames, after.frames, strict=True)):
        assert changed(old, new, clip.mask(i, GROW_PX))[0] == 0
        smaller, larger = (
            face_mask(old[0].shape, who, place, GROW_PX) for who, place in clip.placed(i)
        )
        assert changed(old, new, larger)[1] > 0.3
        assert (changed(old, new, smaller)[1] > 0.3) == (faces == "all")
    assert (report.faces, report.tracks) == (12 if faces == "all" else 6, 2)


@pytest.mark.parametrize(
    ("start", "end", "first", "frames"),
    [
        ("10f", "16f", 10, 6),
        ("0.4", "0.64", 10, 6),
        ("0:00.41", "0.52", 11, 2),
        (None, "4f", 0, 4),
        ("29f", None, 29, 1),
        ("0.4", "12f", 10, 2),
    ],
)
def test_a_part_of_a_clip(
    clips: Clips,
    portrait: Path,
    tmp_path: Path,
    start: str | None,
    end: str | None,
    first: int,
    frames: int,
) -> None:
    clip = clips(
        "trim.mp4", frames=30, audio=1, options={"preset": "fast", "qp": "0", "bf": "2"}
    )  # fmt: skip
    output = tmp_path / "out.mp4"
    report = swap(
        portrait, clip, output, encode=X264,
        start=start and Position.parse(start), end=end and Position.parse(end),
    )  # fmt: skip
    before, after = content(clip.path), content(output)
    assert report.frames == len(after.frames) == frames
    assert after.pts == [pts - before.pts[first] for pts in before.pts[first : first + frames]]
    for i in range(frames):
        mask = clip.mask(first + i, GROW_PX)
        outside, share = changed(before.frames[first + i], after.frames[i], mask)
        assert outside == 0
        assert share > 0.3
    sound, all_sound = after.packets[1], before.packets[1]
    at = all_sound.index(sound[0])
    assert sound == all_sound[at : at + len(sound)]
    moved = [
        float(t - u) for t, u in zip(before.times[1][at:], after.times[1], strict=False)
    ]  # to the tick of the sound's own time base
    assert moved == pytest.approx([float(before.pts[first])] * len(sound), abs=0.001)


def test_one_thread_gives_the_same(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    clip = clips("plain.mkv")
    swap(portrait, clip, tmp_path / "a.mkv", encode=FFV1)
    swap(portrait, clip, tmp_path / "b.mkv", encode=FFV1, threads=1)
    assert same_frames(content(tmp_path / "a.mkv"), content(tmp_path / "b.mkv"))


def test_two_swaps_at_once_give_the_same_as_one_after_the_other(
    clips: Clips, folder: Path, tmp_path: Path
) -> None:
    clip = two_faces(clips)
    jobs = [("hopper.jpg", "largest"), ("astronaut.png", "all")]

    def work(prefix: str, source: str, faces: Any) -> None:
        swap(folder / source, clip, tmp_path / f"{prefix}_{faces}.mkv", faces=faces, encode=FFV1)

    for job in jobs:
        work("one", *job)
    threads = [threading.Thread(target=work, args=("both", *job)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, faces in jobs:
        one, both = (content(tmp_path / f"{p}_{faces}.mkv") for p in ("one", "both"))
        assert same_frames(one, both)


def test_progress_comes_to_the_end(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    clip = clips("plain.mkv")
    ffswap.swap(portrait, clip.path, tmp_path / "out.mp4", progress=events.append)
    assert [e.frames for e in events] == sorted(e.frames for e in events)
    assert (events[-1].frames, events[-1].total, events[-1].faces) == (12, 12, 12)


def test_the_face_is_that_of_the_source(clips: Clips, folder: Path, tmp_path: Path) -> None:
    """Two portraits give two results, and a portrait of the same face the smaller change."""
    clip = clips("plain.mkv")
    frames = [content(clip.path).frames[5][0].astype(int)]
    for source in ("hopper.jpg", "astronaut.png"):
        swap(folder / source, clip, tmp_path / f"{source}.mkv", encode=FFV1)
        frames.append(content(tmp_path / f"{source}.mkv").frames[5][0].astype(int))
    target, other, same = (frame[clip.mask(5)] for frame in frames)
    assert np.abs(other - same).mean() > 2
    assert np.abs(other - target).mean() > np.abs(same - target).mean()
