"""The best swapper that is installed, with everything that it needs."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..models import Catalog, ModelSpec
from ..models.store import ModelStore
from .preferences import EMBEDDED_SWAPPER, PREFERRED_SWAPPERS
from .remedies import is_lost, lacking

__all__ = ["TAKE_EMBEDDED", "best_swapper", "usable_file", "verify_swapper"]

TAKE_EMBEDDED = f"--model {EMBEDDED_SWAPPER} takes the swapper that comes with ffswap"
"""What helps, in hints, whatever has become of the user's files."""


def usable_file(spec: ModelSpec, store: ModelStore | None) -> Path | None:
    """The user's file of a model, if it is whole and its licence was accepted; else None.

    An embedded model has no such file: it can be used all the same.
    """
    return store.path(spec) if store is not None and store.accepted(spec) else None


def _is_usable(spec: ModelSpec, store: ModelStore | None) -> bool:
    return spec.embedded or usable_file(spec, store) is not None


def best_swapper(catalog: Catalog, store: ModelStore | None) -> tuple[str, str]:
    """Name of the swapper to use when nobody asked for one, and why this one.

    Raises:
        ModelError: the best one that was installed, or what it needs, is damaged or gone: another
            one in its place would change the result without a word.
    """
    there = [name for name in catalog.names("swapper") if _was_installed(catalog.get(name), store)]
    rank = {name: k for k, name in enumerate(PREFERRED_SWAPPERS)}
    passed = []
    for name in sorted(there, key=lambda name: (rank.get(name, len(rank)), name)):
        chain = [catalog.get(one) for one in (name, *catalog.get(name).needs)]
        missing = [one for one in chain if not _is_usable(one, store)]
        if not missing:
            return name, "the best one that is installed"
        for one in missing:
            if store is not None and is_lost(store.status(one)):
                raise _dead_end(name, one, store)
        if chain[0] in missing:
            passed.append(f"the licence of {name} was not accepted")
        else:
            passed.append(f"{name} needs {' and '.join(one.name for one in missing)}")
    why = f": {'; '.join(passed)}" if passed else ""
    return EMBEDDED_SWAPPER, f"no other is installed{why}"


def _was_installed(spec: ModelSpec, store: ModelStore | None) -> bool:
    if spec.embedded or store is None:
        return spec.embedded
    state = store.status(spec)
    return state.status == "installed" or is_lost(state)


def verify_swapper(name: str, catalog: Catalog, store: ModelStore | None) -> None:
    """Read the files of a swapper and of what it needs, as far as they do not come with ffswap.

    Raises:
        ModelError: one is damaged, or not the model that it should be.
    """
    if store is None or name == EMBEDDED_SWAPPER:
        return
    for one in (name, *catalog.get(name).needs):
        spec = catalog.get(one)
        problem = None if spec.embedded else store.verify(spec)
        if problem is not None:
            raise _dead_end(name, spec, store, problem)


def _dead_end(
    name: str, bad: ModelSpec, store: ModelStore, problem: str | None = None
) -> ModelError:
    """Why a run without --model cannot be."""
    error = lacking(bad, store, problem)
    return ModelError(
        f"{error.message}; without --model the best swapper that is installed is used, and that is "
        f"{name}",
        hint=f"{error.hint}; or {TAKE_EMBEDDED}",
    )
