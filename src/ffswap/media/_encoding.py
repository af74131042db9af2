"""The encoder of a clip's video: frames in, packets out, whatever the packets are then put into."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..carriers import Frames
from ..errors import EncoderError
from ._encoder_table import Container
from ._files import fraction
from ._remux import error_text, kept_tags
from .colour import RANGE_FULL, RANGE_LIMITED, convert, matrix_code, planes_of, redefines_colour
from .encoders import EncoderPlan
from .reader import ClipReader

__all__ = ["VideoEncoder"]

# The mpeg4 bitstream has 16 bits for the denominator of the time base; this one holds the usual
# rates (24, 25, 30000/1001, 50, 60 per second) exactly.
_MPEG4_TIME_BASE = Fraction(1, 60000)
_MPEG4_MAX_DENOMINATOR = 65535

# No encoder holds a frame back for longer than this before it is shown.
_LONGEST_DELAY_S = 3600


# With its AVX-512 code x264 (core 165) makes other pictures of the same frames in each run, by chance.
_REPEATABLE = "cpu-independent=1"


class VideoEncoder:
    """The video stream of an output, and the encoder behind it.

    Args:
        output: gets the stream; it decides whether parameter sets go into its header.
        reader: of the input, for what the stream inherits.
        plan: how the video is encoded.
        form: the container's format.
        file: of the output, for messages.
        threads: of the encoder; None: it decides.
        last: time stamp of the last frame before these, in units of `time_base`, or None.

    Attributes:
        stream: of the output.
        time_base: seconds per unit of the packets' times.
        last: time stamp of the last frame, in units of `time_base`, or None.
        written: frames that the encoder has taken.
        dropped: frames that fell on the moment of the one before.

    Raises:
        EncoderError: the encoder refuses the plan.
    """

    def __init__(
        self,
        output: OutputContainer,
        reader: ClipReader,
        plan: EncoderPlan,
        form: Container,
        file: Path,
        *,
        threads: int | None = None,
        last: int | None = None,
    ) -> None:
        self._reader, self._plan, self._form, self._file = reader, plan, form, file
        self.time_base = self._time_base()
        self.stream = self._add_stream(output, threads)
        self.last = last
        self._last_dts: int | None = None
        self.written = self.dropped = 0

    def encode(self, item: Frames, i: int) -> list[Packet[VideoStream]]:
        """Take frame i of these; frames come in order, and those of the reader's own lose their planes.

        Returns:
            Packets that are complete, with times in units of `time_base`.

        Raises:
            EncoderError: the encoder failed.
        """
        frame, base = self._frame(item, i), item.time_base
        stamp = round((int(item.pts[i]) * base - self._reader.shift) / self.time_base)
        if self.last is not None and stamp <= self.last:
            self.dropped += 1
            return []
        self.last = stamp
        if frame.duration:
            frame.duration = round(frame.duration * base / self.time_base)
        frame.pts, frame.time_base = stamp, self.time_base
        frame.pict_type = 0  # or the encoder would repeat the source's choice of key frames
        packets = self._run(frame)
        self.written += 1
        return packets

    def drain(self) -> list[Packet[VideoStream]]:
        """The packets that the encoder still holds; nothing can be encoded any more."""
        return self._run(None) if self.written else []

    def _time_base(self) -> Fraction:
        info = self._reader.info
        if self._form.fixed_rate:
            return 1 / (info.rate or Fraction(25))
        if self._plan.name == "mpeg4" and info.time_base.denominator > _MPEG4_MAX_DENOMINATOR:
            return _MPEG4_TIME_BASE
        return info.time_base

    def _add_stream(self, output: OutputContainer, threads: int | None) -> VideoStream:
        info, plan, source = self._reader.info, self._plan, self._reader.stream
        options = dict(plan.options)
        if threads and plan.name == "libx265":
            _tell(options, "x265-params", f"pools={threads}")
        if plan.name == "libx264":
            _tell(options, "x264-params", _REPEATABLE)
        try:
            stream = output.add_stream(plan.name, rate=info.rate or 25, options=options)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderError(f"{plan.name}: {error_text(error)}", stage="encode") from error
        if not isinstance(stream, VideoStream):
            raise EncoderError(f"{plan.name} does not encode video", stage="encode")
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, plan.pix_fmt
        context = stream.codec_context
        context.time_base = self.time_base
        if threads:
            context.thread_count = threads
        ratio = fraction(source.sample_aspect_ratio)
        if ratio is not None:
            context.sample_aspect_ratio = ratio
        old = source.codec_context
        context.color_primaries, context.color_trc = old.color_primaries, old.color_trc
        context.colorspace, context.color_range = old.colorspace, old.color_range
        if info.colour.full_range:
            context.color_range = RANGE_FULL
        if redefines_colour(info.pixel_format):
            context.colorspace = matrix_code(info.colour)
            context.color_range = RANGE_FULL if info.colour.full_range else RANGE_LIMITED
        if plan.name in ("libx265", "hevc_nvenc") and self._form.format in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players refuse the usual hev1
        if plan.interlaced:
            context.flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
        matrix = info.matrix
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.metadata.update(kept_tags(source.metadata))
        stream.disposition = source.disposition
        return stream

    def _frame(self, item: Frames, i: int) -> VideoFrame:
        """The AVFrame behind a frame of the carrier, or a new one with its samples."""
        handle = item.handles[i] if item.handles else None
        if isinstance(handle, VideoFrame):
            frame = handle
        else:
            frame = av.VideoFrame(item.width, item.height, item.format.name)
            for target, plane in zip(planes_of(frame, item.format), item.planes[i], strict=True):
                target[...] = plane
        if frame.format.name != self._plan.pix_fmt:
            frame = convert(frame, self._plan.pix_fmt, item.colour)
        return frame

    def _run(self, frame: VideoFrame | None) -> list[Packet[VideoStream]]:
        try:
            return [self._timed(packet) for packet in self.stream.encode(frame)]
        except (av.FFmpegError, ValueError) as error:
            raise EncoderError(
                f"{self._plan.name}: {error_text(error)}",
                file=self._file, stage="encode", frame=self.written,
            ) from error  # fmt: skip

    def _timed(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """The packet with a dts that can be: libx265 leaves it to chance in clips of one or two
        frames, which then could not be muxed or began years ago."""
        pts, dts, base = packet.pts, packet.dts, fraction(packet.time_base)
        if pts is not None and base is not None:
            if dts is None or not 0 <= (pts - dts) * base <= _LONGEST_DELAY_S:
                packet.dts = pts if self._last_dts is None else max(pts, self._last_dts + 1)
            self._last_dts = packet.dts
        return packet


def _tell(options: dict[str, str], name: str, more: str) -> None:
    """Add to an option that holds several of the encoder's own."""
    options[name] = f"{options[name]}:{more}" if name in options else more
