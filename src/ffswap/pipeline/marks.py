"""Looking for the mark of a synthetic face in a clip or a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..carriers import Frames
from ..files import PathLike
from ..media import ClipReader, picture_frames, probe, read_picture
from ..models import load_catalog
from ..options import LimitOptions, SwapOptions
from ..stages.mark import MarkReader
from .finder import open_finder
from .machine import find_cpu
from .nets import Nets
from .run import batch_frames

__all__ = ["LARGEST_CHANCE", "MarkFound", "MarkVerdict", "find_mark"]

MarkVerdict: TypeAlias = Literal["marked", "not marked", "no face"]

LARGEST_CHANCE = 5e-4
"""A mark is said to be found where at most this share of unmarked clips would look as much marked: half of
the one in a thousand that is promised."""

SURE = 1e-12
"""Reading stops where chance is less than this: more frames would not change the verdict."""

LOOK_FACES = 128
"""Whether to stop is asked after so many further faces; asking costs as much as a few of them."""


@dataclass(frozen=True, kw_only=True)
class MarkFound:
    """What was found of the mark in a file.

    Attributes:
        verdict: ``marked``; ``not marked``, which may also mean that the mark was lost; or ``no face``.
        confidence: 0 to 1, the share of unmarked clips that look less marked than this one; 0 where
            nothing speaks for a mark.
        chance: 1 less the confidence, without its rounding.
        frames: that were looked at; not all of them where the mark was plain before the end.
        faces: that were looked at, one per face and frame.
    """

    verdict: MarkVerdict
    confidence: float
    chance: float
    frames: int
    faces: int


def find_mark(
    path: PathLike, *, threads: int | None = None, limits: LimitOptions | None = None
) -> MarkFound:
    """Look for the mark in the faces of a clip or picture, with the nets that come with ffswap.

    Memory does not grow with the clip, and reading stops when the mark is plain.

    Args:
        path: of the file.
        threads: of the decoder and of the nets; None: as many as there are cores.
        limits: what it is refused for being too large; None: the usual ones.

    Raises:
        InputMissingError: there is no such file, or it is a folder.
        MediaError: no media, no video stream, nothing of it can be decoded, or it is too large.
    """
    threads = threads or find_cpu().usable_cores
    reader, frames = MarkReader(), 0
    with ExitStack() as stack:
        nets = Nets(load_catalog(None), None, threads, stack)
        tracker = open_finder(nets, SwapOptions()).tracker()
        asked = 0
        for batch in _batches(path, threads, limits, stack):
            frames += len(batch)
            reader.look(batch, tracker(batch))
            if reader.faces >= asked + LOOK_FACES:
                asked = reader.faces
                if reader.chance() < SURE:
                    break
    chance = reader.chance()
    verdict: MarkVerdict = "marked" if chance <= LARGEST_CHANCE else "not marked"
    if not reader.faces:
        verdict = "no face"
    return MarkFound(
        verdict=verdict, confidence=1 - chance, chance=chance, frames=frames, faces=reader.faces
    )


def _batches(
    path: PathLike, threads: int, limits: LimitOptions | None, stack: ExitStack
) -> Iterator[Frames]:
    """The frames of a clip, or the one of a picture."""
    info = probe(path, limits)
    if info.is_picture:
        yield picture_frames(read_picture(path, limits))
        return
    size = batch_frames(info.width, info.height)
    clip = stack.enter_context(ClipReader(path, threads=threads, batch_frames=size, limits=limits))
    for item in clip:
        if isinstance(item, Frames):
            yield item
