"""What a verification found: a line for each thing, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import ExitCode
from .messages import note, printable, result, result_json

__all__ = ["tell_verified"]


class _Verified(Protocol):
    @property
    def problem(self) -> str | None: ...

    def as_dict(self) -> Mapping[str, Any]: ...


V = TypeVar("V", bound=_Verified)


def tell_verified(
    what: str,
    folder: Path,
    found: Sequence[V],
    line: Callable[[V], str],
    *,
    hints: Sequence[str],
    code: ExitCode,
    as_json: bool,
) -> int:
    """Print what was found.

    Args:
        what: was verified, in the plural.
        folder: where it is.
        found: of each.
        line: of text about one.
        hints: that are printed if one is bad.
        code: to exit with then.
        as_json: print one JSON object in place of the lines.
    """
    if as_json:
        result_json({"folder": str(folder), what: [one.as_dict() for one in found]})
    else:
        result(*(printable(line(one)) for one in found))
    bad = sum(one.problem is not None for one in found)
    if not bad:
        return ExitCode.OK
    note("error", f"{bad} of {len(found)} {what} cannot be used")
    for hint in hints:
        note("hint", hint)
    return code
