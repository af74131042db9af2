"""The best swapper that is installed, with everything that it needs."""

from __future__ import annotations

from pathlib import Path

from ..models import Catalog, ModelSpec
from ..models.store import ModelStore
from .preferences import EMBEDDED_SWAPPER, PREFERRED_SWAPPERS

__all__ = ["best_swapper", "usable_file"]


def usable_file(spec: ModelSpec, store: ModelStore | None) -> Path | None:
    """The user's file of a model, if it is whole and its licence was accepted; else None.

    An embedded model has no such file: it can be used all the same.
    """
    return store.path(spec) if store is not None and store.accepted(spec) else None


def _is_usable(spec: ModelSpec, store: ModelStore | None) -> bool:
    return spec.embedded or usable_file(spec, store) is not None


def best_swapper(catalog: Catalog, store: ModelStore | None) -> tuple[str, str]:
    """Name of the swapper to use when nobody asked for one, and why this one."""
    there = [name for name in catalog.names("swapper") if _is_usable(catalog.get(name), store)]
    rank = {name: k for k, name in enumerate(PREFERRED_SWAPPERS)}
    lacking = []
    for name in sorted(there, key=lambda name: (rank.get(name, len(rank)), name)):
        needs = catalog.get(name).needs
        missing = [one for one in needs if not _is_usable(catalog.get(one), store)]
        if not missing:
            return name, "the best one that is installed"
        lacking.append(f"{name} needs {' and '.join(missing)}")
    why = f": {'; '.join(lacking)}" if lacking else ""
    return EMBEDDED_SWAPPER, f"no other is installed{why}"
