"""What FFmpeg's program cannot make, written byte for byte from the standards."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av

__all__ = ["MATRICES", "as_telemetry", "klv", "set_matrix", "subtitle_pictures", "with_captions"]

ONE, W = 1 << 16, 1 << 30

# The matrix of a track header (ISO/IEC 14496-12, 8.3.2) for a picture of 96 x 64.
MATRICES = {
    "turned by 90 degrees": (0, ONE, 0, -ONE, 0, 0, 64 * ONE, 0, W),
    "turned by 180 degrees": (-ONE, 0, 0, 0, -ONE, 0, 96 * ONE, 64 * ONE, W),
    "turned by 270 degrees": (0, -ONE, 0, ONE, 0, 0, 0, 96 * ONE, W),
    "mirrored left to right": (-ONE, 0, 0, 0, ONE, 0, 96 * ONE, 0, W),
    "mirrored top to bottom": (ONE, 0, 0, 0, -ONE, 0, 0, 64 * ONE, W),
}


def _remux(path: Path, matrix: tuple[int, ...]) -> None:
    """FFmpeg's program of this age cannot do it, so PyAV does."""
    plain = path.with_name(f"plain{path.suffix}")
    path.rename(plain)
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        streams: list[Any] = [
            target.add_stream_from_template(stream, opaque=True) for stream in source.streams
        ]
        streams[0].set_display_matrix(matrix)
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)


# Component type and handler of a track of text, in mp4 and in mov.
HANDLERS = (b"\0\0\0\0sbtl", b"mhlrtext", b"mhlrsbtl")


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Give the first track of an mp4, mov, mkv or webm file a display matrix."""
    if path.suffix in (".mkv", ".webm"):
        _remux(path, matrix)
        return
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52
    assert struct.unpack_from(">9i", data, at) == (ONE, 0, 0, 0, ONE, 0, 0, 0, W)
    struct.pack_into(">9i", data, at, *matrix)
    path.write_bytes(data)


def as_telemetry(path: Path) -> None:
    """Turn the track of text of an mp4 or mov file into one of a camera's measurements (gpmd)."""
    data = bytearray(path.read_bytes())
    at = max(data.find(b"hdlr\0\0\0\0" + kind, 0) for kind in HANDLERS)
    assert at > 0
    data[at + 12 : at + 16] = b"meta"
    entry = data.index(b"stsd", at) + 16
    assert bytes(data[entry : entry + 4]) in (b"tx3g", b"text")
    data[entry : entry + 4] = b"gpmd"
    path.write_bytes(data)


def klv() -> bytes:
    """One packet of a universal label, a length and a value (SMPTE ST 336)."""
    value = bytes(range(40))
    return bytes.fromhex("060e2b34020b01010e01030101000000") + bytes([len(value)]) + value


def with_captions(stream: bytes) -> bytes:
    """Put a caption message (ATSC A/53 part 4, 6.2.3) after each access unit delimiter of H.264."""
    pieces = stream.split(b"\0\0\0\1\x09")
    told = [pieces[0]]
    for i, piece in enumerate(pieces[1:]):
        pair = bytes([0xFC, 0x94, 0x2C]) if i % 2 else bytes([0xFC, 0xC1, 0xC2])
        body = b"\xb5\0\x31GA94\x03" + bytes([0x41, 0xFF]) + pair + b"\xff"
        message = b"\x06\x04" + bytes([len(body)]) + body + b"\x80"
        first = piece.index(b"\0\0", 1)
        told.append(piece[:first] + b"\0\0\0\1" + message + piece[first:])
    return b"\0\0\0\1\x09".join(told)


def _segment(kind: int, when: int, body: bytes) -> bytes:
    return b"PG" + struct.pack(">IIBH", when, 0, kind, len(body)) + body


def subtitle_pictures() -> bytes:
    """Two pictures of text as a Blu-ray Disc has them: on at 0.2 s, off at 0.6 s (units of 1/90000 s)."""
    width, height = 16, 8
    found = b""
    for n, (on, off) in enumerate(((18000, 36000), (54000, 72000))):
        line = bytes([1]) * width + b"\0\0"
        pixels = line * height
        window = struct.pack(">BBHHHH", 1, 0, 40, 80, width, height)
        shown = struct.pack(">HHBHBBBB", 256, 128, 0x10, 2 * n, 0x80, 0, 0, 1)
        shown += struct.pack(">HBBHH", 0, 0, 0, 40, 80)
        colours = bytes([0, 0, 1, 235, 128, 128, 255])
        size = (len(pixels) + 4).to_bytes(3, "big")
        head = struct.pack(">HBB", 0, 0, 0xC0)
        drawn = head + size + struct.pack(">HH", width, height) + pixels
        parts = ((0x16, shown), (0x17, window), (0x14, colours), (0x15, drawn), (0x80, b""))
        found += b"".join(_segment(kind, on, body) for kind, body in parts)
        empty = struct.pack(">HHBHBBBB", 256, 128, 0x10, 2 * n + 1, 0, 0, 0, 0)
        ends = ((0x16, empty), (0x17, window), (0x80, b""))
        found += b"".join(_segment(kind, off, body) for kind, body in ends)
    return found
