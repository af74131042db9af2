"""The models of a catalogue and a store: listed, pulled, added, verified, removed."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import DownloadError, FfswapError, InternalError, OptionError
from ..models import ModelSpec, embedded_bytes
from ..models.download import Limits
from ..models.logins import without_login
from ..models.pull import addresses, is_address, is_one_file, pull
from ..models.store import ModelStore
from .model_reports import ModelProgress, ModelReport, PullReport, Removed, Verified, licence_line
from .remedies import is_lost, remedy

__all__ = [
    "add_model",
    "list_models",
    "model_report",
    "pull_models",
    "remove_models",
    "to_pull",
    "verify_models",
]

Specs = Mapping[str, ModelSpec]


def _get(specs: Specs, name: str) -> ModelSpec:
    if name not in specs:
        known = ", ".join(sorted(specs))
        raise OptionError(
            f"no model is called {name!r}; known: {known}", hint="`ffswap models list` shows them"
        )
    return specs[name]


def _store(folder: Path, specs: Specs) -> ModelStore:
    return ModelStore(folder, among=specs.values())


def _report(store: ModelStore, spec: ModelSpec, *, fetched: bool = False) -> ModelReport:
    state = store.status(spec)
    return ModelReport(
        spec=spec, status=state.status, reason=state.reason, pin=state.pin,
        path=store.place(spec) if state.status == "installed" else None,
        consent=store.consent(spec), fetched=fetched,
    )  # fmt: skip


def list_models(specs: Specs, folder: Path, *, kind: str | None = None) -> tuple[ModelReport, ...]:
    """All models of the catalogue, by kind and name, and what the store has of them.

    Args:
        specs: the catalogue, by name.
        folder: the store.
        kind: only these.

    Raises:
        OptionError: no model of the catalogue is of that kind.
    """
    kinds = sorted({one.kind for one in specs.values()})
    if kind is not None and kind not in kinds:
        raise OptionError(f"no model is of the kind {kind!r}; there are: {', '.join(kinds)}")
    store = _store(folder, specs)
    chosen = [one for one in specs.values() if kind in (None, one.kind)]
    return tuple(
        _report(store, one) for one in sorted(chosen, key=lambda one: (one.kind, one.name))
    )


def model_report(name: str, specs: Specs, folder: Path) -> ModelReport:
    """One model.

    Raises:
        OptionError: there is none of that name.
    """
    return _report(_store(folder, specs), _get(specs, name))


def to_pull(names: Sequence[str], specs: Specs, folder: Path) -> tuple[ModelReport, ...]:
    """The models that a pull would look at: those named, each followed by what it needs.

    Raises:
        OptionError: an unknown name, or a model that comes with ffswap.
    """
    found: dict[str, ModelSpec] = {}

    def add(name: str) -> None:
        if name in found:
            return
        spec = _get(specs, name)
        if not spec.embedded:
            found[name] = spec
        for one in spec.needs:
            if one not in specs:
                raise InternalError(f"{name} needs {one}, which the catalogue does not have")
            add(one)

    for name in names:
        if _get(specs, name).embedded:
            raise OptionError(f"{name} comes with ffswap; there is nothing to pull")
        add(name)
    store = _store(folder, specs)
    return tuple(_report(store, one) for one in found.values())


def pull_models(
    names: Sequence[str],
    specs: Specs,
    folder: Path,
    *,
    accept_licence: bool = False,
    source: str | None = None,
    offline: bool = False,
    limits: Limits | None = None,
    progress: Callable[[ModelProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> PullReport:
    """Bring models, and what they need, into the store.

    Args:
        names: of the models.
        specs: the catalogue, by name.
        folder: the store; it is made if it is missing.
        accept_licence: the user accepts the licences of all of them.
        source: a folder, file or address to take them from; None: the catalogue's addresses.
        offline: nothing is fetched over a network.
        limits: how long to wait for servers, and how often to try.
        progress: is called from this thread.
        cancel: ends it when it is set; what was fetched stays.

    Raises:
        OptionError: an unknown name, a model that comes with ffswap, a licence that was not
            accepted, or a source that is none or is one file for several models.
        DownloadError: a file is nowhere to be had, or `offline` and it is not there.
        InputMissingError: nothing is where `source` says.
        ModelError: the file is another one than was published or pinned.
        OutputWriteError: the folder may not be written to, or the disk is full.
        CancelledError: `cancel` was set.
    """
    begun = time.monotonic()
    if source is not None and not source.strip():
        raise OptionError(
            "--from is empty; allowed: a folder, a file or an address, or leave it out"
        )
    wanted = to_pull(names, specs, folder)
    missing = [one.spec for one in wanted if one.status != "installed"]
    sources = _sources(missing, names, source)
    again = [] if source is None else ["--from", without_login(source)]
    store = _store(folder, specs)
    if offline:
        _require_local(missing, sources)
    _require_consent(store, wanted, ["pull", *names, *again], accept_licence=accept_licence)
    reports: list[ModelReport] = []
    for index, one in enumerate(wanted):
        tell = _teller(progress, one.spec.name, index, len(wanted))
        try:
            pulled = pull(
                store, one.spec, sources.get(one.spec.name, ()), limits=limits, cancel=cancel,
                progress=partial(tell, "fetching"), waiting=partial(tell, "waiting", 0, None),
            )  # fmt: skip
        except FfswapError as error:
            error.message += _tale([done.spec for done in reports], one.spec)
            raise
        reports.append(_report(store, one.spec, fetched=pulled.fetched))
    return PullReport(folder=str(folder), models=tuple(reports), seconds=time.monotonic() - begun)


def _tale(done: Sequence[ModelSpec], failed: ModelSpec) -> str:
    """What a pull that came to an end here has reached, as the end of a sentence."""
    if not done:
        return ""
    waiting = [one.name for one in done if failed.name in one.needs]
    needs = f"; {' and '.join(waiting)} cannot be used without {failed.name}" if waiting else ""
    return f"; installed are: {', '.join(one.name for one in done)}{needs}"


def _sources(
    missing: Sequence[ModelSpec], names: Sequence[str], source: str | None
) -> dict[str, tuple[str, ...]]:
    """Where each model that is missing is looked for.

    One file is that of the one model that was named; what this needs has its own addresses.
    """
    if source is None:
        return {one.name: one.urls for one in missing}
    if not is_one_file(source):
        return {one.name: (source,) for one in missing}
    if len(set(names)) > 1:
        raise OptionError(
            f"--from {without_login(source)} is one file; {len(set(names))} models were named: {', '.join(names)}",
            hint="name one model, or a folder that holds the files of all",
        )
    return {one.name: (source,) if one.name == names[0] else one.urls for one in missing}


def _require_consent(
    store: ModelStore,
    wanted: Sequence[ModelReport],
    command: Sequence[str],
    *,
    accept_licence: bool,
) -> None:
    """Remember that licences were accepted, or refuse."""
    asked = [one.spec for one in wanted if not one.accepted]
    if asked and not accept_licence:
        raise OptionError(
            f"not accepted yet: {'; '.join(map(licence_line, asked))}",
            hint="read these licences; if you accept them: "
            f"`{shlex.join(['ffswap', 'models', *command, '--accept-licence'])}`",
        )
    for spec in asked:
        store.accept(spec)


def _require_local(missing: Sequence[ModelSpec], sources: Mapping[str, Sequence[str]]) -> None:
    """Refuse, all at once, what would have to be fetched."""
    remote = [
        one
        for one in missing
        if not sources[one.name] or all(is_address(text) for text in sources[one.name])
    ]
    if not remote:
        return
    told, commands = [], []
    for one in remote:
        where = ", ".join(map(without_login, sources[one.name]))
        if sources[one.name] == one.urls:
            where = ", ".join(addresses(one))
        told.append(f"{one.file} of {one.name} (from {where or 'no known address'})")
        commands.append(shlex.join(["ffswap", "models", "add", one.name, one.file]))
    raise DownloadError(
        f"offline, so nothing is fetched; missing: {'; '.join(told)}",
        hint=f"bring the files here by other means, then: `{' && '.join(commands)}`",
    )


def _teller(
    progress: Callable[[ModelProgress], None] | None, model: str, index: int, count: int
) -> Callable[[Literal["fetching", "waiting"], int, int | None], None]:
    """Tells of one model; its time begins now."""
    begun = time.monotonic()

    def tell(phase: Literal["fetching", "waiting"], done: int, total: int | None) -> None:
        if progress is not None:
            progress(
                ModelProgress(
                    model=model, index=index, count=count, phase=phase, done=done, total=total,
                    seconds=time.monotonic() - begun,
                )
            )  # fmt: skip

    return tell


def add_model(
    name: str,
    file: Path,
    specs: Specs,
    folder: Path,
    *,
    accept_licence: bool = False,
    cancel: threading.Event | None = None,
) -> ModelReport:
    """Put a file that the user has into the store.

    Args:
        name: of the model.
        file: of any name; it stays where it is.
        specs: the catalogue, by name.
        folder: the store; it is made if it is missing.
        accept_licence: the user accepts the licence.
        cancel: ends it when it is set; nothing has changed then.

    Raises:
        OptionError: an unknown name, a model that comes with ffswap, or a licence that was not
            accepted.
        InputMissingError: no such file, or it is a folder.
        ModelError: it is not the file that was published or pinned, or is not ONNX.
        OutputWriteError: the folder may not be written to, or the disk is full.
        CancelledError: `cancel` was set.
    """
    spec = _get(specs, name)
    if spec.embedded:
        raise OptionError(f"{name} comes with ffswap; no file can take its place")
    store = _store(folder, specs)
    command = ["add", name, str(file)]
    _require_consent(store, [_report(store, spec)], command, accept_licence=accept_licence)
    store.add(spec, file, cancel=cancel)
    return _report(store, spec)


def verify_models(names: Sequence[str], specs: Specs, folder: Path) -> tuple[Verified, ...]:
    """Read the files of models and compare their sha256.

    Args:
        names: of the models; none: all that are there, or were and are gone.
        specs: the catalogue, by name.
        folder: the store.

    Raises:
        OptionError: an unknown name.
    """
    store = _store(folder, specs)
    chosen = [_get(specs, name) for name in dict.fromkeys(names)]
    if not names:
        chosen = [specs[name] for name in sorted(specs)]
        states = [store.status(one) for one in chosen]
        chosen = [
            one
            for one, state in zip(chosen, states, strict=True)
            if state.status != "missing" or is_lost(state)
        ]
    return tuple(_verify(store, one) for one in chosen)


def _verify(store: ModelStore, spec: ModelSpec) -> Verified:
    problem = _embedded_problem(spec) if spec.embedded else store.verify(spec)
    return Verified(
        model=spec.name, path=None if spec.embedded else store.place(spec), problem=problem,
        hint=None if problem is None else remedy(spec, store.status(spec), store),
    )  # fmt: skip


def _embedded_problem(spec: ModelSpec) -> str | None:
    try:
        embedded_bytes(spec)
    except InternalError as error:
        return error.message
    return None


def remove_models(names: Sequence[str], specs: Specs, folder: Path) -> tuple[Removed, ...]:
    """Remove models from the store, with what is remembered of them.

    Args:
        names: of the models.
        specs: the catalogue, by name.
        folder: the store.

    Raises:
        OptionError: an unknown name, or a model that is not there or comes with ffswap; then nothing
            is removed.
        OutputWriteError: the folder may not be written to, or somebody uses the file (Windows).
    """
    store = _store(folder, specs)
    chosen = [_get(specs, name) for name in dict.fromkeys(names)]
    for spec in chosen:
        if not store.holds(spec):
            there = ", ".join(store.pins) or "none"
            raise OptionError(f"{spec.name} is not in {folder}; there are: {there}")
    return tuple(Removed(model=one.name, size_bytes=store.remove(one) or 0) for one in chosen)
