"""Reading a clip: decoded frames of the video, packets of everything else, in file order."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame

from ..carriers import Frames
from ..closing import Closing
from ..errors import InternalError, MediaError, OptionError
from ..files import PathLike
from ..options import LimitOptions, Position
from ._clock import AnyPacket, Clock
from ._files import fraction, open_input
from ._integrity import Tally, is_cut_short, missing_frames
from ._items import CopiedPackets, ReadSummary
from ._limits import check_length
from ._parts import Parts, ReaderMark, SegmentBreak
from ._trim import resolve
from .colour import colour_of, convert, pixel_format, planes_of, upright
from .probe import MAX_FAILED_PACKETS, limited_stream, pixel_aspect, probe, tagged_duration

__all__ = ["MAX_FAILED_PACKETS", "ClipReader"]

# Packets that are handed over together at the most: bounds memory where the sound is much
# longer than the video.
_MAX_COPIED = 64

# Containers in which a packet called damaged is one that the file ends in: nothing comes after it,
# and what a decoder makes of it differs between versions, up to the loss of the frames before it.
_TORN_AT_END = frozenset({"mov", "avi"})

# After the end of a trimmed range, how much further the file is read for packets of the range
# that are stored late.
_INTERLEAVE_S = 10

Decoded: TypeAlias = "tuple[VideoFrame, int] | SegmentBreak"


class _SeekTooFarError(Exception):
    """The first frame after a seek comes after the one that was sought."""


class ClipReader(Closing):
    """Reads a clip once, from its first kept frame to its last. Use it as a context manager.

    Frames are decoded with frame threads. The planes of the frames handed out are writable and
    belong to the receiver. Iterate in one thread; templates of the streams may be taken from
    another before the iteration begins.

    Args:
        path: of the clip.
        start: first moment that is kept (a frame number counts in presentation order from 0).
        end: first moment that is no longer kept.
        threads: of the decoder; None: as many as there are cores.
        batch_frames: frames per `Frames` at the most.
        segment_s: length of a segment in seconds; a `SegmentBreak` comes between two, and no batch
            reaches over it. None: the clip is one segment.
        mark: of a `SegmentBreak`, for the same clip and range: its frames are handed out from there on.
        limits: what it is refused for being too large or too long; None: the usual ones.

    Raises:
        InputMissingError: there is no such file, or it is a folder.
        MediaError: no media, no video stream, nothing of it can be decoded, or it is too large or
            too long.
        OptionError: start and end are not within the clip, in this order.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        start: Position | None = None,
        end: Position | None = None,
        threads: int | None = None,
        batch_frames: int = 8,
        segment_s: float | None = None,
        mark: ReaderMark | None = None,
        limits: LimitOptions | None = None,
    ) -> None:
        if batch_frames < 1:
            raise OptionError(f"batch_frames is {batch_frames}; allowed: 1 or more")
        self.info = probe(path, limits)
        self._threads = threads or 0
        self._batch = batch_frames
        self.window = resolve(self.info, start, end)
        self._segment_s, self._mark = segment_s, mark
        self._failed = 0 if mark is None else mark.failed
        self._failed_in_a_row = self._damaged = self._dropped = 0
        if not self.window.trims:
            check_length(self.info.duration_s or 0, self.info.limits, path)
        self._frames = 0
        self._first: int | None = None
        self._warnings: list[str] = list(self.info.warnings)
        self._summary: ReadSummary | None = None
        self._started = False
        self._read_error: str | None = None
        self._open()

    def _open(self) -> None:
        info = self.info
        self.container = open_input(info.path, info.limits)
        self.stream = limited_stream(self.container, info.path, info.limits)
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = self._threads
        self._tally = Tally(rate=self.info.rate)
        self._clock = Clock(self.info)
        self._parts = Parts(self.info, self._segment_s, self._mark)
        self._video_done = self._sought = False

    def close(self) -> None:
        """Close the file. Packets that were handed out are no longer valid."""
        self.container.close()

    @property
    def shift(self) -> Fraction:
        """Seconds by which a trimmed clip is moved to begin at 0; 0 where nothing is trimmed."""
        return self.window.shift_s

    @property
    def expected_frames(self) -> int | None:
        """How many frames are likely to come: exact when trimmed, else as the headers say."""
        if self.window.frames is not None:
            return self.window.frames
        info = self.info
        if info.declared_frames is None and info.duration_s and info.rate:
            return max(1, round(Fraction(info.duration_s) * info.rate))
        return info.declared_frames

    @property
    def summary(self) -> ReadSummary:
        """What came out of the clip; once the iteration has come to its end."""
        if self._summary is None:
            raise InternalError("the summary was asked for before the clip was read to its end")
        return self._summary

    def __iter__(self) -> Iterator[Frames | CopiedPackets | SegmentBreak]:
        if self._started:
            raise InternalError("a ClipReader can be read once")
        self._started = True
        try:
            wanted = self._mark is None or self._mark.sought
            yield from self._items(seek=wanted and self.window.seek is not None)
        except _SeekTooFarError:
            self.container.close()
            self._open()
            yield from self._items(seek=False)
        if self._parts.ahead:
            raise MediaError("the frame at which to go on cannot be found", file=self.info.path)
        if not self._frames and not self.window.trims:
            raise MediaError("holds not one whole frame of the video", file=self.info.path)
        if not self._frames:
            raise OptionError("there is no frame between start and end", file=self.info.path)
        self._summary = self._summarise()

    def copied(self) -> Iterator[AnyPacket]:
        """The packets of all streams that are not edited, in file order, in place of the iteration."""
        self._started = True
        other = [s for s in self.container.streams if s.type != "attachment"]
        other = [s for s in other if s.index != self.info.video_index]
        packets = self.container.demux(*other) if other else iter(())
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                return  # who decoded the video has told of it
            if packet is None or self._past_end(packet):
                return
            torn = packet.is_corrupt and self.info.container in _TORN_AT_END
            if packet.size and not torn and self._keep(packet):
                yield packet

    def _items(self, *, seek: bool) -> Iterator[Frames | CopiedPackets | SegmentBreak]:
        """Alternate between copied packets and batches of frames."""
        self._sought = seek
        if seek and self.window.seek is not None:
            self.container.seek(self.window.seek, stream=self.stream, backward=True)
        copied: list[AnyPacket] = []
        batch: list[tuple[VideoFrame, int]] = []
        for found in self._demux(seek=seek):
            if isinstance(found, Packet):
                copied.append(found)
            elif isinstance(found, SegmentBreak):
                if batch:
                    yield self._pack(batch)
                    batch = []
                yield found
            else:
                batch.append(found)
            # a seek that went too far is found out at the first frame, and done again
            sure = self._frames > 0 or not seek
            if copied and sure and (len(copied) >= _MAX_COPIED or len(batch) >= self._batch):
                yield CopiedPackets(copied)
                copied = []
            if len(batch) >= self._batch:
                yield self._pack(batch)
                batch = []
        if copied:
            yield CopiedPackets(copied)
        if batch:
            yield self._pack(batch)

    def _demux(self, *, seek: bool) -> Iterator[AnyPacket | Decoded]:
        streams = [s for s in self.container.streams if s.type != "attachment"]
        packets = self.container.demux(*streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError as error:
                self._read_error = error.strerror or str(error)
                break
            if packet.is_corrupt and self.info.container in _TORN_AT_END:
                continue
            self._count(packet)
            if packet.stream.index == self.info.video_index:
                yield from self._decode(packet, seek=seek)
            elif packet.size and self._keep(packet):
                yield packet
            if self._video_done and self._past_end(packet):
                break
        if self._read_error is not None and not self._video_done:
            yield from self._decode(None, seek=seek)

    def _count(self, packet: AnyPacket) -> None:
        base = fraction(packet.time_base)
        when = packet.pts if packet.pts is not None else packet.dts
        video = packet.stream.index == self.info.video_index
        if video and (packet.size or packet.dts is not None):
            self._tally.packets += 1
        if when is None or base is None:
            return
        end = (when + (packet.duration or 0)) * base
        self._tally.any_end_s = max(end, self._tally.any_end_s or end)
        if video:
            self._tally.video_end_s = max(end, self._tally.video_end_s or end)

    def _keep(self, packet: AnyPacket) -> bool:
        """Is a packet of another stream within the range that is kept?"""
        base = fraction(packet.time_base)
        when = packet.pts if packet.pts is not None else packet.dts
        cover = packet.stream.disposition & Disposition.attached_pic
        if not self.window.trims or when is None or base is None or cover:
            return True
        return self.window.holds(when * base)

    def _past_end(self, packet: AnyPacket) -> bool:
        end_s = self.window.end_s
        base = fraction(packet.time_base)
        when = packet.dts if packet.dts is not None else packet.pts
        if end_s is None or when is None or base is None:
            return False
        return when * base >= end_s + _INTERLEAVE_S

    def _decode(self, packet: AnyPacket | None, *, seek: bool) -> Iterator[Decoded]:
        number = self._tally.packets
        if self._video_done or (packet is not None and not self._parts.packet(number, packet)):
            return
        try:
            if packet is None:
                decoded = self.stream.codec_context.decode(None)
            else:
                self._clock.packet(packet)
                decoded = self.stream.decode(packet)
            self._failed_in_a_row = 0
        except av.FFmpegError as error:
            self._failed += self._parts.is_new(number)
            self._failed_in_a_row += 1
            if self._failed_in_a_row > MAX_FAILED_PACKETS:
                raise MediaError(
                    f"{self._failed_in_a_row} packets in a row cannot be decoded "
                    f"({error.strerror}); the file is damaged beyond use",
                    file=self.info.path, stage="decode", frame=self._frames,
                ) from error  # fmt: skip
            return
        for frame in decoded:
            yield from self._accept(frame, seek=seek)

    def _accept(self, frame: VideoFrame, *, seek: bool) -> Iterator[Decoded]:
        """Stamp a frame, drop it if it is outside the range or out of order."""
        clock, window = self._clock, self.window
        pts = clock.stamp(frame)
        if clock.last is not None and pts <= clock.last:
            self._dropped += 1
            return
        first = clock.last is None
        clock.last = pts
        whole = self._mark is None
        if first and seek and whole and window.start is not None and pts > window.start:
            raise _SeekTooFarError
        if window.end is not None and pts >= window.end:
            self._video_done = True
            return
        if window.start is not None and pts < window.start:
            return
        self._first = pts if self._first is None else self._first
        length = (pts - self._first) * self.info.time_base
        check_length(length, self.info.limits, self.info.path, frame=self._frames)
        if mark := self._parts.arrives(pts):
            self._go_on(mark, pts)
        if self._parts.ahead:
            return
        if keys := self._parts.begins(pts):
            yield SegmentBreak(self._mark_here(pts, *keys))
        self._damaged += bool(frame.is_corrupt)
        ready = self._prepare(frame)
        self._frames += 1
        yield ready, pts

    def _go_on(self, mark: ReaderMark, pts: int) -> None:
        """Count from here on as if all before had been handed out."""
        if pts != mark.pts:
            raise MediaError(
                "the frame at which to go on cannot be found", file=self.info.path, stage="decode"
            )
        self._frames, self._damaged, self._dropped = mark.frames, mark.damaged, mark.dropped

    def _mark_here(self, pts: int, decode_from: int, key: int) -> ReaderMark:
        return ReaderMark(
            frames=self._frames, pts=pts, packets=self._tally.packets, decode_from=decode_from,
            key=key, failed=self._failed, damaged=self._damaged, dropped=self._dropped,
            sought=self._sought,
        )  # fmt: skip

    def _prepare(self, frame: VideoFrame) -> VideoFrame:
        """The frame in its working format, owned by nobody else."""
        info = self.info
        if (frame.width, frame.height) != (info.width, info.height):
            raise self._changed(f"{frame.width}x{frame.height}", f"{info.width}x{info.height}")
        if frame.format.name != info.pixel_format:
            raise self._changed(frame.format.name, info.pixel_format)
        if info.carrier is None:
            # the decoder gives 4:2:0 and grey frames of another range no new format name
            colour = colour_of(frame, working=info.working)
            frame = convert(frame, info.working.name, colour)
        frame.make_writable()
        return upright(frame)

    def _changed(self, now: str, before: str) -> MediaError:
        return MediaError(
            f"the video changes from {before} to {now}; a clip must have one size and format",
            file=self.info.path, stage="decode", frame=self._frames,
            hint="split the clip there, or convert it first",
        )  # fmt: skip

    def _pack(self, batch: list[tuple[VideoFrame, int]]) -> Frames:
        frames = [frame for frame, _ in batch]
        pixels = pixel_format(frames[0].format.name)
        if pixels is None:
            raise InternalError(f"a {frames[0].format.name} frame was to be edited")
        return Frames(
            planes=[planes_of(frame, pixels) for frame in frames],
            format=pixels,
            colour=self.info.colour,
            pts=np.array([pts for _, pts in batch], np.int64),
            time_base=self.info.time_base,
            index=self._frames - len(batch),
            rotation=self.info.rotation,
            pixel_aspect=pixel_aspect(self.stream),
            handles=frames,
        )

    def _summarise(self) -> ReadSummary:
        info, tally, missing = self.info, self._tally, 0
        if self.window.end is None:
            try:
                cut = is_cut_short(info.path, info.container)
            except OSError as error:
                raise MediaError("went away while it was read", file=info.path) from error
            self._expect(cut_short=bool(cut))
            missing = missing_frames(tally, cut)
        warnings = list(self._warnings)
        if self._read_error is not None:
            warnings.append(f"reading stopped before the end of the file ({self._read_error})")
        if missing:
            about = "" if tally.expected_packets else "about "
            plural = "frame is" if missing == 1 else "frames are"
            warnings.append(f"the file is cut short: {about}{missing} {plural} missing at its end")
        if self._damaged:
            warnings.append(f"{self._damaged} damaged frames were decoded as well as possible")
        if self._failed:
            warnings.append(f"{self._failed} damaged packets could not be decoded")
        if self._dropped:
            warnings.append(
                f"{self._dropped} frames were dropped: their time stamp was not after the last one"
            )
        return ReadSummary(self._frames, missing, self._damaged + self._failed, tuple(warnings))

    def _expect(self, *, cut_short: bool) -> None:
        """Fill in what the container promises."""
        stream, tally, base = self.stream, self._tally, self.info.time_base
        if self.window.start is None:
            if self.info.container == "mov":
                # unlike the count in the header, the index knows what an edit list cuts off
                tally.expected_packets = len(stream.index_entries) or None
            elif self.info.container == "avi" and cut_short:
                # in a whole file the count includes empty frames, which are not packets
                tally.expected_packets = self.info.declared_frames
        start = (stream.start_time or 0) * base
        tagged = tagged_duration(stream)
        if stream.duration:
            tally.expected_end_s = start + stream.duration * base
        elif tagged:
            tally.expected_end_s = tagged
        container = self.container
        if container.duration:
            begin = container.start_time or 0
            tally.container_end_s = Fraction(begin + container.duration, av.time_base)
