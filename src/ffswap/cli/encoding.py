"""The options of a swap by which its output is encoded."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import OptionError
from ..options import EncodeOptions
from ..options.encode import COPY_SETTINGS, parse_bitrate

__all__ = ["Bitrate", "Encoder", "Format", "PixFmt", "Preset", "Quality", "encode_options"]

Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder", metavar=f"NAME|{COPY_SETTINGS}",
        help="FFmpeg's name, such as libx264; left out: one of the video's own codec",
    ),
]  # fmt: skip
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", metavar="CRF", help="0 to 63 on the encoder's scale; less is better"
    ),
]  # fmt: skip
Bitrate = Annotated[
    str | None,
    typer.Option(
        "--bitrate", metavar="BITS", help="per second, as 2500k or 8M; not with --quality"
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", help="the encoder's name for a trade of speed against size"
    ),
]
PixFmt = Annotated[
    str | None,
    typer.Option(
        "--pix-fmt", metavar="NAME", help="FFmpeg's name of a pixel format, such as yuv420p"
    ),
]

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="SUFFIX",
        help="of OUTPUT where that is -: mp4, mkv, ...; else as TARGET",
    ),
]


def encode_options(
    encoder: str | None,
    quality: int | None,
    bitrate: str | None,
    preset: str | None,
    pix_fmt: str | None,
) -> EncodeOptions:
    """What was asked for.

    Raises:
        OptionError: a value that is not allowed.
    """
    for name, text in (("--encoder", encoder), ("--preset", preset), ("--pix-fmt", pix_fmt)):
        if text is not None and not text.strip():
            raise OptionError(f"{name} is empty; allowed: a name, or leave the option out")
    return EncodeOptions(
        encoder=encoder,
        quality=quality,
        bitrate=None if bitrate is None else parse_bitrate(bitrate),
        preset=preset,
        pix_fmt=pix_fmt,
    )
