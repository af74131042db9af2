"""Where a clip is cut into segments, and how reading goes on at such a place."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ._clock import AnyPacket
from .probe import ClipInfo

__all__ = ["Parts", "ReaderMark", "SegmentBreak"]

LONGEST = 3
"""Where no key frame comes, a segment ends at any frame after so many times its usual length."""


@dataclass(frozen=True, kw_only=True)
class ReaderMark:
    """The first frame of a segment, and what came out of the clip before it. Plain numbers.

    Attributes:
        frames: handed out before it.
        pts: of this frame.
        packets: of the video that were read until it came out of the decoder.
        decode_from: the packet of the video, counted from 1, from which on the decoder gets them when
            reading goes on here: a key frame a whole segment earlier, so that nothing that this frame
            rests on is missing; 0: all.
        key: the same for the segment after this one.
        failed: packets that could not be decoded.
        damaged: frames that the decoder called damaged.
        dropped: frames whose time stamp was not after the one before.
        sought: the file was not read from its beginning but from the start of the range.
    """

    frames: int
    pts: int
    packets: int
    decode_from: int
    key: int
    failed: int
    damaged: int
    dropped: int
    sought: bool


@dataclass(frozen=True)
class SegmentBreak:
    """Comes between the last frames of a segment and the first of the next."""

    mark: ReaderMark


class Parts:
    """Decides where segments begin. The same file is always cut at the same frames.

    A segment begins with the first frame from a key frame on that lies `seconds` or more after the
    last beginning. Key frames have no time of their own where the container has no presentation
    times; there any frame will do, and the decoder gets all packets when reading goes on.

    Args:
        info: of the clip.
        seconds: length of a segment; None: there is only one.
        mark: where reading goes on, or None.
    """

    def __init__(self, info: ClipInfo, seconds: float | None, mark: ReaderMark | None) -> None:
        self._has_pts = info.has_pts
        self._step = None if seconds is None else max(1, math.ceil(seconds / info.time_base))
        self._mark = mark
        self._first = None if mark is None else mark.pts
        self._key = 0 if mark is None else mark.key
        self._keys: deque[tuple[int, int]] = deque()
        self._passed = 0
        self.ahead = mark is not None
        """The frame at which reading goes on has not come yet."""

    def packet(self, number: int, packet: AnyPacket) -> bool:
        """Take note of a packet of the video, the `number`-th; whether it is to be decoded."""
        if not packet.size:
            return True
        usable = packet.is_keyframe and not packet.is_discard and packet.pts is not None
        if self._step is not None and self._has_pts and usable:
            assert packet.pts is not None
            self._keys.append((packet.pts, number))
        return self._mark is None or number >= self._mark.decode_from

    def is_new(self, number: int) -> bool:
        """Whether this packet was not counted before the mark."""
        return self._mark is None or number > self._mark.packets

    def arrives(self, pts: int) -> ReaderMark | None:
        """The mark, when its frame has come, once."""
        if self._mark is None or not self.ahead or pts < self._mark.pts:
            return None
        self.ahead = False
        return self._mark

    def begins(self, pts: int) -> tuple[int, int] | None:
        """Whether a segment other than the first begins with this frame.

        Returns:
            `ReaderMark.decode_from` and `ReaderMark.key`, or None.
        """
        if self._step is None:
            return None
        if self._first is None:
            self._first = pts
        while self._keys and self._keys[0][0] < min(self._first + self._step, pts):
            self._passed = self._keys.popleft()[1]
        if self._keys and self._keys[0][0] <= pts and pts >= self._first + self._step:
            self._passed = self._keys.popleft()[1]
        elif pts < self._first + self._step * (LONGEST if self._has_pts else 1):
            return None
        found = self._key, self._passed
        self._first, self._key = pts, self._passed
        return found
