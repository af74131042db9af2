"""Refusing what is too large: what a file says of itself, before memory is taken for it."""

from __future__ import annotations

import math
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from PIL import Image

from ..errors import MediaError
from ..files import PathLike
from ..options import LimitOptions

__all__ = [
    "PICTURE_DAMAGE",
    "check_length",
    "check_size",
    "declared_size",
    "decoder_options",
    "pillow_limit",
]

PICTURE_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, TypeError, LookupError, AttributeError,
    AssertionError, NotImplementedError, RecursionError, struct.error,
)  # fmt: skip
"""What comes out of Pillow's readers when a file is not as they expect."""

_PADDING = 1 << 22  # pixels: a column of the highest frame that FFmpeg decodes, in 64 bytes a row

_PILLOW = threading.Lock()


def decoder_options(limits: LimitOptions) -> dict[str, str]:
    """Options of FFmpeg's decoders: they refuse a larger frame before they take memory for it.

    A decoder counts the frame as it lies in memory: whole blocks, and rows of whole vectors. What that
    lets through is refused when it has been decoded.
    """
    return {"max_pixels": str(limits.pixels + limits.pixels // 8 + _PADDING)}


def check_size(width: int, height: int, limits: LimitOptions, file: PathLike) -> None:
    """Refuse a picture or a frame that is too large.

    Raises:
        MediaError: it is.
    """
    if width * height <= limits.pixels:
        return
    size = width * height / 1_000_000
    raise MediaError(
        f"has {width}x{height} pixels, {size:.4g} megapixels; allowed: {limits.megapixels:g}",
        file=file,
        hint=f"if you trust it and have the memory: --max-megapixels {math.ceil(size)}",
    )


def check_length(
    seconds: Fraction | float, limits: LimitOptions, file: PathLike, *, frame: int | None = None
) -> None:
    """Refuse a clip that lasts too long.

    Args:
        seconds: that it says it lasts, or from its first frame to this one.
        limits: how long it may last.
        file: that it is.
        frame: by whose time stamp it is too long, or None.

    Raises:
        MediaError: it is.
    """
    hours = float(seconds) / 3600
    if hours <= limits.hours:
        return
    said = f"says that it lasts {hours:.4g} hours"
    if frame is not None:
        said = f"has a frame {hours:.4g} hours after its first one"
    raise MediaError(
        f"{said}; allowed: {limits.hours:g}", file=file, frame=frame,
        hint=f"keep a part of it (--start, --end), or allow it: --max-hours {math.ceil(hours)}",
    )  # fmt: skip


def declared_size(file: PathLike) -> tuple[int, int] | None:
    """Width and height in the header of a picture; None: it is none."""
    try:
        with warnings.catch_warnings(), pillow_limit(None):
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                width, height = image.size
                return width, height
    except PICTURE_DAMAGE:
        return None


@contextmanager
def pillow_limit(pixels: int | None) -> Iterator[None]:
    """Let Pillow open headers of larger pictures than it thinks safe, here and for this moment.

    Its limit is one of the process, and lower than ours. Nothing is decoded under it.
    """
    with _PILLOW:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
