"""A folder of model files: for each the file and, beside it, what is remembered of it.

    inswapper_128.onnx                the file
    inswapper_128.json                its digests, where it came from, the licence (see `pins`)
    .inswapper_128.lock               held by who changes something; stays, empty
    .inswapper_128.part, .part.json   a download that was cut off (see `download`)

A file that lies there without a pin is none of ours: it is neither used nor touched. Where the
catalogue knows a sha256, the file must have it; otherwise the one of first sight is pinned, and the
file must have that from then on. Its inputs and outputs must be those of the catalogue.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import InternalError, ModelError, OptionError, OutputWriteError
from ..files import Digests, PathLike, check_input, file_digests, write_error
from ..locks import FolderLocks
from ._proto import LARGEST_FILE
from ._store_files import hash_beside, link_or_copy
from .interface import check_interface
from .onnx_files import ALLOWED, parse_onnx, read_onnx
from .pins import Consent, Pin, Record, State, now
from .spec import ModelSpec

__all__ = ["ModelStore"]


class ModelStore:
    """A folder of model files, shared by any number of threads and processes.

    The folder is made when something is first written. Files that the store did not make are never
    touched.

    Args:
        folder: where the files are.
        among: models of the catalogue that a file which is refused may be instead, for the hint.
    """

    def __init__(self, folder: PathLike, *, among: Iterable[ModelSpec] = ()) -> None:
        self.folder, self._among = Path(folder), tuple(among)
        self._locks = FolderLocks(self.folder, "models")

    def place(self, spec: ModelSpec) -> Path:
        """Where the file of a model is, or would be."""
        return self.folder / spec.file

    def part(self, spec: ModelSpec) -> Path:
        """Where a download of it is until it is whole."""
        return self.folder / f".{spec.name}.part"

    @property
    def pins(self) -> Mapping[str, Pin]:
        """What is installed, by name of the model; files that cannot be read are left out."""
        found = {}
        for path in sorted(self.folder.glob("[!.]*.json")):
            with contextlib.suppress(ModelError):
                pin = Record.read(path, path.stem).pin
                if pin is not None:
                    found[path.stem] = pin
        return found

    def path(self, spec: ModelSpec) -> Path | None:
        """The file of a model if it is installed and whole, else None; `status` says why.

        Of an embedded model there is none: see `catalog.embedded_bytes`.
        """
        return self.place(spec) if self.status(spec).status == "installed" else None

    def status(self, spec: ModelSpec) -> State:
        """What there is of a model.

        Size and time of last change are compared with the pin. Only where the time differs the file
        is read and its sha256 compared; if that is right, the new time is remembered.
        """
        if spec.embedded:
            return State(status="embedded")
        try:
            pin = self._record(spec).pin
        except ModelError as error:
            return State(status="damaged", reason=str(error))
        try:
            seen = self.place(spec).stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return State(status="missing", pin=pin)
            reason = f"the file cannot be looked at ({error.strerror or error})"
            return State(status="damaged", reason=reason, pin=pin)
        if pin is None:
            reason = f"{self.place(spec)} was never added"
            return State(status="unpinned", reason=reason)
        if spec.sha256 not in (None, pin.sha256):
            reason = f"it has sha256 {pin.sha256}; published is {spec.sha256}"
        elif seen.st_size != pin.size_bytes:
            reason = f"it has {seen.st_size} bytes; {pin.size_bytes} were pinned"
        elif seen.st_mtime_ns == pin.mtime_ns:
            return State(status="installed", pin=pin)
        else:
            found = self._compare(spec, pin)
            if found is None:
                self._remember_time(spec, pin, seen.st_mtime_ns)
                return State(status="installed", pin=pin)
            reason = found
        return State(status="damaged", reason=reason, pin=pin)

    def verify(self, spec: ModelSpec) -> str | None:
        """Read the file of a model, and compare its sha256 with the pin and its net with the catalogue.

        Returns:
            Why it cannot be used, or None.
        """
        state = self.status(spec)
        if state.status != "installed" or state.pin is None:
            gone = "the file is gone" if state.pin is not None else "it is not installed"
            return state.reason or gone
        place = self.place(spec)
        if (damage := self._compare(spec, state.pin)) is not None:
            return damage
        try:
            self._check_net(spec, place, str(place))
        except ModelError as error:
            return f"it {error.message}" + (f"; {error.hint}" if error.hint else "")
        return None

    def _compare(self, spec: ModelSpec, pin: Pin) -> str | None:
        try:
            found = file_digests(self.place(spec)).sha256
        except OSError as error:
            return f"the file cannot be read ({error.strerror or error})"
        return None if found == pin.sha256 else f"it has sha256 {found}; pinned is {pin.sha256}"

    def _remember_time(self, spec: ModelSpec, pin: Pin, mtime_ns: int) -> None:
        """Spare the next look the reading, unless somebody else is at work or may alone write."""
        with contextlib.suppress(ModelError, OutputWriteError):
            if not self._locks.take(spec.name):
                return
            try:
                record = self._record(spec)
                if record.pin == pin:
                    self._write(replace(record, pin=replace(pin, mtime_ns=mtime_ns)))
            finally:
                self._locks.release(spec.name)

    def add(self, spec: ModelSpec, file: PathLike, *, cancel: threading.Event | None = None) -> Pin:
        """Install a file that the user has; it stays where it is.

        Where the file system allows it is linked, not copied. A ``.hash`` file beside it with its
        CRC-32 is heeded if the catalogue knows no digest.

        Args:
            spec: of the model.
            file: of any name.
            cancel: ends it when it is set.

        Raises:
            InputMissingError: no such file, or it is a folder.
            ModelError: it is not the file that was published or pinned, is not ONNX, or is not the
                net that the catalogue describes; what was there before stays.
            OptionError: the model is embedded.
            OutputWriteError: the folder may not be written to, or the disk is full.
            CancelledError: `cancel` was set; nothing has changed.
        """
        given = check_input(file, ALLOWED, ModelError)
        source = given.resolve()
        if (size := given.stat().st_size) > LARGEST_FILE:  # before it is copied and hashed
            raise ModelError(f"is {size} bytes long; allowed: at most {LARGEST_FILE}", file=given)
        if spec.embedded:
            raise OptionError(f"{spec.name} comes with ffswap; no file can take its place")
        with self.lock(spec, cancel=cancel):
            crc32 = hash_beside(given)
            if self.place(spec).exists() and source.samefile(self.place(spec)):
                pin = self._checked(spec, source, str(given), crc32, cancel)
                self._write(replace(self._record(spec), pin=pin))
                return pin
            temporary = self.folder / f".{spec.name}.{secrets.token_hex(4)}.part"
            try:
                link_or_copy(source, temporary, cancel)
                return self.install(spec, temporary, str(given), crc32=crc32, cancel=cancel)
            finally:
                temporary.unlink(missing_ok=True)

    def install(
        self,
        spec: ModelSpec,
        temporary: Path,
        origin: str,
        *,
        crc32: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Pin:
        """Check a file in the folder and give it its place: whole or not at all.

        Args:
            spec: of the model.
            temporary: the file, flushed to the disk; it is renamed.
            origin: where it came from, for messages and for the pin.
            crc32: that it must have, if the catalogue knows no digest.
            cancel: ends it when it is set.

        Raises:
            ModelError: it is not the file that was published or pinned, is not ONNX, or is not the
                net that the catalogue describes; what was there before stays.
            OutputWriteError: the disk failed.
            CancelledError: `cancel` was set; nothing has changed.
        """
        with self.lock(spec, cancel=cancel):
            pin = self._checked(spec, temporary, origin, crc32, cancel)
            # The pin first: whoever dies between the two leaves a model that is missing, and the
            # next file must be the same one.
            self._write(replace(self._record(spec), pin=pin))
            try:
                os.replace(temporary, self.place(spec))
            except OSError as error:
                raise write_error(error, self.place(spec)) from error
            return pin

    def known(self, spec: ModelSpec) -> bool:
        """Whether a digest is known that its file must have: published or pinned."""
        return any((spec.sha256, spec.crc32, self._record(spec).pin))

    def _checked(
        self,
        spec: ModelSpec,
        file: Path,
        origin: str,
        crc32: str | None,
        cancel: threading.Event | None,
    ) -> Pin:
        """The pin of a file that is what it should be."""
        pin, crc32 = self._record(spec).pin, spec.crc32 or crc32
        try:
            found = file_digests(file, cancel)
            mtime_ns = file.stat().st_mtime_ns
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror or error})", file=origin) from error
        if spec.sha256 is not None:
            _require_same(spec, "sha256", found, spec.sha256, "published", origin)
        elif pin is not None:
            _require_same(spec, "sha256", found, pin.sha256, f"pinned {pin.added}", origin)
        if crc32 is not None:
            _require_same(spec, "crc32", found, crc32, "published", origin)
        self._check_net(spec, file, origin)
        return Pin(
            file=spec.file, size_bytes=found.size_bytes, mtime_ns=mtime_ns, sha256=found.sha256,
            crc32=found.crc32, origin=origin, added=now(),
        )  # fmt: skip

    def _check_net(self, spec: ModelSpec, file: Path, origin: str) -> None:
        """Refuse a file that is not ONNX, or not the net that the catalogue describes."""
        graph = parse_onnx(read_onnx(file, origin), origin)
        check_interface(graph, spec, among=self._among, file=origin)

    def holds(self, spec: ModelSpec) -> bool:
        """Whether there is anything of a model that `remove` would take.

        Raises:
            OptionError: the model is embedded, or its file was never added.
        """
        if spec.embedded:
            raise OptionError(f"{spec.name} comes with ffswap and cannot be removed")
        state = self.status(spec)
        if state.status == "unpinned":
            raise OptionError(
                f"{state.reason}, so it is not removed", hint="remove the file itself"
            )
        return any(os.path.lexists(one) for one in self._belongings(spec))

    def _belongings(self, spec: ModelSpec) -> tuple[Path, ...]:
        part = self.part(spec)
        sidecar = part.with_name(part.name + ".json")
        return self.place(spec), part, sidecar, self._json(spec.name)

    def remove(self, spec: ModelSpec) -> int | None:
        """Remove a model: its file, its pin, the consent to its licence, a download cut off.

        Returns:
            Bytes that were freed; None if nothing of it was there.

        Raises:
            OptionError: the model is embedded, or its file was never added.
            OutputWriteError: the folder may not be written to, or somebody uses the file (Windows).
        """
        if not self.holds(spec):
            return None
        with self.lock(spec):
            if not self.holds(spec):  # somebody else was quicker
                return None
            freed = None
            for path in self._belongings(spec):
                try:
                    size = path.stat().st_size
                    path.unlink()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise write_error(error, path) from error
                freed = (freed or 0) + size
            return freed

    def accept(self, spec: ModelSpec) -> None:
        """Remember that the user has accepted the licence of a model.

        Raises:
            ModelError: what is remembered of the model is damaged.
            OutputWriteError: the folder may not be written to.
        """
        with self.lock(spec):
            consent = Consent(
                licence=spec.licence, terms=spec.terms, vendor=spec.vendor, accepted=now()
            )
            self._write(replace(self._record(spec), consent=consent))

    def consent(self, spec: ModelSpec) -> Consent | None:
        """The licence of a model that was accepted, if it is the one of now."""
        try:
            consent = self._record(spec).consent
        except ModelError:
            return None
        same = consent is not None and (consent.licence, consent.terms) == (
            spec.licence, spec.terms,
        )  # fmt: skip
        return consent if same else None

    def accepted(self, spec: ModelSpec) -> bool:
        """Whether the licence of a model was accepted, or is open and need not be."""
        return spec.terms == "open" or self.consent(spec) is not None

    @contextmanager
    def lock(
        self,
        spec: ModelSpec,
        *,
        cancel: threading.Event | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock of a model, so that only one process fetches or changes it.

        The operating system lets it go when a process dies. The thread that holds it may take it
        again from the same store.

        Args:
            spec: of the model.
            cancel: ends the wait when it is set.
            waiting: is called once if somebody else holds it.

        Raises:
            CancelledError: `cancel` was set while waiting.
            OutputWriteError: the folder may not be written to.
        """
        doing = f"fetches {spec.name}"
        with self._locks.held(spec.name, doing, cancel=cancel, waiting=waiting):
            yield

    def _json(self, name: str) -> Path:
        if re.fullmatch(r"\w[\w.-]*", name) is None:  # it must not lead out of the folder
            raise InternalError(f"a model is called {name!r}")
        return self.folder / f"{name}.json"

    def _record(self, spec: ModelSpec) -> Record:
        return Record.read(self._json(spec.name), spec.name)

    def _write(self, record: Record) -> None:
        record.write(self._json(record.model))


def _require_same(
    spec: ModelSpec, name: Literal["sha256", "crc32"], found: Digests, wanted: str, why: str,
    origin: str,
) -> None:  # fmt: skip
    given = getattr(found, name)
    if given == wanted:
        return
    hint = f"it is damaged, or not {spec.file}: get it again or from elsewhere"
    if why != "published":
        hint += (
            f"; or, if another file is meant, `ffswap models remove {spec.name}` forgets the old"
        )
    raise ModelError(
        f"has {name} {given} ({found.size_bytes} bytes); wanted for {spec.name}: {wanted} ({why})",
        file=origin, hint=hint,
    )  # fmt: skip
