"""Runs of the whole pipeline: what a run will use, the run itself, and what it reports.

`swap`, `swap_many` and `tune_process` are loaded when they are first used: the survey of a machine on which a
library of the pipeline is broken must still say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import swap, tune_process
    from .many import swap_many

__all__ = ["swap", "swap_many", "tune_process"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api, many

    return getattr(many if name == "swap_many" else api, name)
