"""Shows how far a build of engines has come, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .bars import Display, RichBar, TqdmBar, choose_display, clock
from .messages import note

if TYPE_CHECKING:
    from ..pipeline.engines import EngineProgress

__all__ = ["BuildDisplay", "make_build_display"]

# Phases of a small net last milliseconds: a log has one line for what takes longer.
_PLAIN_EVERY_S = 2.0
# A phase without steps can take minutes: a log shows that the build is alive.
_PLAIN_AT_MOST_S = 15.0


BuildDisplay: TypeAlias = "Display[EngineProgress]"


def make_build_display(mode: str, *, quiet: bool = False) -> BuildDisplay:
    """The display of that name; auto is rich on a terminal and plain lines elsewhere, quiet is none.

    Raises:
        OptionError: there is none of that name.
    """
    return choose_display(mode, quiet=quiet, plain=_Plain, rich=_Rich, tqdm=_Tqdm)


def _title(event: EngineProgress) -> str:
    return f"{event.model} ({event.index + 1} of {event.count}): {event.phase}"


class _Plain(Display["EngineProgress"]):
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


class _Rich(RichBar["EngineProgress"]):
    """A live bar: full where steps are known, moving where not."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

        super().__init__(
            TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
        )

    def __call__(self, event: EngineProgress) -> None:
        self._progress.update(
            self._task, description=_title(event), total=event.total, completed=event.done or 0
        )


class _Tqdm(TqdmBar["EngineProgress"]):
    """tqdm's bar, one for each phase."""

    def __call__(self, event: EngineProgress) -> None:
        self.show((event.index, event.phase), _title(event), event.done or 0, event.total)
