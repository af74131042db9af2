"""How much a file may ask of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import require

__all__ = ["LimitOptions"]

# FFmpeg refuses more than 268 megapixels itself, and WebP, JPEG and Pillow's own limit lie below this.
_MOST_MEGAPIXELS = 1000.0
_MOST_HOURS = 24 * 366.0


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """What pictures and clips are refused for being too large, before memory is taken for them.

    The defaults are above what cameras make; a file of a few bytes can say that it is larger.

    Attributes:
        megapixels: of a picture or a frame, in millions of pixels.
        hours: of a clip, or of the part of it that is kept, from its first frame to its last.
    """

    megapixels: float = 100.0
    hours: float = 24.0

    def __post_init__(self) -> None:
        for name, most in (("megapixels", _MOST_MEGAPIXELS), ("hours", _MOST_HOURS)):
            value = getattr(self, name)
            require(0 < value <= most, f"max_{name}", value, f"more than 0, at most {most:g}")

    @property
    def pixels(self) -> int:
        """Of a picture or a frame."""
        return int(self.megapixels * 1_000_000)
