"""What goes wrong with files, and what is said about it."""

from __future__ import annotations

import resource
import shutil
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_clips import Clip, content, noise_frame

from ffswap.carriers import Frames
from ffswap.errors import (
    EncoderError,
    InputMissingError,
    MediaError,
    OptionError,
    OutputError,
    OutputExistsError,
    OutputFormatError,
    OutputWriteError,
)
from ffswap.media import ClipReader, ClipWriter, EncoderPlan, choose, probe
from ffswap.options import EncodeOptions, Position

PLAN = EncoderPlan("libx264", "yuv420p", {"preset": "ultrafast", "crf": "20"})


def read(path: Path, **kw: Any) -> Any:
    with ClipReader(path, **kw) as reader:
        frames = sum(len(item) for item in reader if isinstance(item, Frames))
        assert reader.summary.frames == frames
        return reader.summary


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(InputMissingError, match="is a folder"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.mp4", b""), ("b.mp4", bytes(5000)), ("c.txt", b"hello\n" * 99), ("d.jpg", b"no" * 99)],
)
def test_not_media(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MediaError, match="give a video") as caught:
        probe(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


def test_mp4_without_index(clip: Any, tmp_path: Path) -> None:
    data = clip("in.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "cut.mp4")
    assert "moov" in (caught.value.hint or "")


def test_sound_alone_has_no_video_even_with_cover_art(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as out:
        track = out.add_stream("aac", rate=48000)
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = noise_frame(16, 16, "yuvj420p", 0)
        frame.pts = 0
        out.mux(cover.encode(frame) + cover.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sound.sample_rate, sound.pts = 48000, 0
        out.mux(track.encode(sound) + track.encode(None))
    with pytest.raises(MediaError, match="no video stream"):
        probe(path)


@pytest.mark.parametrize("fraction", [0.4, 0.5, 0.6, 0.9])
def test_cut_mp4_says_how_many_frames_are_missing(
    clip: Any, tmp_path: Path, fraction: float
) -> None:
    source = clip("in.mp4", frames=50, container={"movflags": "faststart"}, audio=1)
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * fraction)])
    summary = read(tmp_path / "cut.mp4")
    assert 0 < summary.frames < 50
    # a packet that the end of the file tears is a frame or is missing, never neither
    assert summary.missing_frames == 50 - summary.frames
    assert any("cut short" in w for w in summary.warnings)


@pytest.mark.parametrize(("suffix", "audio_s"), [(".mkv", 2.0), (".mkv", 5.0), (".avi", 2.0)])
def test_cut_mkv_and_avi_estimate_the_missing_frames(
    clip: Any, tmp_path: Path, suffix: str, audio_s: float
) -> None:
    source = clip("in" + suffix, frames=50, audio=1, audio_s=audio_s)
    data = source.read_bytes()
    cut = tmp_path / ("cut" + suffix)
    cut.write_bytes(data[: int(len(data) * 0.5)])
    summary = read(cut)
    assert 0 < summary.frames < 50
    assert abs(summary.missing_frames - (50 - summary.frames)) <= 1
    assert any("cut short" in w for w in summary.warnings)


def test_cut_fragmented_mp4_is_noticed(clip: Any, tmp_path: Path) -> None:
    flags = "frag_keyframe+empty_moov+default_base_moof"
    source = clip("in.mp4", frames=50, container={"movflags": flags},
                  options={"preset": "ultrafast", "g": "10"})  # fmt: skip
    whole = read(source)
    assert (whole.frames, whole.missing_frames) == (50, 0)
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.7)])
    summary = read(tmp_path / "cut.mp4")
    assert 0 < summary.frames < 50
    assert summary.missing_frames > 0


def test_vfr_clip_with_a_long_last_frame_is_whole(clip: Any) -> None:
    stamps = [0, 40, 80, 90, 5000, 5040, 9000]
    for name in ("a.mkv", "a.mp4"):
        source = clip(name, pts=stamps, time_base=Fraction(1, 1000), frames=7)
        summary = read(source)
        assert (summary.frames, summary.missing_frames) == (7, 0)


def patch_edit_list(path: Path, duration: int) -> None:
    """Shorten the edit list's first segment of a small mp4, in units of its movie time scale."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4
    data[at : at + 4] = duration.to_bytes(4, "big")
    path.write_bytes(data)


def test_edit_list_that_cuts_the_end_is_no_alarm(clip: Any) -> None:
    source = clip("in.mp4", frames=50)
    patch_edit_list(source, 1000)
    summary = read(source)
    assert summary.frames < 30
    assert summary.missing_frames == 0
    assert summary.warnings == ()


def test_damaged_packets_are_survived_and_counted(clip: Any, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=60, options={"preset": "ultrafast", "crf": "20", "g": "10"})
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(0)
    for at in rng.integers(len(data) // 4, len(data) - 2000, 60):
        data[at : at + 8] = rng.bytes(8)
    (tmp_path / "bad.mkv").write_bytes(data)
    summary = read(tmp_path / "bad.mkv")
    assert 30 < summary.frames <= 60
    assert summary.corrupt_frames > 0
    assert any("damaged" in w for w in summary.warnings)


def test_a_clip_that_is_all_damage_ends_in_an_error(clip: Any, tmp_path: Path) -> None:
    source = clip("in.mp4", frames=20)
    with av.open(str(source)) as file:
        spans = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    for at, size in spans:
        data[at : at + size] = bytes(size)
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(MediaError, match="not one frame"):
        probe(tmp_path / "bad.mp4")


def test_change_of_size_names_the_frame(clip: Any, tmp_path: Path) -> None:
    one = clip("a.ts", frames=10).read_bytes()
    later = list(range(20, 30))
    two = clip("b.ts", pts=later, frames=10, width=96, height=64).read_bytes()
    (tmp_path / "ab.ts").write_bytes(one + two)
    with pytest.raises(MediaError, match="changes from 64x48 to 96x64") as caught:
        read(tmp_path / "ab.ts")
    assert caught.value.frame == 10


def test_backward_times_drop_the_frame(clip: Any, tmp_path: Path) -> None:
    one = clip("a.ts", frames=10).read_bytes()
    (tmp_path / "aa.ts").write_bytes(one + one)
    summary = read(tmp_path / "aa.ts")
    assert summary.frames == 10
    assert any(w.startswith("10 frames were dropped") for w in summary.warnings)


@pytest.mark.parametrize(
    ("start", "end"),
    [("24f", None), (None, "25f"), ("10", None), (None, "10"), ("5f", "5f"), ("9f", "5f")],
)
def test_range_beyond_the_clip(clip: Any, start: str | None, end: str | None) -> None:
    source = clip("in.mp4")
    at: Any = {k: Position.parse(v) for k, v in (("start", start), ("end", end)) if v}
    with pytest.raises(OptionError, match=r"the clip has 24 frames, 0\.960 s"):
        ClipReader(source, **at)


def test_range_without_a_frame(clip: Any) -> None:
    source = clip("in.mp4")
    at = {"start": Position.parse("0.05"), "end": Position.parse("0.07")}
    with pytest.raises(OptionError, match="nothing is left"):
        read(source, **at)


def write(source: Path, target: Path, *, plan: EncoderPlan = PLAN, **kw: Any) -> None:
    with ClipReader(source) as reader, ClipWriter(target, reader, plan, **kw) as writer:
        for item in reader:
            writer.write(item)
        writer.finish()


def leftovers(folder: Path) -> list[str]:
    return [f.name for f in folder.iterdir() if ".part" in f.name]


def test_existing_output_stays(clip: Any, tmp_path: Path) -> None:
    source, target = clip("in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="exists"):
        write(source, target)
    assert target.read_bytes() == b"mine"
    write(source, target, overwrite=True)
    assert len(content(target).pts) == 24
    assert leftovers(tmp_path) == []


def test_output_that_appears_meanwhile_stays(clip: Any, tmp_path: Path) -> None:
    source, target = clip("in.mp4"), tmp_path / "out.mp4"
    with ClipReader(source) as reader, ClipWriter(target, reader, PLAN) as writer:
        for item in reader:
            writer.write(item)
        target.write_bytes(b"mine")
        with pytest.raises(OutputExistsError):
            writer.finish()
    assert target.read_bytes() == b"mine"
    assert leftovers(tmp_path) == []


def test_leaving_early_removes_everything(clip: Any, tmp_path: Path) -> None:
    source, target = clip("in.mp4"), tmp_path / "out.mp4"
    with ClipReader(source) as reader, ClipWriter(target, reader, PLAN) as writer:
        writer.write(next(iter(reader)))
        assert len(leftovers(tmp_path)) == 1
    assert leftovers(tmp_path) == []
    assert not target.exists()


def test_output_must_not_be_the_input(clip: Any, tmp_path: Path) -> None:
    source = clip("in.mp4")
    (tmp_path / "link.mp4").symlink_to(source)
    for target in (source, tmp_path / "link.mp4"):
        with pytest.raises(OutputError, match="input itself"):
            write(source, target, overwrite=True)
    assert len(content(source).pts) == 24


def test_output_folder(clip: Any, tmp_path: Path) -> None:
    source = clip("in.mp4")
    with pytest.raises(OutputWriteError, match="no folder"):
        write(source, tmp_path / "none" / "out.mp4")
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(OutputFormatError, match="is a folder"):
        write(source, tmp_path / "dir.mp4")
    with pytest.raises(OutputWriteError):
        write(source, Path("/proc/out.mp4"))  # which takes no files, not even from root


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize("limit", [0, 20_000, 200_000, -1, -100, -20_000])
def test_full_disk(clip: Any, tmp_path: Path, suffix: str, limit: int) -> None:
    """A limit of 0 or more is a size in bytes; a negative one is that much less than needed."""
    source, target = clip("in.mp4", frames=60, width=128, height=96), tmp_path / ("out" + suffix)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    plan = EncoderPlan("libx264", "yuv420p", {"preset": "ultrafast", "qp": "0"})
    if limit < 0:
        write(source, tmp_path / ("whole" + suffix), plan=plan)
        limit += (tmp_path / ("whole" + suffix)).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(OutputWriteError, match="disk full"):
            write(source, target, plan=plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert not target.exists()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "options", "error", "text"),
    [
        ("out.mp4", {"encoder": "x264"}, OptionError, "libx264, libx265"),
        ("out.mp4", {"encoder": "h264_nvenc"}, EncoderError, "h264_nvenc does not work"),
        ("out.mp4", {"preset": "warp"}, OptionError, "veryfast"),
        ("out.webm", {"preset": "9"}, OptionError, "0, 1, 2"),
        ("out.mkv", {"encoder": "libsvtav1", "preset": "14"}, OptionError, "12, 13"),
        ("out.mkv", {"encoder": "ffv1", "preset": "fast"}, OptionError, "has none"),
        ("out.mp4", {"quality": 52}, OptionError, "0 to 51"),
        ("out.mkv", {"encoder": "ffv1", "quality": 3}, OptionError, "takes none"),
        ("out.mkv", {"encoder": "mpeg4", "quality": 0}, OptionError, "1 to 31"),
        ("out.webm", {"encoder": "libx264"}, OutputFormatError, "libvpx-vp9"),
        ("out.mp4", {"encoder": "prores_ks"}, OutputFormatError, "libx264"),
        ("out.xyz", {}, OutputFormatError, r"\.mp4"),
        ("out", {}, OutputFormatError, r"\.mp4"),
    ],
)
def test_refused_encodings(
    clip: Any, target: str, options: Any, error: type[Exception], text: str
) -> None:
    if options.get("encoder") == "h264_nvenc" and shutil.which("nvidia-smi"):
        text = "h264_nvenc does not work|.*"
    info = probe(clip("in.mp4", frames=2))
    with pytest.raises(error, match=text):
        choose(target, info, EncodeOptions(**options))


def test_encoder_that_refuses_its_options(clip: Any, tmp_path: Path) -> None:
    plan = EncoderPlan("libx264", "yuv420p", {"preset": "none such"})
    with pytest.raises(EncoderError):
        write(clip("in.mp4", frames=2), tmp_path / "out.mp4", plan=plan)
    assert leftovers(tmp_path) == []


def test_the_recipe_really_makes_what_it_says(tmp_path: Path) -> None:
    got = content(Clip(tmp_path / "a.mp4", frames=7, audio=2, subtitles=True).make())
    assert len(got.pts) == 7
    assert [k for k, _ in got.kinds.values()][:4] == ["video", "audio", "audio", "subtitle"]
