"""Shows how far a build of engines has come, on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .messages import note
from .progress import check_mode, clock

if TYPE_CHECKING:
    from ..pipeline.engines import EngineProgress

__all__ = ["BuildDisplay", "make_build_display"]

# Phases of a small net last milliseconds: a log has one line for what takes longer.
_PLAIN_EVERY_S = 2.0
# A phase without steps can take minutes: a log shows that the build is alive.
_PLAIN_AT_MOST_S = 15.0


class BuildDisplay(AbstractContextManager["BuildDisplay"]):
    """A context manager that is called with each event; this one shows nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, event: EngineProgress) -> None:
        pass


def make_build_display(mode: str) -> BuildDisplay:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere.

    Raises:
        OptionError: there is none of that name.
    """
    check_mode(mode)
    if mode == "none":
        return BuildDisplay()
    if mode == "tqdm":
        return _Tqdm()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _Rich() if mode == "rich" or terminal else _Plain()


def _title(event: EngineProgress) -> str:
    return f"{event.model} ({event.index + 1} of {event.count}): {event.phase}"


class _Plain(BuildDisplay):
    """A line when a model is begun, and one now and then when a phase changes or goes on."""

    def __init__(self) -> None:
        self._last: tuple[int, str] = (-1, "")
        self._last_s = 0.0

    def __call__(self, event: EngineProgress) -> None:
        index, phase = self._last
        waited_s = event.seconds - self._last_s
        due = _PLAIN_AT_MOST_S if event.phase == phase else _PLAIN_EVERY_S
        if event.index == index and waited_s < due:
            return
        steps = f" {event.done}/{event.total}" if event.total else ""
        note("progress", f"{_title(event)}{steps} ({clock(event.seconds)})")
        self._last, self._last_s = (event.index, event.phase), event.seconds


class _Rich(BuildDisplay):
    """A live bar: full where steps are known, moving where not."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, force_terminal=True),
            transient=True,
        )
        self._task = self._progress.add_task("engines", total=None)

    def __enter__(self) -> BuildDisplay:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, event: EngineProgress) -> None:
        self._progress.update(
            self._task, description=_title(event), total=event.total, completed=event.done or 0
        )


class _Tqdm(BuildDisplay):
    """tqdm's bar, one for each phase."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown: tuple[int, str] | None = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: EngineProgress) -> None:
        from tqdm import tqdm

        if (event.index, event.phase) != self._shown:
            self.__exit__()
            self._shown = (event.index, event.phase)
            self._bar = tqdm(desc=_title(event), dynamic_ncols=True, file=sys.stderr)
        self._bar.total = event.total
        self._bar.update((event.done or 0) - self._bar.n)
