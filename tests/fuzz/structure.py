"""Where a file can be cut: boxes, elements, chunks, packets, segments and directories."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Piece", "pieces"]

# Boxes of ISO base media files that hold boxes; some have fields of their own before these.
_HOLDERS = {
    b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"edts": 0, b"dinf": 0,
    b"moof": 0, b"traf": 0, b"mvex": 0, b"udta": 0, b"dref": 8, b"stsd": 8, b"meta": 4,
}  # fmt: skip

# Elements of Matroska files that hold elements: segment, cluster, tracks, entry, video, audio, info,
# cues, cue point, seek head, block group, tags, tag, attachments, chapters, head of the file.
_MASTERS = {
    0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1549A966, 0x1C53BB6B, 0xBB, 0x114D9B74,
    0xA0, 0x1254C367, 0x7373, 0x1941A469, 0x61A7, 0x1043A770, 0x45B9, 0xB6, 0x1A45DFA3,
}  # fmt: skip

_TS_PACKET = 188
_DEEPEST = 12
_MOST = 4000


@dataclass(frozen=True)
class Piece:
    """A part of a file that says what it is.

    Attributes:
        start: of its head.
        body: where what it holds begins.
        end: where it ends.
        size_at: where its length stands, and in how many bytes; (0, 0): nowhere.
        depth: in how many others it lies.
        name: what it calls itself.
    """

    start: int
    body: int
    end: int
    size_at: tuple[int, int]
    depth: int
    name: bytes = b""


def pieces(data: bytes) -> list[Piece]:
    """All of a file, in its order; the whole file where its form is not known."""
    found = []
    for piece in _walk(data):
        found.append(piece)
        if len(found) >= _MOST:
            break
    return found or [Piece(0, 0, len(data), (0, 0), 0)]


def _walk(data: bytes) -> Iterator[Piece]:
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
        yield from _boxes(data, 0, len(data), 0)
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        yield from _elements(data, 0, len(data), 0)
    elif data[:4] == b"RIFF":
        yield from _chunks(data, 12, len(data), 0)
    elif data[:1] == b"\x47" and data[_TS_PACKET : _TS_PACKET + 1] == b"\x47":
        for at in range(0, len(data), _TS_PACKET):
            yield Piece(at, at + 4, min(at + _TS_PACKET, len(data)), (at + 4, 1), 0)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(data)
    elif data[:2] == b"\xff\xd8":
        yield from _jpeg(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        yield from _tiff(data)
    elif data[:1] == b"\x08":
        yield from _messages(data, 0, len(data), 0)


def _boxes(data: bytes, at: int, end: int, depth: int) -> Iterator[Piece]:
    while at + 8 <= end:
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        stop = at + size if size >= 8 else end
        stop = min(stop, end)
        yield Piece(at, at + 8, stop, (at, 4), depth, name)
        if name in _HOLDERS and depth < _DEEPEST:
            yield from _boxes(data, at + 8 + _HOLDERS[name], stop, depth + 1)
        at = stop


def _number(data: bytes, at: int, *, marked: bool) -> tuple[int, int]:
    """A number of variable length and where it ends; all bits set: -1."""
    first = data[at] if at < len(data) else 0
    if not first:
        return -1, at + 1
    length = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    if not marked:
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:
            value = -1
    return value, at + length


def _elements(data: bytes, at: int, end: int, depth: int) -> Iterator[Piece]:
    while at < end:
        name, size_at = _number(data, at, marked=True)
        size, body = _number(data, size_at, marked=False)
        if name < 0:
            return
        stop = end if size < 0 else min(body + size, end)
        yield Piece(at, body, stop, (size_at, body - size_at), depth, data[at:size_at])
        if name in _MASTERS and depth < _DEEPEST:
            yield from _elements(data, body, stop, depth + 1)
        at = max(stop, at + 1)


def _chunks(data: bytes, at: int, end: int, depth: int) -> Iterator[Piece]:
    while at + 8 <= end:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        stop = min(at + 8 + size + size % 2, end)
        yield Piece(at, at + 8, stop, (at + 4, 4), depth, name)
        if name == b"LIST" and depth < _DEEPEST:
            yield from _chunks(data, at + 12, stop, depth + 1)
        at = stop


def _png(data: bytes) -> Iterator[Piece]:
    at = 8
    while at + 8 <= len(data):
        stop = min(at + 12 + int.from_bytes(data[at : at + 4], "big"), len(data))
        yield Piece(at, at + 8, stop, (at, 4), 0, data[at + 4 : at + 8])
        at = stop


def _jpeg(data: bytes) -> Iterator[Piece]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        stop = min(at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"), len(data))
        if data[at + 1] == 0xDA:  # what follows the head of a scan has no length
            stop = len(data)
        yield Piece(at, at + 4, stop, (at + 2, 2), 0, data[at : at + 2])
        at = stop


def _tiff(data: bytes) -> Iterator[Piece]:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    yield Piece(0, 4, 8, (4, 4), 0)
    if at + 2 > len(data):
        return
    (count,) = struct.unpack_from(order + "H", data, at)
    for n in range(count):
        entry = at + 2 + 12 * n
        yield Piece(entry, entry + 8, min(entry + 12, len(data)), (entry + 4, 4), 1)


def _messages(data: bytes, at: int, end: int, depth: int) -> Iterator[Piece]:
    """Fields of a protobuf message that have a length, as far as they look like messages."""
    while at < end:
        start = at
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind == 2:
            size_at = at
            size, at = _varint(data, at, end)
            stop = at + size
            if stop > end:
                return
            yield Piece(start, at, stop, (size_at, at - size_at), depth)
            if depth < 5:
                yield from _messages(data, at, stop, depth + 1)
            at = stop
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 63:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
