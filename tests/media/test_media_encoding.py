"""How the output is encoded: like the input where nothing is said, else as asked for."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from media_clips import Clip

from ffswap.errors import FfswapError, OptionError
from ffswap.media import ClipReader, ClipWriter, choose, probe
from ffswap.media._trials import trial
from ffswap.options import EncodeOptions
from ffswap.options.encode import parse_bitrate


def encode(source: Path, target: Path, **asked: Any) -> tuple[Any, tuple[str, ...]]:
    """Through reader and writer; the plan, and what the user is told."""
    with ClipReader(source) as reader:
        plan = choose(target, reader.info, EncodeOptions(**asked))
        with ClipWriter(target, reader, plan) as writer:
            for item in reader:
                writer.write(item)
            writer.finish()
        return plan, writer.warnings


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="priorities of Linux")
def test_no_encoder_makes_this_thread_a_real_time_one(tmp_path: Path) -> None:
    source = Clip(tmp_path / "in.mkv", frames=3).make()
    encode(source, tmp_path / "out.mkv", encoder="libsvtav1")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    trial.cache_clear()
    assert trial("libsvtav1", "yuv420p", 256, 256, ()).ok
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize(
    ("encoder", "suffix", "options", "own"),
    [
        ("libx265", ".mp4", {"x265-params": "log-level=error"}, "libx265"),
        ("libx265", ".webm", {"x265-params": "log-level=error"}, "libvpx-vp9"),
        ("ffv1", ".mkv", {}, "ffv1"),
        ("ffv1", ".mp4", {}, "libx264"),
        ("mpeg4", ".avi", {}, "mpeg4"),
        ("mpeg2video", ".ts", {}, "mpeg2video"),
    ],
)
def test_the_encoder_is_one_of_the_inputs_codec_where_the_container_holds_it(
    clip: Any, encoder: str, suffix: str, options: dict[str, str], own: str
):
    source = clip("in.mkv", encoder=encoder, options=options, frames=3)
    assert choose(f"out{suffix}", probe(source), EncodeOptions()).name == own


def packets(path: Path) -> list[tuple[int, bool]]:
    """Size of every packet of the video and whether it is a key frame."""
    with av.open(str(path)) as file:
        return [(p.size, bool(p.is_keyframe)) for p in file.demux(video=0) if p.size]


def test_copied_settings_give_the_same_groups_and_about_as_many_bits(tmp_path: Path):
    options = {"preset": "veryfast", "b": "400000", "g": "10", "bf": "0", "sc_threshold": "0"}
    source = Clip(tmp_path / "in.mp4", width=320, height=240, frames=50, options=options).make()
    target = tmp_path / "out.mp4"
    plan, _ = encode(source, target, encoder="copy-settings")
    assert (plan.name, plan.options["g"], plan.options["bf"]) == ("libx264", "10", "0")
    before, after = packets(source), packets(target)
    assert [key for _, key in after][:50:10] == [True] * 5
    rates = [sum(size for size, _ in found) * 8 / 2 for found in (before, after)]
    assert int(plan.options["b"]) == pytest.approx(rates[0], rel=0.01)
    assert rates[1] == pytest.approx(rates[0], rel=0.35)  # rate control needs longer than 2 s


def test_copied_settings_take_over_the_profile(clip: Any):
    source = clip("in.mp4", frames=3, options={"preset": "ultrafast", "profile": "main"})
    plan = choose("out.mp4", probe(source), EncodeOptions(encoder="copy-settings"))
    assert plan.options["profile"] in ("main", "baseline")
    lossless = clip("ffv1.mkv", encoder="ffv1", options={}, frames=3)
    plan = choose("out.mkv", probe(lossless), EncodeOptions(encoder="copy-settings"))
    assert (plan.name, "b" in plan.options) == ("ffv1", False)


def test_copied_settings_need_an_encoder_of_the_codec(clip: Any):
    source = clip("in.avi", encoder="huffyuv", pix_fmt="yuv422p", options={}, frames=2)
    with pytest.raises(OptionError, match="no encoder for the huffyuv video"):
        choose("out.mkv", probe(source), EncodeOptions(encoder="copy-settings"))


def test_a_bit_rate_takes_the_place_of_a_quality(clip: Any):
    info = probe(clip("in.mp4", frames=2))
    plan = choose("out.mp4", info, EncodeOptions(bitrate=parse_bitrate("1.5M")))
    assert plan.options["b"] == "1500000"
    assert "crf" not in plan.options
    with pytest.raises(OptionError, match="takes none"):
        choose("out.mkv", info, EncodeOptions(encoder="ffv1", bitrate=1_000_000))


@pytest.mark.parametrize(
    ("text", "bits"), [("800k", 800_000), ("2.5M", 2_500_000), ("96000", 96_000)]
)
def test_bit_rates_are_read(text: str, bits: int):
    assert parse_bitrate(text) == bits


@pytest.mark.parametrize("text", ["", "fast", "-1", "2.5m", "1e6", "1 M"])
def test_what_is_no_bit_rate_is_refused(text: str):
    with pytest.raises(OptionError, match="2500k"):
        parse_bitrate(text)


def test_a_bit_rate_and_a_quality_together_are_refused():
    with pytest.raises(OptionError, match="not both"):
        EncodeOptions(quality=20, bitrate=1_000_000)


def test_an_encoder_of_8_bits_refuses_deep_video_unless_told(clip: Any, tmp_path: Path):
    source = clip("in.mkv", frames=3, pix_fmt="yuv420p10le")
    info = probe(source)
    with pytest.raises(OptionError, match="8 bits per sample, and the video has 10") as refused:
        choose("out.mkv", info, EncodeOptions(encoder="mpeg4"))
    assert refused.value.hint is not None
    assert "--pix-fmt yuv420p " in refused.value.hint
    assert "libx265" in refused.value.hint
    plan, told = encode(source, tmp_path / "out.mkv", encoder="mpeg4", pix_fmt="yuv420p")
    assert plan.pix_fmt == probe(tmp_path / "out.mkv").pixel_format == "yuv420p"
    assert any("as asked for" in sentence for sentence in told)


def test_10_bits_stay_10_bits(clip: Any, tmp_path: Path):
    source = clip("in.mkv", frames=3, pix_fmt="yuv420p10le")
    for encoder in ("libx264", "libx265", "libsvtav1"):
        encode(source, tmp_path / f"{encoder}.mkv", encoder=encoder)
        assert probe(tmp_path / f"{encoder}.mkv").pixel_format == "yuv420p10le"


def test_a_pixel_format_that_the_encoder_does_not_take_is_refused(clip: Any):
    info = probe(clip("in.mkv", frames=2))
    with pytest.raises(OptionError, match=r"allowed with mpeg4: yuv420p$"):
        choose("out.mkv", info, EncodeOptions(encoder="mpeg4", pix_fmt="yuv444p"))


def test_counting_encoders_keep_the_time_of_every_frame(clip: Any, tmp_path: Path):
    stamps = [0, 3, 4, 11, 12, 40, 41, 100]
    source = clip("in.mkv", pts=stamps, time_base=Fraction(1, 100), frames=8)
    for encoder in ("mpeg4", "mpeg2video"):
        target = tmp_path / f"{encoder}.mkv"
        encode(source, target, encoder=encoder)
        with av.open(str(target)) as file:
            times = [float(p.pts * p.time_base) for p in file.demux(video=0) if p.size]
        assert times == pytest.approx([t / 100 for t in stamps])


def test_errors_are_of_the_tree(clip: Any):
    info = probe(clip("in.mp4", frames=2))
    for asked in ({"encoder": "x"}, {"pix_fmt": "x"}, {"preset": "x"}, {"quality": 99}):
        with pytest.raises(FfswapError, match="allowed"):
            choose("out.mp4", info, EncodeOptions(**asked))
