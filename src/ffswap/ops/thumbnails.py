"""Thumbnails of luma planes, for finding cuts, on the CPU through OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..carriers import Plane
from . import cpu

__all__ = ["THUMBNAIL", "thumbnail", "thumbnail_step"]

THUMBNAIL = (32, 18)
"""Width and height: large enough to tell two pictures apart, small enough to forgive motion."""

SAMPLES = 4
"""Of each pixel of a thumbnail, along each side, at least this many samples are read if there are any."""


def thumbnail_step(width: int, height: int) -> int:
    """How far apart the samples, and the rows, are that are read of a luma plane."""
    return max(1, min(width // (SAMPLES * THUMBNAIL[0]), height // (SAMPLES * THUMBNAIL[1])))


def thumbnail(luma: Plane) -> Any:
    """A luma plane (height, width) at the size of `THUMBNAIL`, of the same type."""
    step = thumbnail_step(luma.shape[1], luma.shape[0])
    return cpu.resize(np.ascontiguousarray(luma[::step, ::step]), *THUMBNAIL)
