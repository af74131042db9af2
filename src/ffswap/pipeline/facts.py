"""What the frames of an output depend on, so that an interrupted run goes on only where nothing has changed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import CancelledError, InputMissingError
from ..files import file_digests
from ..media import EncoderPlan, is_picture_name
from ..options import SwapOptions
from .journal import Facts
from .machine import find_libraries

__all__ = ["facts_of"]

# Options that do not change frames, and those that name files, whose content counts.
_LEFT_OUT = frozenset({"overwrite", "unfinished", "credentials", "reference", "people"})


def facts_of(
    files: Mapping[str, Path],
    options: SwapOptions,
    plan: EncoderPlan,
    used: Mapping[str, str],
    cancel: threading.Event | None = None,
) -> Facts:
    """Everything, by a name for messages.

    Args:
        files: photos, target and models, by what they are; a folder stands for the pictures in it.
        options: of the run.
        plan: how the output is encoded.
        used: what else was chosen, by what it is.
        cancel: ends reading when it is set.

    Raises:
        InputMissingError: a file cannot be read.
        CancelledError: `cancel` was set.
    """
    facts = {"the version of ffswap": __version__}
    for name, version in find_libraries().items():
        facts[f"the version of {name}"] = str(version)
    for what, path in files.items():
        facts[f"content of {what}"] = _digest(path, cancel)
    facts.update(_flat("", {k: v for k, v in asdict(options).items() if k not in _LEFT_OUT}))
    facts["the encoder"] = f"{plan.name} ({plan.pix_fmt})"
    facts["what the encoder is told"] = json.dumps(dict(plan.options), sort_keys=True)
    facts.update({f"the {what}": name for what, name in used.items()})
    return facts


def _digest(path: Path, cancel: threading.Event | None) -> str:
    try:
        return _content(path, cancel)
    except CancelledError as error:
        raise CancelledError("the run was stopped; the output was not written") from error
    except OSError as error:
        raise InputMissingError("cannot be read", file=path) from error


def _content(path: Path, cancel: threading.Event | None) -> str:
    if not path.is_dir():
        return file_digests(path, cancel).sha256
    total = hashlib.sha256()
    for file in sorted(one for one in path.iterdir() if one.is_file() and is_picture_name(one)):
        total.update(f"{file.name}\0{file_digests(file, cancel).sha256}\n".encode())
    return total.hexdigest()


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Options by their own name, and by that of what they are part of where they are part of something."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}" if name else key, one)
    else:
        yield name, json.dumps(value, default=str)
