"""The parent of a process that builds, as the process sees it.

On stdin come jobs, one JSON object a line; its end means that the parent is gone. On stdout go lines
of JSON, and what C++ libraries print there goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .build import BuildJob, job_from_json

__all__ = ["Channel", "Jobs"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHUNK_BYTES = 4096


class Channel:
    """The way to the parent: one JSON object a line."""

    def __init__(self) -> None:
        self._fd = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send an event, a result or an error."""
        data = json.dumps(message).encode() + b"\n"
        # Without a parent nobody listens; `Jobs` ends this process then.
        with self._lock, contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]

    def tell(self, phase: str, done: int | None = None, total: int | None = None) -> None:
        """Say how far the build is."""
        self.send({"phase": phase, "done": done, "total": total})


class Jobs:
    """What the parent sends; it is read all the time, so that the end of the parent is noticed."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._unfinished: Path | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Not sys.stdin: its lock would be taken while the interpreter ends.
        data = b""
        while chunk := os.read(_STDIN, _CHUNK_BYTES):
            *lines, data = (data + chunk).split(b"\n")
            for line in lines:
                job = json.loads(line)
                self._unfinished = Path(job["plan"])
                self._waiting.put(job)
        if self._unfinished is not None:
            with contextlib.suppress(OSError):
                self._unfinished.unlink()
        os._exit(1)

    def next(self) -> BuildJob:
        """Wait for a job."""
        return job_from_json(self._waiting.get())

    def finish(self) -> None:
        """Say that the plan of the last job is whole: it belongs to the parent now."""
        self._unfinished = None
