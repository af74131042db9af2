"""Cover art, which containers give as a packet of a video stream."""

from __future__ import annotations

from ..files import PathLike
from ._files import open_input

__all__ = ["cover_of"]


def cover_of(path: PathLike, index: int) -> bytes:
    """The picture of a stream that is cover art, as it is stored; empty if there is none.

    Args:
        path: of the file.
        index: of the stream.
    """
    with open_input(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    return b""
