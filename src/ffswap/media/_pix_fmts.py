"""The pixel format in which frames go to an encoder, and what that costs."""

from __future__ import annotations

import av

from ..carriers import PixelFormat
from ..errors import EncoderError, OptionError
from ._encoder_table import ENCODERS, Encoder
from ._trials import TRIAL_PX, list_usable, trial, usable
from .colour import pixel_format
from .probe import ClipInfo

__all__ = ["SMALL_LOSS", "loss", "pick"]

# Formats of FFmpeg's that hold the same samples as a planar one, in another order.
_PACKINGS = {"yuv420p10le": "p010le"}

# A loss of bits that leaves more than 8.
SMALL_LOSS = 1
_CHROMA_LOSS = 2  # for each halving
_DEPTH_LOSS = 100  # more than 8 bits become 8
_NOT_AT_ALL = 1000


def _offered(name: str) -> list[str]:
    """The formats of an encoder that frames can be converted to."""
    try:
        formats = av.codec.Codec(name, "w").video_formats or []
    except ValueError as error:
        raise EncoderError(f"encoder {name} is not part of this FFmpeg library") from error
    return [f.name for f in formats if _pixels(f.name) is not None]


def _pixels(name: str) -> PixelFormat | None:
    planar = {packed: plain for plain, packed in _PACKINGS.items()}
    return pixel_format(planar.get(name, name))


def _loss(wanted: PixelFormat, given: PixelFormat) -> int:
    """0 where every sample of `wanted` has its place in `given`."""
    steps = (
        given.log2_chroma_w - wanted.log2_chroma_w, given.log2_chroma_h - wanted.log2_chroma_h,
    )  # fmt: skip
    lost = _CHROMA_LOSS * sum(max(0, s) for s in steps)
    if given.depth < wanted.depth:
        lost += _DEPTH_LOSS if given.depth == 8 else SMALL_LOSS
    return lost


def _candidates(name: str, wanted: PixelFormat) -> list[str]:
    """Pixel formats of an encoder, the one that keeps most of `wanted` first."""
    full = wanted.name.startswith("yuvj")
    found: list[tuple[tuple[int, ...], str]] = []
    for given in _offered(name):
        pixels = _pixels(given)
        if pixels is None or (given.startswith("yuvj") and not full):
            continue
        change = (
            abs(pixels.depth - wanted.depth),
            abs(pixels.log2_chroma_w - wanted.log2_chroma_w)
            + abs(pixels.log2_chroma_h - wanted.log2_chroma_h),
        )
        other = (given != wanted.name, given.startswith("yuvj") != full)
        found.append(((_loss(wanted, pixels), *change, *map(int, other)), given))
    return [given for _, given in sorted(found)]


def loss(name: str, info: ClipInfo) -> int:
    """What an encoder loses of a clip's frames: 0 for nothing; the unit has no meaning."""
    candidates = _candidates(name, info.working)
    pixels = _pixels(candidates[0]) if candidates else None
    if pixels is None or not usable(name, candidates[0]).ok:
        return _NOT_AT_ALL
    odd = (info.width % 2, info.height % 2)
    if any(odd) and not _takes(name, ENCODERS[name], candidates[0], odd):
        return _CHROMA_LOSS  # 4:4:4 takes its place
    return _loss(info.working, pixels)


def pick(
    name: str, encoder: Encoder, info: ClipInfo, asked: str | None
) -> tuple[str, tuple[str, ...]]:
    """The format in which frames go to the encoder, and sentences about what that costs.

    Args:
        name: of the encoder.
        encoder: what is known about it.
        info: of the clip.
        asked: the format that the user wants, or None.

    Raises:
        EncoderError: it takes none that frames can be converted to, or does not work here.
        OptionError: it does not take `asked`, or takes 8 bits only and the clip has more.
    """
    wanted = info.working
    candidates = _candidates(name, wanted)
    if not candidates:
        raise EncoderError(f"encoder {name} takes no format that {wanted.name} converts to")
    if asked is not None and asked not in _offered(name):
        allowed = ", ".join(sorted(_offered(name)))
        raise OptionError.of("pix_fmt", f"pix_fmt is {asked!r}; allowed with {name}: {allowed}")
    first = asked or candidates[0]
    if asked is None:
        _refuse_shallow(name, candidates, info)
    status = usable(name, first)
    if not status.ok:
        works = [n for n, state in list_usable().items() if state.ok]
        raise EncoderError(
            f"encoder {name} does not work on this machine: {status.reason}",
            hint=f"these do: {', '.join(works)}",
        )
    odd = (info.width % 2, info.height % 2)
    chosen = first
    if any(odd):
        chosen = _odd(name, encoder, first, [] if asked else candidates, info)
    return chosen, _format_warnings(name, wanted, chosen, odd, asked=asked is not None)


def _refuse_shallow(name: str, candidates: list[str], info: ClipInfo) -> None:
    """8 bits are not made of more unless somebody says so: gradients would get steps."""
    best = _pixels(candidates[0])
    if info.working.depth == 8 or best is None or best.depth > 8:
        return
    deep = [n for n in ENCODERS if n != name and any(map(_is_deep, _safe_offered(n)))]
    raise OptionError(
        f"{name} takes 8 bits per sample, and the video has {info.working.depth}",
        hint=f"--pix-fmt {candidates[0]} converts it; these encoders keep more: {', '.join(deep)}",
    )


def _safe_offered(name: str) -> list[str]:
    try:
        return _offered(name)
    except EncoderError:
        return []


def _is_deep(name: str) -> bool:
    pixels = _pixels(name)
    return pixels is not None and pixels.depth > 8


def _takes(name: str, encoder: Encoder, pix_fmt: str, odd: tuple[int, int]) -> bool:
    width, height = (TRIAL_PX + rest for rest in odd)
    extra = (*encoder.extra, *encoder.profiles.get(pix_fmt, ()))
    return trial(name, pix_fmt, width, height, extra).ok


def _odd(name: str, encoder: Encoder, first: str, candidates: list[str], info: ClipInfo) -> str:
    """The first format in which the encoder takes an odd width or height: as it is, or 4:4:4."""
    odd = (info.width % 2, info.height % 2)
    for pix_fmt in [first, *(c for c in candidates if "444" in c)]:
        if _takes(name, encoder, pix_fmt, odd):
            return pix_fmt
    raise EncoderError(
        f"encoder {name} does not take a size of {info.width}x{info.height}",
        hint="libx264 and libx265 do (as 4:4:4), libvpx-vp9 and ffv1 as well",
    )


def _format_warnings(
    name: str, wanted: PixelFormat, chosen: str, odd: tuple[int, int], *, asked: bool
) -> tuple[str, ...]:
    plain = chosen.replace("yuvj", "yuv")
    if plain in (wanted.name.replace("yuvj", "yuv"), _PACKINGS.get(wanted.name)):
        return ()
    if asked:
        return (f"the output is {chosen}, as asked for; the video is {wanted.name}",)
    if any(odd) and "444" in chosen and "444" not in wanted.name:
        return (
            f"{name} needs an even width and height for {wanted.name}: the output is {chosen} "
            "(brightness exact, colour resolution scaled up)",
        )
    return (f"{name} does not take {wanted.name}: the output is {chosen}",)
