"""What a reader hands out besides frames, and what it says at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._clock import AnyPacket

__all__ = ["CopiedPackets", "ReadSummary"]


@dataclass(frozen=True)
class CopiedPackets:
    """Packets of streams that are not edited, in file order.

    Attributes:
        packets: PyAV packets; valid while the reader is open. The writer changes their stream
            and times, so that each can be written once.
    """

    packets: list[AnyPacket]

    def __len__(self) -> int:
        return len(self.packets)


@dataclass(frozen=True)
class ReadSummary:
    """What came out of a clip.

    Attributes:
        frames: decoded and handed out.
        missing_frames: promised by the container but not in the file (it was cut short).
        corrupt_frames: frames that the decoder called damaged, and packets that it refused.
        warnings: sentences for the user.
    """

    frames: int
    missing_frames: int
    corrupt_frames: int
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ReadSummary:
        """From its own fields as plain values."""
        return cls(**{**values, "warnings": tuple(values["warnings"])})
