"""Files on the way in and out: checks, digests, and a temporary name that becomes the real one. A leaf."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import (
    CancelledError,
    InputError,
    InputMissingError,
    OutputExistsError,
    OutputFormatError,
    OutputWriteError,
)

__all__ = ["Digests", "PathLike", "PendingFile", "check_input", "file_digests", "write_error"]

PathLike = str | os.PathLike[str]

# Characters of an output's name in that of its temporary file: 160 bytes of UTF-8 at the most, so
# that the whole stays below the 255 that file systems allow.
_STEM = 40

_CHUNK = 1 << 20  # bytes hashed at a time

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class Digests:
    """What tells a file from others.

    Attributes:
        size_bytes: its length.
        sha256: 64 lower-case hexadecimal digits.
        crc32: 8 such digits, of zlib's CRC-32.
    """

    size_bytes: int
    sha256: str
    crc32: str


def file_digests(path: Path, cancel: threading.Event | None = None) -> Digests:
    """Read a file and compute its digests (half a second for 500 MB).

    Args:
        path: of the file.
        cancel: ends it when it is set.

    Raises:
        OSError: it cannot be read.
        CancelledError: `cancel` was set.
    """
    sha256, crc32, size = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if cancel is not None and cancel.is_set():
                raise CancelledError(f"stopped while {path.name} was read")
            sha256.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            size += len(chunk)
    return Digests(size_bytes=size, sha256=sha256.hexdigest(), crc32=f"{crc32:08x}")


def check_input(path: PathLike, allowed: str, fault: type[InputError]) -> Path:
    """The path of an input file that exists and is not empty.

    Args:
        path: what the user gave.
        allowed: what should have been given, for messages.
        fault: the error to raise when there is a file, but not one that can be used.

    Raises:
        InputMissingError: no such file, or it is a folder.
        InputError: `fault`: the file is empty or may not be read, or it is a pipe or the like.
    """
    file = Path(path)
    try:
        status = file.stat()
    except PermissionError as error:
        raise fault("may not be read", file=file) from error
    except OSError as error:
        raise InputMissingError("no such file", file=file) from error
    if file.is_dir():
        raise InputMissingError(f"is a folder, not a file; give {allowed}", file=file)
    if not stat.S_ISREG(status.st_mode):  # it is opened more than once, and a pipe would wait
        raise fault(f"is a pipe or a device, not a file; give {allowed}", file=file)
    if not status.st_size:
        raise fault(f"is empty; give {allowed}", file=file)
    if not os.access(file, os.R_OK):
        raise fault("may not be read", file=file)
    return file


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
