"""Video and picture files: probe, read, choose an encoder, write. The only door to FFmpeg."""

from __future__ import annotations

from .colour import pixel_format
from .encoders import EncoderPlan, EncoderStatus, choose, list_usable, usable
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
from .probe import ClipInfo, Mastering, StreamInfo, probe
from .reader import ClipReader, CopiedPackets, ReadSummary
from .writer import ClipWriter

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
    "StreamInfo",
    "choose",
    "encode_png",
    "is_picture_name",
    "list_usable",
    "picture_frames",
    "picture_from_frames",
    "pixel_format",
    "probe",
    "read_picture",
    "usable",
    "write_picture",
]
