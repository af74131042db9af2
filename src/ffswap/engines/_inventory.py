"""What lies in an engine store: every manifest, every plan without one, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ._store_files import (
    MANIFEST,
    PLAN,
    UnusableError,
    check_plan,
    check_size,
    named,
    read_manifest,
    size_of,
)
from .manifest import Manifest

__all__ = ["Entry", "list_entries", "verified"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A manifest of the folder, or a plan that has none.

    Attributes:
        path: the file.
        stem: what the names of all files of its engine begin with.
        model: name of the model; where the manifest cannot be read, as in the file's name.
        precision: of the engine.
        manifest: None: it cannot be read, or is missing.
        plan: the plan's file, or None if it is not known or not there.
        size_bytes: of plan and manifest together.
        problem: why it is unusable, or None. Sizes are compared, digests are not: see `verify`.
        damaged: it will never be usable, by any ffswap: `prune` removes it.
    """

    path: Path
    stem: str
    model: str
    precision: str
    manifest: Manifest | None
    plan: Path | None
    size_bytes: int
    problem: str | None = None
    damaged: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files that are there; the manifest first, so that no manifest is without its plan."""
        both = (self.path,) if self.plan in (None, self.path) else (self.path, self.plan)
        return tuple(one for one in both if one is not None and one.exists())


def list_entries(folder: Path, stem: str | None = None) -> tuple[Entry, ...]:
    """All entries of a folder, by model and precision, the newest first.

    Args:
        folder: of the store.
        stem: those of this engine only.

    Raises:
        OutputWriteError: the folder cannot be read, or is a file.
    """
    found = [
        _entry(folder / name, match)
        for name, match in named(folder, MANIFEST)
        if stem in (None, match["stem"])
    ]
    meant = {one.plan for one in found}
    unread = {one.stem for one in found if one.manifest is None and not one.damaged}
    found += [
        _orphan(folder / name, match)
        for name, match in named(folder, PLAN)
        if stem in (None, match["stem"])
        and folder / name not in meant
        and match["stem"] not in unread
    ]
    found.sort(key=lambda one: one.manifest.built if one.manifest else "", reverse=True)
    return tuple(sorted(found, key=lambda one: (one.model, one.precision)))


def _entry(path: Path, match: re.Match[str]) -> Entry:
    manifest, plan, problem, damaged = None, None, None, False
    try:
        manifest = read_manifest(path)
        plan = path.parent / manifest.plan
        check_size(plan, manifest)
    except UnusableError as error:
        problem, damaged = error.reason, error.damaged
    return Entry(
        path=path,
        stem=match["stem"],
        model=manifest.key.model if manifest else match["model"],
        precision=match["precision"],
        manifest=manifest,
        plan=plan,
        size_bytes=size_of(path) + (size_of(plan) if plan else 0),
        problem=problem,
        damaged=damaged,
    )


def _orphan(path: Path, match: re.Match[str]) -> Entry:
    return Entry(
        path=path,
        stem=match["stem"],
        model=match["model"],
        precision=match["precision"],
        manifest=None,
        plan=path,
        size_bytes=size_of(path),
        problem="plan has no manifest",
        damaged=True,
    )


def verified(entry: Entry) -> tuple[str | None, bool]:
    """Why an engine cannot be used, and whether that is for good."""
    if entry.problem is not None or entry.manifest is None or entry.plan is None:
        return entry.problem, entry.damaged
    try:
        check_plan(entry.plan, entry.manifest)
    except UnusableError as error:
        return error.reason, error.damaged
    return None, False
