"""A swap in every kind of video: pixel formats, rotation, odd and tiny sizes, faces at the edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import ffswap
from ffswap import EncodeOptions, SwapOptions, SwapReport
from tests.media.media_clips import content
from tests.pipeline.face_clips import FaceClip, Place, astronaut, changed, face_mask, upright

Clips = Callable[..., FaceClip]

FRAMES = 3
GROW_PX = 6
FFV1 = SwapOptions(encode=EncodeOptions(encoder="ffv1"))
BEST_JPEG = {"qmin": "1", "qmax": "1", "strict": "unofficial"}


def check(clip: FaceClip, output: Path) -> None:
    """The face has changed in every frame; no other sample, time or tag has."""
    before, after = content(clip.path), content(output)
    assert (after.pts, after.tags, after.rotation) == (before.pts, before.tags, before.rotation)
    for i, (old, new) in enumerate(zip(before.frames, after.frames, strict=True)):
        outside, share = changed(old, new, clip.mask(i, GROW_PX))
        assert outside == 0, f"frame {i}"
        assert share > 0.3, f"frame {i}"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("rot90.mp4", {"rotation": 90}),
        ("rot180.mp4", {"rotation": 180}),
        ("rot270.mp4", {"rotation": 270}),
        ("422.mkv", {"pix_fmt": "yuv422p"}),
        ("444.mkv", {"pix_fmt": "yuv444p"}),
        ("440.mkv", {"pix_fmt": "yuv440p"}),
        ("411.mkv", {"pix_fmt": "yuv411p"}),
        ("420_10.mkv", {"pix_fmt": "yuv420p10le"}),
        ("422_10.mkv", {"pix_fmt": "yuv422p10le"}),
        ("odd.mkv", {"width": 639, "height": 361}),
        ("odd_422.mkv", {"width": 639, "height": 361, "pix_fmt": "yuv422p"}),
        ("odd_vp9.webm",
         {"width": 639, "height": 361, "encoder": "libvpx-vp9",
          "options": {"lossless": "1", "deadline": "realtime", "cpu-used": "8"}}),
        ("jpeg.avi", {"encoder": "mjpeg", "pix_fmt": "yuvj420p", "options": BEST_JPEG}),
        ("bt709.mkv", {"tags": (1, 1, 1, 1)}),
        ("full_range.mkv", {"tags": (6, 2, 6, 6)}),
        ("hdr.mkv", {"tags": (9, 1, 9, 16), "pix_fmt": "yuv420p10le"}),
    ],
)  # fmt: skip
def test_frames_stay_in_their_own_format(
    clips: Clips, portrait: Path, tmp_path: Path, name: str, recipe: dict[str, Any]
) -> None:
    clip = clips(name, frames=FRAMES, **recipe)
    output = tmp_path / "out.mkv"
    report = ffswap.swap(portrait, clip.path, output, options=FFV1)
    assert (report.faces, report.warnings) == (FRAMES, ())
    check(clip, output)


@pytest.mark.parametrize(
    ("name", "recipe", "shown_as"),
    [
        ("grey.mkv", {"pix_fmt": "gray"}, "yuv420p"),
        ("grey_10.mkv", {"pix_fmt": "gray10le"}, "yuv420p10le"),
        ("rgb.mkv", {"pix_fmt": "rgb24", "encoder": "libx264rgb", "options": {"qp": "0"}},
         "yuv444p"),
        ("rgba.mkv", {"pix_fmt": "bgra"}, "yuv444p"),
        ("rgb_10.mkv", {"pix_fmt": "gbrp10le"}, "yuv444p10le"),
        ("alpha.mkv", {"pix_fmt": "yuva420p"}, "yuv420p"),
        ("palette.gif", {"pix_fmt": "rgb8", "encoder": "gif", "options": {}}, "yuv444p"),
    ],
)  # fmt: skip
def test_other_formats_are_converted_and_that_is_said(
    clips: Clips,
    portrait: Path,
    tmp_path: Path,
    name: str,
    recipe: dict[str, Any],
    shown_as: str,
) -> None:
    clip = clips(name, frames=FRAMES, **recipe)
    output = tmp_path / "out.mkv"
    report = ffswap.swap(portrait, clip.path, output, options=FFV1)
    assert report.faces == FRAMES
    assert report.pixel_format == shown_as
    assert [w for w in report.warnings if f"is converted to {shown_as}" in w]
    assert content(output).pts == content(clip.path).pts
    for i, (old, new) in enumerate(zip(upright(clip.path), upright(output), strict=True)):
        change = np.abs(old.astype(int) - new.astype(int)).mean(-1)
        face = clip.mask(i, -4)
        assert change[~clip.mask(i, GROW_PX)].mean() < 2
        assert change[face].mean() > change[~face].mean() + 2


def result(portrait: Path, clip: FaceClip, output: Path) -> Any:
    ffswap.swap(portrait, clip.path, output, options=FFV1)
    return upright(output)[-1].astype(int)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le", "bgra"])
def test_the_result_looks_the_same_in_every_format(
    clips: Clips, portrait: Path, tmp_path: Path, pix_fmt: str
) -> None:
    """No shift of colour or place: differences to 4:4:4 are those that the input has, too."""
    wanted, given = (
        clips(f"look_{name}.mkv", frames=1, pix_fmt=name) for name in ("yuv444p", pix_fmt)
    )
    face = wanted.mask(0, -4)
    between = [upright(c.path)[-1].astype(int)[face] for c in (wanted, given)]
    after = [result(portrait, c, tmp_path / c.path.name)[face] for c in (wanted, given)]
    tolerance = 0.8  # levels: rounding of the painted samples and of the mark in them
    assert np.abs((after[1] - after[0]).mean(0) - (between[1] - between[0]).mean(0)).max() < (
        tolerance
    )
    assert np.abs(after[1] - after[0]).mean() < np.abs(between[1] - between[0]).mean() + tolerance


def lossy(portrait: Path, clip: FaceClip, output: Path, **encode: Any) -> SwapReport:
    options = SwapOptions(encode=EncodeOptions(**encode))
    report = ffswap.swap(portrait, clip.path, output, options=options)
    assert report.faces == FRAMES
    for i, (old, new) in enumerate(zip(upright(clip.path), upright(output), strict=True)):
        change = np.abs(old.astype(int) - new.astype(int))
        assert change[~clip.mask(i, GROW_PX)].mean() < 3
        assert change[clip.mask(i, -4)].mean() > change[~clip.mask(i, GROW_PX)].mean() + 1.5
    return report


def test_odd_sizes_where_the_encoder_needs_even_ones(
    clips: Clips, portrait: Path, tmp_path: Path
) -> None:
    clip = clips("odd.mkv", frames=FRAMES, width=639, height=361)
    report = lossy(portrait, clip, tmp_path / "out.mp4", encoder="libx264")
    assert report.pixel_format == "yuv444p"
    assert [w for w in report.warnings if "even width and height" in w]


@pytest.mark.parametrize(("name", "encoder"), [("a.webm", "libvpx-vp9"), ("a.mkv", "mjpeg")])
def test_odd_sizes_where_the_encoder_takes_them(
    clips: Clips, portrait: Path, tmp_path: Path, name: str, encoder: str
) -> None:
    clip = clips("odd.mkv", frames=FRAMES, width=639, height=361)
    report = lossy(portrait, clip, tmp_path / name, encoder=encoder)
    assert report.warnings == ()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (16, 16), (8, 200)])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_tiny_frames(
    clips: Clips, portrait: Path, tmp_path: Path, size: tuple[int, int], suffix: str
) -> None:
    width, height = size
    clip = clips(f"tiny_{width}_{height}.mkv", frames=2, width=width, height=height)
    output = tmp_path / f"out{suffix}"
    report = ffswap.swap(portrait, clip.path, output)
    assert (report.frames, report.faces) == (2, 0)
    assert content(output).pts == content(clip.path).pts


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("left", 30, 120), ("right", 290, 120), ("top", 160, 25), ("bottom", 160, 215)],
)
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_face_that_is_partly_outside(
    clips: Clips, portrait: Path, tmp_path: Path, name: str, x: int, y: int, rotation: int
) -> None:
    width, height = (320, 240) if rotation == 0 else (240, 320)
    clip = clips(
        f"{name}_{rotation}.mp4", frames=1, width=width, height=height, rotation=rotation,
        faces=((astronaut(), Place(x, y, 0.8)),),
    )  # fmt: skip
    output = tmp_path / "out.mkv"
    assert ffswap.swap(portrait, clip.path, output, options=FFV1).faces == 1
    check(clip, output)


def test_a_face_that_fills_the_frame(clips: Clips, portrait: Path, tmp_path: Path) -> None:
    clip = clips("big.mkv", frames=2, faces=((astronaut(), Place(160, 120, 2.4)),))
    output = tmp_path / "out.mkv"
    assert ffswap.swap(portrait, clip.path, output, options=FFV1).faces == 2
    old, new = content(clip.path).frames[0], content(output).frames[0]
    assert changed(old, new, face_mask(old[0].shape, astronaut(), Place(160, 120, 2.4)))[1] > 0.3


def fields(path: Path) -> set[bool]:
    with av.open(str(path)) as source:
        return {bool(frame.interlaced_frame) for frame in source.decode(video=0)}


@pytest.mark.parametrize(
    ("encoder", "kept"), [("libx264", True), ("ffv1", True), ("libx265", False)]
)
def test_interlaced_video_stays_marked_or_a_warning_says_that_it_is_not(
    clips: Clips, portrait: Path, tmp_path: Path, encoder: str, kept: bool
) -> None:
    marked = {"preset": "ultrafast", "qp": "0", "x264-params": "tff=1:interlaced=1"}
    clip = clips("fields.mp4", frames=FRAMES, options=marked)
    assert fields(clip.path) == {True}
    output = tmp_path / "out.mkv"
    options = SwapOptions(encode=EncodeOptions(encoder=encoder))
    report = ffswap.swap(portrait, clip.path, output, options=options)
    assert fields(output) == {kept}
    assert bool([w for w in report.warnings if "interlaced" in w]) == (not kept)
    if encoder == "ffv1":
        check(clip, output)
