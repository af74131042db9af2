"""Shows how far a pull of models has come, on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .messages import note
from .progress import check_mode, clock

if TYPE_CHECKING:
    from ..pipeline.model_reports import ModelProgress

__all__ = ["PullDisplay", "make_pull_display"]

# A log has few lines for a short download, and shows that a long one is alive.
_PLAIN_EVERY_S = 5.0


class PullDisplay(AbstractContextManager["PullDisplay"]):
    """A context manager that is called with each event; this one shows nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, event: ModelProgress) -> None:
        pass


def make_pull_display(mode: str) -> PullDisplay:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere.

    Raises:
        OptionError: there is none of that name.
    """
    check_mode(mode)
    if mode == "none":
        return PullDisplay()
    if mode == "tqdm":
        return _Tqdm()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _Rich() if mode == "rich" or terminal else _Plain()


def _title(event: ModelProgress) -> str:
    waiting = ", another process fetches it" if event.phase == "waiting" else ""
    return f"{event.model} ({event.index + 1} of {event.count}){waiting}"


class _Plain(PullDisplay):
    """A line when a model is begun, one now and then, and one when it is there."""

    def __init__(self) -> None:
        self._last: tuple[int, str] = (-1, "")
        self._last_s = 0.0

    def __call__(self, event: ModelProgress) -> None:
        finished = event.done == event.total
        same = (event.index, event.phase) == self._last
        if same and not finished and event.seconds - self._last_s < _PLAIN_EVERY_S:
            return
        of = "" if event.total is None else f" of {event.total / 1e6:.1f}"
        amount = f": {event.done / 1e6:.1f}{of} MB" if event.phase == "fetching" else ""
        note("progress", f"{_title(event)}{amount} ({clock(event.seconds)})")
        self._last, self._last_s = (event.index, event.phase), event.seconds


class _Rich(PullDisplay):
    """A live bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, force_terminal=True),
            transient=True,
        )
        self._task = self._progress.add_task("models", total=None)
        self._index = 0

    def __enter__(self) -> PullDisplay:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, event: ModelProgress) -> None:
        if event.index != self._index:  # the speed of one model says nothing of the next
            self._index = event.index
            self._progress.reset(self._task)
        self._progress.update(
            self._task, description=_title(event), total=event.total, completed=event.done
        )


class _Tqdm(PullDisplay):
    """tqdm's bar, one for each model."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown: tuple[int, str] | None = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: ModelProgress) -> None:
        from tqdm import tqdm

        if (event.index, event.phase) != self._shown:
            self.__exit__()
            self._shown = (event.index, event.phase)
            self._bar = tqdm(
                desc=_title(event), unit="B", unit_scale=True, dynamic_ncols=True, file=sys.stderr
            )
        self._bar.total = event.total
        self._bar.update(event.done - self._bar.n)
