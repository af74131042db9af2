"""The streams of an output: one that is encoded, and all others as they are in the input."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ..errors import EncoderError
from ._covers import cover_of
from ._described import four_letters, services, subtitle_size
from ._encoder_table import ENCODERS, Container
from ._files import fraction
from ._remux import error_text, kept_tags
from .colour import RANGE_FULL, RANGE_LIMITED, matrix_code, redefines_colour
from .encoders import EncoderPlan
from .probe import ALPHA_TAG, stream_info
from .reader import ClipReader

__all__ = ["Copies", "add_video", "display_size", "encoder_clock", "muxer_options", "tell_services"]

# Tracks that the mov muxer makes itself, from chapters and from the time code tag.
_REMADE = frozenset({"text", "tmcd"})

# Muxers without chapters, and tags that transport streams have no place for.
_NO_CHAPTERS = frozenset({"avi", "flv", "mpegts"})
_TAGS = frozenset(
    {"album", "artist", "comment", "copyright", "creation_time", "date", "genre", "title"}
)

# Languages of which QuickTime's list has the other of two names (ISO 639-2, terminology to
# bibliography); under this one they would be lost.
_MOV_LANGUAGES = {
    "deu": "ger", "ell": "gre", "isl": "ice", "nld": "dut", "sqi": "alb", "zho": "chi",
}  # fmt: skip

# FFmpeg's name of a muxer -> that of the demuxer that reads the same.
_FAMILIES = {"mp4": "mov", "webm": "matroska"}

# Subtitles that transport streams have; FFmpeg's names of their decoders.
_TS_SUBTITLES = frozenset({"dvbsub", "libzvbi_teletextdec", "dvb_teletext", "pgssub"})

# Codecs that leave the shape of pixels to the container; the Matroska muxer takes it from a field
# that PyAV does not give access to.
_MUTE = frozenset({"vp8", "vp9", "av1"})

# Frame rates of MPEG-1 and MPEG-2 (ISO/IEC 13818-2, table 6-4).
_MPEG2_RATES = tuple(
    Fraction(*rate)
    for rate in (
        (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1),
    )
)  # fmt: skip

# With its AVX-512 code x264 (core 165) makes other pictures of the same frames in each run, by chance.
_REPEATABLE = "cpu-independent=1"

# The MPEG-4 bitstream has 16 bits for the denominator of its time base.
_MPEG4_MOST = 65535


def encoder_clock(plan: EncoderPlan, info_rate: Fraction | None, base: Fraction) -> Fraction:
    """The time base that an encoder gets: that of the output, or one frame for those that count.

    Args:
        plan: names the encoder.
        info_rate: frames per second, or None.
        base: of the output.
    """
    rate = info_rate or Fraction(25)
    if plan.name == "mpeg2video":
        return 1 / min(_MPEG2_RATES, key=lambda one: abs(one - rate))
    if plan.name == "mpeg4" and base.denominator > _MPEG4_MOST:
        return 1 / (rate if rate.numerator <= _MPEG4_MOST else Fraction(max(1, round(rate))))
    return base


def _tell(options: dict[str, str], name: str, more: str) -> None:
    """Add to an option that holds several of the encoder's own."""
    options[name] = f"{options[name]}:{more}" if name in options else more


def add_video(
    output: OutputContainer, reader: ClipReader, plan: EncoderPlan, form: Container, *,
    base: Fraction, threads: int | None,
) -> VideoStream:  # fmt: skip
    """The stream that is encoded, with all that the input says about the picture.

    Args:
        output: not yet begun.
        reader: of the input.
        plan: how it is encoded.
        form: of the output.
        base: unit of time of the frames that will be written.
        threads: of the encoder; None: it decides.

    Raises:
        EncoderError: the encoder or the container refuses.
    """
    info, source = reader.info, reader.stream
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
    clock = encoder_clock(plan, info.rate, base)
    context.time_base = clock
    if clock != base:
        context.framerate = 1 / clock
        stream.time_base = base
    if threads:
        context.thread_count = threads
    ratio = fraction(source.sample_aspect_ratio)
    if ratio is not None:
        context.sample_aspect_ratio = ratio
    _colour(context, reader)
    if ENCODERS[plan.name].codec == "hevc" and form.format in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players refuse the usual hev1
    if plan.interlaced:
        context.flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
    context.flags |= int(Flags.frame_duration)  # or a last frame that stays longer is cut
    if info.matrix is not None:
        stream.set_display_matrix(info.matrix)
    stream.metadata.update(kept_tags(source.metadata))
    stream.metadata.pop(ALPHA_TAG, None)
    stream.disposition = source.disposition
    if info.container == form.format == "mpegts":
        stream.id = source.id
    return stream


def muxer_options(reader: ClipReader, form: Container) -> dict[str, str]:
    """What the muxer of an output is told besides what holds for all outputs of its kind."""
    told = dict(form.options)
    kinds = {"matroska", "webm"}
    if reader.info.container in kinds and form.format in kinds:
        # times before 0 are kept; from other containers all streams are moved together
        told["avoid_negative_ts"] = "disabled"
    if form.format in ("mp4", "mov") and any("." in key for key in reader.container.metadata):
        told["movflags"] = f"{told.get('movflags', '')}+use_metadata_tags"  # names as phones have
    return told


def display_size(
    reader: ClipReader, plan: EncoderPlan, form: Container
) -> tuple[Fraction, int] | None:
    """The size at which frames are shown, where neither codec nor muxer write it down; else None."""
    ratio = fraction(reader.stream.sample_aspect_ratio) or Fraction(1)
    mute = ENCODERS[plan.name].codec in _MUTE and form.format in ("matroska", "webm")
    info = reader.info
    if not mute or ratio == 1:
        return None
    width = info.width * ratio
    return (width if form.format == "matroska" else Fraction(round(width)), info.height)


def tell_services(output: OutputContainer, reader: ClipReader, form: Container) -> list[str]:
    """Keep the name of the broadcast service; returns sentences about what the file will not say."""
    lost: list[str] = []
    source = reader.container
    if form.format in _NO_CHAPTERS and (chapters := source.chapters()):
        lost.append(f"the {len(chapters)} chapters are left out: {form.format} files hold none")
    if form.format == "mpegts":
        tags = sorted(key.lower() for key in kept_tags(source.metadata) if key.lower() in _TAGS)
        lost += [f"the tags of the file are left out: {', '.join(tags)}"] if tags else []
    languages = {s.metadata.get("language") for s in source.streams} - {None, "und"}
    if form.format in ("avi", "flv") and languages:
        lost.append(f"the languages of tracks are left out: {form.format} files do not hold them")
    if reader.info.container == form.format == "mpegts":
        found = services(source)
        if found:
            output.metadata.update(found[0])
        if len(found) > 1:
            lost.append(f"the {len(found)} programmes of the transport stream become one")
    return lost


def _colour(context: Any, reader: ClipReader) -> None:
    """Give the encoder the input's tags, and those of the working format where that redefines them."""
    info, old = reader.info, reader.stream.codec_context
    context.color_primaries, context.color_trc = old.color_primaries, old.color_trc
    context.colorspace, context.color_range = old.colorspace, old.color_range
    if info.colour.full_range:
        context.color_range = RANGE_FULL
    if redefines_colour(info.pixel_format):
        context.colorspace = matrix_code(info.colour)
        context.color_range = RANGE_FULL if info.colour.full_range else RANGE_LIMITED


class Copies:
    """The streams that are copied packet by packet.

    Attributes:
        streams: of the output, by their index in the input.
        warnings: about what cannot come along, in words.
    """

    def __init__(
        self, output: OutputContainer, reader: ClipReader, form: Container, suffix: str
    ) -> None:
        self.streams: dict[int, Stream] = {}
        self.warnings: list[str] = []
        self._output, self._reader, self._form, self._suffix = output, reader, form, suffix
        iso = reader.info.container == "mov"
        self._letters = four_letters(reader.container) if iso else {}

    def add(self, stream: Stream) -> None:
        """A stream of the input, to be copied; or a warning that it cannot be."""
        what = stream_info(stream)
        label = f"stream {what.index} ({what.type}, {what.codec})"
        if what.type == "attachment":
            self._attach(stream, label)
            return
        if what.type == "video" and self._form.attachments and _is_cover(stream):
            self._attach_cover(stream)
            return
        context: object = stream.codec_context  # may be None, whatever PyAV's stubs say
        if context is None and what.type != "data":
            self.warnings.append(f"{label} is left out: nothing is known about it")
            return
        letters = self._letters.get(what.index)
        if what.type == "data" and letters in _REMADE:
            return
        if what.type == "data" and not self._holds_data(letters):
            about = f"stream {what.index} (data, {letters or what.codec})"
            self.warnings.append(f"{about} is left out: {self._suffix} files cannot hold it")
            return
        if not self._accepts(stream, what.codec):
            self.warnings.append(f"{label} is left out: {self._suffix} files cannot hold it")
            return
        try:
            copy = self._output.add_stream_from_template(stream, opaque=True)
        except (av.FFmpegError, ValueError):
            self.warnings.append(f"{label} is left out: {self._suffix} files cannot hold it")
            return
        copy.metadata.update(kept_tags(stream.metadata))
        language = _MOV_LANGUAGES.get(stream.metadata.get("language", ""))
        if language is not None and self._form.format == "mov":
            copy.metadata["language"] = language
        copy.disposition = stream.disposition
        if self._reader.info.container == self._form.format == "mpegts":
            copy.id = stream.id
        if what.codec == "dvdsub":
            self._tell_size(stream, copy)
        self.streams[stream.index] = copy

    def _tell_size(self, stream: Stream, copy: Stream) -> None:
        """The size that DVD subtitles are placed in; mp4 has it elsewhere than the muxer reads it."""
        told = stream.codec_context.extradata or b""
        size = subtitle_size(self._reader.container, stream.index)
        if size is not None and b"size:" not in told:
            copy.codec_context.extradata = b"size: %dx%d\n" % size + told

    def _accepts(self, stream: Stream, codec: str) -> bool:
        """Does a muxer of another family take a stream? Some only find out when they begin."""
        form, family = self._form.format, self._reader.info.container
        if stream.type not in ("audio", "subtitle") or _FAMILIES.get(form, form) == family:
            return True
        if form == "mpegts" and stream.type == "subtitle" and codec not in _TS_SUBTITLES:
            return False  # it would be stored as data that nobody reads
        trial = av.open(io.BytesIO(), "w", format=form)
        try:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
        except (av.FFmpegError, ValueError):
            return False
        finally:
            with contextlib.suppress(av.FFmpegError, ValueError):
                trial.close()
        return True

    def _holds_data(self, letters: str | None) -> bool:
        """Can packets of no known codec be copied: within one family of containers."""
        if self._reader.info.container == "mov":
            return letters is not None and self._form.format in ("mp4", "mov")
        return self._reader.info.container == self._form.format == "mpegts"

    def _attach_cover(self, stream: Stream) -> None:
        """Matroska knows cover art as an attached file with a picture's name and kind."""
        picture = cover_of(self._reader.info.path, stream.index)
        codec = stream_info(stream).codec
        suffix = {"mjpeg": "jpg"}.get(codec, codec)
        name = stream.metadata.get("filename", f"cover.{suffix}")
        kind = stream.metadata.get("mimetype", f"image/{'jpeg' if suffix == 'jpg' else suffix}")
        self._output.add_attachment(name, kind, picture)

    def _attach(self, stream: Any, label: str) -> None:
        if not self._form.attachments:
            self.warnings.append(f"{label} is left out: attached files need .mkv")
            return
        name = stream.name or stream.metadata.get("filename") or f"file{stream.index}"
        kind = stream.mimetype or "application/octet-stream"
        self._output.add_attachment(name, kind, stream.data)

    def shift(self, packet: Any, target: Stream) -> None:
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


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
