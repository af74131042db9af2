"""Folders that several processes write to: made where they are missing, and locked name by name. A leaf."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from .errors import CancelledError, OutputWriteError
from .files import write_error

__all__ = ["FolderLocks", "make_folder", "no_folder", "open_to_others"]

_POLL_S = 0.1  # how soon a wait for a lock notices that it is free, or that the caller gave up


def make_folder(folder: Path, content: str) -> None:
    """Make a folder and its parents, where they are missing.

    Args:
        folder: to be there.
        content: what it is for, in the plural, for the message.

    Raises:
        OutputWriteError: a file is in the way, or the place may not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise no_folder(folder, content) from error
    except OSError as error:
        raise write_error(error, folder) from error


def open_to_others(folder: Path) -> str | None:
    """Why what lies in a folder may have been put there by somebody else; None: only by this user.

    Only where there are users and rights of the POSIX kind; elsewhere nothing is known.
    """
    if os.name != "posix":
        return None
    try:
        status = folder.stat()
    except OSError:
        return None
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write to {folder}"
    if status.st_uid not in (0, os.geteuid()):
        return f"{folder} belongs to another user"
    return None


def no_folder(folder: Path, content: str) -> OutputWriteError:
    """The error for a folder that is, or lies in, a file."""
    return OutputWriteError(
        f"is, or lies in, a file; {content} need a folder",
        file=folder,
        hint="name a folder; it is made if it is missing",
    )


class FolderLocks:
    """Locks of the names in a folder, in hidden files that stay.

    The operating system lets a lock go when a process dies. The thread that holds one may take it
    again from the same object.

    Args:
        folder: where the files are.
        content: what is in the folder, in the plural, for messages.
    """

    def __init__(self, folder: Path, content: str) -> None:
        self._folder, self._content = folder, content
        # One for each name and not for each use: who holds a lock may take it again.
        self._locks: dict[str, filelock.BaseFileLock] = {}

    @contextmanager
    def held(
        self,
        name: str,
        doing: str,
        *,
        cancel: threading.Event | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock of a name; the folder is made if it is missing.

        Args:
            name: of a file, without its suffix.
            doing: what another process does that holds it, such as ``builds it``.
            cancel: ends the wait when it is set.
            waiting: is called once if somebody else holds it.

        Raises:
            CancelledError: `cancel` was set while waiting.
            OutputWriteError: the folder may not be written to.
        """
        make_folder(self._folder, self._content)
        told = False
        while not self.take(name):
            if waiting is not None and not told:
                waiting()
            told = True
            if cancel is None:
                time.sleep(_POLL_S)
            elif cancel.wait(_POLL_S):
                raise CancelledError(f"stopped while another process {doing}")
        try:
            yield
        finally:
            self.release(name)

    def take(self, name: str) -> bool:
        """Take the lock of a name if it is free; whether it was.

        Raises:
            OutputWriteError: the folder may not be written to.
        """
        try:
            self._of(name).acquire(timeout=0)
        except filelock.Timeout:
            return False
        except OSError as error:
            raise write_error(error, self._folder) from error
        return True

    def release(self, name: str) -> None:
        """Let go what `take` has taken."""
        self._of(name).release()

    def _of(self, name: str) -> filelock.BaseFileLock:
        return self._locks.setdefault(name, filelock.FileLock(self._folder / f".{name}.lock"))
