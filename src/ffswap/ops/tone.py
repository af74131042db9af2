"""HDR colours as SDR ones, for nets that know nothing else, and back.

    PQ, HLG signal -> light of the display -> BT.709 primaries -> highlights rolled off -> SDR signal

Every step has an inverse, so that what is painted in SDR comes out as bright as what is around it. SDR
colours pass as they are, bit for bit. What cannot be taken back: colours outside BT.709 (no skin is)
and highlights above 690 cd/m2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Colour

__all__ = ["chroma_shares", "hdr_rgb", "sdr_rgb"]

PQ, HLG = "smpte2084", "arib-std-b67"

# SMPTE ST 2084, 5.2: the signal of an absolute luminance up to 10000 cd/m2.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK = 10_000.0

# ITU-R BT.2100-2, table 5: the signal of HLG, its gamma on a display of 1000 cd/m2, applied to each
# channel, which is exact for grey and close to it for skin.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2

# cd/m2 of white paper in HDR video (ITU-R BT.2408-7, 2.1); in SDR it has the greatest code value.
_WHITE = 203.0

# Light up to this part of white paper is kept as it is: skin hardly gets there.
_KNEE = 0.7
# Of SDR's range, what highlights reach at the most: the roll-off gets to 1 at no finite light.
_CEILING = 1 - 3e-4

# Electro-optical gamma of SDR displays (ITU-R BT.1886).
_GAMMA = 2.4

# BT.2020 to BT.709 in linear light (ITU-R BT.2087-0, 2.3), and the way back.
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_TO_2020 = np.linalg.inv(_TO_709.astype(np.float64)).astype(np.float32)
_WIDE_KR = 0.2627

# What a small change of SDR's Cb and Cr is in those of HDR video, for skin of medium brightness:
# HDR spreads more colours over as many code values. Computed from the functions below.
_CHROMA_SHARES = {PQ: (0.4, 0.25), HLG: (0.75, 0.45)}


def chroma_shares(colour: Colour) -> tuple[float, float]:
    """By how much a change of Cb and of Cr must be smaller than in SDR to be seen as much; SDR: 1."""
    return _CHROMA_SHARES.get(colour.transfer, (1.0, 1.0))


def _light(signal: F32, transfer: str) -> F32:
    """Signal of 0 to 1 to light, in units of white paper."""
    if transfer == PQ:
        root = signal ** np.float32(1 / _M2)
        ratio = np.maximum(root - _C1, 0) / (_C2 - _C3 * root)
        return np.asarray(ratio ** np.float32(1 / _M1) * (_PQ_PEAK / _WHITE), np.float32)
    high = (np.exp((signal - _C) / _A) + _B) / 12
    scene = np.where(signal <= 0.5, signal**2 / 3, high)
    return np.asarray(scene ** np.float32(_HLG_GAMMA) * (_HLG_PEAK / _WHITE), np.float32)


def _signal(light: F32, transfer: str) -> F32:
    """The inverse of `_light`."""
    if transfer == PQ:
        power = np.clip(light * (_WHITE / _PQ_PEAK), 0, 1) ** np.float32(_M1)
        return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** np.float32(_M2), np.float32)
    scene = np.clip(light * (_WHITE / _HLG_PEAK), 0, 1) ** np.float32(1 / _HLG_GAMMA)
    high = _A * np.log(np.maximum(12 * scene - _B, 1e-6)) + _C
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), high), np.float32)


def _rolled_off(light: F32) -> F32:
    """Light to 0..1: as it is up to the knee, ever flatter above."""
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.asarray(np.where(light <= _KNEE, light, _KNEE + (1 - _KNEE) * -np.expm1(-over)), np.float32)  # fmt: skip


def _unrolled(value: F32) -> F32:
    """The inverse of `_rolled_off`."""
    over = np.clip((value - _KNEE) / (1 - _KNEE), 0, _CEILING)
    return np.asarray(np.where(value <= _KNEE, value, _KNEE - (1 - _KNEE) * np.log1p(-over)), np.float32)  # fmt: skip


def _primaries(matrix: NDArray[np.float32], rgb: F32, colour: Colour) -> F32:
    if abs(colour.kr - _WIDE_KR) > 1e-6:
        return rgb
    return np.asarray(np.tensordot(matrix, rgb, 1), np.float32)


def sdr_rgb(rgb: F32, colour: Colour) -> F32:
    """(3, ...) R'G'B', 0 to 1, of a frame as SDR, likewise; the same array where it is SDR already.

    Args:
        rgb: of the signal that `colour` names.
        colour: of the frame.
    """
    if not colour.is_hdr:
        return rgb
    light = _primaries(_TO_709, _light(rgb, colour.transfer), colour)
    value = _rolled_off(np.maximum(light, 0, out=light))
    return np.asarray(np.clip(value, 0, 1) ** np.float32(1 / _GAMMA), np.float32)


def hdr_rgb(rgb: F32, colour: Colour) -> F32:
    """The inverse of `sdr_rgb`: (3, ...) SDR, 0 to 1, to the signal of a frame."""
    if not colour.is_hdr:
        return rgb
    light = _unrolled(np.asarray(np.clip(rgb, 0, 1) ** np.float32(_GAMMA), np.float32))
    wide = _primaries(_TO_2020, light, colour)
    return _signal(np.maximum(wide, 0, out=wide), colour.transfer)
