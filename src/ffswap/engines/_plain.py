"""Dataclasses to plain types and back, strictly: what is read has exactly the fields that are written."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import EngineError

__all__ = ["from_plain", "to_plain"]

_WORDS: dict[Any, str] = {str: "text", int: "a whole number", bool: "true or false"}
_SHOWN = 60  # characters of a wrong value: it may be anything, and long


def to_plain(value: Any) -> Any:
    """A dataclass as what JSON knows: tuples become lists, floats that are not finite become None."""
    if is_dataclass(value):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """The inverse of `to_plain`.

    Args:
        kind: a dataclass, tuple, Literal, float, int, bool, str, or one of these or None.
        value: what JSON gave.
        where: what it is called in messages.

    Raises:
        EngineError: a field is unknown, missing or of another type.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None:
            return None
        (kind,) = (one for one in inner if one is not NoneType)
        return from_plain(kind, value, where)
    if origin is tuple:
        return _tuple(inner, value, where)
    if origin is Literal:
        return _checked(value in inner, value, where, " or ".join(inner))
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if kind is float:
        ok = type(value) in (int, float) and math.isfinite(value)
        return float(_checked(ok, value, where, "a number"))
    return _checked(type(value) is kind, value, where, _WORDS[kind])


def _checked(ok: bool, value: Any, where: str, allowed: str) -> Any:
    if not ok:
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        raise EngineError(f"{where} is {shown}; allowed: {allowed}")
    return value


def _tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _checked(isinstance(value, list), value, where, "a list")
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    _checked(len(value) == len(inner), value, where, f"a list of {len(inner)}")
    pairs = enumerate(zip(inner, value, strict=True))
    return tuple(from_plain(kind, one, f"{where}[{i}]") for i, (kind, one) in pairs)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    _checked(isinstance(value, dict), value, where, "a table")
    names = [one.name for one in fields(kind)]
    for unknown in sorted(value.keys() - set(names)):
        raise EngineError(f"{where} has a field {unknown!r}; allowed: {', '.join(names)}")
    for missing in [name for name in names if name not in value]:
        raise EngineError(f"{where} has no field {missing!r}")
    hints = get_type_hints(kind)
    return kind(**{name: from_plain(hints[name], value[name], f"{where}.{name}") for name in names})
