"""The files of an engine store: what they are called, and whether they are what they should be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import EngineError, OutputWriteError
from ..files import file_digests, read_table
from ..locks import no_folder
from .key import SCHEMA
from .manifest import Manifest, schema_of

__all__ = [
    "MANIFEST",
    "PART",
    "PENDING",
    "PLAN",
    "UnusableError",
    "check_plan",
    "check_size",
    "named",
    "read_manifest",
    "size_of",
]

_STEM = r"(?P<stem>(?P<model>[A-Za-z0-9_.-]+)-(?P<precision>[a-z0-9]+)-[0-9a-f]{16})"
MANIFEST = re.compile(rf"{_STEM}\.json")
PLAN = re.compile(rf"{_STEM}-[0-9a-f]{{8}}\.plan")
PART = re.compile(rf"\.{_STEM}\.[0-9a-f]{{8}}\.part")
PENDING = re.compile(r"\.[A-Za-z0-9_.-]+\.[0-9a-f]{8}\.part\.json")
"""A manifest that is being written; `files.PendingFile` shortens its name."""


class UnusableError(Exception):
    """Why a manifest or its plan cannot be used.

    Args:
        reason: for people.
        damaged: it will never be usable, by any ffswap; otherwise it may be later, or elsewhere.
    """

    def __init__(self, reason: str, *, damaged: bool) -> None:
        super().__init__(reason)
        self.reason, self.damaged = reason, damaged


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        UnusableError: it is missing, cannot be read, is no manifest, or not the one of its name.
    """
    try:
        content = read_table(path)
    except FileNotFoundError:
        raise UnusableError("manifest has just been removed", damaged=False) from None
    except OSError as error:
        raise _unreadable("manifest", error) from error
    data: Any = None
    try:
        data = json.loads(content)
        manifest = Manifest.from_dict(data)
    except EngineError as error:
        schema = schema_of(data)
        newer = isinstance(schema, int) and schema > SCHEMA  # its own ffswap can still read it
        reason = f"manifest cannot be read: {error.message}"
        raise UnusableError(reason, damaged=not newer) from error
    except (ValueError, RecursionError) as error:
        reason = f"manifest cannot be read: it is not JSON ({error})"
        raise UnusableError(reason, damaged=True) from error
    if path.name != f"{manifest.key.stem}.json":
        reason = f"manifest is of another engine, {manifest.key.stem}"
        raise UnusableError(reason, damaged=True)
    return manifest


def check_size(plan: Path, manifest: Manifest) -> None:
    """Compare the size of a plan with its manifest.

    Raises:
        UnusableError: it is missing, cannot be read, or has another size.
    """
    try:
        size = plan.stat().st_size
    except FileNotFoundError:
        raise UnusableError("plan is missing", damaged=True) from None
    except OSError as error:
        raise _unreadable("plan", error) from error
    if size != manifest.plan_bytes:
        reason = f"plan has {size} bytes, manifest says {manifest.plan_bytes}"
        raise UnusableError(reason, damaged=True)


def check_plan(plan: Path, manifest: Manifest) -> None:
    """Compare the size and the whole content of a plan with its manifest.

    Raises:
        UnusableError: it is missing, cannot be read, or is another one.
    """
    check_size(plan, manifest)
    try:
        found = file_digests(plan).sha256
    except FileNotFoundError:
        raise UnusableError("plan is missing", damaged=True) from None
    except OSError as error:
        raise _unreadable("plan", error) from error
    if found != manifest.plan_sha256:
        raise UnusableError("plan has the wrong sha256", damaged=True)


def _unreadable(what: str, error: OSError) -> UnusableError:
    return UnusableError(f"{what} cannot be read: {error.strerror or error}", damaged=False)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if somebody has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def named(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Files of the folder whose whole name fits the pattern, sorted; none if there is no folder.

    Raises:
        OutputWriteError: it cannot be read, or is a file.
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise no_folder(folder, "engines") from error
    except OSError as error:
        reason = error.strerror or error
        raise OutputWriteError(f"the folder cannot be read ({reason})", file=folder) from error
    for name in names:
        if match := pattern.fullmatch(name):
            yield name, match
