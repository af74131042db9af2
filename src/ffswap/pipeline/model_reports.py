"""What is told of models: their state, how a pull goes on, what was verified and removed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..models import ModelSpec
from ..models.pins import Consent, Pin, Status
from ..models.pull import addresses

__all__ = ["ModelProgress", "ModelReport", "PullReport", "Removed", "Verified", "licence_line"]


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """A model: what the catalogue says of it and what the store has.

    Attributes:
        spec: what the catalogue says.
        status: see `models.pins.State`.
        reason: why the file is damaged or unpinned, or None.
        path: the file if it is installed and whole, or None.
        pin: what was installed, or None.
        consent: the licence as the user accepted it, or None.
        fetched: a pull has just brought it.
    """

    spec: ModelSpec
    status: Status
    reason: str | None
    path: Path | None
    pin: Pin | None
    consent: Consent | None
    fetched: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the licence was accepted, or is open and need not be."""
        return self.spec.terms == "open" or self.consent is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        spec = self.spec
        return {
            "name": spec.name,
            "kind": spec.kind,
            "family": spec.family,
            "licence": spec.licence,
            "terms": spec.terms,
            "accepted": self.accepted,
            "vendor": spec.vendor,
            "year": spec.year,
            "needs": list(spec.needs),
            "status": self.status,
            "reason": self.reason,
            "file": spec.file,
            "path": None if self.path is None else str(self.path),
            "sha256": spec.sha256,
            "crc32": spec.crc32,
            "addresses": list(addresses(spec)),
            "pin": None if self.pin is None else asdict(self.pin),
            "consent": None if self.consent is None else asdict(self.consent),
            "fetched": self.fetched,
            "notes": spec.notes,
        }


@dataclass(frozen=True, kw_only=True)
class PullReport:
    """What a pull did.

    Attributes:
        folder: where the files are.
        models: those asked for and what they need, in the order in which they were brought.
        seconds: that it took.
    """

    folder: str
    models: tuple[ModelReport, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        models = [one.as_dict() for one in self.models]
        return {"folder": self.folder, "models": models, "seconds": self.seconds}


@dataclass(frozen=True, kw_only=True)
class ModelProgress:
    """How far a pull of several models has come.

    Attributes:
        model: that is brought.
        index: of it, from 0.
        count: of all models.
        phase: ``waiting``: for another process that fetches it.
        done: bytes that are there.
        total: bytes of the file, or None where nobody knows.
        seconds: since the model was begun.
    """

    model: str
    index: int
    count: int
    phase: Literal["fetching", "waiting"]
    done: int
    total: int | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a verification found.

    Attributes:
        model: its name.
        path: its file; None: it comes with ffswap.
        problem: why it cannot be used, or None.
        hint: what to do about it, or None.
    """

    model: str
    path: Path | None
    problem: str | None
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        path = None if self.path is None else str(self.path)
        return {"name": self.model, "path": path, "problem": self.problem, "hint": self.hint}


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A model that was removed.

    Attributes:
        model: its name.
        size_bytes: that were freed.
    """

    model: str
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return {"name": self.model, "bytes": self.size_bytes}


def licence_line(spec: ModelSpec) -> str:
    """Name, licence, terms and vendor of a model, for people."""
    year = "" if spec.year is None else f" {spec.year}"
    return f"{spec.name}: licence {spec.licence} ({spec.terms}), by {spec.vendor}{year}"
