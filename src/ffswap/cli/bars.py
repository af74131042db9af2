"""What displays of long work have in common: which one is shown where, and how a bar is put up and down."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, TypeVar, get_args

from ..errors import OptionError

__all__ = ["MODES", "Display", "RichBar", "TqdmBar", "choose_display", "clock"]

Mode = Literal["auto", "rich", "tqdm", "none"]
MODES: tuple[str, ...] = get_args(Mode)

E = TypeVar("E")


class Display(AbstractContextManager["Display[E]"], Generic[E]):
    """A context manager that is called with each event; this one shows nothing."""

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: E) -> None:
        pass


def choose_display(
    mode: str,
    *,
    quiet: bool,
    plain: Callable[[], Display[E]],
    rich: Callable[[], Display[E]],
    tqdm: Callable[[], Display[E]],
) -> Display[E]:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere, quiet is none.

    Raises:
        OptionError: there is none of that name.
    """
    if mode not in MODES:
        raise OptionError(f"--progress is {mode!r}; allowed: {', '.join(MODES)}")
    if quiet or mode == "none":
        return Display()
    if mode == "tqdm":
        return tqdm()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return rich() if mode == "rich" or terminal else plain()


def clock(seconds: float) -> str:
    """``0:42``, ``12:03`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class RichBar(Display[E]):
    """A live bar of rich's on stderr.

    Args:
        columns: of rich.
        fields: that they show besides its own, as they are at first.
    """

    def __init__(self, *columns: Any, **fields: Any) -> None:
        from rich.console import Console
        from rich.progress import Progress

        # A bar that was asked for by name is drawn even where stderr is no terminal.
        console = Console(stderr=True, force_terminal=True)
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=None, **fields)

    def __enter__(self) -> Display[E]:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


class TqdmBar(Display[E]):
    """Bars of tqdm's on stderr, one after the other."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown: tuple[int, str] | None = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(
        self, key: tuple[int, str], title: str, done: int, total: int | None, **looks: Any
    ) -> None:
        """Bring the bar of this key to where it is; another key gets a new bar."""
        from tqdm import tqdm

        if key != self._shown:
            self.__exit__()
            self._shown = key
            self._bar = tqdm(desc=title, dynamic_ncols=True, file=sys.stderr, **looks)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
