"""The mark from file to file: every swap carries it, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import ffswap
from ffswap import EncodeOptions, SwapOptions
from ffswap.errors import InputMissingError, MediaError
from ffswap.pipeline import marks
from ffswap.pipeline.inspect import inspect
from ffswap.pipeline.marks import find_mark
from ffswap.stages.mark import FaceMarker
from tests.media.media_clips import content
from tests.pipeline.face_clips import FaceClip, Place, astronaut, background, put

Clips = Callable[..., FaceClip]

FFV1 = SwapOptions(encode=EncodeOptions(encoder="ffv1"))
SIZE = {"width": 480, "height": 360}


def encoded(source: Path, output: Path) -> Path:
    """The clip through x264 at crf 28, in another container."""
    with av.open(str(source)) as before, av.open(str(output), "w") as after:
        stream = after.add_stream("libx264", rate=25, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for frame in before.decode(video=0):
            frame.pict_type = 0
            after.mux(stream.encode(frame))
        after.mux(stream.encode(None))
    return output


def test_inspect_finds_the_mark_where_the_credentials_are_gone(
    clips: Clips, portrait: Path, tmp_path: Path
) -> None:
    clip = clips("inspected.mkv", frames=40, **SIZE)
    ffswap.swap(portrait, clip.path, tmp_path / "out.mp4")
    again = encoded(tmp_path / "out.mp4", tmp_path / "again.mkv")
    found = inspect(again)
    assert found.credentials is None
    assert found.verdict == "synthetic"
    assert found.mark is not None
    assert found.as_dict()["mark"]["verdict"] == found.mark.verdict == "marked"
    unlooked = inspect(again, pixels=False)
    assert (unlooked.verdict, unlooked.mark) == ("nothing", None)
    assert inspect(clip.path).verdict == "nothing"


@pytest.mark.parametrize(
    ("name", "pix_fmt"),
    [
        ("mark_420.mkv", "yuv420p"),
        ("mark_422_10.mkv", "yuv422p10le"),
        ("mark_444.mkv", "yuv444p"),
        ("mark_full.mp4", "yuvj420p"),
    ],
)
def test_a_swapped_clip_is_found_to_be_marked_and_its_target_is_not(
    clips: Clips, portrait: Path, tmp_path: Path, name: str, pix_fmt: str
) -> None:
    clip = clips(name, pix_fmt=pix_fmt, frames=8, **SIZE)
    before = find_mark(clip.path)
    assert (before.verdict, before.frames, before.faces) == ("not marked", 8, 8)
    assert before.confidence < 0.99
    output = tmp_path / "out.mkv"
    ffswap.swap(portrait, clip.path, output, options=FFV1)
    after = find_mark(output)
    assert (after.verdict, after.frames, after.faces) == ("marked", 8, 8)
    assert after.confidence == 1 - after.chance > 0.999


def test_the_mark_survives_another_encoder(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    clip = clips("mark_large.mkv", frames=24, width=640, height=480)
    output = tmp_path / "out.mkv"
    ffswap.swap(portrait, clip.path, output, options=FFV1)
    assert find_mark(encoded(output, tmp_path / "small.mp4")).verdict == "marked"
    assert find_mark(encoded(clip.path, tmp_path / "plain.mp4")).verdict == "not marked"


def test_without_the_marker_the_swap_is_the_same_in_luma_and_not_marked(
    clips: Clips, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips("mark_420.mkv", pix_fmt="yuv420p", frames=8, **SIZE)
    marked, bare = tmp_path / "marked.mkv", tmp_path / "bare.mkv"
    ffswap.swap(portrait, clip.path, marked, options=FFV1)
    monkeypatch.setattr(FaceMarker, "mark", lambda *_: None)
    ffswap.swap(portrait, clip.path, bare, options=FFV1)
    assert find_mark(bare).verdict == "not marked"
    planes = zip(
        content(clip.path).frames, content(bare).frames, content(marked).frames, strict=True
    )
    for target, swapped, with_mark in planes:
        np.testing.assert_array_equal(swapped[0], with_mark[0])
        painted = (target[0] != swapped[0])[::2, ::2]
        painted |= (target[1] != swapped[1]) | (target[2] != swapped[2])
        for one, two in zip(swapped[1:], with_mark[1:], strict=True):
            off = np.abs(one.astype(int) - two)
            assert not off[~painted].any()
            assert 0.3 < off[painted].mean() <= 1


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
def test_pictures_are_marked(portrait: Path, tmp_path: Path, name: str) -> None:
    target, output = tmp_path / f"in_{name}", tmp_path / name
    rgb = put(background(480, 360), astronaut(), Place(220, 160, 1.3))
    Image.fromarray(rgb).save(target, quality=95)
    assert find_mark(target).verdict == "not marked"
    ffswap.swap(portrait, target, output)
    found = find_mark(output)
    assert (found.verdict, found.frames, found.faces) == ("marked", 1, 1)


def test_where_the_mark_is_plain_the_rest_is_not_read(
    clips: Clips, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips("mark_24.mkv", frames=24, **SIZE)
    output = tmp_path / "out.mkv"
    ffswap.swap(portrait, clip.path, output, options=FFV1)
    monkeypatch.setattr(marks, "LOOK_FACES", 8)
    monkeypatch.setattr(marks, "SURE", marks.LARGEST_CHANCE)
    assert find_mark(output).frames == 8
    assert find_mark(clip.path).frames == 24


def test_without_faces_there_is_no_verdict(folder: Path) -> None:
    found = find_mark(folder / "noface.jpg")
    assert (found.verdict, found.confidence, found.faces) == ("no face", 0, 0)


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        find_mark(tmp_path / "none.mp4")
    text: Any = tmp_path / "text.mp4"
    text.write_text("no media")
    with pytest.raises(MediaError):
        find_mark(text)
