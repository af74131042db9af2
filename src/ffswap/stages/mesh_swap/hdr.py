"""A face of an HDR frame in texture space as SDR, and back: the portrait's features are SDR."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...carriers import F32, Colour
from ...ops import cpu, tone

__all__ = ["hdr_ycc", "sdr_ycc"]


def sdr_ycc(ycc: F32, colour: Colour) -> F32:
    """(n, n, 3) Y' 0..1, Cb and Cr -0.5..0.5 as SDR, by the same matrix; SDR passes as it is."""
    return _by_rgb(ycc, colour, tone.sdr_rgb)


def hdr_ycc(ycc: F32, colour: Colour) -> F32:
    """The inverse of `sdr_ycc`."""
    return _by_rgb(ycc, colour, tone.hdr_rgb)


def _by_rgb(ycc: F32, colour: Colour, change: Callable[[F32, Colour], F32]) -> F32:
    if not colour.is_hdr:
        return ycc
    y, cb, cr = (ycc[..., k] for k in range(3))
    red, blue = y + 2 * (1 - colour.kr) * cr, y + 2 * (1 - colour.kb) * cb
    green = (y - colour.kr * red - colour.kb * blue) / (1 - colour.kr - colour.kb)
    rgb = np.clip(np.stack([red, green, blue]), 0, 1).astype(np.float32)
    return cpu.rgb_to_ycc(np.moveaxis(change(rgb, colour), 0, -1), colour.kr, colour.kb)
