"""Shows how far a run has come, on stderr. rich and tqdm are loaded only when they are used."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..errors import OptionError
from .messages import note

if TYPE_CHECKING:
    from ..pipeline.report import ProgressEvent

__all__ = ["MODES", "Display", "check_mode", "clock", "make_display"]

Mode = Literal["auto", "rich", "tqdm", "none"]
MODES: tuple[str, ...] = get_args(Mode)

# Plain lines: never more often than this, so that a short run does not scroll away what was there.
PLAIN_EVERY_S = 2.0
# Between these a line comes when this part of the whole is done ...
PLAIN_PART = 0.1
# ... or, in a long run, after this time, so that a log shows that the run is alive.
PLAIN_AT_MOST_S = 30.0


class Display(Protocol):
    """A context manager that is called with each event."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __call__(self, event: ProgressEvent) -> None: ...


def check_mode(mode: str) -> None:
    """Refuse a name that no display has.

    Raises:
        OptionError: there is none of that name.
    """
    if mode not in MODES:
        raise OptionError(f"--progress is {mode!r}; allowed: {', '.join(MODES)}")


def make_display(mode: str) -> Display:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere.

    Raises:
        OptionError: there is none of that name.
    """
    check_mode(mode)
    if mode == "none":
        return _Silent()
    if mode == "tqdm":
        return _Tqdm()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _Rich() if mode == "rich" or terminal else _Plain()


def clock(seconds: float) -> str:
    """``0:42``, ``12:03`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _rate(event: ProgressEvent) -> str:
    left = "" if event.eta_s is None else f", {clock(event.eta_s)} left"
    return f"{event.fps:.1f} frames/s{left}"


class _Silent:
    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, event: ProgressEvent) -> None:
        pass


class _Plain(_Silent):
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


class _Rich(_Silent):
    """A live bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # A bar that was asked for by name is drawn even where stderr is no terminal.
        console = Console(stderr=True, force_terminal=True)
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TextColumn("{task.fields[rate]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("swap", total=None, rate="starting")

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, event: ProgressEvent) -> None:
        self._progress.update(
            self._task, completed=event.frames, total=event.total, rate=_rate(event)
        )


class _Tqdm(_Silent):
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
