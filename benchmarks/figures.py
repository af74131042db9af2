"""How measured numbers are summed up and shown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

__all__ = ["cell", "spread"]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of one value or more."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def cell(figure: dict[str, float], digits: int) -> str:
    """A spread for a table: ``median (least..greatest)``."""
    low, high = figure["min"], figure["max"]
    return f"{figure['median']:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
