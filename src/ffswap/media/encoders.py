"""Which encoder makes the output, and with which options: close to the input where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import OptionError, OutputFormatError
from ..files import PathLike
from ..options import EncodeOptions
from ..options.encode import COPY_SETTINGS
from ._encoder_table import ENCODERS, QSCALE_UNIT, Container, Encoder, container_of
from ._mastering import add_mastering
from ._pix_fmts import SMALL_LOSS, loss, pick
from ._settings import Settings, read_settings
from .probe import ClipInfo

__all__ = ["EncoderPlan", "choose", "container_of"]


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


def choose(container_path: PathLike, info: ClipInfo, options: EncodeOptions) -> EncoderPlan:
    """Decide on the encoder and what it is told.

    Where no encoder is asked for, it is one of the input's own codec, if there is one that the
    container holds and that keeps colour resolution and more than 8 bits; else the container's.

    Args:
        container_path: of the output; its suffix names the container.
        info: of the input.
        options: what was asked for.

    Raises:
        OptionError: an unknown encoder, a preset, quality, bit rate or pixel format that it does
            not have, or 8 bits for a video of more without being asked for.
        OutputFormatError: an unknown container, or one that cannot hold the encoder's video.
        EncoderError: the encoder does not work on this machine.
    """
    container = container_of(container_path)
    settings = None
    if options.encoder == COPY_SETTINGS:
        settings = read_settings(info.path)
        options = _as_in(info, options)
    name = options.encoder or _closest(container, info)
    encoder = _encoder(name, container, container_path)
    pix_fmt, warnings = pick(name, encoder, info, options.pix_fmt)
    same = encoder.codec == info.codec or info.codec not in container.codecs
    if not same and options.encoder is None:
        lacking = f"there is no {info.codec} encoder here for {info.working.name} of this size"
        warnings = (f"{lacking}; the output is {encoder.codec}", *warnings)
    told = {**dict(encoder.extra), **dict(encoder.profiles.get(pix_fmt, ()))}
    told |= _amount(name, encoder, options, settings)
    told |= _preset(name, encoder, options.preset)
    told |= _profile(encoder, info, settings, pix_fmt)
    if info.siting is not None:
        told["chroma_sample_location"] = info.siting
    if info.mastering is not None:
        warnings = (*warnings, *add_mastering(name, told, info.mastering))
    fields = info.interlaced and bool(encoder.fields_of) and not info.height % encoder.fields_of
    if info.interlaced and not fields:
        warnings = (*warnings, f"{name} cannot mark this video as interlaced; its lines are kept")
    if info.field_order is not None and (fields or info.field_order == "progressive"):
        told["field_order"] = info.field_order
        if name == "libx264" and info.field_order in ("bb", "bt"):
            told["x264-params"] = ":".join([*_given(told, "x264-params"), "bff=1"])
    return EncoderPlan(name, pix_fmt, told, warnings, fields)


def _given(told: Mapping[str, str], key: str) -> list[str]:
    return [told[key]] if key in told else []


def _known_codecs() -> set[str]:
    return {encoder.codec for encoder in ENCODERS.values()}


def _encoder(name: str, container: Container, path: PathLike) -> Encoder:
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise OptionError(
            f"encoder is {name!r}; allowed: {COPY_SETTINGS}, {', '.join(ENCODERS)}",
            hint="'ffmpeg' names of encoders are asked for, such as libx264, not of codecs",
        )
    if encoder.codec not in container.codecs:
        fits = [n for n, other in ENCODERS.items() if other.codec in container.codecs]
        suffix = Path(path).suffix
        raise OutputFormatError(
            f"{suffix} files do not hold the {encoder.codec} video of {name}; "
            f"encoders that fit: {', '.join(fits)}",
            file=path,
        )
    return encoder


def _own(codec: str) -> str | None:
    """The first encoder of a codec."""
    return next((name for name, encoder in ENCODERS.items() if encoder.codec == codec), None)


def _closest(container: Container, info: ClipInfo) -> str:
    """The encoder of the input's own codec if it loses little, else what loses least."""
    usual = container.encoder if info.working.depth == 8 else container.deep_encoder
    own = _own(info.codec)
    if own is None or info.codec not in container.codecs:
        return usual
    lost = loss(own, info)
    return own if lost <= SMALL_LOSS or lost <= loss(usual, info) else usual


def _as_in(info: ClipInfo, options: EncodeOptions) -> EncodeOptions:
    """The options with the encoder of the input's own codec.

    Raises:
        OptionError: there is none.
    """
    own = _own(info.codec)
    if own is None:
        codecs = ", ".join(sorted(_known_codecs()))
        raise OptionError(
            f"encoder is {COPY_SETTINGS!r}, but there is no encoder for the {info.codec} video of "
            f"the target; allowed for {codecs}",
            hint="name an encoder instead",
        )
    return replace(options, encoder=own)


def _amount(
    name: str, encoder: Encoder, options: EncodeOptions, settings: Settings | None
) -> dict[str, str]:
    """How many bits, or what quality."""
    if options.bitrate is not None and not encoder.bitrate:
        raise OptionError(f"bitrate is {options.bitrate}, but {name} takes none")
    if options.bitrate is not None:
        return {"b": str(options.bitrate)}
    told = {} if settings is None else settings.groups
    if settings is not None and options.quality is None and encoder.bitrate and settings.bitrate:
        return {**told, "b": str(settings.bitrate)}
    return {**told, **_quality(name, encoder, options.quality)}


def _quality(name: str, encoder: Encoder, asked: int | None) -> dict[str, str]:
    if encoder.quality_option is None:
        if asked is not None:
            raise OptionError(f"quality is {asked}, but {name} takes none")
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


def _profile(
    encoder: Encoder, info: ClipInfo, settings: Settings | None, pix_fmt: str
) -> dict[str, str]:
    """The input's profile, where it is a flavour of the codec and not a result of the settings."""
    word = encoder.profile_names.get(info.profile or "")
    flavour = encoder.codec in ("prores", "dnxhd") and info.codec == encoder.codec
    same = pix_fmt == info.working.name or encoder.codec == "prores"
    return {"profile": word} if word and same and (flavour or settings is not None) else {}
