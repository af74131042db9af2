"""What goes from the old container to the new one besides packets."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.packet import Packet

from ..errors import OutputError
from ._files import fraction
from ._trim import Window

__all__ = ["error_text", "kept_tags", "moved_chapters", "refuse_same", "unwrapped"]

# What a DVB subtitle is wrapped in (EN 300 743, 7.1); the first segment begins with 0x0f.
_DVB_HEAD, _DVB_END = b"\x20\x00\x0f", b"\xff"

# Tags that describe the old file and that the muxer writes anew.
_OWN_TAGS = frozenset(
    {"compatible_brands", "duration", "encoder", "major_brand", "minor_version", "vendor_id"}
)


def moved_chapters(source: InputContainer, window: Window) -> list[Any]:
    """The input's chapters, cut to the range that is kept and moved with it."""
    kept = []
    for chapter in source.chapters():
        base = fraction(chapter["time_base"]) or Fraction(1)
        start, end = chapter["start"] * base, chapter["end"] * base
        if window.end_s is not None:
            end = min(end, window.end_s)
        start = max(start, window.shift_s) if window.trims else start
        if end <= start:
            continue
        moved: Any = dict(chapter)
        moved["start"] = round((start - window.shift_s) / base)
        moved["end"] = round((end - window.shift_s) / base)
        kept.append(moved)
    return kept


def refuse_same(path: Path, source: Path) -> None:
    """Raise OutputError where both are one file."""
    try:
        same = os.path.samefile(path, source)
    except OSError:
        return
    if same:
        raise OutputError("the output is the input itself", file=path, hint="name another file")


def kept_tags(tags: dict[str, str]) -> dict[str, str]:
    """Metadata without what the muxer writes anew."""
    return {key: value for key, value in tags.items() if key.lower() not in _OWN_TAGS}


def unwrapped(packet: Packet[Any]) -> Packet[Any]:
    """A DVB subtitle without its wrapping, which the demuxer leaves around the last ones of a file
    and the muxer puts around all."""
    data = bytes(packet)
    if not (data.startswith(_DVB_HEAD) and data.endswith(_DVB_END)):
        return packet
    bare: Packet[Any] = Packet(data[2:-1])
    bare.pts, bare.dts, bare.duration = packet.pts, packet.dts, packet.duration
    bare.time_base = packet.time_base
    return bare


def error_text(error: Exception) -> str:
    """What an error of PyAV's has to say, without its number."""
    return getattr(error, "strerror", None) or str(error)
