"""What is printed, and where: results on stdout, everything else on stderr.

Text from outside (names of files, messages of libraries) may hold control characters, which a
terminal obeys. All text passes through `printable` on its way out.
"""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import OutputWriteError

__all__ = ["Told", "note", "printable", "result", "result_json", "table"]


def printable(text: str) -> str:
    """One line of text that a terminal only shows: control characters are escaped.

    Formatting characters that turn the direction of writing are escaped too, and bytes of a file
    name that are not text. Blanks of other scripts stay.
    """

    def shown(character: str) -> str:
        if character.isprintable() or unicodedata.category(character) == "Zs":
            return character
        return character.encode("unicode_escape").decode("ascii")

    return "".join(map(shown, text))


def note(kind: str, text: str) -> None:
    """Print ``ffswap: KIND: TEXT`` on stderr: an error, hint, licence, warning or progress."""
    try:
        print(f"ffswap: {kind}: {printable(text)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _silence(sys.stderr)


class Told:
    """Prints warnings when they come up, each once."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said: set[str] = set()

    def __call__(self, sentence: str) -> None:
        """Print it unless it was."""
        if not self._quiet and sentence not in self._said:
            note("warning", sentence)
        self._said.add(sentence)


def result(*lines: str) -> None:
    """Print lines on stdout.

    Raises:
        OutputWriteError: stdout cannot be written. A reader that has gone away, such as ``head``,
            is no error.
    """
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise OutputWriteError(f"standard output cannot be written: {error.strerror}") from error


def result_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object, in ASCII, on stdout; numbers that JSON does not know become null.

    Raises:
        OutputWriteError: as `result`.
    """
    result(json.dumps(_finite(value), allow_nan=False))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with columns below each other."""
    whole = [head, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in whole
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _silence(stream: Any) -> None:
    """Send what is still buffered nowhere, or the interpreter complains of it at its end."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return  # not a file of the system, as in a test
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
