"""Files on the way in and out: checks, opening, and a temporary name that becomes the real one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
from av.container import InputContainer

from ..errors import (
    InputMissingError,
    MediaError,
    OutputExistsError,
    OutputFormatError,
    OutputWriteError,
)

__all__ = [
    "PathLike",
    "PendingFile",
    "by_suffix",
    "check_input",
    "fraction",
    "open_input",
    "write_error",
]

PathLike = str | os.PathLike[str]
T = TypeVar("T")

ALLOWED = "a video such as mp4, mov, mkv, webm, avi or ts"

# Demuxers of the FFmpeg library that take text for moving pictures or sound.
_NOT_MEDIA = frozenset({"tty", "txd", "srt", "ass", "webvtt", "ffmetadata", "concat", "hls"})

# Characters of an output's name in that of its temporary file: 160 bytes of UTF-8 at the most, so
# that the whole stays below the 255 that file systems allow.
_STEM = 40

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


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


def check_input(path: PathLike, allowed: str = ALLOWED) -> Path:
    """The path of an input file that exists and is not empty.

    Args:
        path: what the user gave.
        allowed: what should have been given, for messages.

    Raises:
        InputMissingError: no such file, or it is a folder.
        MediaError: the file is empty or may not be read, or it is a pipe or the like.
    """
    file = Path(path)
    try:
        status = file.stat()
    except PermissionError as error:
        raise MediaError("may not be read", file=file) from error
    except OSError as error:
        raise InputMissingError("no such file", file=file) from error
    if file.is_dir():
        raise InputMissingError(f"is a folder, not a file; give {allowed}", file=file)
    if not stat.S_ISREG(status.st_mode):  # it is opened more than once, and a pipe would wait
        raise MediaError(f"is a pipe or a device, not a file; give {allowed}", file=file)
    if not status.st_size:
        raise MediaError(f"is empty; give {allowed}", file=file)
    if not os.access(file, os.R_OK):
        raise MediaError("may not be read", file=file)
    return file


def open_input(path: PathLike) -> InputContainer:
    """An open container; the caller closes it.

    Raises:
        InputMissingError: no such file, or it is a folder.
        MediaError: empty, or nothing that FFmpeg can read.
    """
    file = check_input(path)
    try:
        container = av.open(f"file:{file.absolute()}", metadata_errors="replace")
    except TypeError:  # PyAV 19 has no such argument, and needs none
        container = _open_plain(file)
    except av.FFmpegError as error:
        raise _unreadable(file, error) from error
    if container.format.name in _NOT_MEDIA:
        container.close()
        raise MediaError(f"is text, not media; give {ALLOWED}", file=file)
    return container


def _open_plain(file: Path) -> InputContainer:
    try:
        return av.open(f"file:{file.absolute()}")
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


def write_error(error: OSError, file: PathLike) -> OutputWriteError:
    """The error to raise when writing `file` failed with `error`."""
    if error.errno in _FULL:
        return OutputWriteError("disk full, nothing was written", file=file, stage="write")
    if error.errno in _DENIED:
        return OutputWriteError("the folder may not be written to", file=file, stage="write")
    return OutputWriteError(
        f"could not be written ({error.strerror or error})", file=file, stage="write"
    )


class PendingFile:
    """An output under a temporary name beside its own, renamed only when it is complete.

    Args:
        path: where the output shall appear.
        overwrite: replace what is there.

    Raises:
        OutputExistsError: something is there and `overwrite` is false.
        OutputFormatError: the path is a folder, a pipe or a device.
        OutputWriteError: the folder is missing or may not be written to.
    """

    def __init__(self, path: PathLike, *, overwrite: bool) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._check_name()
        if os.path.isdir(path):
            raise OutputFormatError("is a folder; name a file", file=self.path)
        if not overwrite and os.path.lexists(path):
            raise self._exists()
        if os.path.exists(path) and not os.path.isfile(path):
            raise OutputFormatError("is a pipe or a device; name a file", file=self.path)
        folder = self.path.parent
        if not folder.is_dir():
            raise OutputWriteError(f"there is no folder {os.fspath(folder)!r}", file=self.path)
        token = secrets.token_hex(4)
        self.temporary = folder / f".{self.path.stem[:_STEM]}.{token}.part{self.path.suffix}"
        try:
            self.temporary.open("xb").close()
        except OSError as error:
            raise write_error(error, self.path) from error

    def _check_name(self) -> None:
        """Say at once what would only be found out when the file gets its name."""
        try:
            self.path.lstat()
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise write_error(error, self.path) from error

    def _exists(self) -> OutputExistsError:
        return OutputExistsError(
            "exists already", file=self.path, hint="choose another name, or allow overwriting"
        )

    def commit(self) -> None:
        """Flush the temporary file to the disk and give it its name, both or neither.

        Raises:
            OutputExistsError: something has appeared there in the meantime.
            OutputWriteError: the disk is full or failed.
        """
        try:
            with self.temporary.open("rb+") as data:
                os.fsync(data.fileno())
            if self._overwrite:
                os.replace(self.temporary, self.path)
            else:
                self._link()
            self._sync_folder()
        except FileExistsError as error:
            raise self._exists() from error
        except OSError as error:
            raise write_error(error, self.path) from error
        finally:
            self.discard()

    def _link(self) -> None:
        """Rename without replacing: a hard link fails where the name is taken."""
        try:
            os.link(self.temporary, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(self.path):
                raise FileExistsError(errno.EEXIST, "exists", os.fspath(self.path)) from None
            os.replace(self.temporary, self.path)

    def _sync_folder(self) -> None:
        if os.name != "posix":
            return
        with contextlib.suppress(OSError):  # some network file systems cannot
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        self.temporary.unlink(missing_ok=True)
