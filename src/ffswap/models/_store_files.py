"""The files of a model store: made, linked, copied, and the CRC-32 that lies beside published ones."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from ..errors import CancelledError, ModelError
from ..files import write_error

__all__ = ["HASH_BYTES", "hash_beside", "link_or_copy", "parse_crc32"]

HASH_BYTES = 64
"""Of a ``.hash`` file that are read: more than 8 digits and blanks; a web page is longer."""

_CHUNK = 1 << 22  # bytes copied between two looks at whether the caller gave up


def link_or_copy(source: Path, target: Path, cancel: threading.Event | None) -> None:
    """Let a file have a second name, or copy it where the file system does not allow that.

    Raises:
        OutputWriteError: the target cannot be written, or the source cannot be read to its end.
        CancelledError: `cancel` was set; half a copy may be left.
    """
    try:
        os.link(source, target)
    except OSError:  # another disk, another owner, or a file system without links
        _copy(source, target, cancel)


def _copy(source: Path, target: Path, cancel: threading.Event | None) -> None:
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            while chunk := reader.read(_CHUNK):
                if cancel is not None and cancel.is_set():
                    raise CancelledError(f"stopped while {source} was copied")
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
    except OSError as error:
        raise write_error(error, target.parent) from error


def parse_crc32(text: bytes) -> str | None:
    """The CRC-32 in a ``.hash`` file: 8 hexadecimal digits and at most blanks; else None."""
    digits = text.strip().lower()
    return digits.decode("ascii") if re.fullmatch(rb"[0-9a-f]{8}", digits) else None


def hash_beside(file: Path) -> str | None:
    """The CRC-32 in the ``.hash`` file beside a model's file, as publishers lay them; or None.

    Raises:
        ModelError: there is one, and it holds something else.
    """
    path = file.with_suffix(".hash")
    try:
        if not path.is_file():  # a pipe would wait
            return None
        with path.open("rb") as data:
            crc32 = parse_crc32(data.read(HASH_BYTES))
    except OSError:
        return None
    if crc32 is None:
        raise ModelError("does not hold 8 hexadecimal digits, a CRC-32", file=path)
    return crc32
