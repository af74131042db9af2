"""Threads of a run: each in its place, joined by bounded queues, stopped together.

A worker that fails, or a caller that gives up, sets one stop signal; whoever waits in a queue
wakes up and leaves; the first error is raised in the thread that called.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

__all__ = ["Channel", "Crew", "StoppedError", "Stopwatch"]

T = TypeVar("T")

POLL_S = 0.05
"""How often a waiting worker looks whether it should stop."""


class StoppedError(Exception):
    """The run was stopped elsewhere; not an error of its own."""


class _End:
    """Comes after the last item."""


class Channel(Generic[T]):
    """A bounded queue between two workers, with an end.

    Args:
        size: items that may wait in it.
        stop: when set, waiting ends with `StoppedError`.
    """

    def __init__(self, size: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(size)
        self._stop = stop

    def put(self, item: T) -> None:
        """Wait for room, then hand over."""
        self._put(item)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._put(_End())

    def _put(self, item: T | _End) -> None:
        while True:
            if self._stop.is_set():
                raise StoppedError
            try:
                return self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue

    def __iter__(self) -> Iterator[T]:
        while True:
            if self._stop.is_set():
                raise StoppedError
            try:
                item = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            yield item


class Crew:
    """The workers of one run."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own."""
        thread = threading.Thread(target=self._guard, args=(work,), name=f"ffswap-{name}")
        self._threads.append(thread)
        thread.start()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            with self._lock:
                self._errors.append(error)
            self.stop.set()

    def wait(self, tick: Callable[[], None], every_s: float) -> None:
        """Until all are done; calls `tick` now and then. Raises the first worker's error.

        Whatever is raised here, by `tick` or by the user's interrupt, stops the workers first.
        """
        try:
            while any(t.is_alive() for t in self._threads):
                for thread in self._threads:
                    if thread.is_alive():
                        thread.join(every_s)
                        break
                tick()
        finally:
            self.stop.set()
            for thread in self._threads:
                thread.join()
        if self._errors:
            raise self._errors[0]


class Stopwatch:
    """How long a stage was at work, over all its threads; waiting in queues does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts while the block runs."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds += spent
