"""Writing a clip: edited frames are encoded, everything else is copied packet for packet."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from ..carriers import Frames
from ..errors import EncoderError, InternalError, OutputWriteError
from ..files import PathLike, PendingFile, Seal, write_error
from ._encoding import VideoEncoder
from ._files import fraction
from ._parts import SegmentBreak
from ._remux import error_text, kept_tags, moved_chapters, refuse_same
from .encoders import EncoderPlan, container_of
from .probe import stream_info
from .reader import ClipReader, CopiedPackets

__all__ = ["ClipWriter", "dropped_frames"]

# The pseudo codecs of tracks that the mov muxer makes itself, from chapters and from a tag.
_REMADE_CODECS = frozenset({"bin_data", "tmcd"})

# Bytes of a mov_text sample that says only that it has no text.
_MOV_TEXT_GAP = 2

# Media that end in one of these when FFmpeg says so have failed for want of a working disk.
_DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
}  # fmt: skip


def dropped_frames(count: int) -> str:
    """The warning of an encoder that got two frames for one moment."""
    return f"{count} frames were dropped: two fell on the same moment"


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
        self._refused = 0
        self._encoded = 0
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
        """Frames that the encoder has taken so far, or packets of frames that were encoded before."""
        return self._video.written + self._encoded

    @property
    def temporary(self) -> Path:
        """What will become the output."""
        return self._file.temporary

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the times of encoded packets."""
        return self._video.time_base

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user, those of the plan included."""
        found = list(self._warnings)
        if dropped := self._video.dropped:
            found.append(dropped_frames(dropped))
        if self._refused:
            found.append(f"{self._refused} packets of other streams had no usable time stamp")
        return tuple(found)

    def write(self, item: Frames | CopiedPackets | SegmentBreak) -> None:
        """Take the next item, in the order in which the reader gave them; a break changes nothing.

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
        if isinstance(item, SegmentBreak):
            return
        for i in range(len(item)):
            self._mux(self._video.encode(item, i))

    def write_encoded(self, packet: Packet[Any]) -> None:
        """Take a packet that an encoder of the same plan made before, in place of frames.

        Args:
            packet: with its times in units of `time_base`, dts too; in the order of decoding.

        Raises:
            OutputWriteError: the disk is full or failed.
        """
        packet.stream, packet.time_base = self._video.stream, self._video.time_base
        self._mux([packet])
        self._encoded += 1

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
            self._mux(self._video.drain())
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
        self._video = VideoEncoder(
            self._output, self._reader, self._plan, self._form, file.path, threads=threads
        )
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
        name = stream.name or ""
        return name in _REMADE_CODECS or stream.codec_tag in ("text", "tmcd")

    # -- video ---------------------------------------------------------------------------------

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
