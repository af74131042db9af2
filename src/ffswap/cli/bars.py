"""What displays of long work have in common: which one is shown where, and how a bar is put up and down."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from .progress import check_mode

__all__ = ["Display", "RichBar", "TqdmBar", "shown_as"]

E = TypeVar("E")


class Display(AbstractContextManager["Display[E]"], Generic[E]):
    """A context manager that is called with each event; this one shows nothing."""

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: E) -> None:
        pass


def shown_as(mode: str) -> str:
    """``none``, ``tqdm``, ``rich`` or ``plain``; auto is rich on a terminal and plain lines elsewhere.

    Raises:
        OptionError: there is no mode of that name.
    """
    check_mode(mode)
    if mode in ("none", "tqdm", "rich"):
        return mode
    return "rich" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


class RichBar(Display[E]):
    """A live bar of rich's on stderr.

    Args:
        columns: of rich.
    """

    def __init__(self, *columns: Any) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True, force_terminal=True)
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=None)

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
