"""The options that say how large a file may be: the same for all commands that decode one."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["MaxHours", "MaxMegapixels"]

MaxMegapixels = Annotated[
    float,
    typer.Option(
        "--max-megapixels", metavar="N", help="refuse pictures and frames of more pixels than this"
    ),
]
MaxHours = Annotated[
    float,
    typer.Option("--max-hours", metavar="N", help="refuse clips that last longer than this"),
]
