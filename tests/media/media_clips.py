"""Small clips and pictures for the tests, made with PyAV alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

ROTATIONS = {  # degrees clockwise that a player turns the picture -> display matrix
    0: (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}


def samples(plane: Any) -> Any:
    """All bytes of a plane, padding included, writable."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


def planes(frame: Any) -> list[Any]:
    """Copies of the samples of a frame, (H, W) each, without padding."""
    dtype = np.uint8 if max(c.bits for c in frame.format.components) == 8 else np.uint16
    return [samples(p).view(dtype)[:, : p.width].copy() for p in frame.planes]


def noise_frame(width: int, height: int, pix_fmt: str, i: int, *, noisy: bool = True) -> Any:
    """A frame with a moving square on noise."""
    frame = av.VideoFrame(width, height, pix_fmt)
    rng = np.random.default_rng(i)
    for n, plane in enumerate(frame.planes):
        part = frame.format.components[min(n, len(frame.format.components) - 1)]
        dtype = np.uint8 if part.bits == 8 else np.uint16
        view = samples(plane).view(dtype)
        low, high = 30 << (part.bits - 8), 200 << (part.bits - 8)
        view[...] = rng.integers(low, high, view.shape) if noisy else low * 2
        side = max(1, plane.height // 4)
        at = i * 2 % max(1, plane.width - side)
        view[side : 2 * side, at : at + side] = high
    return frame


@dataclass
class Clip:
    """A recipe; `make` writes it."""

    path: Path
    encoder: str = "libx264"
    width: int = 64
    height: int = 48
    frames: int = 24
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    pts: list[int] | None = None
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "qp": "0"})
    audio: int = 0
    audio_s: float | None = None
    languages: tuple[str, ...] = ("eng", "deu")
    subtitles: bool = False
    chapters: bool = False
    rotation: int | None = None
    tags: tuple[int, int, int, int] | None = None  # matrix, range, primaries, transfer
    metadata: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    noisy: bool = True
    sar: Fraction | None = None

    def make(self) -> Path:
        with av.open(
            str(self.path), "w", format=self.format, container_options=self.container
        ) as out:
            video = self._video(out)
            tracks = [self._audio_stream(out, n) for n in range(self.audio)]
            subtitle = self._subtitle_stream(out) if self.subtitles else None
            out.metadata.update(self.metadata)
            base = video.codec_context.time_base
            if self.chapters:
                out.set_chapters(
                    [
                        {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000),
                         "metadata": {"title": "one"}},
                        {"id": 2, "start": 400, "end": 900, "time_base": Fraction(1, 1000),
                         "metadata": {"title": "two"}},
                    ]
                )  # fmt: skip
            stamps = self.pts if self.pts is not None else list(range(self.frames))
            for i, pts in enumerate(stamps):
                frame = self.picture(i)
                frame.pts, frame.time_base = pts, base
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
            seconds = self.audio_s if self.audio_s is not None else self.frames / float(self.rate)
            for n, track in enumerate(tracks):
                self._sound(out, track, seconds, n)
            if subtitle is not None:
                self._text(out, subtitle)
        return self.path

    def picture(self, i: int) -> Any:
        """Frame `i`, to be encoded."""
        return noise_frame(self.width, self.height, self.pix_fmt, i, noisy=self.noisy)

    def _video(self, out: Any) -> Any:
        video = out.add_stream(self.encoder, rate=self.rate, options=dict(self.options))
        video.width, video.height, video.pix_fmt = self.width, self.height, self.pix_fmt
        context = video.codec_context
        context.time_base = self.time_base or 1 / self.rate
        if self.tags is not None:
            context.colorspace, context.color_range = self.tags[:2]
            context.color_primaries, context.color_trc = self.tags[2:]
        if self.rotation is not None:
            video.set_display_matrix(ROTATIONS[self.rotation])
        if self.sar is not None:
            context.sample_aspect_ratio = self.sar
        return video

    def _audio_stream(self, out: Any, n: int) -> Any:
        name = "libopus" if self.path.suffix == ".webm" else "aac"
        track = out.add_stream(name, rate=48000)
        track.metadata["language"] = self.languages[n]
        track.metadata["title"] = f"track {n}"
        return track

    def _sound(self, out: Any, track: Any, seconds: float, n: int) -> None:
        total = int(48000 * seconds)
        tone = 0.3 * np.sin(np.arange(total, dtype=np.float32) * (0.03 + 0.01 * n))
        size = track.codec_context.frame_size or 1024
        for at in range(0, total, size):
            part = np.ascontiguousarray(np.tile(tone[at : at + size], (2, 1)), np.float32)
            if track.codec_context.format.name == "flt":
                frame = av.AudioFrame.from_ndarray(part.T.reshape(1, -1), "flt", "stereo")
            else:
                frame = av.AudioFrame.from_ndarray(part, "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, at
            out.mux(track.encode(frame))
        out.mux(track.encode(None))

    def _subtitle_stream(self, out: Any) -> Any:
        name = "mov_text" if self.path.suffix in (".mp4", ".mov") else "subrip"
        stream = out.add_mux_stream(name, rate=1000)
        stream.time_base = Fraction(1, 1000)
        stream.metadata["language"] = "fra"
        return stream

    def _text(self, out: Any, stream: Any) -> None:
        for i in range(3):
            text = f"line {i}".encode()
            if self.path.suffix in (".mp4", ".mov"):
                text = len(text).to_bytes(2, "big") + text
            packet = av.Packet(text)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 200 * i
            packet.duration = 150
            out.mux(packet)


@dataclass
class Content:
    """Everything of a file that the tests compare."""

    pts: list[Fraction]
    frames: list[list[Any]]
    packets: dict[int, list[bytes]]
    times: dict[int, list[Fraction]]
    kinds: dict[int, tuple[str, str]]
    tags: tuple[int, ...]
    matrix: bytes | None
    sar: Fraction | None
    metadata: dict[str, str]
    stream_metadata: dict[int, dict[str, str]]
    dispositions: dict[int, int]
    chapters: list[tuple[Fraction, str]]
    codec: str
    codec_tag: str
    rotation: int


def content(path: Path) -> Content:
    """Read a file with PyAV alone, not with the code under test."""
    with av.open(str(path)) as source:
        video: Any = next(
            s for s in source.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        )  # fmt: skip
        got = Content(
            [], [], {}, {}, {}, (0, 0, 0, 0), None, None, dict(source.metadata), {}, {}, [],
            video.codec_context.name, video.codec_context.codec_tag, 0,
        )  # fmt: skip
        for s in source.streams:
            name = s.codec_context.name if s.codec_context is not None else "none"
            got.kinds[s.index] = (s.type, name)
            got.stream_metadata[s.index] = dict(s.metadata)
            got.dispositions[s.index] = int(getattr(s.disposition, "value", s.disposition))
        ratio = video.sample_aspect_ratio
        got.sar = Fraction(ratio.numerator, ratio.denominator) if ratio else None
        for chapter in source.chapters():
            base = chapter["time_base"]
            start = chapter["start"] * Fraction(base.numerator, base.denominator)
            got.chapters.append((start, chapter["metadata"].get("title", "")))
        for packet in source.demux([s for s in source.streams if s.type != "attachment"]):
            if packet.stream.index == video.index:
                for frame in packet.decode():
                    _frame(got, frame, timed=source.format.name != "avi")
            elif packet.size and bytes(packet) != b"\0\0":  # mov_text: nothing to be shown
                base = packet.time_base
                got.packets.setdefault(packet.stream.index, []).append(bytes(packet))
                got.times.setdefault(packet.stream.index, []).append(
                    packet.pts * Fraction(base.numerator, base.denominator)
                )
    return got


def _frame(got: Content, frame: Any, *, timed: bool) -> None:
    base = frame.time_base
    pts = frame.pts if frame.pts is not None and timed else len(got.pts)
    got.pts.append(pts * Fraction(base.numerator, base.denominator))
    got.frames.append(planes(frame))
    if len(got.pts) == 1:
        got.tags = tuple(
            int(x)
            for x in (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        )
        matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
        got.matrix = None if matrix is None else bytes(matrix)
        got.rotation = frame.rotation


def same_frames(a: Content, b: Content) -> bool:
    """All samples of all frames equal."""
    return len(a.frames) == len(b.frames) and all(
        np.array_equal(x, y)
        for one, two in zip(a.frames, b.frames, strict=True)
        for x, y in zip(one, two, strict=True)
    )
