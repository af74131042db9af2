"""Writing a clip: edited frames are encoded, everything else is copied packet for packet."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..carriers import Frames
from ..errors import EncoderError, InternalError, OutputWriteError
from ..files import PathLike, PendingFile, Seal, write_error
from ._files import fraction
from ._remux import error_text, kept_tags, moved_chapters, refuse_same
from .colour import RANGE_FULL, RANGE_LIMITED, convert, matrix_code, planes_of, redefines_colour
from .encoders import EncoderPlan, container_of
from .probe import stream_info
from .reader import ClipReader, CopiedPackets

__all__ = ["ClipWriter"]

# The pseudo codecs of tracks that the mov muxer makes itself, from chapters and from a tag.
_REMADE_CODECS = frozenset({"bin_data", "tmcd"})

# The mpeg4 bitstream has 16 bits for the denominator of the time base; this one holds the usual
# rates (24, 25, 30000/1001, 50, 60 per second) exactly.
_MPEG4_TIME_BASE = Fraction(1, 60000)
_MPEG4_MAX_DENOMINATOR = 65535

# Bytes of a mov_text sample that says only that it has no text.
_MOV_TEXT_GAP = 2

# No encoder holds a frame back for longer than this before it is shown.
_LONGEST_DELAY_S = 3600

# Media that end in one of these when FFmpeg says so have failed for want of a working disk.
_DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
}  # fmt: skip


class ClipWriter:
    """Writes one clip. Use it as a context manager, and call `finish` at its end.

    The file appears under its name in `finish`, complete; leaving the context without it removes
    what was written. Call from one thread at a time, and keep the reader open until the end: its
    packets and streams are used.

    Args:
        path: of the output; the suffix names the container.
        reader: of the input, not yet iterated.
        plan: how the video is encoded.
        overwrite: replace the output if it exists.
        threads: of the encoder; None: it decides.
        seal: called with the complete file before it gets its name; it may change it, or fail.

    Raises:
        OutputExistsError: the output exists and `overwrite` is false.
        OutputError: the output is the input.
        OutputFormatError: an unknown container.
        OutputWriteError: the folder is missing or cannot be written to.
        EncoderError: the encoder refuses the plan.
    """

    def __init__(
        self,
        path: PathLike,
        reader: ClipReader,
        plan: EncoderPlan,
        *,
        overwrite: bool = False,
        threads: int | None = None,
        seal: Seal | None = None,
    ) -> None:
        self._form = container_of(path)
        refuse_same(Path(path), reader.info.path)
        self._reader, self._plan, self._seal = reader, plan, seal
        self._file = PendingFile(path, overwrite=overwrite)
        self._output: OutputContainer | None = None
        self._streams: dict[int, Stream] = {}
        self._last: int | None = None
        self._last_dts: int | None = None
        self._dropped = self._refused = 0
        self._written = 0
        self._warnings: list[str] = list(plan.warnings)
        self._done = False
        try:
            self._prepare(threads)
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._done:
            self._abandon()

    @property
    def frames_written(self) -> int:
        """Frames that the encoder has taken so far."""
        return self._written

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user, those of the plan included."""
        found = list(self._warnings)
        if self._dropped:
            found.append(f"{self._dropped} frames were dropped: two fell on the same moment")
        if self._refused:
            found.append(f"{self._refused} packets of other streams had no usable time stamp")
        return tuple(found)

    def write(self, item: Frames | CopiedPackets) -> None:
        """Take the next item, in the order in which the reader gave them.

        Frames of the reader's are encoded from the buffers that their planes are views of.

        Raises:
            OutputWriteError: the disk is full or failed.
            EncoderError: the encoder failed.
        """
        if self._output is None:
            raise InternalError("write() after the end")
        if isinstance(item, CopiedPackets):
            for packet in item.packets:
                self._copy(packet)
            return
        for i in range(len(item)):
            self._encode(self._frame(item, i), int(item.pts[i]), item.time_base)

    def finish(self) -> None:
        """Drain the encoder, complete the file, have it sealed and give it its name.

        Raises:
            OutputExistsError: a file of that name has appeared in the meantime.
            OutputWriteError: the disk is full or failed.
            EncoderError: the encoder failed.
            FfswapError: whatever the seal raised.
        """
        if self._output is None:
            raise InternalError("finish() after the end")
        try:
            self._mux(self._run_encoder(None))
            output, self._output = self._output, None
            try:
                output.close()
            except OSError as error:
                raise write_error(error, self._file.path) from error
            if self._seal is not None:
                self._seal(self._file)
            self._file.commit()
        except BaseException:
            self._abandon()
            raise
        self._done = True

    def _abandon(self) -> None:
        """Close and remove what was written."""
        self._done = True
        output, self._output = self._output, None
        try:
            if output is not None:
                output.close()
        except (OSError, ValueError):
            pass  # it is removed anyway, and the first error is the one to report
        finally:
            self._file.discard()

    # -- preparation ---------------------------------------------------------------------------

    def _prepare(self, threads: int | None) -> None:
        file = self._file
        try:
            self._output = av.open(
                f"file:{file.temporary.absolute()}", "w", format=self._form.format,
                container_options=dict(self._form.options),
            )  # fmt: skip
        except OSError as error:
            raise write_error(error, file.path) from error
        self._video = self._add_video(self._output, threads)
        source = self._reader.container
        for stream in source.streams:
            if stream.index != self._reader.info.video_index:
                self._add_copy(self._output, stream)
        self._output.metadata.update(kept_tags(source.metadata))
        self._output.set_chapters(moved_chapters(source, self._reader.window))
        try:
            self._output.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise write_error(error, file.path) from error
            raise EncoderError(
                f"{self._plan.name} or the {self._form.format} format refuses this clip: "
                f"{error_text(error)}",
                file=file.path, stage="encode",
            ) from error  # fmt: skip

    def _time_base(self) -> Fraction:
        info = self._reader.info
        if self._form.fixed_rate:
            return 1 / (info.rate or Fraction(25))
        if self._plan.name == "mpeg4" and info.time_base.denominator > _MPEG4_MAX_DENOMINATOR:
            return _MPEG4_TIME_BASE
        return info.time_base

    def _add_video(self, output: OutputContainer, threads: int | None) -> VideoStream:
        info, plan, source = self._reader.info, self._plan, self._reader.stream
        options = dict(plan.options)
        if threads and plan.name == "libx265":
            options["x265-params"] = (
                f"{options.get('x265-params', 'log-level=error')}:pools={threads}"
            )
        try:
            stream = output.add_stream(plan.name, rate=info.rate or 25, options=options)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderError(f"{plan.name}: {error_text(error)}", stage="encode") from error
        if not isinstance(stream, VideoStream):
            raise EncoderError(f"{plan.name} does not encode video", stage="encode")
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, plan.pix_fmt
        context = stream.codec_context
        context.time_base = self._out_base = self._time_base()
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

    def _add_copy(self, output: OutputContainer, stream: Stream) -> None:
        what = stream_info(stream)
        label = f"stream {what.index} ({what.type}, {what.codec})"
        if what.type == "attachment":
            self._add_attachment(output, stream, label)
            return
        context: object = stream.codec_context  # may be None, whatever PyAV's stubs say
        if context is None:
            if what.type != "data" or not self._remade(stream):
                self._warnings.append(f"{label} is left out: nothing is known about it")
            return
        try:
            copy = output.add_stream_from_template(stream, opaque=True)
        except (av.FFmpegError, ValueError):
            suffix = self._file.path.suffix
            self._warnings.append(f"{label} is left out: {suffix} files cannot hold it")
            return
        copy.metadata.update(kept_tags(stream.metadata))
        copy.disposition = stream.disposition
        self._streams[stream.index] = copy

    def _add_attachment(self, output: OutputContainer, stream: Any, label: str) -> None:
        if not self._form.attachments:
            self._warnings.append(f"{label} is left out: attached files need .mkv")
            return
        name = stream.name or stream.metadata.get("filename") or f"file{stream.index}"
        kind = stream.mimetype or "application/octet-stream"
        output.add_attachment(name, kind, stream.data)

    def _remade(self, stream: Stream) -> bool:
        """Is this a track that the muxer writes again from chapters or the time code tag?"""
        name, tag = (getattr(stream, key, None) for key in ("name", "codec_tag"))
        return name in _REMADE_CODECS or tag in ("text", "tmcd")

    # -- frames --------------------------------------------------------------------------------

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

    def _encode(self, frame: VideoFrame, pts: int, base: Fraction) -> None:
        moment = pts * base - self._reader.shift
        stamp = round(moment / self._out_base)
        if self._last is not None and stamp <= self._last:
            self._dropped += 1
            return
        self._last = stamp
        if frame.duration:
            frame.duration = round(frame.duration * base / self._out_base)
        frame.pts, frame.time_base = stamp, self._out_base
        frame.pict_type = 0  # or the encoder would repeat the source's choice of key frames
        self._mux(self._run_encoder(frame))
        self._written += 1

    def _run_encoder(self, frame: VideoFrame | None) -> list[Packet[VideoStream]]:
        try:
            return [self._timed(packet) for packet in self._video.encode(frame)]
        except (av.FFmpegError, ValueError) as error:
            raise EncoderError(
                f"{self._plan.name}: {error_text(error)}",
                file=self._file.path, stage="encode", frame=self._written,
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

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        assert self._output is not None
        try:
            for packet in packets:
                self._output.mux_one(packet)
        except OSError as error:
            raise write_error(error, self._file.path) from error
        except ValueError as error:
            raise OutputWriteError(
                f"could not be written ({error_text(error)})", file=self._file.path, stage="write"
            ) from error

    # -- other streams -------------------------------------------------------------------------

    def _shift(self, packet: Packet[Any], target: Stream) -> None:
        """Move a packet of a trimmed clip as far as the video is moved."""
        shift = self._reader.shift
        base, unit = fraction(packet.time_base), fraction(target.time_base)
        cover = packet.stream.disposition & Disposition.attached_pic
        if not shift or base is None or unit is None or cover:
            return
        # in the target's units, because AVI counts sound in units as long as its packets
        if packet.pts is not None:
            packet.pts = round((packet.pts * base - shift) / unit)
        if packet.dts is not None:
            packet.dts = round((packet.dts * base - shift) / unit)
        if packet.duration:
            packet.duration = round(packet.duration * base / unit)
        packet.time_base = unit

    def _copy(self, packet: Packet[Any]) -> None:
        target = self._streams.get(packet.stream.index)
        if target is None or not packet.size:
            return
        if packet.size <= _MOV_TEXT_GAP and stream_info(target).codec == "mov_text":
            return  # an empty line between two others: the muxer puts its own there
        self._shift(packet, target)
        if packet.pts is None and packet.dts is not None and target.type == "audio":
            packet.pts = packet.dts
        packet.stream = target
        assert self._output is not None
        try:
            self._output.mux_one(packet)
        except OSError as error:
            if error.errno == errno.EINVAL:
                self._refused += 1
                return
            raise write_error(error, self._file.path) from error
        except ValueError:  # the muxer refuses a time stamp; it goes on with the next packet
            self._refused += 1
