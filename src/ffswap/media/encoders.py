"""Which encoder makes the output, with which options: asked of the encoders themselves."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from ..carriers import PixelFormat
from ..errors import EncoderError, OptionError, OutputFormatError
from ..files import PathLike
from ..options import EncodeOptions
from ._encoder_table import CONTAINERS, ENCODERS, QSCALE_UNIT, Container, Encoder
from ._files import by_suffix
from .colour import pixel_format
from .probe import ClipInfo, Mastering

__all__ = ["EncoderPlan", "EncoderStatus", "choose", "list_usable", "usable"]

# Side of the picture that is encoded on trial: hardware encoders refuse much smaller ones.
_TRIAL_PX = 256

# Formats of FFmpeg's that hold the same samples as a planar one, in another order.
_PACKINGS = {"yuv420p10le": "p010le"}


@dataclass(frozen=True)
class EncoderStatus:
    """Whether an encoder works on this machine.

    Attributes:
        ok: one frame came out of it.
        reason: why not, in FFmpeg's words; empty when it works.
    """

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class EncoderPlan:
    """How the output will be encoded.

    Attributes:
        name: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format that it gets.
        options: of the encoder.
        warnings: sentences for the user.
        interlaced: frames are encoded as two fields each.
    """

    name: str
    pix_fmt: str
    options: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    interlaced: bool = False


def container_of(path: PathLike) -> Container:
    """The output format that the suffix of a file name asks for.

    Raises:
        OutputFormatError: no known one.
    """
    return by_suffix(path, CONTAINERS, "file name")


@functools.cache
def _trial(
    encoder: str, pix_fmt: str, width: int, height: int, options: tuple[tuple[str, str], ...]
) -> EncoderStatus:
    """Encode one grey frame."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as log:
            try:
                context = av.CodecContext.create(encoder, "w")
                if not isinstance(context, VideoCodecContext):
                    return EncoderStatus(False, "it does not encode video")
                context.width, context.height, context.pix_fmt = width, height, pix_fmt
                context.framerate, context.time_base = Fraction(30), Fraction(1, 30)
                context.options = dict(options)
                frame = av.VideoFrame(width, height, pix_fmt)
                for plane in frame.planes:
                    buffer: Any = plane  # PyAV's stubs do not say that it is one
                    np.frombuffer(buffer, np.uint8)[:] = 1
                frame.pts = 0
                if context.encode(frame) + context.encode(None):
                    return EncoderStatus(True)
                return EncoderStatus(False, "nothing came out of it")
            except (av.FFmpegError, ValueError) as error:
                return EncoderStatus(False, _reason(error, log))
    finally:
        av.logging.set_level(level)


def _reason(error: Exception, log: list[tuple[int, str, str]]) -> str:
    """The first thing that FFmpeg had to say about a failure: what comes later follows from it."""
    last = getattr(error, "log", None)
    lines = [text.strip() for _, _, text in log] or ([last[2].strip()] if last else [])
    text = next((line for line in lines if line), "")
    return text or getattr(error, "strerror", None) or str(error)


def usable(encoder: str, pix_fmt: str) -> EncoderStatus:
    """Whether an encoder works here with a pixel format, found out by encoding one frame.

    The answer is remembered for the life of the process.

    Args:
        encoder: FFmpeg's name of it.
        pix_fmt: FFmpeg's name of the format.
    """
    known = ENCODERS.get(encoder)
    return _trial(encoder, pix_fmt, _TRIAL_PX, _TRIAL_PX, known.extra if known else ())


def list_usable() -> dict[str, EncoderStatus]:
    """All encoders that ffswap knows, and whether each works here with its usual format."""
    usual = {"prores_ks": "yuv422p10le"}
    return {name: usable(name, usual.get(name, "yuv420p")) for name in ENCODERS}


def choose(container_path: PathLike, info: ClipInfo, options: EncodeOptions) -> EncoderPlan:
    """Decide on the encoder and what it is told.

    Args:
        container_path: of the output; its suffix names the container.
        info: of the input.
        options: what was asked for.

    Raises:
        OptionError: an unknown encoder, a preset or a quality that it does not have.
        OutputFormatError: an unknown container, or one that cannot hold the encoder's video.
        EncoderError: the encoder does not work on this machine.
    """
    container = container_of(container_path)
    default = container.encoder if info.working.depth == 8 else container.deep_encoder
    name = options.encoder or default
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise OptionError(
            f"encoder is {name!r}; allowed: {', '.join(ENCODERS)}",
            hint="'ffmpeg' names of encoders are asked for, such as libx264, not of codecs",
        )
    if encoder.codec not in container.codecs:
        fits = [n for n, other in ENCODERS.items() if other.codec in container.codecs]
        suffix = Path(container_path).suffix
        raise OutputFormatError(
            f"{suffix} files do not hold the {encoder.codec} video of {name}; "
            f"encoders that fit: {', '.join(fits)}",
            file=container_path,
        )
    told = {**dict(encoder.extra), **_quality(name, encoder, options.quality)}
    told.update(_preset(name, encoder, options.preset))
    pix_fmt, warnings = _pix_fmt(name, encoder, info)
    if info.mastering is not None:
        warnings = (*warnings, *_add_mastering(name, told, info.mastering))
    fields = info.interlaced and bool(encoder.fields_of) and not info.height % encoder.fields_of
    if info.interlaced and not fields:
        warnings = (*warnings, f"{name} cannot mark this video as interlaced; its lines are kept")
    return EncoderPlan(name, pix_fmt, told, warnings, fields)


def _quality(name: str, encoder: Encoder, asked: int | None) -> dict[str, str]:
    if encoder.quality_option is None:
        if asked is not None:
            raise OptionError(f"quality is {asked}, but {name} is lossless and takes none")
        return {}
    low, high = encoder.quality
    value = encoder.default_quality if asked is None else asked
    if not low <= value <= high:
        raise OptionError(f"quality is {value}; allowed with {name}: {low} to {high}")
    if encoder.quality_option == "qscale":
        return {"flags": "+qscale", "global_quality": str(value * QSCALE_UNIT)}
    if encoder.quality_option == "qmin":  # the flag would ask each frame, and PyAV cannot answer
        return {"qmin": str(value), "qmax": str(value)}
    return {encoder.quality_option: str(value)}


def _preset(name: str, encoder: Encoder, asked: str | None) -> dict[str, str]:
    if encoder.preset_option is None:
        if asked is not None:
            raise OptionError(f"preset is {asked!r}, but {name} has none")
        return {}
    value = encoder.default_preset if asked is None else asked
    if value not in encoder.presets:
        raise OptionError(f"preset is {value!r}; allowed with {name}: {', '.join(encoder.presets)}")
    return {encoder.preset_option: value}


def _candidates(name: str, wanted: PixelFormat) -> list[str]:
    """Pixel formats of an encoder, the one that keeps most of `wanted` first."""
    try:
        offered = [f.name for f in av.codec.Codec(name, "w").video_formats or []]
    except ValueError as error:
        raise EncoderError(f"encoder {name} is not part of this FFmpeg library") from error

    def cost(given: str) -> tuple[bool, ...]:
        return (given != wanted.name, given.startswith("yuvj") != wanted.name.startswith("yuvj"))

    found: list[tuple[tuple[int, ...], str]] = []
    planar = {packed: name for name, packed in _PACKINGS.items()}
    for given in offered:
        pixels = pixel_format(planar.get(given, given))
        if pixels is None or (given.startswith("yuvj") and not wanted.name.startswith("yuvj")):
            continue
        steps = (
            pixels.log2_chroma_w - wanted.log2_chroma_w,
            pixels.log2_chroma_h - wanted.log2_chroma_h,
        )
        bits = pixels.depth - wanted.depth
        lost = sum(max(0, s) for s in steps) + 4 * (bits < 0)
        found.append(((lost, abs(bits), sum(map(abs, steps)), *map(int, cost(given))), given))
    return [given for _, given in sorted(found)]


def _pix_fmt(name: str, encoder: Encoder, info: ClipInfo) -> tuple[str, tuple[str, ...]]:
    """The format in which frames go to the encoder, and what that costs."""
    wanted = info.working
    candidates = _candidates(name, wanted)
    if not candidates:
        raise EncoderError(f"encoder {name} takes no format that {wanted.name} converts to")
    status = usable(name, candidates[0])
    if not status.ok:
        works = [n for n, state in list_usable().items() if state.ok]
        raise EncoderError(
            f"encoder {name} does not work on this machine: {status.reason}",
            hint=f"these do: {', '.join(works)}",
        )
    odd = (info.width % 2, info.height % 2)
    chosen = candidates[0]
    if any(odd):
        chosen = _odd(name, encoder, candidates, odd, info)
    return chosen, _format_warnings(name, wanted, chosen, odd)


def _odd(
    name: str, encoder: Encoder, candidates: list[str], odd: tuple[int, int], info: ClipInfo
) -> str:
    """The first format in which the encoder takes an odd width or height: as it is, or 4:4:4."""
    full = [c for c in candidates if "444" in c]
    for pix_fmt in [candidates[0], *full]:
        width, height = (_TRIAL_PX + rest for rest in odd)
        if _trial(name, pix_fmt, width, height, encoder.extra).ok:
            return pix_fmt
    raise EncoderError(
        f"encoder {name} does not take a size of {info.width}x{info.height}",
        hint="libx264 and libx265 do (as 4:4:4), libvpx-vp9 and ffv1 as well",
    )


def _format_warnings(
    name: str, wanted: PixelFormat, chosen: str, odd: tuple[int, int]
) -> tuple[str, ...]:
    plain = chosen.replace("yuvj", "yuv")
    if plain in (wanted.name.replace("yuvj", "yuv"), _PACKINGS.get(wanted.name)):
        return ()
    if any(odd) and "444" in chosen and "444" not in wanted.name:
        return (
            f"{name} needs an even width and height for {wanted.name}: the output is {chosen} "
            "(brightness exact, colour resolution scaled up)",
        )
    return (f"{name} does not take {wanted.name}: the output is {chosen}",)


def _add_mastering(name: str, told: dict[str, str], data: Mastering) -> tuple[str, ...]:
    """Give HDR metadata to the encoders that write it; others lose it, with a warning."""
    colours = data.primaries
    display = ""
    if colours is not None and data.luminance is not None:
        red, green, blue, white = (colours[i : i + 2] for i in range(0, 8, 2))
        named = (("G", green), ("B", blue), ("R", red), ("WP", white))
        low, high = data.luminance
        if name == "libsvtav1":
            display = "".join(f"{k}({float(x):.4f},{float(y):.4f})" for k, (x, y) in named)
            display += f"L({float(high):.4f},{float(low):.4f})"
        else:  # units of 0.00002 and of 0.0001 cd/m2, as in SMPTE ST 2086
            display = "".join(f"{k}({round(x * 50000)},{round(y * 50000)})" for k, (x, y) in named)
            display += f"L({round(high * 10000)},{round(low * 10000)})"
    keys = {
        "libx264": ("x264-params", "mastering-display", "cll", ""),
        "libx265": ("x265-params", "master-display", "max-cll", "hdr10=1:repeat-headers=1"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light", ""),
    }.get(name)
    if keys is None:
        return (f"{name} cannot store the HDR metadata of the input",)
    option, display_key, light_key, always = keys
    parts = [told[option]] if option in told else []
    parts += [always] if always else []
    parts += [f"{display_key}={display}"] if display else []
    if data.content_light is not None:
        parts.append(f"{light_key}={data.content_light[0]},{data.content_light[1]}")
    told[option] = ":".join(parts)
    return ()
