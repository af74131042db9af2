"""Signing an output: the last thing that is done to it before it gets its name."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CancelledError, SigningError
from ..files import PendingFile, write_error
from ..options import CredentialOptions
from .formats import ANY_BYTES, embeds, mime_type, sidecar_of, sniff
from .identity import Identity, kept_identity, make_identity, read_identity
from .reading import sidecar_bytes
from .record import SOURCE_TYPES, Claim, Signature
from .sdk import SETTINGS, WITHOUT, load_sdk

__all__ = ["CredentialSigner", "open_signer"]

_TRIAL = Claim(swapped=False, generated=False)
_CREDENTIALS = "credentials"


def open_signer(
    options: CredentialOptions, cancel: threading.Event | None = None
) -> tuple[CredentialSigner, tuple[str, ...]]:
    """The signer that the options name, tried out, so that a long run does not end with an error.

    Args:
        options: of the credentials.
        cancel: ends signing when it is set.

    Returns:
        The signer, and what the user should know about it.

    Raises:
        InputMissingError: a file of the user's certificate is not there.
        SigningError: the certificate or its key cannot be used, or the library does not load.
    """
    notes: tuple[str, ...] = ()
    if options.certificate is not None and options.key is not None:
        identity = read_identity(Path(options.certificate), Path(options.key))
    elif options.folder is not None:
        identity, note = kept_identity(Path(options.folder))
        notes = () if note is None else (note,)
    else:
        identity = make_identity()
    signer = CredentialSigner(identity, options.timestamp_url, cancel)
    signer.check(options.certificate)
    return signer, notes


class CredentialSigner:
    """Signs outputs for one signer. Call from one thread at a time.

    Args:
        identity: of the signer.
        timestamp_url: of a time-stamp authority, or None.
        cancel: ends signing when it is set.
    """

    def __init__(
        self,
        identity: Identity,
        timestamp_url: str | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._identity, self._timestamp_url, self._cancel = identity, timestamp_url, cancel
        self._sdk = load_sdk()

    def check(self, file: str | None = None) -> None:
        """Sign a few bytes, to find out now whether certificate and time-stamp server can be used.

        Args:
            file: of the certificate, for messages.

        Raises:
            SigningError: one of them cannot.
        """
        try:
            self._try(timestamp=False)
        except self._sdk.C2paError as error:
            raise SigningError(
                f"this certificate cannot sign content credentials ({error})",
                file=file,
                hint="it must be for digital signatures, and for e-mail or documents (C2PA certificate "
                f"profile), and its chain be whole; or: {WITHOUT}",
            ) from error
        if self._timestamp_url is None:
            return
        try:
            self._try(timestamp=True)
        except self._sdk.C2paError as error:
            raise SigningError(
                f"{self._timestamp_url} gave no time stamp ({error})", hint=self._hint()
            ) from error

    def _try(self, *, timestamp: bool) -> None:
        some = ANY_BYTES.encode()
        with self._builder(_TRIAL, ANY_BYTES, timestamp=timestamp) as (signer, builder):
            builder.set_no_embed()
            builder.add_ingredient(_parent(ANY_BYTES), ANY_BYTES, io.BytesIO(some))
            builder.sign(signer, ANY_BYTES, io.BytesIO(some), io.BytesIO())

    def sign(self, output: PendingFile, claim: Claim, parent: Path) -> Signature:
        """Sign an output that is complete and has no name yet.

        Args:
            output: gets its credentials inside, or is accompanied by a file with them.
            claim: what was done.
            parent: the target, whose own credentials go along.

        Raises:
            OutputExistsError: there is a file beside the output already.
            OutputWriteError: the disk is full or failed.
            SigningError: it could not be signed.
            CancelledError: the run was stopped.
        """
        inside = embeds(output.path)
        if inside:
            file = output.path
            with output.rewritten() as signed:
                self._sign(output.temporary, signed, claim, parent, output)
            output.replaces(sidecar_of(output.path))
        else:
            file = sidecar_of(output.path)
            beside = PendingFile(file, overwrite=output.overwrite)
            try:
                data = self._sign(output.temporary, None, claim, parent, output)
                _write(beside, data)
            except BaseException:
                beside.discard()
                raise
            output.accompany(beside)
        kind = claim.source_type
        return Signature(
            signer=self._identity.name,
            self_made=self._identity.self_made,
            place="embedded" if inside else "sidecar",
            file=str(file),
            source_type=None if kind is None else kind.removeprefix(SOURCE_TYPES),
            timestamped=self._timestamp_url is not None,
        )

    def _sign(
        self, source: Path, target: Path | None, claim: Claim, parent: Path, output: PendingFile
    ) -> bytes:
        """Sign into a new file, or without one; the credentials."""
        format = mime_type(output.path)
        watched: list[_Watched] = []

        def watch(file: BinaryIO) -> _Watched:
            watched.append(_Watched(file, self._cancel))
            return watched[-1]

        try:
            with ExitStack() as stack:
                signer, builder = stack.enter_context(self._builder(claim, format))
                self._add_parent(builder, parent, watch)
                read = watch(stack.enter_context(source.open("rb")))
                if target is None:
                    builder.set_no_embed()
                    data: bytes = builder.sign(signer, ANY_BYTES, read, _Nowhere())
                else:
                    written = watch(stack.enter_context(target.open("w+b")))
                    data = builder.sign(signer, format, read, written)
                    written.flush()
        except (self._sdk.C2paError, OSError) as error:
            if self._cancel is not None and self._cancel.is_set():
                raise CancelledError("the run was stopped; the output was not written") from error
            failed = [one.failure for one in watched if one.failure is not None]
            if failed or isinstance(error, OSError):
                cause = failed[0] if failed else error
                assert isinstance(cause, OSError)
                raise write_error(cause, output.path) from error
            raise SigningError(
                f"could not be signed ({error})", file=output.path, stage=_CREDENTIALS,
                hint=self._hint(),
            ) from error  # fmt: skip
        return data

    def _hint(self) -> str:
        if self._timestamp_url is None:
            return WITHOUT
        return f"is the time-stamp server in reach? Without --sign-tsa none is asked; or: {WITHOUT}"

    @contextmanager
    def _builder(
        self, claim: Claim, format: str, *, timestamp: bool = True
    ) -> Iterator[tuple[Any, Any]]:
        sdk, identity = self._sdk, self._identity
        url = self._timestamp_url if timestamp else None
        info = sdk.C2paSignerInfo(
            alg=sdk.C2paSigningAlg[identity.algorithm],
            sign_cert=identity.chain,
            private_key=identity.key,
            ta_url=None if url is None else url.encode(),
        )
        with (
            sdk.Context.from_dict(SETTINGS) as context,
            sdk.Signer.from_info(info) as signer,
            sdk.Builder(claim.manifest(format), context) as builder,
        ):
            builder.set_intent(sdk.C2paBuilderIntent.EDIT)
            yield signer, builder

    def _add_parent(self, builder: Any, path: Path, watch: Any) -> None:
        """The target as parent, with the credentials in it or beside it."""
        with path.open("rb") as file:
            found = sidecar_bytes(path)
            if found is not None:
                more = {
                    "active_manifest": found.label,
                    "manifest_data": {"format": "application/c2pa", "identifier": "parent"},
                    "validation_results": found.validation_results,
                }
                builder.add_resource("parent", io.BytesIO(found.data))
                builder.add_ingredient(_parent(mime_type(path), **more), ANY_BYTES, watch(file))
                return
            kind = sniff(path)
            try:
                builder.add_ingredient(
                    _parent(kind or mime_type(path)), kind or ANY_BYTES, watch(file)
                )
            except self._sdk.C2paError:
                if kind is None:
                    raise
                # A file that FFmpeg can read and c2pa cannot is a parent without credentials.
                file.seek(0)
                builder.add_ingredient(_parent(kind), ANY_BYTES, watch(file))


def _write(file: PendingFile, data: bytes) -> None:
    try:
        file.temporary.write_bytes(data)
    except OSError as error:
        raise write_error(error, file.path) from error


def _parent(format: str, **more: Any) -> str:
    # Without a title: a file's name says who is on it, or whose folder it lay in.
    return json.dumps({"relationship": "parentOf", "format": format, **more})


class _Watched:
    """A file that remembers why it failed: the library only says that it did."""

    def __init__(self, file: BinaryIO, cancel: threading.Event | None) -> None:
        self._file, self._cancel = file, cancel
        self.failure: OSError | None = None
        self.seek, self.tell, self.read = file.seek, file.tell, file.read

    def _go_on(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("stopped")

    def readinto(self, buffer: Any) -> int:
        self._go_on()
        try:
            return int(self._file.readinto(buffer))  # type: ignore[attr-defined]
        except OSError as error:
            self.failure = error
            raise

    def write(self, data: bytes) -> int:
        self._go_on()
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.failure = error
            raise


class _Nowhere(io.RawIOBase):
    """Takes the copy of a file that gets its credentials beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._place = self._length = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002  there is nothing to read
        return b""

    def write(self, data: Any) -> int:
        self._place += len(data)
        self._length = max(self._length, self._place)
        return len(data)
