"""What becomes of each property in each container: the list that the tests go through.

The tables of docs/fidelity.md are made of it (``python -m tools.fidelity_table --write``); what it
says is true as long as test_fidelity.py passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fidelity.corpus import CORPUS

__all__ = ["CELLS", "Cell"]


@dataclass(frozen=True)
class Cell:
    """One property in one container, which is that of input and output.

    Attributes:
        name: of the property, a key of `CORPUS`.
        container: suffix without the dot.
        change: what is not the same afterwards, in words; empty: everything is.
        found: parts of the differences that the referee must find, all of them; what it finds
            besides is a failure.
        warned: part of a sentence that the user is told before the work starts; empty: none.
    """

    name: str
    container: str
    change: str = ""
    found: tuple[str, ...] = ()
    warned: str = ""


_AV1 = "becomes AV1, 10 bit 4:2:0: no encoder here makes VP9 of more than 8 bits"
_FORMAT = ("stream 0 codec_name", "stream 0 pix_fmt")

# By property and container: what changes, what the referee finds, what the user is told.
_CHANGES: dict[tuple[str, str], tuple[str, tuple[str, ...], str]] = {
    ("10 bit 4:2:2", "webm"): (_AV1, _FORMAT, "there is no vp9 encoder here"),
    ("10 bit 4:4:4", "webm"): (_AV1, _FORMAT, "there is no vp9 encoder here"),
    ("12 bit 4:2:0", "webm"): (_AV1, _FORMAT, "there is no vp9 encoder here"),
    ("12 bit 4:2:2", "webm"): (_AV1, _FORMAT, "there is no vp9 encoder here"),
    ("12 bit 4:4:4", "webm"): (_AV1, _FORMAT, "there is no vp9 encoder here"),
    ("VP9, 10 bit", "mp4"): (
        "becomes HEVC, 10 bit 4:2:0", ("stream 0 chroma_location", "stream 0 codec_name"),
        "there is no vp9 encoder here",
    ),
    ("VP9, 10 bit", "mkv"): (
        "becomes HEVC, 10 bit 4:2:0", ("stream 0 chroma_location", "stream 0 codec_name"),
        "there is no vp9 encoder here",
    ),
    ("VP9, 10 bit", "webm"): (
        "becomes AV1, 10 bit 4:2:0", ("stream 0 codec_name",), "there is no vp9 encoder here",
    ),
    ("ProRes 4444", "mov"): ("10 bits: its encoder here takes no 12", (), "the output is yuv444p10le"),
    ("ProRes 4444", "mkv"): ("10 bits: its encoder here takes no 12", (), "the output is yuv444p10le"),
    ("transparency", "mov"): (
        "the picture stays, its transparency is dropped", ("stream 0 pix_fmt",),
        "transparency is dropped",
    ),
    ("transparency", "webm"): (
        "the picture stays, its transparency is dropped", ("stream 0 tags",),
        "transparency",
    ),
    ("time code", "mp4"): (
        "its track is made anew and takes the name of the video track", ("stream 2 tags",), "",
    ),
    ("time code", "mov"): (
        "its track is made anew and takes the name of the video track", ("stream 2 tags",), "",
    ),
}  # fmt: skip

CELLS = tuple(
    Cell(name, container, *_CHANGES.get((name, container), ()))
    for name, (_, containers, _) in CORPUS.items()
    for container in containers
)
