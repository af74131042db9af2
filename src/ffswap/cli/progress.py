"""Shows how far a run has come, on stderr. rich and tqdm are loaded only when they are used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from . import bars
from .bars import RichBar, choose_display, clock
from .messages import note

if TYPE_CHECKING:
    from ..pipeline.report import ProgressEvent

__all__ = ["Display", "make_display"]

# Plain lines: never more often than this, so that a short run does not scroll away what was there.
PLAIN_EVERY_S = 2.0
# Between these a line comes when this part of the whole is done ...
PLAIN_PART = 0.1
# ... or, in a long run, after this time, so that a log shows that the run is alive.
PLAIN_AT_MOST_S = 30.0


Display: TypeAlias = "bars.Display[ProgressEvent]"


def make_display(mode: str, *, quiet: bool = False) -> Display:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere, quiet is none.

    Raises:
        OptionError: there is none of that name.
    """
    return choose_display(mode, quiet=quiet, plain=_Plain, rich=_Rich, tqdm=_Tqdm)


def _rate(event: ProgressEvent) -> str:
    left = "" if event.eta_s is None else f", {clock(event.eta_s)} left"
    return f"{event.fps:.1f} frames/s{left}"


class _Plain(bars.Display["ProgressEvent"]):
    """A line now and then."""

    def __init__(self) -> None:
        self._last_s = 0.0
        self._last_frames = 0

    def __call__(self, event: ProgressEvent) -> None:
        waited_s = event.seconds - self._last_s
        finished = event.frames == event.total
        if event.frames == self._last_frames or (waited_s < PLAIN_EVERY_S and not finished):
            return
        done = event.frames - self._last_frames
        due = event.total is None or done >= PLAIN_PART * event.total
        if not (due or finished or waited_s >= PLAIN_AT_MOST_S):
            return
        self._last_s, self._last_frames = event.seconds, event.frames
        of, part = "", ""
        if event.total:
            of, part = f" of {event.total}", f" ({event.frames / event.total:.0%})"
        note("progress", f"{event.frames}{of} frames{part}, {_rate(event)}")


class _Rich(RichBar["ProgressEvent"]):
    """A live bar."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

        super().__init__(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TextColumn("{task.fields[rate]}"),
            rate="starting",
        )

    def __call__(self, event: ProgressEvent) -> None:
        self._progress.update(
            self._task, completed=event.frames, total=event.total, rate=_rate(event)
        )


class _Tqdm(bars.Display["ProgressEvent"]):
    """tqdm's bar."""

    _bar: Any

    def __enter__(self) -> Display:
        from tqdm import tqdm

        self._bar = tqdm(unit=" frames", dynamic_ncols=True, file=sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def __call__(self, event: ProgressEvent) -> None:
        self._bar.total = event.total
        self._bar.update(event.frames - self._bar.n)
