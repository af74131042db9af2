"""A folder of engines: for each a plan and, beside it, a manifest that says what the plan is.

    inswapper_128-fp16-0123456789abcdef.json             manifest; appears last, in one step
    inswapper_128-fp16-0123456789abcdef-89abcdef.plan    the plan that it names
    .inswapper_128-fp16-0123456789abcdef.lock            held by who builds it; stays, empty
    .inswapper_128-fp16-0123456789abcdef.01234567.part   being written

Only what a manifest names is an engine. A plan is never written over: another build of the same key
has another name, so that whoever reads finds a whole engine, the old one or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InternalError
from ..files import PathLike, PendingFile, write_error
from ..locks import FolderLocks, make_folder
from ._inventory import Entry, list_entries, verified
from ._store_files import (
    MANIFEST,
    PART,
    PENDING,
    PLAN,
    UnusableError,
    check_plan,
    named,
    read_manifest,
    size_of,
)
from .key import EngineKey, safe_name
from .manifest import Manifest

__all__ = ["EngineStore", "Entry", "Found", "Miss", "Removed"]

_ABANDONED_S = 24 * 3600.0  # no build takes a day; one that does holds its lock
_PROBE = bytes(4096)  # a block of a file system: an empty file fits on a full disk
# How often a plan may vanish between reading its manifest and opening it: somebody has replaced the
# engine just then, which takes a build of minutes, unless many install the same engine at once.
_TRIES = 10
_UNFINISHED = "left by a build that did not finish"


@dataclass(frozen=True, kw_only=True)
class Found:
    """An engine that is there and whole.

    Attributes:
        plan: the file; its SHA-256 was compared just now.
        manifest: what is known about it.
    """

    plan: Path
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Miss:
    """There is no such engine.

    Attributes:
        reason: why, for people.
        absent: nothing of this model and precision is there at all.
    """

    reason: str
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A file that was removed, or would be.

    Attributes:
        path: the file.
        size_bytes: that it had.
        reason: why.
        in_use: it was left, because somebody holds the lock of its engine.
    """

    path: Path
    size_bytes: int
    reason: str
    in_use: bool = False


class EngineStore:
    """A folder of engines, shared by any number of threads, processes and machines.

    The folder is made when something is first written. Files that the store did not make are never
    touched.

    Args:
        folder: where the engines are.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        self._locks = FolderLocks(self.folder, "engines")

    def timing_cache(self, key: EngineKey) -> Path:
        """File for measurements of kernels, which builds with one TensorRT on one GPU share."""
        gpu = "-".join(safe_name(one.name or one.capability) for one in key.gpus)
        return self.folder / f"timing-{key.product}-{safe_name(key.version)}-{gpu}.cache"

    def check_writable(self) -> None:
        """Make the folder, and find out before any work whether an engine can be put there.

        Raises:
            OutputWriteError: it is a file, may not be written to, or the disk is full.
        """
        make_folder(self.folder, "engines")
        probe = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            try:
                with probe.open("xb") as file:
                    file.write(_PROBE)
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(error, self.folder) from error

    def find(self, key: EngineKey) -> Found | Miss:
        """The engine for a key.

        An engine that was built ahead of time for the GPU's compute capability is found, too (see
        `EngineKey.difference`); one that was built for this very GPU goes before it.

        Returns:
            The engine, whose plan has been read and compared with its digest (0.2 s for 300 MB); or
            why there is none.

        Raises:
            OutputWriteError: the folder cannot be read, or is a file.
        """
        own: UnusableError | None = None
        other: UnusableError | None = None
        stale: list[tuple[str, ...]] = []
        serving: list[Path] = []
        for name, match in named(self.folder, MANIFEST):
            if (match["model"], match["precision"]) != (safe_name(key.model), key.precision):
                continue
            try:
                manifest = read_manifest(self.folder / name)
            except UnusableError as error:
                own, other = (error, other) if match["stem"] == key.stem else (own, error)
                continue
            difference = manifest.key.difference(key)
            if not difference:
                serving.append(self.folder / name)
            elif manifest.key.model == key.model:
                stale.append(difference)
        for path in sorted(serving, key=lambda path: (path.stem != key.stem, path.name)):
            try:
                return self._load(path)
            except UnusableError as error:
                own = own or error
        if own is None and stale:
            nearest: tuple[str, ...] = min(stale, key=len)
            return Miss(reason=f"stale: {'; '.join(nearest)}")
        if fault := own or other:
            return Miss(reason=f"corrupt: {fault.reason}" if fault.damaged else fault.reason)
        return Miss(reason=f"no engine of {key.model} at {key.precision} was built", absent=True)

    def _load(self, path: Path) -> Found:
        """The engine of a manifest that was read a moment ago; it may have been replaced since."""
        for _ in range(_TRIES):
            manifest = read_manifest(path)
            plan = self.folder / manifest.plan
            try:
                check_plan(plan, manifest)
            except UnusableError:
                if read_manifest(path) == manifest:
                    raise
            else:
                return Found(plan=plan, manifest=manifest)
        raise UnusableError("it is replaced again and again", damaged=False)

    def temporary(self, key: EngineKey) -> Path:
        """A name in the folder for a build to write to; nothing is there yet.

        Raises:
            OutputWriteError: the folder cannot be made.
        """
        make_folder(self.folder, "engines")
        return self.folder / f".{key.stem}.{secrets.token_hex(4)}.part"

    def install(self, key: EngineKey, plan_temp: Path, manifest: Manifest) -> Path:
        """Put a finished engine in its place: whole or not at all.

        The lock of the key is taken, or taken once more by the thread that holds it.

        Args:
            key: of the engine.
            plan_temp: the plan, under a name of `temporary`; it is renamed.
            manifest: what is known about it.

        Returns:
            The plan's file.

        Raises:
            InternalError: manifest, key and plan do not belong together.
            OutputWriteError: the disk is full or failed.
        """
        if manifest.key != key:
            raise InternalError(f"the manifest of {manifest.key.stem} is not of {key.stem}")
        with self.lock(key):
            try:
                check_plan(plan_temp, manifest)
            except UnusableError as error:
                raise InternalError(f"{plan_temp.name}: {error.reason}") from error
            plan = self._place_plan(plan_temp, manifest)
            try:
                self._place_manifest(manifest)
            finally:
                self._drop_unnamed_plans(key.stem)
        return plan

    def _place_plan(self, plan_temp: Path, manifest: Manifest) -> Path:
        plan = self.folder / manifest.plan
        try:
            with plan_temp.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(plan_temp, plan)
        except OSError as error:
            raise write_error(error, plan) from error
        return plan

    def _place_manifest(self, manifest: Manifest) -> None:
        text = json.dumps(manifest.as_dict(), indent=1, allow_nan=False) + "\n"
        pending = PendingFile(self.folder / f"{manifest.key.stem}.json", overwrite=True)
        try:
            pending.temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(error, pending.path) from error
        else:
            pending.commit()
        finally:
            pending.discard()

    def _drop_unnamed_plans(self, stem: str) -> None:
        """Remove the plans of an engine but the one that its manifest names; the lock is held."""
        try:
            meant = read_manifest(self.folder / f"{stem}.json").plan
        except UnusableError:
            meant = None
        for name, match in named(self.folder, PLAN):
            if match["stem"] == stem and name != meant:
                # Windows keeps a file that somebody reads; it is an orphan then, for `prune`.
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()

    @contextmanager
    def lock(
        self,
        key: EngineKey,
        *,
        cancel: threading.Event | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock of an engine, so that only one process builds it.

        The operating system lets it go when a process dies. The thread that holds it may take it
        again from the same store.

        Args:
            key: of the engine.
            cancel: ends the wait when it is set.
            waiting: is called once if somebody else holds it.

        Raises:
            CancelledError: `cancel` was set while waiting.
            OutputWriteError: the folder may not be written to.
        """
        doing = f"builds {key.model}"
        with self._locks.held(key.stem, doing, cancel=cancel, waiting=waiting):
            yield

    def entries(self) -> tuple[Entry, ...]:
        """All engines, and what looks like one: by model and precision, the newest first.

        Raises:
            OutputWriteError: the folder cannot be read, or is a file.
        """
        return list_entries(self.folder)

    def verify(self, entry: Entry) -> str | None:
        """Why an engine cannot be used, its plan read and compared with its digest; or None."""
        return verified(entry)[0]

    def prune(self, *, keep: Callable[[Manifest], bool], dry_run: bool) -> tuple[Removed, ...]:
        """Remove what nobody needs.

        That is: damaged engines, plans without a manifest, what builds that did not finish left
        more than a day ago, and the engines that `keep` refuses. Files that the store did not make
        are not touched.

        What belongs to an engine whose lock somebody holds is left. Locks stay, too: where one is
        removed while somebody waits for it, two may hold it.

        Args:
            keep: is asked for each engine that is whole.
            dry_run: only say what would be removed.

        Returns:
            The files, those that were left because of a lock among them.

        Raises:
            OutputWriteError: the folder cannot be read or written.
        """
        stems = {
            match["stem"]
            for pattern in (MANIFEST, PLAN, PART)
            for _, match in named(self.folder, pattern)
        }
        removed: list[Removed] = []
        for stem in sorted(stems):
            locked = self._locks.take(stem)
            try:
                # Looked at under the lock: what looked like an orphan may just get its manifest.
                doomed = self._doomed(stem, keep)
                removed += [
                    self._remove(one, why, dry_run=dry_run, in_use=not locked)
                    for one, why in doomed
                ]
            finally:
                if locked:
                    self._locks.release(stem)
        for name, _ in named(self.folder, PENDING):
            if self._abandoned(name):
                path = self.folder / name
                removed.append(self._remove(path, _UNFINISHED, dry_run=dry_run, in_use=False))
        return tuple(removed)

    def _doomed(self, stem: str, keep: Callable[[Manifest], bool]) -> list[tuple[Path, str]]:
        """Files of one engine that nobody needs, its manifest first, and why."""
        doomed = []
        for entry in list_entries(self.folder, stem):
            problem, damaged = verified(entry)
            if problem is None and entry.manifest is not None and not keep(entry.manifest):
                problem, damaged = "not kept", True
            if problem is not None and damaged:
                doomed += [(path, problem) for path in entry.files]
        doomed += [
            (self.folder / name, _UNFINISHED)
            for name, match in named(self.folder, PART)
            if match["stem"] == stem and self._abandoned(name)
        ]
        return doomed

    def _abandoned(self, name: str) -> bool:
        try:
            return time.time() - (self.folder / name).stat().st_mtime > _ABANDONED_S
        except FileNotFoundError:
            return False

    def _remove(self, path: Path, reason: str, *, dry_run: bool, in_use: bool) -> Removed:
        removed = Removed(path=path, size_bytes=size_of(path), reason=reason, in_use=in_use)
        if not dry_run and not in_use:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(error, path) from error
        return removed
