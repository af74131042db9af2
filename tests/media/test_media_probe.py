"""What probe, the colour rules and the choice of an encoder say."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_clips import content
from PIL import Image, ImageCms

import ffswap.media
from ffswap.carriers import PixelFormat
from ffswap.media import ClipReader, ClipWriter, choose, list_usable, pixel_format, probe, usable
from ffswap.media.colour import replacement_format
from ffswap.options import EncodeOptions


def test_all_is_sorted_and_true() -> None:
    names = ffswap.media.__all__
    assert names == sorted(names)
    assert all(hasattr(ffswap.media, name) for name in names)


def test_the_package_itself_does_not_load_av() -> None:
    code = "import sys, ffswap; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_info_of_a_clip(clip: Any) -> None:
    info = probe(clip("in.mp4", frames=30, rate=Fraction(30000, 1001), audio=2, subtitles=True))
    assert (info.container, info.width, info.height) == ("mov", 64, 48)
    assert info.pixel_format == "yuv420p"
    assert info.carrier == info.working == PixelFormat("yuv420p", 8, 1, 1)
    assert info.rate == Fraction(30000, 1001)
    assert info.declared_frames == 30
    assert info.duration_s == pytest.approx(1.001, abs=1e-4)
    assert info.start_s == 0
    assert [s.type for s in info.streams] == ["video", "audio", "audio", "subtitle"]
    assert [s.language for s in info.streams[1:]] == ["eng", "deu", "fra"]
    assert info.streams[1].codec == "aac"
    assert not info.is_picture
    assert info.warnings == ()


def test_start_is_that_of_the_first_frame(clip: Any) -> None:
    source = clip("in.ts", pts=[50 + i for i in range(5)], frames=5)
    assert probe(source).start_s == pytest.approx(float(content(source).pts[0]), abs=1e-9)
    assert probe(source).start_s >= 2


def test_mkv_tells_the_length_of_the_video_not_of_the_sound(clip: Any) -> None:
    info = probe(clip("in.mkv", frames=25, audio=1, audio_s=4.0))
    assert info.duration_s == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rotation_counts_counter_clockwise(clip: Any, suffix: str, clockwise: int) -> None:
    # the matrix of a phone held upright turns the picture by 90 degrees clockwise:
    # (x, y) -> (-y, x), so that what is stored on the right is shown at the bottom
    info = probe(clip("in" + suffix, frames=2, rotation=clockwise))
    assert info.rotation == (360 - clockwise) % 360
    stored = np.zeros((4, 6), int)
    stored[1, 5] = 1
    shown = np.rot90(stored, info.rotation // 90)
    where = {0: (1, 5), 90: (5, 2), 180: (2, 0), 270: (0, 1)}[clockwise]
    assert tuple(int(v) for v in np.argwhere(shown)[0]) == where


@pytest.mark.parametrize(
    ("tags", "height", "want"),
    [
        (None, 48, (0.299, 0.114, False, "unknown", True)),
        (None, 720, (0.2126, 0.0722, False, "unknown", True)),
        ((1, 1, 1, 1), 48, (0.2126, 0.0722, False, "bt709", False)),
        ((6, 2, 6, 6), 720, (0.299, 0.114, True, "smpte170m", False)),
        ((5, 1, 5, 6), 48, (0.299, 0.114, False, "smpte170m", False)),
        ((9, 1, 9, 16), 48, (0.2627, 0.0593, False, "smpte2084", False)),
    ],
)
def test_colour(clip: Any, tags: Any, height: int, want: Any) -> None:
    colour = probe(clip("in.mp4", frames=1, tags=tags, height=height, noisy=False)).colour
    got = (colour.kr, colour.kb, colour.full_range, colour.transfer, colour.guessed)
    assert got == want


def test_yuvj_is_full_range(clip: Any) -> None:
    assert probe(clip("in.mkv", frames=1, pix_fmt="yuvj420p")).colour.full_range


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("yuv420p", (8, 1, 1)), ("yuv422p10le", (10, 1, 0)), ("yuv444p16le", (16, 0, 0)),
        ("yuvj444p", (8, 0, 0)), ("yuv440p12le", (12, 0, 1)), ("yuv411p", (8, 2, 0)),
        ("yuv410p", (8, 2, 2)), ("yuv420p9le", (9, 1, 1)), ("yuv420p14le", (14, 1, 1)),
        ("yuv420p10be", None), ("nv12", None), ("gray", None), ("yuva420p", None),
        ("gbrp", None), ("p010le", None), ("yuyv422", None), ("yuv444p10msble", None),
    ],
)  # fmt: skip
def test_pixel_formats(name: str, want: Any) -> None:
    got = pixel_format(name)
    assert (got and (got.depth, got.log2_chroma_w, got.log2_chroma_h)) == want
    if got is not None:
        frame = av.VideoFrame(63, 47, name)
        height, width = got.chroma_shape(47, 63)
        assert (frame.planes[1].height, frame.planes[1].width) == (height, width)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("nv12", "yuv420p"), ("nv16", "yuv422p"), ("nv24", "yuv444p"), ("p010le", "yuv420p10le"),
        ("p210le", "yuv422p10le"), ("yuyv422", "yuv422p"), ("yuva444p10le", "yuv444p10le"),
        ("gray", "yuv420p"), ("gray12le", "yuv420p12le"), ("pal8", "yuv444p"),
        ("rgb24", "yuv444p"), ("rgb48le", "yuv444p16le"), ("gbrp12le", "yuv444p12le"),
        ("yuv420p10be", "yuv420p10le"), ("gbrapf32le", "yuv444p16le"),
    ],
)  # fmt: skip
def test_replacements(name: str, want: str) -> None:
    found, note = replacement_format(name)
    assert found.name == want
    assert note is not None
    assert name in note
    assert ("transparency" in note) == ("a" in name.replace("gray", "") or name == "pal8")


@pytest.mark.parametrize(
    ("target", "pix_fmt", "want"),
    [
        ("a.mp4", "yuv420p", ("libx264", "yuv420p")),
        ("a.MOV", "yuv422p", ("libx264", "yuv422p")),
        ("a.mkv", "yuv444p", ("libx264", "yuv444p")),
        ("a.mkv", "yuvj420p", ("libx264", "yuvj420p")),
        ("a.mp4", "yuv420p10le", ("libx264", "yuv420p10le")),
        ("a.avi", "yuv422p10le", ("libx264", "yuv422p10le")),
        ("a.webm", "yuv420p", ("libvpx-vp9", "yuv420p")),
        ("a.webm", "yuv420p10le", ("libsvtav1", "yuv420p10le")),
    ],
)
def test_default_encoders(clip: Any, target: str, pix_fmt: str, want: Any) -> None:
    plan = choose(target, probe(clip("in.mkv", frames=1, pix_fmt=pix_fmt)), EncodeOptions())
    assert (plan.name, plan.pix_fmt) == want
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("encoder", "quality", "want"),
    [
        ("libx264", None, {"crf": "18", "preset": "veryfast"}),
        ("libx265", 30, {"crf": "30"}),
        ("libsvtav1", 63, {"crf": "63", "preset": "8"}),
        ("libvpx-vp9", 10, {"crf": "10", "b": "0"}),
        ("mpeg4", 5, {"qmin": "5", "qmax": "5"}),
        ("prores_ks", 5, {"global_quality": "590", "flags": "+qscale"}),
    ],
)
def test_options_of_encoders(clip: Any, encoder: str, quality: Any, want: Any) -> None:
    options = EncodeOptions(encoder=encoder, quality=quality)
    plan = choose("a.mkv", probe(clip("in.mp4", frames=1)), options)
    assert want.items() <= plan.options.items()


@pytest.mark.parametrize(
    "encoder", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4", "mjpeg", "prores_ks"]
)
def test_quality_is_obeyed(clip: Any, tmp_path: Path, encoder: str) -> None:
    source = clip("in.mp4", frames=4, width=128, height=96)
    sizes = []
    for quality in (5, 30):
        target = tmp_path / f"{quality}.mkv"
        with ClipReader(source) as reader:
            options = EncodeOptions(encoder=encoder, quality=quality)
            plan = choose(target, reader.info, options)
            with ClipWriter(target, reader, plan) as writer:
                for item in reader:
                    writer.write(item)
                writer.finish()
        sizes.append(target.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_losing_formats_are_said(clip: Any) -> None:
    info = probe(clip("in.mkv", frames=1, pix_fmt="yuv444p"))
    plan = choose("a.mkv", info, EncodeOptions(encoder="libsvtav1"))
    assert plan.pix_fmt == "yuv420p"
    assert "yuv444p" in plan.warnings[0]
    plan = choose("a.mov", info, EncodeOptions(encoder="prores_ks"))
    assert plan.pix_fmt == "yuv444p10le"


def test_odd_size_is_said(clip: Any) -> None:
    info = probe(clip("in.mkv", encoder="ffv1", options={}, frames=1, width=63))
    plan = choose("a.mp4", info, EncodeOptions())
    assert plan.pix_fmt == "yuv444p"
    assert "even" in plan.warnings[0]
    assert choose("a.webm", info, EncodeOptions()).pix_fmt == "yuv420p"


def test_usable_is_found_out_by_doing() -> None:
    found = list_usable()
    for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "mpeg4"):
        assert found[name].ok, found[name].reason
    assert found["mjpeg"].ok
    assert not usable("libx264", "gbrp16le").ok
    none = usable("no_such_encoder", "yuv420p")
    assert not none.ok
    assert none.reason


def test_hdr_metadata_goes_through(clip: Any, tmp_path: Path) -> None:
    params = (
        "log-level=error:hdr10=1:repeat-headers=1:max-cll=1000,400:master-display="
        "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    source = clip(
        "in.mkv", encoder="libx265", pix_fmt="yuv420p10le", tags=(9, 1, 9, 16), frames=4,
        options={"preset": "ultrafast", "x265-params": params},
    )  # fmt: skip
    info = probe(source)
    assert info.mastering is not None
    assert info.mastering.content_light == (1000, 400)
    assert info.mastering.luminance == (Fraction(1, 200), Fraction(1000))
    for encoder in ("libx265", "libx264", "libsvtav1"):
        target = tmp_path / f"{encoder}.mkv"
        with ClipReader(source) as reader:
            plan = choose(target, reader.info, EncodeOptions(encoder=encoder))
            with ClipWriter(target, reader, plan) as writer:
                for item in reader:
                    writer.write(item)
                writer.finish()
        got = probe(target).mastering
        assert got is not None, encoder
        assert got.content_light == (1000, 400)
        assert got.luminance is not None
        assert float(got.luminance[1]) == pytest.approx(1000, rel=1e-3)
        assert got.primaries is not None
        assert float(got.primaries[0]) == pytest.approx(0.68, abs=1e-3)
    plan = choose("a.mkv", info, EncodeOptions(encoder="ffv1"))
    assert "HDR" in plan.warnings[0]


def test_png_with_a_colour_profile_does_not_crash(tmp_path: Path) -> None:
    # In a process of its own: what went wrong here once was a segmentation fault.
    path = tmp_path / "profile.png"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (32, 32), (200, 100, 50)).save(path, icc_profile=profile)
    code = (
        "import gc, sys; from ffswap.media import probe; "
        "print(probe(sys.argv[1]).is_picture); gc.collect()"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n")
