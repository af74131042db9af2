"""From the positions that a user gives to time stamps of the video stream."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

from ..errors import OptionError
from ..options import Position
from ._files import fraction, open_input
from .probe import ClipInfo, video_stream

__all__ = ["Window", "resolve"]

# The seek goes to this long before the wanted frame, because containers seek by decoding time,
# which B-frames put before the presentation time.
_SEEK_MARGIN_S = Fraction(1)


@dataclass(frozen=True)
class Window:
    """The range of a clip that is kept, [start, end).

    Attributes:
        start: pts of the first frame that is kept; None: from the beginning.
        end: pts from which on frames are dropped; None: to the end.
        seek: pts to seek to, or None.
        start_s: `start` in seconds.
        end_s: `end` in seconds.
        shift_s: by how much the output is earlier than the input, so that it begins at 0.
        frames: how many frames are kept, or None where nothing is trimmed.
    """

    start: int | None = None
    end: int | None = None
    seek: int | None = None
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    shift_s: Fraction = Fraction(0)
    frames: int | None = None

    @property
    def trims(self) -> bool:
        """Anything is cut off."""
        return self.start is not None or self.end is not None

    def holds(self, seconds: Fraction) -> bool:
        """Is a packet of this time kept?"""
        if self.start_s is not None and seconds < self.start_s:
            return False
        return self.end_s is None or seconds < self.end_s


def resolve(info: ClipInfo, start: Position | None, end: Position | None) -> Window:
    """Find the time stamps of a range, by an index of the packets; nothing is decoded.

    Args:
        info: of the clip.
        start: first moment that is kept, from the first frame on; None: all.
        end: first moment that is no longer kept; None: all.

    Raises:
        OptionError: a position is beyond the clip, or nothing is left.
    """
    if start is None and end is None:
        return Window()
    times, stop = _times(info)
    first_pts = _find(start, times, stop, info, "start") if start is not None else None
    end_pts = _find(end, times, stop, info, "end") if end is not None else None
    begin = times[0] if first_pts is None else first_pts
    if begin >= stop or (end_pts is not None and end_pts <= begin):
        raise OptionError(
            f"nothing is left between start and end; {_length(times, stop, info)}", file=info.path
        )
    base = info.time_base
    seek = None
    if first_pts is not None and first_pts > times[0] and info.has_pts:
        seek = max(times[0], first_pts - math.ceil(_SEEK_MARGIN_S / base))
    return Window(
        start=first_pts,
        end=end_pts,
        seek=seek,
        start_s=None if first_pts is None else first_pts * base,
        end_s=None if end_pts is None else end_pts * base,
        shift_s=begin * base,
        frames=sum(begin <= t < (stop if end_pts is None else end_pts) for t in times),
    )


def _times(info: ClipInfo) -> tuple[list[int], int]:
    """The pts of all frames in order, and the end of the last one."""
    step = max(1, round(1 / (info.rate or Fraction(25)) / info.time_base))
    times: list[int] = []
    stop = 0
    with open_input(info.path, info.limits) as container:
        stream = video_stream(container, info.path)
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            when = packet.pts if info.has_pts else packet.dts
            if when is None:
                when = packet.dts if info.has_pts else None
            if when is None:
                when = len(times) * step
            times.append(when)
            stop = max(stop, when + (packet.duration if info.has_pts and packet.duration else step))
        if fraction(stream.time_base) not in (None, info.time_base):
            raise OptionError("the clip's time base changes; it cannot be trimmed", file=info.path)
    times.sort()
    return times, stop


def _find(position: Position, times: list[int], stop: int, info: ClipInfo, name: str) -> int:
    """The pts of the first frame at or after a position, or the end of the clip."""
    if position.frame is not None:
        if position.frame < len(times):
            return times[position.frame]
        if position.frame == len(times):
            return stop
    elif position.seconds is not None:
        pts = times[0] + math.ceil(position.seconds / info.time_base)
        if pts <= stop:
            next_frame = bisect_left(times, pts)
            return times[next_frame] if next_frame < len(times) else stop
    given = f"frame {position.frame}" if position.seconds is None else f"{position.seconds} s"
    raise OptionError(
        f"{name} is {given}, beyond the end; {_length(times, stop, info)}", file=info.path
    )


def _length(times: list[int], stop: int, info: ClipInfo) -> str:
    seconds = float((stop - times[0]) * info.time_base)
    return f"the clip has {len(times)} frames, {seconds:.3f} s"
