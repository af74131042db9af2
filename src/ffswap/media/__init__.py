"""Video and picture files: probe, read, choose an encoder, write. The only door to FFmpeg."""

from __future__ import annotations

from ._items import CopiedPackets, ReadSummary
from ._parts import ReaderMark, SegmentBreak
from ._trials import EncoderStatus, list_usable, usable
from .colour import pixel_format
from .encoders import EncoderPlan, choose
from .images import (
    Picture,
    encode_png,
    is_picture_name,
    picture_frames,
    picture_from_frames,
    read_picture,
    write_picture,
)
from .lettering import Lettering
from .losses import foresee
from .probe import ClipInfo, Mastering, StreamInfo, probe
from .reader import ClipReader
from .segments import SegmentEncoder, SegmentFile, join, sound
from .writer import ClipWriter, dropped_frames

__all__ = [
    "ClipInfo",
    "ClipReader",
    "ClipWriter",
    "CopiedPackets",
    "EncoderPlan",
    "EncoderStatus",
    "Lettering",
    "Mastering",
    "Picture",
    "ReadSummary",
    "ReaderMark",
    "SegmentBreak",
    "SegmentEncoder",
    "SegmentFile",
    "StreamInfo",
    "choose",
    "dropped_frames",
    "encode_png",
    "foresee",
    "is_picture_name",
    "join",
    "list_usable",
    "picture_frames",
    "picture_from_frames",
    "pixel_format",
    "probe",
    "read_picture",
    "sound",
    "usable",
    "write_picture",
]
