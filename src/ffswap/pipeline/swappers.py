"""The best swapper that is installed, with everything that it needs."""

from __future__ import annotations

from ..models import Catalog, ModelSpec
from ..models.store import ModelStore
from .preferences import EMBEDDED_SWAPPER, PREFERRED_SWAPPERS

__all__ = ["best_swapper", "is_usable"]


def is_usable(spec: ModelSpec, store: ModelStore | None) -> bool:
    """Whether a model can be used now: its file is there and whole, and its licence was accepted."""
    if spec.embedded:
        return True
    return store is not None and store.accepted(spec) and store.path(spec) is not None


def best_swapper(catalog: Catalog, store: ModelStore | None) -> tuple[str, str]:
    """Name of the swapper to use when nobody asked for one, and why this one."""
    there = [name for name in catalog.names("swapper") if is_usable(catalog.get(name), store)]
    rank = {name: k for k, name in enumerate(PREFERRED_SWAPPERS)}
    lacking = []
    for name in sorted(there, key=lambda name: (rank.get(name, len(rank)), name)):
        needs = catalog.get(name).needs
        missing = [one for one in needs if not is_usable(catalog.get(one), store)]
        if not missing:
            return name, "the best one that is installed"
        lacking.append(f"{name} needs {' and '.join(missing)}")
    why = f": {'; '.join(lacking)}" if lacking else ""
    return EMBEDDED_SWAPPER, f"no other is installed{why}"
