"""``-`` in place of a file: the target from standard input, the output to standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputMissingError, MediaError, OptionError, OutputWriteError

__all__ = ["STREAM", "Streams", "open_streams"]

STREAM = "-"

# FFmpeg's first name of a format -> the suffix of an output of the same kind.
_SUFFIXES = {
    "avi": ".avi", "flv": ".flv", "matroska": ".mkv", "mov": ".mp4", "mpegts": ".ts",
    "jpeg_pipe": ".jpg", "png_pipe": ".png", "tiff_pipe": ".tiff", "webp_pipe": ".webp",
    "bmp_pipe": ".bmp",
}  # fmt: skip


@dataclass(frozen=True)
class Streams:
    """The files that stand for the streams while the run lasts.

    Attributes:
        target: what is read.
        output: what is written.
        to_stdout: the output goes to standard output when it is complete.
    """

    target: Path
    output: Path
    to_stdout: bool

    def send(self) -> None:
        """Send the output to standard output, if it is to go there.

        Raises:
            OutputWriteError: the reader has gone away, or it cannot be written.
        """
        if not self.to_stdout:
            return
        try:
            with self.output.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except OSError as error:
            # What is still buffered has nowhere to go, and the interpreter would try again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputWriteError(
                f"standard output cannot be written: {error.strerror}"
            ) from error


@contextmanager
def open_streams(target: Path, output: Path, form: str | None) -> Iterator[Streams]:
    """Put files in place of ``-``, in a temporary folder that is removed afterwards.

    Args:
        target: a file, or ``-``.
        output: a file, or ``-``.
        form: suffix of the output without its dot, for ``-``; None: as the target.

    Raises:
        OptionError: a format without a stream, or standard output is a terminal.
        MediaError: nothing came from standard input, or no format is known for the output.
        OutputWriteError: the temporary folder is full.
    """
    reads, writes = str(target) == STREAM, str(output) == STREAM
    if form is not None and not writes:
        raise OptionError("--format is for OUTPUT '-'; a file has its format from its suffix")
    if not (reads or writes):
        yield Streams(target, output, False)
        return
    if writes and sys.stdout.isatty():
        raise OptionError(
            "OUTPUT is '-', and standard output is a terminal; allowed: a file or a pipe"
        )
    with tempfile.TemporaryDirectory(prefix="ffswap-") as folder:
        if reads:
            target = _spooled(Path(folder))
        if writes:
            output = Path(folder, f"output{_suffix(target, form)}")
        yield Streams(target, output, writes)


def _spooled(folder: Path) -> Path:
    """Standard input as a file: containers are read here and there, and more than once."""
    file = folder / "standard input"
    source: Any = sys.stdin.buffer
    try:
        with file.open("wb") as data:
            shutil.copyfileobj(source, data)
    except OSError as error:
        raise OutputWriteError(
            f"standard input could not be kept in {folder.parent} ({error.strerror})",
            hint="the variable TMPDIR names another folder for temporary files",
        ) from error
    if not file.stat().st_size:
        raise MediaError("standard input is empty; give a video or a picture")
    return file


def _suffix(target: Path, form: str | None) -> str:
    if form is not None:
        return f".{form.lower().lstrip('.')}"
    if not target.exists():
        raise InputMissingError("no such file", file=target)
    from ..media import probe  # loads FFmpeg, which --help does not need

    name = probe(target).container
    if name == "image2":
        return target.suffix
    if name not in _SUFFIXES:
        raise OptionError(f"OUTPUT '-' needs --format here: the target is {name}")
    return _SUFFIXES[name]
