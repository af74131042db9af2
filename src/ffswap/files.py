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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from .errors import (
    CancelledError,
    InputError,
    InputMissingError,
    OutputExistsError,
    OutputFormatError,
    OutputWriteError,
)

__all__ = [
    "LARGEST_TABLE",
    "Digests",
    "PathLike",
    "PendingFile",
    "Seal",
    "check_input",
    "file_digests",
    "read_table",
    "write_error",
]

PathLike = str | os.PathLike[str]

# Characters of an output's name in that of its temporary file: 160 bytes of UTF-8 at the most, so
# that the whole stays below the 255 that file systems allow.
_STEM = 40

LARGEST_TABLE = 8 << 20
"""Bytes of a recipe, catalogue or manifest: the catalogue of ffswap has 50 KB."""

_CHUNK = 1 << 20  # bytes hashed at a time

# Rights of new files, before the mask of the process: of everybody's, and of one's own.
_COMMON, _PRIVATE = 0o666, 0o600

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


def read_table(path: Path) -> bytes:
    """The content of a file that people or programs write tables in: a recipe, a catalogue, a manifest.

    Raises:
        OSError: it cannot be read, is a pipe or a device, or is too large to be one.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a pipe or a device")
    with path.open("rb") as file:
        data = file.read(LARGEST_TABLE + 1)
    if len(data) > LARGEST_TABLE:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_TABLE} bytes")
    return data


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
        private: only the user who runs this may read it.

    Raises:
        OutputExistsError: something is there and `overwrite` is false.
        OutputFormatError: the path is a folder, a pipe or a device.
        OutputWriteError: the folder is missing or may not be written to.
    """

    def __init__(self, path: PathLike, *, overwrite: bool, private: bool = False) -> None:
        self.path = Path(path)
        self.overwrite, self._mode = overwrite, _PRIVATE if private else _COMMON
        self._beside: PendingFile | None = None
        self._stale: Path | None = None
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
        self.temporary = self._create()

    def _create(self) -> Path:
        """An empty file beside the output, of a name that nobody else has."""
        token = secrets.token_hex(4)
        file = self.path.with_name(f".{self.path.stem[:_STEM]}.{token}.part{self.path.suffix}")
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, self._mode))
        except OSError as error:
            raise write_error(error, self.path) from error
        return file

    @contextlib.contextmanager
    def rewritten(self) -> Iterator[Path]:
        """A second temporary file, which takes the place of the first when the block has ended well.

        Raises:
            OutputWriteError: the folder may not be written to.
        """
        new = self._create()
        try:
            yield new
            os.replace(new, self.temporary)
        finally:
            new.unlink(missing_ok=True)

    def accompany(self, beside: PendingFile) -> None:
        """Let another file appear together with this one: just before it, or not at all.

        Args:
            beside: complete; it is committed and discarded with this one from now on.
        """
        self._beside = beside

    def replaces(self, stale: Path) -> None:
        """Remove a file that described what this one overwrites, once it is overwritten."""
        self._stale = stale if self.overwrite else None

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
        if self._beside is not None:
            self._beside.commit()
        done = False
        try:
            with self.temporary.open("rb+") as data:
                os.fsync(data.fileno())
            if self.overwrite:
                os.replace(self.temporary, self.path)
            else:
                self._link()
            done = True
            if self._stale is not None:
                self._stale.unlink(missing_ok=True)
            self._sync_folder()
        except FileExistsError as error:
            raise self._exists() from error
        except OSError as error:
            raise write_error(error, self.path) from error
        finally:
            if self._beside is not None and not done:
                self._beside.path.unlink(missing_ok=True)  # it would describe nothing
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
        """Remove the temporary file, if it is still there, and that of its companion."""
        self.temporary.unlink(missing_ok=True)
        if self._beside is not None:
            self._beside.discard()


Seal: TypeAlias = Callable[[PendingFile], None]
"""What is done last to an output that is complete and has no name yet."""
