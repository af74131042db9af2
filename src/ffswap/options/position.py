"""A place in a clip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ..errors import OptionError
from .checks import require

__all__ = ["Position"]


@dataclass(frozen=True)
class Position:
    """A place in a clip: seconds from its start, or the index of a frame (one of the two).

    Attributes:
        seconds: exact, 0 or more.
        frame: counted from 0.
    """

    seconds: Fraction | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.frame is None):
            raise OptionError("a position is either seconds or a frame")
        value = self.frame if self.seconds is None else self.seconds
        require(value is not None and value >= 0, "position", value, "0 or more")

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``12.5``, ``1:02.5``, ``00:01:02.500`` (time) or ``250f`` (frame).

        Raises:
            OptionError: the text is none of these.
        """
        if match := re.fullmatch(r"(\d+)f", text.strip()):
            return cls(frame=int(match[1]))
        if match := re.fullmatch(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?)s?", text.strip()):
            hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
            return cls(seconds=hours * 3600 + minutes * 60 + seconds)
        raise OptionError(
            f"{text!r} is neither a time nor a frame",
            hint="write a time as 12.5, 1:02.5 or 00:01:02.5, or a frame as 250f",
        )
