"""Shows how far a pull of models has come, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .bars import Display, RichBar, TqdmBar, choose_display, clock
from .messages import note

if TYPE_CHECKING:
    from ..pipeline.model_reports import ModelProgress

__all__ = ["PullDisplay", "make_pull_display"]

# A log has few lines for a short download, and shows that a long one is alive.
_PLAIN_EVERY_S = 5.0


PullDisplay: TypeAlias = "Display[ModelProgress]"


def make_pull_display(mode: str, *, quiet: bool = False) -> PullDisplay:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere, quiet is none.

    Raises:
        OptionError: there is none of that name.
    """
    return choose_display(mode, quiet=quiet, plain=_Plain, rich=_Rich, tqdm=_Tqdm)


def _title(event: ModelProgress) -> str:
    waiting = ", another process fetches it" if event.phase == "waiting" else ""
    return f"{event.model} ({event.index + 1} of {event.count}){waiting}"


class _Plain(Display["ModelProgress"]):
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


class _Rich(RichBar["ModelProgress"]):
    """A live bar."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._index = 0

    def __call__(self, event: ModelProgress) -> None:
        if event.index != self._index:  # the speed of one model says nothing of the next
            self._index = event.index
            self._progress.reset(self._task)
        self._progress.update(
            self._task, description=_title(event), total=event.total, completed=event.done
        )


class _Tqdm(TqdmBar["ModelProgress"]):
    """tqdm's bar, one for each model."""

    def __call__(self, event: ModelProgress) -> None:
        key = (event.index, event.phase)
        self.show(key, _title(event), event.done, event.total, unit="B", unit_scale=True)
