"""The mark of a synthetic face: its pattern, and how sure it is that a sum of faces holds it.

The mark says one thing, "this face was made by a machine", and its key is public: it is there to be
found. It lies in the two chroma planes, in a face's own coordinates, and does not change with time.
A face is laid on `MARK_POINTS` and read at `SIDE` x `SIDE` places; what is there at `BAND` is compared
with the pattern, and with patterns of other keys that nobody ever wrote, which tell what chance does.

Why chroma: at these wavelengths a face has far less colour than light of its own, so that one code
value stands out several times as well, and the eye sees it less.

Sources: spread spectrum, Cox et al., Secure spread spectrum watermarking for multimedia (1997);
comparison by phase alone, Kuglin and Hines (1975). The numbers were measured in November 2026, see
docs/provenance.md.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = [
    "BAND",
    "MARK_POINTS",
    "SIDE",
    "chance",
    "mark_pattern",
    "mark_scores",
]

F64 = NDArray[np.float64]

KEY = "ffswap synthetic face"

SIDE = 64
"""Samples along the side of the square on a face; its sides are 1.5 times the width of the face."""

MARK_POINTS: F64 = np.array(
    [[0.36, 0.42], [0.64, 0.42], [0.5, 0.57], [0.385, 0.71], [0.615, 0.71]], np.float64
)
"""Eyes, nose tip and corners of the mouth in that square, in units of its side: the hairline is at 0.1,
the chin at 0.95."""

BAND = (5.0, 14.0)
"""Cycles along the side. Below, faces have much colour of their own; above, encoders leave little: with a
face 150 pixels wide the shortest wave is 16 luma pixels long."""

PEAK = 3.0
"""Nowhere is the pattern further from 0 than this, while the mean of its magnitude is 1."""

DECOYS = 64
REACH = 3
"""A face that was found a little elsewhere than when it was marked is looked for within so many samples
each way: a twentieth of the square."""

SCALES = (0.96, 1.0, 1.04)
"""And at these sizes: a net finds the points of a face a little further apart than another."""

SMOOTH = 2
"""The spectrum of a face is flattened over this many bins each way."""

TAIL = 3
"""High scores are so much more frequent than normal ones would be, at most; measured with 147,000 decoys
on 72 unmarked clips: twice where a share of 0.0001 was expected."""

EDGE_SIDES, EDGE_TOP, EDGE_BOTTOM = 9, 5, 3
"""Samples that are not looked at: no face reaches there."""

EDGE_SOFT = 2
"""And how soft they begin."""


@functools.lru_cache(maxsize=2 * DECOYS)
def mark_pattern(key: str = KEY) -> F32:
    """(SIDE, SIDE, 2) float32 for Cb and Cr, of mean magnitude 1, at most `PEAK`.

    Few high peaks rather than many low ones: for the same mean change they hold more energy, and
    encoders leave more of them.
    """
    bits = np.unpackbits(
        np.frombuffer(hashlib.shake_256(key.encode()).digest(2 * SIDE * SIDE // 8), np.uint8)
    )
    chips = bits.reshape(2, SIDE, SIDE) * 2.0 - 1.0
    noise = np.fft.ifft2(np.fft.fft2(chips) * _in_band()).real
    noise /= noise.std((1, 2), keepdims=True)
    pattern = np.sign(noise) * noise**2
    for _ in range(4):  # clipping lowers the mean, which the next round makes good
        pattern /= np.abs(pattern).mean((1, 2), keepdims=True)
        np.clip(pattern, -PEAK, PEAK, out=pattern)
    samples: F32 = np.ascontiguousarray(pattern.transpose(1, 2, 0), np.float32)
    samples.flags.writeable = False
    return samples


def mark_scores(total: F32, first_decoy: int = 0) -> F32:
    """How much better the mark fits than chance does, in standard deviations of what decoys reach.

    Args:
        total: (SIDE, SIDE, 2) the sum of flattened faces, see `stages.mark.MarkReader`.
        first_decoy: number of the first decoy; others than the usual ones are for measuring how often
            chance reaches a score.

    Returns:
        (1 + DECOYS,) the best score over all places and sizes; the first is the mark's, the others
        are those of keys that were never written. All are 0 for a sum without any colour.
    """
    spectrum = np.fft.fft2(total * _window()[..., None], axes=(0, 1))
    power = _smoothed(np.abs(spectrum))
    if not (power > 0).all():
        return np.zeros(1 + DECOYS, np.float32)
    flat = spectrum / power * _in_band()[..., None]
    product = (flat * _spectra(first_decoy)).sum(-1)
    near = np.fft.ifft2(product, axes=(-2, -1)).real
    places = np.arange(-REACH, REACH + 1)
    near = near[..., places[:, None], places]
    best = near.reshape(len(SCALES), 1 + DECOYS, -1)
    spread = best[:, 1:].std()
    return np.asarray(best.max((0, 2)) / spread, np.float32)


def chance(score: float, sums: int = 1) -> float:
    """Share of unmarked clips that reach this score, 0 to 1.

    A place holds a sum of thousands of small terms, so that its score is nearly normal; for the best
    of many the shares are added up, and `TAIL` makes good what is missing to a normal distribution.

    Args:
        score: the best of `mark_scores` for the mark.
        sums: how many sums were looked at, of which this is the best.
    """
    trials = TAIL * sums * len(SCALES) * (2 * REACH + 1) ** 2
    return min(1.0, trials * 0.5 * math.erfc(score / math.sqrt(2)))


def _in_band() -> F64:
    """(SIDE, SIDE) 1 at the frequencies of `BAND`, 0 elsewhere, as the FFT orders them."""
    cycles = np.fft.fftfreq(SIDE) * SIDE
    distance = np.hypot(cycles[:, None], cycles)
    return np.asarray((distance >= BAND[0]) & (distance <= BAND[1]), np.float64)


@functools.cache
def _window() -> F32:
    """(SIDE, SIDE) 1 where faces are painted, falling to 0 at the sides of the square."""
    at = np.arange(SIDE)
    across = np.minimum(at, SIDE - 1 - at) - EDGE_SIDES
    down = np.minimum(at - EDGE_TOP, SIDE - 1 - at - EDGE_BOTTOM)
    across, down = (np.clip(one / (2 * EDGE_SOFT) + 0.5, 0, 1) for one in (across, down))
    return np.asarray(down[:, None] * across, np.float32)


def _smoothed(magnitude: F64) -> F64:
    """(SIDE, SIDE, 2) means over a square of bins, around the edges."""
    for axis in (0, 1):
        steps = range(-SMOOTH, SMOOTH + 1)
        magnitude = np.mean([np.roll(magnitude, k, axis) for k in steps], axis=0)
    return magnitude


@functools.lru_cache(maxsize=1)
def _spectra(first_decoy: int) -> NDArray[np.complex64]:
    """(scales, 1 + DECOYS, SIDE, SIDE, 2) conjugate spectra of the pattern and of the decoys."""
    keys = [KEY, *(f"{KEY} decoy {first_decoy + k}" for k in range(DECOYS))]
    patterns = np.stack([mark_pattern(key) for key in keys])
    sizes = np.stack([_scaled(patterns, scale) for scale in SCALES])
    return np.conj(np.fft.fft2(sizes, axes=(2, 3))).astype(np.complex64)


def _scaled(patterns: F32, scale: float) -> F32:
    """(n, SIDE, SIDE, 2) patterns magnified about the middle, bilinear; the edge repeats."""
    middle = (SIDE - 1) / 2
    at = np.clip((np.arange(SIDE) - middle) / scale + middle, 0, SIDE - 1)
    low = np.minimum(at.astype(np.int64), SIDE - 2)
    part = (at - low).astype(np.float32)
    for axis, shape in ((1, (-1, 1, 1)), (2, (-1, 1))):
        weight = part.reshape(shape)
        first, second = (np.take(patterns, low + k, axis) for k in (0, 1))
        patterns = first * (1 - weight) + second * weight
    return patterns
