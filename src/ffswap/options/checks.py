"""The one sentence about a value that is not allowed."""

from __future__ import annotations

from ..errors import OptionError

__all__ = ["require"]


def require(ok: bool, name: str, value: object, allowed: str) -> None:
    """Refuse the value of an option.

    Args:
        ok: whether it is allowed.
        name: of the option.
        value: of it.
        allowed: what would be, in words.

    Raises:
        OptionError: it is not.
    """
    if not ok:
        raise OptionError.of(name, f"{name} is {value!r}; allowed: {allowed}")
