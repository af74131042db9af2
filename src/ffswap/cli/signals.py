"""Ctrl-C, SIGTERM and a closed terminal: the first asks a run to stop, the second ends it at once.

A handler that raises would do so anywhere, also amid the clean-up that keeps half-written files
from appearing. So the first signal only sets an event that the run looks at.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from ..errors import CancelledError
from .errors import StoppedError

__all__ = ["StopSignals"]

_NAMES = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the terminal was closed"}


class StopSignals:
    """While entered, signals set `cancel`. Signals that the parent has switched off stay off.

    Args:
        quiet: say nothing when the first signal comes.

    Attributes:
        cancel: set by the first signal.
        received: number of the first signal, or None.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.cancel = threading.Event()
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell reports it; Ctrl-C where there was no signal."""
        return 128 + (self.received or signal.SIGINT)

    @property
    def name(self) -> str:
        """The signal in the user's words."""
        return _NAMES[signal.Signals(self.received or signal.SIGINT).name]

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows none
            for name in _NAMES:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def told(self, what: str, *, hint: str) -> Iterator[None]:
        """Say what became of the work, if it is stopped in here.

        Args:
            what: became of it.
            hint: how to go on, where the work itself does not say.

        Raises:
            StoppedError: it was stopped.
        """
        try:
            yield
        except (CancelledError, KeyboardInterrupt) as error:
            better = getattr(error, "hint", None) or hint
            raise StoppedError(
                f"stopped ({self.name}); {what}", exit_code=self.exit_code, hint=better
            ) from error

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own signature
        if self.received is not None:
            os.write(2, b"\nffswap: error: ended at once; a temporary file may be left\n")
            os._exit(128 + number)
        self.received = number
        self.cancel.set()
        if not self._quiet:
            os.write(2, b"\nffswap: warning: stopping; once more ends it at once\n")
