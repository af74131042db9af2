"""Was a file cut short? Its own structure says so where there is one, else its durations."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from ..files import PathLike

__all__ = ["Tally", "is_cut_short", "missing_frames"]

# Time by which a stream may end before the container's duration without being called cut short,
# where the structure says nothing: writers round, and count a last frame's duration or not.
_TOLERANCE_S = Fraction(1)
_TOLERANCE_FRAMES = 3

_EBML_SEGMENT = 0x18538067
_RIFF_HEADER = 8
_MAX_BOXES = 1_000_000


@dataclass
class Tally:
    """What went past while a file was read to its end.

    Attributes:
        packets: of the video stream, those included that the edit list hides.
        video_end_s: end of the last frame in seconds, as packets say.
        any_end_s: the same over all streams.
        expected_packets: as the index says, or None.
        expected_end_s: of the video stream, as its own header says, or None.
        container_end_s: as the container says, or None.
        rate: average frames per second, or None.
    """

    packets: int = 0
    video_end_s: Fraction | None = None
    any_end_s: Fraction | None = None
    expected_packets: int | None = None
    expected_end_s: Fraction | None = None
    container_end_s: Fraction | None = None
    rate: Fraction | None = None


def is_cut_short(path: PathLike, container: str) -> bool | None:
    """Does the structure of the file reach beyond its end?

    Args:
        path: of the file.
        container: FFmpeg's first name of the format.

    Returns:
        None where the format has no sizes that would tell.
    """
    check = {"mov": _boxes_cut, "matroska": _segment_cut, "avi": _riff_cut}.get(container)
    if check is None:
        return None
    with open(path, "rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)


def _boxes_cut(file: BinaryIO, size: int) -> bool:
    """Walk the boxes of an ISO base media file: each begins with its size and its name."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at >= size:
            return at > size
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return True
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file, wherever that is
            return False
        if length < 8:  # padding that is no box: nothing can be said
            return False
        at += length
    return False


def _ebml_number(file: BinaryIO, *, keep_marker: bool) -> int | None:
    """A variable-length integer; None for the reserved value that means unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    if keep_marker:
        return value
    bits = 7 * length
    value &= (1 << bits) - 1
    return None if value == (1 << bits) - 1 else value


def _segment_cut(file: BinaryIO, size: int) -> bool | None:
    """Compare the size of a Matroska file's segment with what is there."""
    while file.tell() < size:
        name = _ebml_number(file, keep_marker=True)
        length = _ebml_number(file, keep_marker=False)
        if name is None or length is None:
            return None
        end = file.tell() + length
        if name == _EBML_SEGMENT:
            return end > size
        file.seek(end)
    return None


def _riff_cut(file: BinaryIO, size: int) -> bool | None:
    """Compare the size in the header of an AVI file with what is there."""
    head = file.read(_RIFF_HEADER)
    length = int.from_bytes(head[4:8], "little")
    return None if length in (0, 0xFFFFFFFF) else _RIFF_HEADER + length > size


def missing_frames(tally: Tally, cut_short: bool | None) -> int:
    """Frames that the container promises and the file does not hold.

    Args:
        tally: of a file that was read from its first packet, or from a seek, to its end.
        cut_short: what `is_cut_short` said.

    Returns:
        Exact where the index counts frames; an estimate by rate where there are only durations
        (at least 1 when the structure is cut); 0 for a whole file.
    """
    if tally.expected_packets is not None and tally.expected_packets > tally.packets:
        return tally.expected_packets - tally.packets
    if cut_short is False:
        return 0
    by_time = _missing_by_time(tally, exact=bool(cut_short))
    return max(1, by_time) if cut_short else by_time


def _missing_by_time(tally: Tally, *, exact: bool) -> int:
    if tally.rate is None:
        return 0
    expected, end = tally.expected_end_s, tally.video_end_s
    if expected is None:
        # the container's duration may be that of longer sound: compare like with like
        expected, end = tally.container_end_s, tally.any_end_s if not exact else tally.video_end_s
    if expected is None:
        return 0
    gap = expected - (end or 0)
    tolerance = 0 if exact else max(_TOLERANCE_S, _TOLERANCE_FRAMES / tally.rate)
    return round(gap * tally.rate) if gap > tolerance else 0
