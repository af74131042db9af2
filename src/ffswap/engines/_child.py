"""A process of Python that works on what it is sent, says how far it is, and can be ended any time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from ..errors import EngineError, FfswapError, InternalError

__all__ = ["Child"]

_GRACE_S = 3.0  # from SIGTERM to SIGKILL: freeing GPU memory takes a moment
_TAIL_BYTES = 8192  # of what a child that died has written to stderr
_LAST_WORDS = 3  # lines of that in a message
_LAST_EXIT_CODE = 255  # above it, on Windows, is the exception that ended a process
_KILLED_HINT = (
    "the system does that to a program when memory runs out: give a smaller --batch, or close "
    "other programs"
)
# Windows needs this for what a session of its own does elsewhere.
_NEW_GROUP = int(getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))

# The working directory is left out before anything is imported: there may be a json.py in it. Of
# stdin one line is read and no byte more: the module reads on, and its end says that the parent is
# gone.
_BOOT = """
import sys
sys.path[:] = [one for one in sys.path if one]
import importlib, json
given = json.loads(open(0, "rb", buffering=0, closefd=False).readline())
sys.path[:] = given["path"]
importlib.import_module(given["module"]).main(given["setup"])
"""


class Child:
    """The process, and two threads that read what it says.

    Args:
        module: it has a function `main` that takes the setup. It finds on stdin, and writes to
            stdout, one JSON object a line, and ends the process when stdin ends.
        setup: for all that it will be sent; goes as JSON.

    Attributes:
        ended: everything that it has said was heard.

    Raises:
        EngineError: no process can be started.
    """

    def __init__(self, module: str, setup: Mapping[str, Any]) -> None:
        self.ended = False
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._words = b""
        try:
            # A session of its own: Ctrl-C in the terminal reaches this process only, which then
            # ends the child and cleans up.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True, creationflags=_NEW_GROUP,
            )  # fmt: skip
        except OSError as error:
            raise EngineError(f"no process can be started ({error})") from error
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise InternalError("a pipe is missing")
        self._stdin = stdin
        self._readers = (
            threading.Thread(target=self._read_messages, args=(stdout,), daemon=True),
            threading.Thread(target=self._read_words, args=(stderr,), daemon=True),
        )
        for reader in self._readers:
            reader.start()
        self.send({"path": [str(one) for one in sys.path], "module": module, "setup": setup})

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send something to work on; goes as JSON. What it wrote to stderr before is forgotten."""
        self._words = b""
        with contextlib.suppress(OSError):  # it has died: `cause_of_death` says of what
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()

    def _read_messages(self, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                for line in pipe:
                    if line.endswith(b"\n"):  # else it was killed in the middle of it
                        self._messages.put({**json.loads(line), "heard": time.monotonic()})
        finally:
            self._messages.put(None)

    def _read_words(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _TAIL_BYTES):
                self._words = (self._words + chunk)[-_TAIL_BYTES:]

    def hear(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, with the time of `time.monotonic` at which it came as ``heard``.

        Returns:
            None: there is none yet, or `ended` is true.
        """
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self.ended = message is None
        return message

    def cause_of_death(self, name: str) -> FfswapError:
        """The error of a child that has ended by a signal, a crash or our fault.

        Args:
            name: of what it worked on.
        """
        code = self._process.wait()
        self._readers[1].join(_GRACE_S)
        words = self._words.decode(errors="replace").splitlines()
        lines = [line.strip() for line in words if line.strip()][-_LAST_WORDS:]
        said = f"; its last words: {' / '.join(lines)}" if lines else ""
        if code < 0:
            how = f"signal {_signal_name(-code)}"
            hint = _KILLED_HINT if how.endswith("SIGKILL") else None
            return EngineError(f"{name}: the process was ended by {how}{said}", hint=hint)
        if code > _LAST_EXIT_CODE:
            return EngineError(f"{name}: the process crashed (0x{code:08X}){said}")
        return InternalError(f"{name}: the process ended with {code} and no result{said}")

    def end(self) -> None:
        """End the process, if need be by force, and wait for it."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE_S)
        finally:  # also after a second Ctrl-C
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                self._stdin.close()
            for reader in self._readers:
                reader.join(_GRACE_S)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have none
        return str(number)
