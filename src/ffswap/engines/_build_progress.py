"""How far a build of TensorRT has come, from what its progress monitor is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from .trt_api import TrtApi

__all__ = ["Phases", "make_monitor"]

_EVENT_S = 0.1  # least time between events of one phase: there may be thousands of steps


class Phases:
    """Which of TensorRT's nested phases is told of: the open one with the most steps.

    That is the one over the layers of the net, as soon as there is one. Of equals it is the
    innermost. Its methods may be called from several threads.

    Args:
        tell: called with the phase's name, its steps that are over, and all its steps.
        clock: seconds; events of one phase follow each other no faster than every 0.1 of them.
    """

    def __init__(
        self, tell: Callable[[str, int, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._open: dict[str, tuple[int, int]] = {}
        self._shown: tuple[str, int] | None = None
        self._last = 0.0

    def start(self, name: str, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._open[name] = 0, steps
            self._show()

    def step(self, name: str, index: int) -> None:
        """A step of a phase is over; steps count from 0."""
        with self._lock:
            if name in self._open:
                done, steps = self._open[name]
                self._open[name] = min(max(done, index + 1), steps), steps
                self._show()

    def finish(self, name: str) -> None:
        """A phase ends, perhaps before its last step."""
        with self._lock:
            self._open.pop(name, None)
            if self._open:
                self._show()

    def _show(self) -> None:
        most = max(steps for _, steps in self._open.values())
        name = [name for name, (_, steps) in self._open.items() if steps == most][-1]
        done, _ = self._open[name]
        now = self._clock()
        same_phase = self._shown is not None and self._shown[0] == name
        too_soon = same_phase and 0 < done < most and now - self._last < _EVENT_S
        if self._shown != (name, done) and not too_soon:
            self._shown, self._last = (name, done), now
            self._tell(name, done, most)


def make_monitor(api: TrtApi, tell: Callable[[str, int, int], None]) -> Any:
    """A progress monitor for TensorRT; `tell` is that of `Phases`."""
    phases = Phases(tell)
    base = api.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, _parent: str | None, steps: int) -> None:
            phases.start(name, steps)

        def step_complete(self, name: str, index: int) -> bool:
            phases.step(name, index)
            return True  # go on

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()
