"""How the output is encoded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import OptionError
from .checks import require

__all__ = ["COPY_SETTINGS", "EncodeOptions", "parse_bitrate"]

COPY_SETTINGS = "copy-settings"
"""In place of an encoder's name: the input's codec, bit rate and distance of key frames."""

MIN_BITRATE, MAX_BITRATE = 1_000, 2_000_000_000
"""Bits per second; FFmpeg's rate control counts in 32 bits."""


def parse_bitrate(text: str) -> int:
    """Read bits per second: ``2500000``, ``2500k`` or ``2.5M``.

    Raises:
        OptionError: the text is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    if match is None:
        raise OptionError.of(
            "bitrate", f"bitrate is {text!r}; allowed: bits per second such as 2500k or 2.5M"
        )
    return round(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How the output is encoded. None means: chosen from the input and the container.

    Attributes:
        encoder: FFmpeg's name of a video encoder, such as ``libx264``; ``copy-settings``: that of
            the input's codec, with the input's bit rate and distance of key frames.
        quality: for clips the constant rate factor on the encoder's own scale (at most 0 to 63;
            lower is better); for jpg and webp pictures 1 to 100 (higher is better).
        bitrate: bits per second, in place of `quality`.
        preset: the encoder's own name for a trade of speed against size.
        pix_fmt: FFmpeg's name of the pixel format of the output, such as ``yuv420p10le``; None: the
            input's, or what loses least of it.
    """

    encoder: str | None = None
    quality: int | None = None
    bitrate: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None

    def __post_init__(self) -> None:
        if self.quality is not None:
            require(
                0 <= self.quality <= 100, "quality", self.quality,
                "0 to 63 for clips (the encoder may allow less), 1 to 100 for pictures",
            )  # fmt: skip
        if self.bitrate is not None:
            require(
                MIN_BITRATE <= self.bitrate <= MAX_BITRATE, "bitrate", self.bitrate,
                f"{MIN_BITRATE} to {MAX_BITRATE} bits per second",
            )  # fmt: skip
            require(self.quality is None, "bitrate", self.bitrate, "a bit rate or a quality, not both")  # fmt: skip
