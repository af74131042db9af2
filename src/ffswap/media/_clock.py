"""Time stamps for frames of containers that have none."""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import TypeAlias

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from .probe import ClipInfo

__all__ = ["AnyPacket", "Clock"]

AnyPacket: TypeAlias = "Packet[Stream]"


class Clock:
    """Gives frames without a pts one: the packets' dts in order, or else the rate."""

    def __init__(self, info: ClipInfo) -> None:
        step = 1 / (info.rate or Fraction(25)) / info.time_base
        self._step = max(1, round(step))
        self._has_pts = info.has_pts
        self._dts: list[int] = []
        self.last: int | None = None

    def packet(self, packet: AnyPacket) -> None:
        if packet.dts is not None and (packet.pts is None or not self._has_pts):
            heapq.heappush(self._dts, packet.dts)

    def stamp(self, frame: VideoFrame) -> int:
        """The pts of a frame, not yet checked for order."""
        oldest = heapq.heappop(self._dts) if self._dts else None
        if frame.pts is not None and self._has_pts:
            return frame.pts
        if oldest is not None:
            return oldest
        return 0 if self.last is None else self.last + self._step
