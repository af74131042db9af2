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

from ..carriers import Frames
from ..errors import EncoderError, InternalError, OutputWriteError
from ..files import PathLike, PendingFile, Seal, write_error
from ._encoder_table import container_of
from ._encoding import VideoEncoder
from ._items import CopiedPackets
from ._matroska import set_display_size
from ._parts import SegmentBreak
from ._priority import same_priority
from ._remux import error_text, kept_tags, moved_chapters, refuse_same, unwrapped
from ._streams import Copies, display_size, muxer_options, tell_services
from .encoders import EncoderPlan
from .probe import stream_info
from .reader import ClipReader

__all__ = ["ClipWriter", "dropped_frames"]

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
            self._finish_shape()
            if self._seal is not None:
                self._seal(self._file)
            self._file.commit()
        except BaseException:
            self._abandon()
            raise
        self._done = True

    def _finish_shape(self) -> None:
        """Write down that pixels are not square, where the muxer has not."""
        size = display_size(self._reader, self._plan, self._form)
        if size is not None:
            index = self._reader.info.video_index
            if not set_display_size(self._file.temporary, index, size):
                self._warnings.append("the output does not say that its pixels are not square")

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
                container_options=muxer_options(self._reader, self._form),
            )  # fmt: skip
        except OSError as error:
            raise write_error(error, file.path) from error
        source, edited = self._reader.container, self._reader.info.video_index
        self._copies = Copies(self._output, self._reader, self._form, file.path.suffix)
        # in the input's order, because programs name a stream by its place
        for stream in source.streams:
            if stream.index != edited:
                self._copies.add(stream)
                continue
            self._video = VideoEncoder(
                self._output, self._reader, self._plan, self._form, file.path, threads=threads
            )
        self._warnings += self._copies.warnings
        self._warnings += tell_services(self._output, self._reader, self._form)
        self._output.metadata.update(kept_tags(source.metadata))
        self._output.set_chapters(moved_chapters(source, self._reader.window))
        try:
            with same_priority():
                self._output.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise write_error(error, file.path) from error
            raise EncoderError(
                f"{self._plan.name} or the {self._form.format} format refuses this clip: "
                f"{error_text(error)}",
                file=file.path, stage="encode",
            ) from error  # fmt: skip

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

    def _copy(self, packet: Packet[Any]) -> None:
        target = self._copies.streams.get(packet.stream.index)
        if target is None or not packet.size:
            return
        if packet.size <= _MOV_TEXT_GAP and stream_info(target).codec == "mov_text":
            return  # an empty line between two others: the muxer puts its own there
        self._copies.shift(packet, target)
        if packet.pts is None and packet.dts is not None and target.type == "audio":
            packet.pts = packet.dts
        if stream_info(target).codec == "dvbsub":
            packet = unwrapped(packet)
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
