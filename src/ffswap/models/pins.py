"""What is remembered of a model's file: its digests and its licence, in a JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import ModelError
from ..files import PendingFile, read_table, write_error

__all__ = ["Consent", "Pin", "Record", "State", "Status", "now"]

_SCHEMA = 1  # of the JSON files; a later ffswap may write what this one does not understand

Status = Literal["embedded", "installed", "missing", "damaged", "unpinned"]
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A model's file as it was when it was installed.

    Attributes:
        file: its name in the store.
        size_bytes: its length.
        mtime_ns: when it was last changed, as the file system says, in nanoseconds.
        sha256: 64 lower-case hexadecimal digits; from now on the file must have them.
        crc32: 8 such digits.
        origin: the address or the path that it came from.
        added: when it was installed, UTC, ISO 8601.
    """

    file: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    crc32: str
    origin: str
    added: str


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A licence that the user has accepted.

    Attributes:
        licence: its name, as the catalogue had it then.
        terms: its sort, as the catalogue had it then.
        vendor: whose it is.
        accepted: when, UTC, ISO 8601.
    """

    licence: str
    terms: str
    vendor: str
    accepted: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that is remembered of one model.

    Attributes:
        model: its name.
        pin: its file, or None if none was ever installed.
        consent: the licence, or None if none was accepted.
    """

    model: str
    pin: Pin | None = None
    consent: Consent | None = None

    @classmethod
    def read(cls, path: Path, model: str) -> Record:
        """What the file remembers; nothing where there is no file.

        Raises:
            ModelError: it cannot be read, is no such file, or is of another model.
        """
        try:
            data = json.loads(read_table(path).decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return cls(model=model)
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror or error})", file=path) from error
        except (ValueError, RecursionError) as error:
            raise _damaged(path, model, "it is not JSON") from error
        if not isinstance(data, dict) or data.get("model") != model:
            raise _damaged(path, model, f"it is not about {model}")
        if data.get("schema") != _SCHEMA:
            raise ModelError(
                f"is of schema {data.get('schema')!r}; this ffswap reads {_SCHEMA}", file=path,
                hint="use the ffswap that wrote it, or another folder (--models-dir)",
            )  # fmt: skip
        try:
            pin, consent = _part(Pin, data.get("pin")), _part(Consent, data.get("consent"))
        except TypeError as error:
            raise _damaged(path, model, str(error)) from error
        return cls(model=model, pin=pin, consent=consent)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all.

        Raises:
            OutputWriteError: the folder may not be written to, or the disk is full.
        """
        text = json.dumps({"schema": _SCHEMA, **asdict(self)}, indent=1) + "\n"
        pending = PendingFile(path, overwrite=True)
        try:
            pending.temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(error, path) from error
        else:
            pending.commit()
        finally:
            pending.discard()


@dataclass(frozen=True, kw_only=True)
class State:
    """What the store has of a model.

    Attributes:
        status: ``embedded``: comes with ffswap; ``installed``; ``missing``; ``damaged``: there is a
            file, and it is not the one that was pinned; ``unpinned``: there is a file that was
            never added.
        reason: why it is damaged or unpinned, for people.
        pin: what was installed, if anything was and that can be read.
    """

    status: Status
    reason: str | None = None
    pin: Pin | None = None


def _damaged(path: Path, model: str, what: str) -> ModelError:
    hint = f"`ffswap models remove {model}` clears it; then pull or add the model again"
    return ModelError(f"is damaged: {what}", file=path, hint=hint)


def _part(kind: type[_T], table: Any) -> _T | None:
    """A dataclass of strings and whole numbers; the table must have its fields and no others.

    Raises:
        TypeError: it has not.
    """
    if table is None:
        return None
    wanted = {one.name: int if one.type == "int" else str for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(table, Mapping) or {key: type(table[key]) for key in table} != wanted:
        raise TypeError(f"wanted are {', '.join(wanted)}")
    return kind(**table)


def now() -> str:
    """The time, UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
