"""Encoded video in pieces: a file of packets for each segment, and the output that they make together.

A file of packets holds what came out of the encoder and nothing else: for each packet a head of fixed
size and its bytes. Times are whole numbers of the output's own time base, so joining rounds nothing,
and it does not matter what container the output will have. Times of decoding are left out: those that
one encoder would have given are made for the whole clip when the pieces are joined.
"""

from __future__ import annotations

import heapq
import io
import itertools
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from ..carriers import Frames
from ..errors import InternalError, OutputWriteError
from ..files import PendingFile, write_error
from ._clock import AnyPacket
from ._encoding import VideoEncoder
from ._files import fraction
from ._items import CopiedPackets
from .encoders import EncoderPlan, container_of
from .reader import ClipReader
from .writer import ClipWriter

__all__ = ["SegmentEncoder", "SegmentFile", "join", "sound"]

_HEAD = struct.Struct("<qqBI")  # pts, duration, 1 for a key frame, bytes that follow
_MAGIC = b"ffswap packets 1\n"


@dataclass(frozen=True, kw_only=True)
class SegmentFile:
    """A finished segment. Plain values.

    Attributes:
        name: of its file.
        size_bytes: of it.
        crc32: of it, zlib's.
        packets: in it.
        frames: that the encoder has taken.
        dropped: frames that fell on the moment of the one before.
        last: time stamp of the last frame, or None.
        reorder: frames that are decoded before one that is shown before them, at the most.
        extradata: what the encoder puts into headers, hexadecimal.
    """

    name: str
    size_bytes: int
    crc32: int
    packets: int
    frames: int
    dropped: int
    last: int | None
    reorder: int
    extradata: str


class SegmentEncoder:
    """Encodes one segment into a file of its own, which appears when it is complete.

    Args:
        path: of the file of packets.
        output: of the whole clip; its suffix names the container.
        reader: of the input.
        plan: how the video is encoded.
        threads: of the encoder; None: it decides.
        last: `SegmentFile.last` of the segment before, or None.

    Raises:
        EncoderError: the encoder refuses the plan.
        OutputWriteError: the folder cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        output: Path,
        reader: ClipReader,
        plan: EncoderPlan,
        *,
        threads: int | None = None,
        last: int | None = None,
    ) -> None:
        form = container_of(output)
        self._output = output
        self._pending = PendingFile(path, overwrite=True)
        self._pts: list[int] = []
        self._crc = self._size = 0
        # Nothing is ever written into this container: it tells the encoder what it is for.
        self._container = av.open(io.BytesIO(), "w", format=form.format)
        self._encoder = VideoEncoder(
            self._container, reader, plan, form, output, threads=threads, last=last
        )
        self._file = self._pending.temporary.open("wb")
        self._put(_MAGIC)

    @property
    def frames_written(self) -> int:
        """Frames that the encoder has taken."""
        return self._encoder.written

    def write(self, frames: Frames) -> None:
        """Encode the next frames.

        Raises:
            OutputWriteError: the disk is full or failed.
            EncoderError: the encoder failed.
        """
        for i in range(len(frames)):
            self._keep(self._encoder.encode(frames, i))

    def finish(self) -> SegmentFile:
        """Drain the encoder and give the file its name; it is on the disk then.

        Raises:
            OutputWriteError: the disk is full or failed.
            EncoderError: the encoder failed.
        """
        encoder = self._encoder
        self._keep(encoder.drain())
        extradata = encoder.stream.codec_context.extradata or b""
        try:
            self._file.close()
        except OSError as error:
            raise write_error(error, self._output) from error
        self._pending.commit()
        self._container.close()
        return SegmentFile(
            name=self._pending.path.name, size_bytes=self._size, crc32=self._crc,
            packets=len(self._pts), frames=encoder.written, dropped=encoder.dropped,
            last=encoder.last, reorder=_reorder(self._pts), extradata=extradata.hex(),
        )  # fmt: skip

    def abandon(self) -> None:
        """Remove what was written, if it is not finished."""
        self._file.close()
        self._pending.discard()
        self._container.close()

    def _keep(self, packets: Sequence[Packet[Any]]) -> None:
        base = self._encoder.time_base
        for packet in packets:
            unit = fraction(packet.time_base) or base
            if packet.pts is None:
                raise InternalError("the encoder gave a packet without a time")
            pts = round(packet.pts * unit / base)
            data, duration = bytes(packet), round((packet.duration or 0) * unit / base)
            self._put(_HEAD.pack(pts, duration, packet.is_keyframe, len(data)) + data)
            self._pts.append(pts)

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise write_error(error, self._output) from error
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)


def sound(folder: Path, segment: SegmentFile) -> bool:
    """Whether the file of a segment is there as it was finished."""
    crc = size = 0
    try:
        with (folder / segment.name).open("rb") as file:
            while chunk := file.read(1 << 20):
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    except OSError:
        return False
    return (size, crc) == (segment.size_bytes, segment.crc32)


def join(
    folder: Path, segments: Sequence[SegmentFile], reader: ClipReader, writer: ClipWriter
) -> Iterator[int]:
    """Put the packets of all segments and those of the other streams into one output, by their time.

    Args:
        folder: with the files of the segments.
        segments: all of them, in order.
        reader: of the input, not yet iterated.
        writer: of the output; it is not finished here.

    Yields:
        Packets of the video that are written, after each.

    Raises:
        InternalError: an encoder's headers differ, so that a player could not go on from one to the next.
        OutputWriteError: the disk is full or failed, or a file of packets is damaged.
    """
    base = writer.time_base
    if len(extra := {one.extradata for one in segments}) != 1:
        raise InternalError(f"segments have {len(extra)} different headers")
    video: Iterator[tuple[float, int, Any]] = (
        (float(dts * base), 0, packet) for dts, packet in _timed(folder, segments)
    )
    shift, others = reader.shift, _by_time(reader)
    moved = ((when - float(shift), 1, packet) for when, packet in others)
    for _, kind, packet in heapq.merge(video, moved, key=lambda item: item[:2]):
        if kind:
            writer.write(CopiedPackets([packet]))
        else:
            writer.write_encoded(packet)
            yield writer.frames_written


def _by_time(reader: ClipReader) -> Iterator[tuple[float, AnyPacket]]:
    """Packets of other streams with their time in seconds; those without one come at once."""
    for packet in reader.copied():
        base = fraction(packet.time_base) or Fraction(0)
        when = packet.dts if packet.dts is not None else packet.pts
        yield (float("-inf") if when is None else float(when * base)), packet


def _timed(folder: Path, segments: Sequence[SegmentFile]) -> Iterator[tuple[int, Packet[Any]]]:
    """All packets of the video in the order of decoding, with the times of decoding of one encoder.

    A packet is decoded when the one is shown that comes `reorder` places before it in the order of
    showing; so the times ascend, and none is later than that of showing. The first have no such
    packet: they go before the first that is shown.
    """
    delay = max(one.reorder for one in segments)
    shown: deque[int] = deque()
    step = 1
    for segment in segments:
        path = folder / segment.name
        order = sorted(pts for pts, _, _ in _heads(path))
        if not shown and order:
            gaps = [b - a for a, b in itertools.pairwise(order)]
            step = max(1, min(gaps, default=1))
            shown.extend(order[0] - (delay - i) * step for i in range(delay))
        shown.extend(order)
        for packet in _packets(path):
            packet.dts = shown.popleft()
            yield packet.dts, packet


def _heads(path: Path) -> Iterator[tuple[int, int, int]]:
    """Pts, duration and length of each packet of a file, without reading their bytes."""
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        while head := file.read(_HEAD.size):
            pts, duration, _, size = _HEAD.unpack(head)
            file.seek(size, os.SEEK_CUR)
            yield pts, duration, size


def _packets(path: Path) -> Iterator[Any]:
    """The packets of a file."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise OutputWriteError("is damaged", file=path)
            while head := file.read(_HEAD.size):
                pts, duration, key, size = _HEAD.unpack(head)
                packet: Any = Packet(file.read(size))
                packet.pts, packet.duration, packet.is_keyframe = pts, duration, bool(key)
                yield packet
    except (OSError, struct.error) as error:
        raise OutputWriteError("is damaged", file=path) from error


def _reorder(pts: Sequence[int]) -> int:
    """By how many places a packet comes earlier in the order of decoding than in that of showing."""
    place = {one: i for i, one in enumerate(sorted(pts))}
    return max((i - place[one] for i, one in enumerate(pts)), default=0)
