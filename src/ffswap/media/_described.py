"""What PyAV does not tell about a stream, from the description that FFmpeg prints of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer

from ._trials import logged

__all__ = ["Described", "described", "four_letters", "services", "subtitle_size"]

# libavcodec/avcodec.c, avcodec_string(): what it prints, and the names of the same as options.
_FIELD_ORDERS = {
    "progressive": "progressive",
    "top first": "tt",
    "bottom first": "bb",
    "top coded first (swapped)": "tb",
    "bottom coded first (swapped)": "bt",
}
# libavutil/pixdesc.c, names of the chroma locations.
_SITINGS = frozenset({"left", "center", "topleft", "top", "bottomleft", "bottom"})


@dataclass(frozen=True)
class Described:
    """Of one video stream.

    Attributes:
        field_order: FFmpeg's name of it, or None.
        siting: FFmpeg's name of where chroma samples lie, or None.
    """

    field_order: str | None = None
    siting: str | None = None


def _text(container: InputContainer) -> str:
    undocumented: Any = container  # PyAV's stubs leave this method out
    with logged(av.logging.VERBOSE):
        return str(undocumented.dumps_format())


def four_letters(container: InputContainer) -> dict[int, str]:
    """The four letters that say in an mp4 or mov file what a stream is, by its index."""
    found = re.finditer(
        r"^  Stream #0:(\d+)\b.*\((\S{4}) / 0x[0-9A-F]{8}\)", _text(container), re.M
    )
    return {int(match[1]): match[2] for match in found}


def subtitle_size(container: InputContainer, index: int) -> tuple[int, int] | None:
    """Width and height of the picture that bitmaps of a stream are laid over, or None."""
    found = re.search(
        rf"^  Stream #0:{index}\b.*: Subtitle: .*, (\d+)x(\d+)", _text(container), re.M
    )
    return None if found is None else (int(found[1]), int(found[2]))


def services(container: InputContainer) -> list[dict[str, str]]:
    """The tags of each programme of a transport stream, such as ``service_name``."""
    parts = re.split(r"^  Program \d+.*\n", _text(container), flags=re.M)[1:]
    found = []
    for part in parts:
        head = part.partition("\n  Stream #")[0].partition("\n    Stream #")[0]
        tags = re.findall(r"^      (service_\w+) *: (.*)$", head, re.M)
        found.append(dict(tags))
    return found


def described(container: InputContainer, index: int) -> Described:
    """Read the description of a stream.

    Args:
        container: open; nothing is read from it.
        index: of a video stream.
    """
    text = _text(container)
    line = re.search(rf"^  Stream #0:{index}\b.*: Video: (.*)$", text, re.MULTILINE)
    # in brackets after the pixel format; an order of fields may have brackets of its own
    marks = re.search(r"\b\w+\(((?:[^()]|\([^()]*\))*)\), \d+x\d+", line[1]) if line else None
    words = marks[1].split(", ") if marks else []
    order = next((_FIELD_ORDERS[word] for word in words if word in _FIELD_ORDERS), None)
    return Described(order, next((word for word in words if word in _SITINGS), None))
