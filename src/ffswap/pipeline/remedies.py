"""Why a model of the store cannot be used, and the commands that help."""

from __future__ import annotations

import shlex

from ..errors import ModelError
from ..models import ModelSpec
from ..models.pins import State
from ..models.store import ModelStore

__all__ = ["is_lost", "lacking", "refused", "remedy"]


def is_lost(state: State) -> bool:
    """Whether a model was installed once, and its file is damaged or gone."""
    return state.status == "damaged" or (state.status == "missing" and state.pin is not None)


def _bring(spec: ModelSpec) -> str:
    return (
        f"`ffswap models pull {spec.name}` (licence: {spec.licence}), or "
        f"`ffswap models add {spec.name} FILE`"
    )


def remedy(spec: ModelSpec, state: State, store: ModelStore) -> str:
    """The commands that bring the file of a model that is missing or bad.

    Args:
        spec: of the model.
        state: of its file; `installed` where it is the right size and age and bad all the same.
        store: that it is in.
    """
    if state.status == "embedded":
        return "install ffswap again"
    if state.status == "unpinned":
        place = shlex.quote(str(store.place(spec)))
        return f"`ffswap models add {spec.name} {place}` takes it as it is; or move it away"
    get = _bring(spec)
    forget = f"`ffswap models remove {spec.name}`"
    if state.status == "missing":
        return get if state.pin is None else f"{get}; or {forget} forgets it"
    # A pull believes a pin whose size and time fit the file, and cannot replace a pin.
    return f"{forget}, then {get}"


def lacking(spec: ModelSpec, store: ModelStore | None, problem: str | None = None) -> ModelError:
    """The error for a model that is known and cannot be used.

    Args:
        spec: of the model.
        store: the user's files, or None.
        problem: what is wrong with its file, if more is known of it than what a look tells.
    """
    state = State(status="missing") if store is None else store.status(spec)
    if state.status == "installed" and problem is None:
        return ModelError(
            f"the licence of {spec.name} ({spec.licence}, {spec.terms}) was not accepted",
            hint=f"`ffswap models pull {spec.name} --accept-licence`",
        )
    if store is None or not (is_lost(state) or state.reason or problem):
        return ModelError(
            f"the {spec.kind} {spec.name} is not installed",
            hint=_bring(spec),
        )
    reason = problem or state.reason or f"{store.place(spec)} is gone"
    return ModelError(
        f"the file of {spec.name} cannot be used: {reason}", hint=remedy(spec, state, store)
    )


def refused(error: ModelError, spec: ModelSpec, store: ModelStore, *more: str) -> ModelError:
    """The error for an installed file that is not the model that it should be.

    Args:
        error: of the comparison.
        spec: of the model.
        store: that the file is in.
        more: that helps.
    """
    hints = [error.hint, remedy(spec, store.status(spec), store), *more]
    return ModelError(
        error.message, file=store.place(spec), hint="; ".join(one for one in hints if one)
    )
