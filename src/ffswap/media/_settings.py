"""How a video was encoded, as far as its packets tell: for an output with the same settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from ..files import PathLike
from ._files import fraction, open_input
from .probe import video_stream

__all__ = ["Settings", "read_settings"]


@dataclass(frozen=True)
class Settings:
    """What another encoder can be told.

    Attributes:
        bitrate: bits per second on average; None: unknown.
        groups: options for the distance of key frames and for frames that are shown out of order.
    """

    bitrate: int | None = None
    groups: dict[str, str] = field(default_factory=dict)


def read_settings(path: PathLike) -> Settings:
    """Look at every packet of the video; nothing is decoded.

    Args:
        path: of the clip.

    Raises:
        InputMissingError: there is no such file.
        MediaError: no media, or no video.
    """
    size = count = longest = since = 0
    start: Fraction | None = None
    end = Fraction(0)
    latest: int | None = None
    reordered = False
    with open_input(path) as container:
        stream = video_stream(container, path)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            size, count = size + packet.size, count + 1
            since = 0 if packet.is_keyframe else since + 1
            longest = max(longest, since + 1)
            when, base = packet.pts, fraction(packet.time_base)
            if when is None or base is None:
                continue
            reordered |= latest is not None and when < latest
            latest = when if latest is None else max(latest, when)
            start = when * base if start is None else min(start, when * base)
            end = max(end, (when + (packet.duration or 0)) * base)
        rate = fraction(stream.average_rate)
    seconds = end - start if start is not None else Fraction(count) / rate if rate else Fraction(0)
    groups = {"g": str(max(1, longest))}
    if not reordered:
        groups["bf"] = "0"
    return Settings(round(8 * size / seconds) if seconds > 0 else None, groups)
