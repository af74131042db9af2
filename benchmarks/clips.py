"""Clips to measure with, made once from the demo material and kept in ``.cache/bench``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import Interpolation

from tools.material import material

__all__ = ["benchmark_clip"]

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench"
SOURCE = "single_face.mp4"  # 640x360, 72 frames, one face about 148 px wide
SOURCE_HEIGHT = 360
SCHEMA = 1  # raise it when a clip would come out differently, so that kept ones are made anew


def _whole(make: Callable[[Path], None], path: Path) -> Path:
    """Make a file under another name and give it its own when it is complete."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")
        make(part)
        part.replace(path)
    return path


def _upscale(source: Path, output: Path, height: int) -> None:
    """Scale a clip bicubically and encode it with x264 at crf 18, sound left out."""
    with av.open(str(source)) as before, av.open(str(output), "w") as after:
        stream = before.streams.video[0]
        rate = Fraction(stream.average_rate or 30)
        encoder = after.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
        encoder.width, encoder.height = stream.width * height // stream.height // 2 * 2, height
        encoder.pix_fmt = "yuv420p"
        for index, frame in enumerate(before.decode(stream)):
            scaled = frame.reformat(
                width=encoder.width, height=height, interpolation=Interpolation.BICUBIC
            )
            scaled.pts, scaled.time_base = index, 1 / rate
            after.mux(encoder.encode(scaled))
        after.mux(encoder.encode(None))


def _packets(source: Path) -> Iterator[av.Packet[av.VideoStream]]:
    """The video packets of a clip, without the empty one that ends them."""
    with av.open(str(source)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


def _loop(source: Path, output: Path, loops: int) -> None:
    """Put a clip's video end to end with itself, packet by packet, without encoding it again."""
    with av.open(str(source)) as model, av.open(str(output), "w") as after:
        stream = model.streams.video[0]
        looped = after.add_stream_from_template(stream)
        times = sorted(packet.pts or 0 for packet in _packets(source))
        duration = times[-1] - times[0] + times[1] - times[0]
        for turn in range(loops):
            for packet in _packets(source):
                packet.pts = (packet.pts or 0) + turn * duration
                packet.dts = (packet.dts or 0) + turn * duration
                packet.stream = looped
                after.mux(packet)


def benchmark_clip(height: int, loops: int) -> Path:
    """Path of the demo clip, scaled to ``height`` pixels and repeated ``loops`` times."""
    path = material(SOURCE)
    if height != SOURCE_HEIGHT:
        scaled = CACHE / f"single-{height}p-v{SCHEMA}.mp4"
        original = path
        path = _whole(lambda part: _upscale(original, part, height), scaled)
    if loops == 1:
        return path
    once = path
    return _whole(
        lambda part: _loop(once, part, loops), CACHE / f"single-{height}p-x{loops}-v{SCHEMA}.mp4"
    )
