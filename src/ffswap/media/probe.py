"""What a clip is: container, streams, size, colour, rotation, timing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..carriers import Colour, PixelFormat
from ..errors import MediaError
from ..files import PathLike
from ._described import described
from ._files import ALLOWED, fraction, open_input
from .colour import colour_of, pixel_format, replacement_format

__all__ = ["ALPHA_TAG", "ClipInfo", "Mastering", "StreamInfo", "probe"]

# Tag of a Matroska track whose blocks have a second picture with the transparency beside them.
ALPHA_TAG = "alpha_mode"

# Packets that may fail to decode before the first frame comes; a damaged start of a broadcast
# recording needs one group of pictures, which is 250 at the most with usual encoders.
MAX_FAILED_PACKETS = 250

# A ratio of a pixel's sides beyond this is a mistake of the file: anamorphic lenses squeeze by 2.
MOST_ASPECT = 4


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a file.

    Attributes:
        index: position in the file.
        type: ``video``, ``audio``, ``subtitle``, ``data``, ``attachment`` or ``unknown``.
        codec: FFmpeg's name of the codec, or ``unknown``.
        language: as tagged, such as ``eng``, or None.
    """

    index: int
    type: str
    codec: str
    language: str | None


@dataclass(frozen=True)
class Mastering:
    """Static HDR metadata (SMPTE ST 2086 and CTA 861.3), as the first frame carries it.

    Attributes:
        primaries: x and y of red, green, blue and white, each 0 to 1, or None.
        luminance: least and greatest of the mastering display, in cd/m2, or None.
        content_light: greatest and greatest average light level, in cd/m2, or None.
    """

    primaries: tuple[Fraction, ...] | None
    luminance: tuple[Fraction, Fraction] | None
    content_light: tuple[int, int] | None


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is.

    Attributes:
        path: of the file.
        container: FFmpeg's first name of the container format, such as ``mov``.
        width: columns of the luma plane as stored (before rotation).
        height: rows.
        pixel_format: FFmpeg's name of the format that the decoder gives.
        carrier: the same for the carriers; None when frames are converted before editing.
        working: the format in which frames are edited; `carrier` unless that is None.
        colour: what the code values mean (in `working`).
        rotation: degrees (0, 90, 180, 270) by which the picture must be turned
            counter-clockwise to stand upright.
        time_base: seconds per unit of the video stream's pts.
        rate: average frames per second, where known.
        declared_frames: as the container says, before any edit list; None where it does not.
        duration_s: of the video in seconds (of the file where only that is known), or None.
        start_s: presentation time of the first frame, in seconds.
        streams: all streams of the file.
        video_index: which of them is the video.
        is_picture: a still image, by content (a clip of one frame is not a picture).
        mastering: static HDR metadata, or None.
        matrix: the nine numbers of the display matrix, or None.
        has_pts: False when the container has no presentation times (raw streams, AVI).
        warnings: sentences for the user.
        interlaced: the first frame is marked as two fields.
        codec: FFmpeg's name of the video's codec, whatever decodes it.
        profile: of the codec, in FFmpeg's words, or None.
        field_order: FFmpeg's name (``progressive``, ``tt``, ``bb``, ``tb``, ``bt``), or None.
        siting: where chroma samples lie, by FFmpeg's name (``left``, ``topleft``, ...), or None.
    """

    path: Path
    container: str
    width: int
    height: int
    pixel_format: str
    carrier: PixelFormat | None
    working: PixelFormat
    colour: Colour
    rotation: int
    time_base: Fraction
    rate: Fraction | None
    declared_frames: int | None
    duration_s: float | None
    start_s: float
    streams: tuple[StreamInfo, ...]
    video_index: int
    is_picture: bool
    mastering: Mastering | None
    matrix: tuple[int, ...] | None
    has_pts: bool
    warnings: tuple[str, ...]
    interlaced: bool = False
    codec: str = "unknown"
    profile: str | None = None
    field_order: str | None = None
    siting: str | None = None


def probe(path: PathLike) -> ClipInfo:
    """Look at a clip: its headers and its first frame.

    Args:
        path: of the file.

    Raises:
        InputMissingError: there is no such file, or it is a folder.
        MediaError: empty, no media, no video stream, or nothing of it can be decoded.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        return _describe(container, stream, _first_frame(container, stream, path), Path(path))


def video_stream(container: InputContainer, path: PathLike) -> VideoStream:
    """The video stream to edit: the best that is not cover art.

    Raises:
        MediaError: there is none.
    """
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    found = [s for s in container.streams.video if not s.disposition & covers]
    found = [s for s in found if s.codec_context is not None]
    if not found:
        # a video stream that is none is a still picture beside the sound
        kinds = sorted({"cover" if s.type == "video" else s.type for s in container.streams})
        has = f" (it has {', '.join(kinds)})" if kinds else ""
        raise MediaError(f"no video stream{has}; give {ALLOWED}", file=path)
    best = container.streams.best("video")
    for stream in found:
        if best is not None and stream.index == best.index:
            return stream
    return max(found, key=lambda s: (s.width * s.height, -s.index))


def stream_info(stream: Stream) -> StreamInfo:
    """The short description of a stream."""
    context = stream.codec_context
    codec = context.name if context is not None else stream.name
    return StreamInfo(
        stream.index, stream.type, codec or "unknown", stream.metadata.get("language")
    )


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    failed = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            failed += 1
            if failed > MAX_FAILED_PACKETS:
                return


def _first_frame(container: InputContainer, stream: VideoStream, path: PathLike) -> VideoFrame:
    reason = ""
    try:
        for frame in _frames(container, stream):
            return frame
    except av.FFmpegError as error:
        reason = f" ({error.strerror})"
    codec = stream_info(stream).codec
    raise MediaError(
        f"not one frame of the {codec} video can be decoded{reason}; give {ALLOWED}", file=path
    )


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Of the video in seconds; the stream's own, then Matroska's tag, then the file's."""
    base = fraction(stream.time_base)
    if stream.duration and base:
        return stream.duration * base
    tagged = tagged_duration(stream)
    if tagged:
        return tagged
    return Fraction(container.duration, av.time_base) if container.duration else None


def tagged_duration(stream: Stream) -> Fraction | None:
    """End of a Matroska track in seconds, from the DURATION tag that muxers write."""
    text = stream.metadata.get("DURATION", "")
    parts = text.split(":")
    try:
        hours, minutes, seconds = (Fraction(part) for part in parts)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _rate(stream: VideoStream, *, timed: bool) -> Fraction | None:
    """Frames per second; raw streams have an average by convention only (25)."""
    average, guessed = fraction(stream.average_rate), fraction(stream.guessed_rate)
    return (average or guessed) if timed else (guessed or average)


# With the side data of a PNG frame that has a colour profile, PyAV 17 to 19 crash the process: once
# it has been looked at and the frame is freed. These codecs carry none that we need.
_NO_SIDE_DATA = frozenset({"apng", "png"})


def _side_data(frame: VideoFrame, kind: SideData) -> bytes | None:
    # get() is right in all versions of PyAV; positions and len() disagree in 19
    try:
        container: Any = frame.side_data
    except ValueError:  # data of a kind that PyAV has no name for, such as EXIF of a picture
        return None
    found = container.get(kind)
    return None if found is None else bytes(found)


def _mastering(frame: VideoFrame) -> Mastering | None:
    """Read AVMasteringDisplayMetadata (10 rationals, 2 flags) and AVContentLightMetadata."""
    primaries = luminance = light = None
    display = _side_data(frame, SideData.MASTERING_DISPLAY_METADATA)
    if display is not None:
        numbers = struct.unpack("=22i", display[:88])
        values = [Fraction(numbers[i], numbers[i + 1] or 1) for i in range(0, 20, 2)]
        primaries = tuple(values[:8]) if numbers[20] else None
        luminance = (values[8], values[9]) if numbers[21] else None
    level = _side_data(frame, SideData.CONTENT_LIGHT_LEVEL)
    if level is not None:
        most, average = struct.unpack("=2I", level[:8])
        light = (most, average)
    if primaries is None and luminance is None and light is None:
        return None
    return Mastering(primaries, luminance, light)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of the container's display matrix, or None."""
    matrix = _side_data(frame, SideData.DISPLAYMATRIX)
    return None if matrix is None else struct.unpack("=9i", matrix[:36])


def _notes(stream: VideoStream, note: str | None) -> Iterator[str]:
    if note is not None:
        yield note
    if stream.metadata.get(ALPHA_TAG) == "1":
        yield "the transparency that is stored beside the picture is dropped"


def _describe(
    container: InputContainer, stream: VideoStream, frame: VideoFrame, path: Path
) -> ClipInfo:
    working, note = replacement_format(frame.format.name)
    base = fraction(stream.time_base) or fraction(frame.time_base) or Fraction(1, 1000)
    names = container.format.name.split(",")
    duration = _duration(container, stream)
    start = frame.pts if frame.pts is not None and names[0] != "avi" else stream.start_time
    said = described(container, stream.index)
    picture = names[0] == "image2" or names[0].endswith("_pipe")
    readable = not picture and stream.codec_context.name not in _NO_SIDE_DATA
    return ClipInfo(
        path=path,
        container=names[0],
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        carrier=pixel_format(frame.format.name),
        working=working,
        colour=colour_of(frame, working=working),
        # PyAV counts counter-clockwise, -180 to 180, and so does the carrier, 0 to 270.
        rotation=round(frame.rotation / 90) * 90 % 360,
        time_base=base,
        rate=_rate(stream, timed=frame.pts is not None),
        declared_frames=stream.frames or None,
        duration_s=None if duration is None else float(duration),
        start_s=float((start or 0) * base),
        streams=tuple(stream_info(s) for s in container.streams),
        video_index=stream.index,
        is_picture=picture,
        mastering=_mastering(frame) if readable else None,
        matrix=display_matrix(frame) if readable else None,
        # AVI has none, and what FFmpeg makes up is wrong where there are B-frames
        has_pts=frame.pts is not None and names[0] != "avi",
        warnings=tuple(_notes(stream, note)),
        interlaced=bool(frame.interlaced_frame),
        codec=stream.codec_context.codec.canonical_name,
        profile=stream.codec_context.profile,
        field_order=said.field_order,
        siting=said.siting,
    )


def pixel_aspect(stream: VideoStream) -> float:
    """Width of a pixel by its height; 1 where the file does not say, or says what cannot be."""
    ratio = fraction(stream.sample_aspect_ratio)
    believable = ratio is not None and 1 / MOST_ASPECT <= ratio <= MOST_ASPECT
    return float(ratio) if ratio is not None and believable else 1.0
