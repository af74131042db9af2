"""Pixel formats and colour: what FFmpeg's names and numbers mean in terms of the carriers."""

from __future__ import annotations

import re
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from ..carriers import Colour, PixelFormat, Plane
from ..errors import MediaError

__all__ = [
    "MATRIX_BT709",
    "RANGE_FULL",
    "RANGE_LIMITED",
    "colour_of",
    "convert",
    "matrix_code",
    "pixel_format",
    "planes_of",
    "redefines_colour",
    "replacement_format",
    "upright",
]

# Code points of ITU-T H.273, as libavutil/pixfmt.h numbers them.
MATRIX_BT709 = 1
_MATRIX_BT601 = 6
RANGE_LIMITED = 1
RANGE_FULL = 2

# Matrix coefficients (Kr, Kb), H.273 table 4.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}

# FFmpeg's names of the transfer characteristics, H.273 table 3.
_TRANSFER = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}

# Rows from which an untagged clip is taken for BT.709: the usual rule of players.
_HD_ROWS = 720

# (log2 of the horizontal, of the vertical chroma step) -> digits in FFmpeg's name.
_SUBSAMPLING = {
    (0, 0): "444",
    (1, 0): "422",
    (1, 1): "420",
    (0, 1): "440",
    (2, 0): "411",
    (2, 2): "410",
}
_LOG2 = {digits: steps for steps, digits in _SUBSAMPLING.items()}
_DEPTHS = (8, 9, 10, 12, 14, 16)


def pixel_format(name: str) -> PixelFormat | None:
    """The carrier's description of a planar Y'CbCr little-endian format of 8 to 16 bits.

    Args:
        name: FFmpeg's name of any pixel format.

    Returns:
        None for every other kind of format (RGB, grey, semi-planar, alpha, big-endian, ...).
    """
    match = re.fullmatch(r"yuv(j?)(\d{3})p(?:(\d+)le)?", name)
    if match is None or match[2] not in _LOG2 or (match[1] and match[3]):
        return None
    depth = int(match[3] or 8)
    if depth not in _DEPTHS:
        return None
    log2_w, log2_h = _LOG2[match[2]]
    return PixelFormat(name, depth, log2_w, log2_h)


def _exists(name: str) -> bool:
    try:
        av.VideoFormat(name)
    except ValueError:
        return False
    return True


def replacement_format(name: str) -> tuple[PixelFormat, str | None]:
    """The nearest format that the carriers know, for a format that they do not.

    Args:
        name: FFmpeg's name of any pixel format.

    Returns:
        The format, and a sentence for the user, None where the samples stay the same.

    Raises:
        MediaError: there is none.
    """
    known = pixel_format(name)
    if known is not None:
        return known, None
    try:
        given = av.VideoFormat(name)
    except ValueError as error:
        raise MediaError(f"pixel format {name!r} is not known to FFmpeg") from error
    colours = [part for part in given.components if not part.is_alpha]
    bits = 8 if given.has_palette else max((part.bits for part in colours), default=8)
    depth = next((d for d in _DEPTHS if d >= bits), 16)
    if given.is_rgb or given.has_palette or name.startswith(("xyz", "bayer")):
        steps = (0, 0)
    elif len(colours) == 1:
        steps = (1, 1)
    else:
        side = 64
        width, height = given.chroma_width(side), given.chroma_height(side)
        steps = ((side // width).bit_length() - 1, (side // height).bit_length() - 1)
    suffix = "" if depth == 8 else f"{depth}le"
    target = f"yuv{_SUBSAMPLING.get(steps, '444')}p{suffix}"
    if not _exists(target):
        target = f"yuv444p{suffix}"
    found = pixel_format(target)
    if found is None:
        raise MediaError(f"pixel format {name!r} cannot be edited, nor converted to one that can")
    alpha = given.has_palette or len(colours) < len(given.components)
    lost = "; transparency is dropped" if alpha and "yuva" in name else ""
    if alpha and not lost:
        lost = "; transparency, if there is any, is dropped"
    return found, f"pixel format {name} is converted to {target}{lost}"


def colour_of(frame: VideoFrame, *, working: PixelFormat) -> Colour:
    """What the code values of a decoded frame mean once it is in its working format.

    An unspecified or unknown matrix is taken for BT.601 below 720 rows and for BT.709 from there
    on, an unspecified range for limited (full for ``yuvj``); RGB becomes BT.709, limited.

    Args:
        frame: as decoded.
        working: the format in which the frame will be edited.
    """
    transfer = _TRANSFER.get(int(frame.color_trc), "unknown")
    if _is_rgb(frame.format):
        kr, kb = _LUMA_WEIGHTS[MATRIX_BT709]
        return Colour(kr=kr, kb=kb, full_range=False, transfer=transfer)
    weights = _LUMA_WEIGHTS.get(int(frame.colorspace))
    guessed = weights is None
    if weights is None:
        weights = _LUMA_WEIGHTS[MATRIX_BT709 if frame.height >= _HD_ROWS else _MATRIX_BT601]
    full = int(frame.color_range) == RANGE_FULL or working.name.startswith("yuvj")
    if redefines_colour(frame.format.name):
        full = False
    return Colour(kr=weights[0], kb=weights[1], full_range=full, transfer=transfer, guessed=guessed)


def matrix_code(colour: Colour) -> int:
    """H.273 code point of the matrix of a colour (BT.709 where no table entry fits)."""
    for code, weights in sorted(_LUMA_WEIGHTS.items()):
        if weights == (colour.kr, colour.kb):
            return _MATRIX_BT601 if code == 5 else code
    return MATRIX_BT709


def redefines_colour(name: str) -> bool:
    """Do frames of this format get a new matrix or range when they are converted?

    True for RGB, palettes and grey, which swscale takes for full range and gives as limited.
    """
    pixels = av.VideoFormat(name)
    return _is_rgb(pixels) or len(pixels.components) == 1


def _is_rgb(pixels: av.VideoFormat) -> bool:
    return pixels.is_rgb or pixels.has_palette or pixels.name.startswith(("xyz", "bayer"))


def convert(frame: VideoFrame, target: str, colour: Colour) -> VideoFrame:
    """The frame in another pixel format, with the same matrix and range on both sides.

    Args:
        frame: in any format; pts, time base and side data carry over.
        target: FFmpeg's name of a pixel format.
        colour: of the result, and of `frame` unless that is RGB or grey.

    Returns:
        A new frame whose colour tags say what `colour` says (the same frame if nothing changes).
    """
    wanted = RANGE_FULL if colour.full_range else RANGE_LIMITED
    foreign = redefines_colour(frame.format.name)
    source_range = RANGE_FULL if foreign else wanted
    result = frame.reformat(
        format=target,
        src_colorspace="ITU709",  # only RGB sources need a matrix, and those become BT.709
        dst_colorspace="ITU709",
        src_color_range=source_range,
        dst_color_range=wanted,
    )
    tags = (int(frame.colorspace), int(frame.color_range))
    if foreign:
        tags = (matrix_code(colour), wanted)
    result.colorspace, result.color_range = tags
    return result


def upright(frame: VideoFrame) -> VideoFrame:
    """The frame with its rows stored from top to bottom (a few old decoders store them reversed).

    Raises:
        MediaError: they are reversed, in a format for which there is no exact way back.
    """
    if all(plane.line_size > 0 for plane in frame.planes):
        return frame
    with_alpha = frame.format.name.replace("yuv", "yuva", 1)
    if not _exists(with_alpha):
        raise MediaError(f"{frame.format.name} frames stored upside down cannot be edited")
    tags = (int(frame.colorspace), int(frame.color_range))
    result = frame.reformat(format=with_alpha).reformat(format=frame.format.name)
    result.colorspace, result.color_range = tags
    return result


def planes_of(frame: VideoFrame, pixels: PixelFormat) -> tuple[Plane, Plane, Plane]:
    """Writable views of the samples of a frame.

    Args:
        frame: in format `pixels`; it is not shared with the decoder and outlives the views.
        pixels: its format.

    Returns:
        Y' of shape (H, W), Cb and Cr of `pixels.chroma_shape`, uint8 or uint16, rows padded.
    """
    views: list[Plane] = []
    for plane in frame.planes:
        buffer: Any = plane  # PyAV's stubs do not say that it is one
        rows = np.frombuffer(buffer, np.uint8).reshape(plane.height, plane.line_size)
        views.append(rows.view(pixels.dtype)[:, : plane.width])
    return views[0], views[1], views[2]
