"""Changes to files that a hostile or a broken sender might make; each is drawn from a `Random`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.structure import Piece, pieces

__all__ = ["BINARY", "CUTS", "TEXT", "mutate", "mutate_text"]

# Numbers at which programs stumble, and years in usual units of time.
_ABSURD = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 16384, 30000, 65535, 1_000_000_000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF,
)  # fmt: skip

_HEAD = 1024  # bytes: most of what decides how a file is read

Mutator = Callable[[Random, bytearray, Sequence[Piece]], bytearray]


def _spot(rng: Random, data: bytearray, parts: Sequence[Piece]) -> int:
    """A place in a file: half of them near its beginning, a third in the head of a piece."""
    where = rng.random()
    if where < 0.5:
        return rng.randrange(min(_HEAD, len(data)))
    if where < 0.85:
        piece = rng.choice(parts)
        return min(rng.randrange(piece.start, max(piece.body, piece.start + 1)), len(data) - 1)
    return rng.randrange(len(data))


def flip(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """A few bits."""
    for _ in range(rng.choice((1, 1, 2, 4, 8, 32))):
        data[_spot(rng, data, parts)] ^= 1 << rng.randrange(8)
    return data


def overwrite(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """An absurd number of 1 to 8 bytes anywhere."""
    at, size = _spot(rng, data, parts), rng.choice((1, 2, 4, 4, 8))
    _put(data, at, size, rng.choice(_ABSURD), rng.choice(("big", "little")))
    return data


def _put(data: bytearray, at: int, size: int, value: int, order: str) -> None:
    value &= (1 << 8 * size) - 1
    data[at : at + size] = value.to_bytes(size, "big" if order == "big" else "little")


def resize(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """A length that is too small, too large or next to right."""
    sized = [piece for piece in parts if piece.size_at[1]] or list(parts)
    piece = rng.choice(sized)
    at, size = piece.size_at
    now = piece.end - piece.start
    value = rng.choice((*_ABSURD, now - 1, now + 1, now - 8, now + 8, now * 2, now // 2))
    _put(data, at, size or 4, max(0, value), rng.choice(("big", "little")))
    return data


def numbers(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """Durations, sizes, counts and times: absurd numbers in the fields of small pieces."""
    small = [one for one in parts if 4 <= one.end - one.body <= 512] or list(parts)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        piece = rng.choice(small)
        size = rng.choice((2, 4, 4, 8))
        length = max(1, piece.end - piece.body)
        at = min(piece.body + rng.randrange(0, length, 2), len(data) - 1)
        _put(data, at, size, rng.choice(_ABSURD), rng.choice(("big", "big", "little")))
    return data


def cut_at_piece(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """The file ends at the beginning, after the head, in the middle or just before the end of a piece."""
    piece = rng.choice(parts)
    middle = (piece.body + piece.end) // 2
    at = rng.choice((piece.start, piece.start + 1, piece.body, middle, piece.end - 1, piece.end))
    return data[: max(1, at)]


def cut_anywhere(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:  # noqa: ARG001
    """The file ends somewhere."""
    return data[: rng.randrange(1, len(data))]


def drop(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """A piece is missing."""
    piece = rng.choice(parts)
    return data[: piece.start] + data[piece.end :] or bytearray(b"\0")


def empty(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """A piece says that it is there and holds nothing: a packet of no length."""
    piece = rng.choice(parts)
    at, size = piece.size_at
    if size:
        head = piece.body - piece.start if data[piece.start + 4 : piece.body] == piece.name else 0
        _put(data, at, size, head, "big")
    return data[: piece.body] + data[piece.end :] or bytearray(b"\0")


def double(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """A piece comes twice."""
    piece = rng.choice(parts)
    return data[: piece.end] + data[piece.start : piece.end] + data[piece.end :]


def swap_pieces(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """Two pieces that do not hold each other have changed their places."""
    one, two = sorted((rng.choice(parts), rng.choice(parts)), key=lambda piece: piece.start)
    if two.start < one.end:
        return flip(rng, data, parts)
    return (
        data[: one.start] + data[two.start : two.end] + data[one.end : two.start]
        + data[one.start : one.end] + data[two.end :]
    )  # fmt: skip


def erase(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """What a piece holds is zeros, ones or noise."""
    piece = rng.choice(parts)
    length = max(0, piece.end - piece.body)
    data[piece.body : piece.end] = rng.choice(
        (bytes(length), b"\xff" * length, rng.randbytes(length))
    )
    return data


def insert(rng: Random, data: bytearray, parts: Sequence[Piece]) -> bytearray:
    """Some bytes too many."""
    at = rng.choice(parts).start
    return data[:at] + bytearray(rng.randbytes(rng.randrange(1, 64))) + data[at:]


CUTS: tuple[Mutator, ...] = (cut_at_piece, cut_anywhere)
BINARY: tuple[Mutator, ...] = (
    flip, flip, overwrite, resize, resize, numbers, numbers, *CUTS, drop, empty, double, swap_pieces,
    erase, insert,
)  # fmt: skip


def mutate(rng: Random, data: bytes) -> tuple[str, bytes]:
    """A changed file, and what was done to it."""
    changed, names = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(BINARY)
        names.append(change.__name__)
        changed = change(rng, changed, pieces(bytes(changed)))
        if len(changed) < 2:
            break
    return "+".join(names), bytes(changed)


_LONGEST = 1_000_000  # characters of a mutated table

# Values that no table of ours should take, in the writing of TOML and JSON alike.
_VALUES = (
    '"../../etc/passwd"', '"/etc/passwd"', '"C:\\\\x.onnx"', '"a/../../b.onnx"', '"file:///etc/passwd"',
    '"\\u0000"', '""', "-1", "0", "1e308", "99999999999999999999999999", "[]", "{}", "true", "[[]]",
    '"' + "A" * 5000 + '"', "[" * 200 + "]" * 200, "-0.0", '"\\u202eonnx.exe"', '"CON.onnx"',
)  # fmt: skip
_VALUE = re.compile(r'("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[[^\[\]\n]*\])')


def _value(rng: Random, text: str) -> str:
    found = list(_VALUE.finditer(text))
    if not found:
        return text + rng.choice(_VALUES)
    one = rng.choice(found)
    return text[: one.start()] + rng.choice(_VALUES) + text[one.end() :]


def _line(rng: Random, text: str) -> str:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [lines[rng.randrange(len(lines))]]))
    return "\n".join(lines)


def _cut(rng: Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _nest(rng: Random, text: str) -> str:
    return rng.choice(("[" * 100_000, '{"a":' * 100_000, "x = " + "[" * 50_000, text * 50))


def _bytes(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(("\0", "\ud800", "\ufeff", "\r", '"', "]", "\x1b[2J")) + text[at:]


TEXT = (_value, _value, _value, _value, _line, _cut, _nest, _bytes)


def mutate_text(rng: Random, text: str) -> tuple[str, bytes]:
    """A changed table, and what was done to it."""
    names = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice(TEXT)
        names.append(change.__name__.strip("_"))
        text = change(rng, text)
    data = text[:_LONGEST].encode("utf-8", "surrogatepass")
    return "+".join(names), data
