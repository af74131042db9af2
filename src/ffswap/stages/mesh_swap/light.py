"""The target's light, colour and sharpness, read from its own skin in texture space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...carriers import F32, Colour, PixelFormat, Plane
from ...geometry import affine
from ...geometry.face_mesh import smoothstep
from ...ops import cpu
from .hdr import sdr_ycc
from .source import LOG_OFFSET, SHARPNESS_SIDE, SourceTexture, log_luma, sharpness_of
from .texture import TextureSpace, agreeing, low_pass, standard_deviation

__all__ = ["Appearance", "read_appearance", "read_sharpness", "unroll"]

CONTRAST_LIMITS = (0.85, 1.2)
"""How far the source's features are softened or hardened to those of the target."""

VISIBLE = (0.05, 0.35)
"""Cosine to the camera between which a part of the target starts to count."""

DISAGREES = (0.3, 0.7)
"""Distance from the light (log luma and four times Cb) between which a texel is a feature."""


@dataclass(frozen=True)
class Appearance:
    """How the target's face looks in one frame, at the side of the light textures.

    Attributes:
        light: (n, n, 3) float32, log luma, Cb, Cr.
        contrast: strength of the target's features by that of the source's.
        saturation: strength of the target's colour by that of the source's, at most 1.
        detail: (n, n, 3) float32, the face without its light, log luma, Cb, Cr.
        off: (n, n) float32, how far each texel is from the light around it.
    """

    light: F32
    contrast: float
    saturation: float
    detail: F32
    off: F32

    def fine_detail(self, ycc: F32) -> F32:
        """The same face at a larger side, (m, m, 3) Y'CbCr, without its light."""
        side = ycc.shape[0]
        return np.asarray(log_luma(ycc) - cpu.resize(self.light, side, side), np.float32)


def unroll(
    planes: tuple[Plane, Plane, Plane],
    fmt: PixelFormat,
    colour: Colour,
    at: tuple[F32, F32],
    face_px: float,
    *,
    luma_only: bool = False,
) -> F32:
    """A face of a frame in texture space: (n, n, 3) Y' 0..1, Cb and Cr -0.5..0.5 float32, SDR.

    Args:
        planes: of the frame.
        fmt: their format.
        colour: their meaning.
        at: x and y maps (n, n), luma pixels; far outside where the texture has no face.
        face_px: width of the face, pixels: large ones are shrunk first, so as not to alias.
        luma_only: leave Cb and Cr 0.
    """
    side = at[0].shape[0]
    real = at[0] > -1e3
    low = [max(0, int(a[real].min()) - 8 & ~7) for a in at]
    out = np.zeros((side, side, 3), np.float32)
    scales = (colour.luma_scale(fmt.depth), *(colour.chroma_scale(fmt.depth),) * 2)
    to_chroma = cpu.chroma_matrix(fmt)
    for k, (plane, (offset, span)) in enumerate(zip(planes, scales, strict=True)):
        if luma_only and k:
            break
        matrix = np.eye(2, 3) if k == 0 else to_chroma
        factor = max(1, int(face_px / side / 1.5 * affine.scale_of(matrix)))
        zoom, shift = (float(matrix[0, 0]), float(matrix[1, 1])), matrix[:, 2].tolist()
        start = [int(v * zoom[d]) for d, v in enumerate(low)]
        x, y = (
            (a * zoom[d] + (shift[d] - start[d] + 0.5)) / factor - 0.5 for d, a in enumerate(at)
        )
        high = [int(v[real].max() * factor) + 2 * factor + 2 for v in (x, y)]
        part = plane[start[1] : start[1] + max(high[1], 1), start[0] : start[0] + max(high[0], 1)]
        if 0 in part.shape:
            continue
        read = cpu.read_at(cpu.shrink(part, factor), x, y, repeat_edge=True)
        out[..., k] = (read.astype(np.float32) - offset) * (1 / span)
    return sdr_ycc(out, colour)


def in_frame(at: tuple[F32, F32], width: int, height: int) -> F32:
    """(n, n) float32, 1 where a map points into the frame."""
    x, y = at
    return ((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)).astype(np.float32)


def read_appearance(
    space: TextureSpace, source: SourceTexture, ycc: F32, facing: F32, seen: F32
) -> Appearance:
    """The target's light and how strong its features are.

    Args:
        space: of the light textures.
        source: at the same side.
        ycc: (n, n, 3) the target in texture space.
        facing: (468,) cosine of each vertex to the camera.
        seen: (n, n) 1 where the texel lies in the frame and is not covered.
    """
    logged = log_luma(ycc)
    visible = smoothstep(space.spread(facing), *VISIBLE).astype(np.float32) * seen
    counts = space.skin * visible * source.valid
    weight, off = agreeing(logged, counts, DISAGREES, rounds=2)
    light = low_pass(logged, weight)
    near = smoothstep(space.oval_distance, 0.5, 1.5).astype(np.float32) * visible
    near *= space.inside * source.valid
    target = standard_deviation(np.clip(logged[..., 0] - light[..., 0], -1, 1), near)
    own = standard_deviation(np.clip(source.detail[..., 0], -1, 1), near)
    strength = _chroma(light, counts + 1e-6) / max(_chroma(source.light, counts + 1e-6), 1e-3)
    return Appearance(
        light=light,
        contrast=float(np.clip(target / max(own, 1e-3), *CONTRAST_LIMITS)),
        saturation=float(np.clip(strength, 0.0, 1.0)),
        detail=logged - light,
        off=off,
    )


def read_sharpness(
    space: TextureSpace,
    planes: tuple[Plane, Plane, Plane],
    fmt: PixelFormat,
    colour: Colour,
    points: F32,
) -> float:
    """Mean absolute Laplacian of the target's log luma on the skin, at `SHARPNESS_SIDE`."""
    assert space.side == SHARPNESS_SIDE
    at = space.places(points)
    luma = unroll(planes, fmt, colour, at, 0.0, luma_only=True)[..., 0]
    return sharpness_of(np.log(np.maximum(luma, 0) + LOG_OFFSET), space.skin)


def _chroma(light: F32, weight: F32) -> float:
    square = (light[..., 1:] ** 2).sum(-1)
    return float(np.sqrt((square * weight).sum() / weight.sum()))
