"""Opening media files, and small things that several modules here need."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
from av.container import InputContainer

from ..errors import MediaError, OutputFormatError
from ..files import PathLike, check_input
from ..options import LimitOptions
from ._limits import decoder_options

__all__ = ["ALLOWED", "by_suffix", "fraction", "open_input"]

T = TypeVar("T")

ALLOWED = "a video such as mp4, mov, mkv, webm, avi or ts"

# Demuxers of the FFmpeg library that take text for moving pictures or sound.
_NOT_MEDIA = frozenset({"tty", "txd", "srt", "ass", "webvtt", "ffmetadata", "concat", "hls"})


def fraction(value: Any) -> Fraction | None:
    """A rational of PyAV's (any of its versions) as a Fraction; None where it is not set."""
    return Fraction(value.numerator, value.denominator) if value else None


def by_suffix(path: PathLike, table: Mapping[str, T], kind: str) -> T:
    """The entry of a table for the suffix of a file name, in any case.

    Args:
        path: of an output.
        table: by suffix, dot included, in lower case.
        kind: of suffix, for the message.

    Raises:
        OutputFormatError: there is no suffix, or no entry for it.
    """
    suffix = Path(path).suffix
    if suffix.lower() in table:
        return table[suffix.lower()]
    given = f"unknown {kind} suffix {suffix!r}" if suffix else "no file name suffix"
    raise OutputFormatError(f"{given}; allowed: {', '.join(table)}", file=path)


def open_input(path: PathLike, limits: LimitOptions | None = None) -> InputContainer:
    """An open container; the caller closes it.

    Args:
        path: of the file.
        limits: on the frames that are decoded to learn what it is; None: the usual ones.

    Raises:
        InputMissingError: no such file, or it is a folder.
        MediaError: empty, or nothing that FFmpeg can read.
    """
    file = check_input(path, ALLOWED, MediaError)
    options = decoder_options(limits or LimitOptions())
    try:
        container = av.open(f"file:{file.absolute()}", options=options, metadata_errors="replace")
    except TypeError:  # PyAV 19 has no such argument, and needs none
        container = _open_plain(file, options)
    except av.FFmpegError as error:
        raise _unreadable(file, error) from error
    if container.format.name in _NOT_MEDIA:
        container.close()
        raise MediaError(f"is text, not media; give {ALLOWED}", file=file)
    return container


def _open_plain(file: Path, options: dict[str, str]) -> InputContainer:
    try:
        return av.open(f"file:{file.absolute()}", options=options)
    except av.FFmpegError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> MediaError:
    with file.open("rb") as data:
        head = data.read(12)
    hint = None
    if head[4:8] == b"ftyp":
        hint = "an mp4 or mov file without its index (moov): was the recording or copy cut off?"
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(f"cannot be read as media ({reason}); give {ALLOWED}", file=file, hint=hint)
