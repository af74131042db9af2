"""The shape of pixels in a Matroska file, where the codec does not hold it and the muxer leaves it out.

    before   SeekHead  Void.........  Info  Tracks                 Tags  Cluster ...
    after    SeekHead  Void...  Info  Tracks + DisplayWidth        Tags  Cluster ...

The muxer reserves room behind its index. The track description grows into it; what lies between
moves, and the index says so. Nothing behind the description moves. Source: RFC 9559.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

__all__ = ["set_display_size"]

_SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC
_VOID, _CRC, _CLUSTER, _TRACKS, _TRACK = 0xEC, 0xBF, 0x1F43B675, 0x1654AE6B, 0xAE
_NUMBER, _VIDEO, _WIDTH, _HEIGHT, _UNIT = 0xD7, 0xE0, 0x54B0, 0x54BA, 0x54B2
_AS_RATIO = 3
_SHAPE = (_WIDTH, _HEIGHT, _UNIT)

# Bytes before the first cluster that are looked at: track descriptions are a few hundred.
_MOST_HEAD = 1 << 24


@dataclass(frozen=True)
class _Element:
    """Where an element lies: its name, first byte, first byte of its content, and end."""

    name: int
    start: int
    content: int
    end: int


def _number(data: bytes, at: int, *, keep_marker: bool) -> tuple[int, int]:
    """A variable-length integer and where it ends.

    Raises:
        ValueError: there is none.
    """
    if at >= len(data) or not data[at]:
        raise ValueError("no element")
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), at + length


def _elements(data: bytes, start: int, end: int) -> list[_Element]:
    """The elements of a range, up to the first cluster."""
    found: list[_Element] = []
    at = start
    while at < end:
        name, size_at = _number(data, at, keep_marker=True)
        if name == _CLUSTER:
            break
        size, content = _number(data, size_at, keep_marker=False)
        if content + size > end:
            break
        found.append(_Element(name, at, content, content + size))
        at = content + size
    return found


def _encoded(name: int, content: bytes) -> bytes:
    """An element; its size takes eight bytes if it is large, as the muxer writes it, else one."""
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    size = len(content)
    coded = bytes([0x80 | size]) if size < 0x7F else (1 << 56 | size).to_bytes(8, "big")
    return head + coded + content


def _with_crc(content: bytes) -> bytes:
    """Content whose first element, if that is a checksum, fits the rest again."""
    if content[:2] != bytes([_CRC, 0x84]):
        return content
    return content[:2] + zlib.crc32(content[6:]).to_bytes(4, "little") + content[6:]


def _shape(size: tuple[Fraction, int]) -> bytes:
    """Width and height in pixels, or their ratio where the width is no whole number."""
    width, height, unit = size[0], size[1], b""
    if width.denominator != 1:
        ratio = width / height
        width, height = Fraction(ratio.numerator), ratio.denominator
        unit = _encoded(_UNIT, bytes([_AS_RATIO]))
    values = (width.numerator.to_bytes(4, "big"), height.to_bytes(4, "big"))
    return _encoded(_WIDTH, values[0]) + _encoded(_HEIGHT, values[1]) + unit


def _track(data: bytes, track: _Element, number: int, size: tuple[Fraction, int]) -> bytes:
    """A track description, with the display size if it is the one that is meant."""
    parts = _elements(data, track.content, track.end)
    own = next((p for p in parts if p.name == _NUMBER), None)
    if own is None or int.from_bytes(data[own.content : own.end], "big") != number:
        return data[track.start : track.end]
    told = _shape(size)
    made = b""
    for part in parts:
        if part.name != _VIDEO:
            made += data[part.start : part.end]
            continue
        inner = _elements(data, part.content, part.end)
        kept = b"".join(data[e.start : e.end] for e in inner if e.name not in _SHAPE)
        made += _encoded(_VIDEO, kept + told)
    return _encoded(_TRACK, made)


def _index(data: bytes, head: _Element, moved: range, by: int) -> bytes:
    """The index with the positions of what has moved; as long as before."""
    content = bytearray(data[head.content : head.end])
    for seek in _elements(data, head.content, head.end):
        if seek.name != _SEEK:
            continue
        for part in _elements(data, seek.content, seek.end):
            position = int.from_bytes(data[part.content : part.end], "big")
            if part.name == _SEEK_POSITION and position in moved:
                at = part.content - head.content
                length = part.end - part.content
                content[at : at + length] = (position - by).to_bytes(length, "big")
    return data[head.start : head.content] + _with_crc(bytes(content))


def set_display_size(path: Path, index: int, size: tuple[Fraction, int]) -> bool:
    """Write the size at which a video track is shown into a finished Matroska file.

    Args:
        path: of the file, changed in place.
        index: of the stream, from 0.
        size: width and height at which a frame is shown, pixels.

    Returns:
        Whether there was room for it; the file is unchanged if not.
    """
    with path.open("r+b") as file:
        data = file.read(_MOST_HEAD)
        try:
            return _set(file, data, index + 1, size)
        except ValueError:
            return False


def _set(file: BinaryIO, data: bytes, number: int, size: tuple[Fraction, int]) -> bool:
    _, at = _number(data, 0, keep_marker=True)
    length, at = _number(data, at, keep_marker=False)
    name, at = _number(data, at + length, keep_marker=True)
    _, base = _number(data, at, keep_marker=False)
    if name != _SEGMENT:
        return False
    parts = {e.name: e for e in reversed(_elements(data, base, len(data)))}
    head, void, tracks = (parts.get(one) for one in (_SEEK_HEAD, _VOID, _TRACKS))
    if head is None or void is None or tracks is None or not head.end == void.start < tracks.start:
        return False
    content = b"".join(
        _track(data, one, number, size) if one.name == _TRACK else data[one.start : one.end]
        for one in _elements(data, tracks.content, tracks.end)
    )
    made = _encoded(_TRACKS, _with_crc(content))
    grown = len(made) - (tracks.end - tracks.start)
    room = void.end - void.start - grown
    if room < 2 + 8:
        return False
    gap = _VOID.to_bytes(1, "big") + (1 << 56 | room - 9).to_bytes(8, "big") + bytes(room - 9)
    moved = range(void.end - base, tracks.end - base)
    new = _index(data, head, moved, grown) + gap + data[void.end : tracks.start] + made
    file.seek(head.start)
    file.write(new)
    return len(new) == tracks.end - head.start
