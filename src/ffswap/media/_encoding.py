"""The encoder of a clip's video: frames in, packets out, whatever the packets are then put into."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..carriers import Frames
from ..errors import EncoderError
from ._encoder_table import Container
from ._files import fraction
from ._priority import same_priority
from ._remux import error_text
from ._streams import add_video, encoder_clock
from .colour import convert, planes_of
from .encoders import EncoderPlan
from .reader import ClipReader

__all__ = ["VideoEncoder"]

# No encoder holds a frame back for longer than this before it is shown.
_LONGEST_DELAY_S = 3600


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
        self._clock = encoder_clock(plan, reader.info.rate, self.time_base)
        self._stamps: dict[int, int] = {}
        self.stream = add_video(output, reader, plan, form, base=self.time_base, threads=threads)
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
        if self._clock != self.time_base:
            frame.pts, frame.time_base = self.written, self._clock
            self._stamps[self.written] = stamp
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
        return info.time_base

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
            with nullcontext() if self.written else same_priority():  # the first opens the encoder
                packets = self.stream.encode(frame)
            return [self._timed(self._stamped(packet)) for packet in packets]
        except (av.FFmpegError, ValueError) as error:
            raise EncoderError(
                f"{self._plan.name}: {error_text(error)}",
                file=self._file, stage="encode", frame=self.written,
            ) from error  # fmt: skip

    def _stamped(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """The packet of an encoder that only counts frames, with its time; it reorders none."""
        if packet.pts is not None and self._clock != self.time_base:
            packet.pts = packet.dts = self._stamps.pop(packet.pts)
            packet.time_base, packet.duration = self.time_base, 0
        return packet

    def _timed(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """The packet with a dts that can be: libx265 leaves it to chance in clips of one or two
        frames, which then could not be muxed or began years ago."""
        pts, dts, base = packet.pts, packet.dts, fraction(packet.time_base)
        if pts is not None and base is not None:
            if dts is None or not 0 <= (pts - dts) * base <= _LONGEST_DELAY_S:
                packet.dts = pts if self._last_dts is None else max(pts, self._last_dts + 1)
            self._last_dts = packet.dts
        return packet
