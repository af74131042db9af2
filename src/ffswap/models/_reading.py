"""Strict reading of a catalogue's tables: every key is a field, every value of the field's type."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..carriers import F32
from ..errors import InternalError, ModelError

__all__ = ["NAME", "check_keys", "read", "read_points"]

NAME = re.compile(r"[\w-][\w.-]*")
"""What a model or a file may be called: a name must not lead out of its folder."""

_LARGEST = float(np.finfo(np.float32).max)  # nets compute in float32
_ADDRESS = re.compile(r"https?://(?:[^{}\s]|\{release\}|\{file\})+")
_KINDS_HINT = "docs/models.md says what a model of each kind needs"

# Of the crop's side: points of a template may lie outside of the crop, but not far.
_FAR = 2.0
# ... and nearer together than this they are one, in the same unit.
_NEAR = 0.01
_Pair = tuple[float, float]
_Points = tuple[_Pair, _Pair, _Pair, _Pair, _Pair]


class _WrongTypeError(Exception):
    """A value is not of the type that its key wants."""


def _digits(count: int) -> tuple[Callable[[Any], bool], str]:
    pattern = re.compile(f"[0-9a-f]{{{count}}}")
    return (
        lambda value: pattern.fullmatch(value) is not None,
        f"{count} lower-case hexadecimal digits",
    )


# What a value must be besides being of its type, by key: the same in all tables.
_LIMITS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "file": (
        lambda value: NAME.fullmatch(value) is not None and value.lower().endswith(".onnx"),
        "the name of an .onnx file, without folders",
    ),
    "sha256": _digits(64),
    "crc32": _digits(8),
    "score": (lambda value: 0 < value < 1, "a number between 0 and 1"),
    "size": (lambda value: min(value) >= 1, "width and height in pixels, 1 or more"),
    "std": (all, "three numbers, none of them 0"),
    "outputs": (lambda value: len(set(value)) == len(value), "a list of different names"),
    "urls": (
        lambda value: all(_ADDRESS.fullmatch(one) for one in value),
        "a list of http or https addresses; in braces only {release} and {file}",
    ),
}  # fmt: skip


def check_keys(table: Mapping[str, Any], allowed: tuple[str, ...], place: str) -> None:
    """Refuse keys that there are not.

    Raises:
        ModelError: there is one.
    """
    for key in table:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            raise ModelError(
                f"{place} has a key {key!r}; allowed: {', '.join(allowed)}",
                hint=f"did you mean {near[0]}?" if near else None,
            )


def read(kind: type[Any], table: Any, place: str, **given: Any) -> Any:
    """An object of a dataclass from a table.

    Args:
        kind: the dataclass.
        table: as TOML gives it; tables in it become objects of the dataclasses of their fields.
        place: name of the table, such as ``models.NAME``, for messages.
        given: fields that the table does not say.

    Raises:
        ModelError: a key is unknown or missing, or its value is not allowed.
    """
    if not isinstance(table, Mapping):
        raise ModelError(f"[{place}] is {table!r}; allowed: a table")
    known = {one.name: one for one in fields(kind) if one.name not in given}
    check_keys(table, tuple(known), f"[{place}]")
    for name, one in known.items():
        if name not in table and _required(one):
            raise ModelError(f"[{place}] has no key {name!r}", hint=f"it needs {_needed(known)}")
    types_of = get_type_hints(kind)
    values = {
        name: _value(types_of[name], value, name, place)
        for name, value in table.items()
    }  # fmt: skip
    try:
        return kind(**values, **given)
    except InternalError as error:  # fields that do not go together
        what = error.message.partition(" in the catalogue: ")[2] or error.message
        raise ModelError(f"[{place}] {what}", hint=_KINDS_HINT) from error


def _is_face(points: F32) -> bool:
    """Whether five points (5, 2) lie as in an upright face, so that another can be laid over it."""
    left_eye, right_eye, _, left_mouth, right_mouth = points
    wide = right_eye[0] - left_eye[0] > _NEAR and right_mouth[0] - left_mouth[0] > _NEAR
    high = left_mouth[1] + right_mouth[1] - left_eye[1] - right_eye[1] > 2 * _NEAR
    return bool(wide and high)


def read_points(value: Any, place: str) -> F32:
    """The five points of a template.

    Args:
        value: as TOML gives it.
        place: name of the table and the key, for messages.

    Returns:
        (5, 2) float32, read-only.

    Raises:
        ModelError: it is something else.
    """
    try:
        points = np.array(_converted(_Points, value), np.float32)
        good = bool((np.abs(points) <= _FAR).all()) and _is_face(points)
    except _WrongTypeError:
        good = False
    if not good:
        raise ModelError(
            f"{place} is {value!r}; allowed: five points [x, y] in units of the crop's side, "
            f"{-_FAR} to {_FAR}: left eye, right eye, nose, left and right corner of the mouth, each "
            "left one left of its right one, and the mouth below the eyes"
        )
    points.flags.writeable = False
    return points


def _required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _needed(known: Mapping[str, Field[Any]]) -> str:
    return ", ".join(name for name, one in known.items() if _required(one))


def _value(kind: Any, value: Any, name: str, place: str) -> Any:
    kind = _not_none(kind)
    if is_dataclass(kind):
        return read(kind, value, f"{place}.{name}")  # type: ignore[arg-type]
    good, allowed = _LIMITS.get(name, (None, _described(kind)))
    try:
        found = _converted(kind, value)
    except _WrongTypeError as error:
        raise ModelError(f"[{place}] {name} is {value!r}; allowed: {allowed}") from error
    if good is not None and not good(found):
        raise ModelError(f"[{place}] {name} is {value!r}; allowed: {allowed}")
    return found


def _not_none(kind: Any) -> Any:
    """The type without None, which TOML cannot say."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    return kind


def _converted(kind: Any, value: Any) -> Any:
    """The value as one of the type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        good = isinstance(value, str) and value in inner
    elif origin is tuple:
        return _row(inner, value)
    elif origin is Mapping:
        if isinstance(value, Mapping):
            return {name: _converted(inner[1], one) for name, one in value.items()}
        good = False
    elif kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and -_LARGEST < value < _LARGEST:  # NaN is not, either
            return float(value)
        good = False
    else:
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not good:
        raise _WrongTypeError
    return value


def _row(inner: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _WrongTypeError
    if inner[-1] is Ellipsis:
        inner = inner[:1] * len(value)
    if len(value) != len(inner):
        raise _WrongTypeError
    return tuple(_converted(one, item) for one, item in zip(inner, value, strict=True))


def _described(kind: Any) -> str:
    """What is allowed, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(inner)
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"a list of {count}{_NAMES[inner[0]]}s"
    if origin is Mapping:
        return f"a table of {_NAMES[inner[1]]}s"
    article = "" if kind is bool else "a "
    return article + _NAMES[kind]


_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}
