"""Glasses, seen in texture space: where they are is left to whoever wears them.

No net: in texture space glasses can lie in one place only. The evidence is a line across the
bridge of the nose together with an arc below each eye; the cover is what differs from skin around
the eyes.
"""

from __future__ import annotations

import numpy as np

from ...carriers import F32
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import smoothstep
from ...ops import cpu
from .texture import TextureSpace

__all__ = ["GLASSES_SIDE", "Glasses"]

GLASSES_SIDE = 128
"""Side of the textures in which glasses are looked for; a thin rim is about two texels wide."""

FINE_SIGMA = 5.0
"""Texels: rims are finer than this, bags under the eyes are not."""

LUMA_STEP = 0.35
CHROMA_STEP = 0.06
"""A texel that differs from its surroundings by this much (log luma; Cb and Cr) is not skin."""

DARK_LENS = (0.45, 0.8)
"""Log luma below the light of the face between which a lens counts as dark."""

BRIDGE_EVIDENCE = (0.62, 0.8)
ARC_EVIDENCE = (0.5, 0.65)
"""Strength of bridge and arcs between which belief in glasses grows from 0 to 1. Measured: 35
pictures with glasses drawn on (thick, thin, dark) or worn gave bridges of 0.83 to 1 (one thin
silver pair 0.60) and arcs of 0.65 to 0.80; faces without gave bridges of 0.23 to 0.60."""

ARC_ANGLES = np.radians(np.arange(-20, 201, 6))
ARC_RADII = np.arange(1.25, 2.3, 0.12)
ARC_FLATNESS = (0.65, 0.8, 0.95, 1.1)
ARC_DROPS = (0, 3, 6)
ARC_NORMALS = (-1.5, 0.0, 1.5)
"""Arcs that are tried: angles on an ellipse (0 right, 90 degrees down), its half width by the
eye's, its height by its width, how far below the eye it hangs (texels), tolerance across."""

STRONGEST = 0.8
"""One bright spot on an arc must not outweigh a gap in it."""


class Glasses:
    """Looks for glasses in one texture space.

    Args:
        space: of side `GLASSES_SIDE`.
    """

    def __init__(self, space: TextureSpace) -> None:
        uv = space.mesh.uv * space.side - 0.5
        self._eyes = [uv[list(ring)].mean(0) for ring in (fm.RIGHT_EYE, fm.LEFT_EYE)]
        self._half = float(np.ptp(uv[list(fm.RIGHT_EYE), 0])) / 2
        middle = (self._eyes[0] + self._eyes[1]) / 2
        top, left = int(middle[1]) - 6, int(middle[0]) - 3
        self._bridge = (slice(top, top + 20), slice(left, left + 7))
        self._arcs = self._arc_places()
        self._zone = self._draw_zone(space)

    def evidence(self, detail: F32) -> float:
        """Belief that the face wears glasses, 0 to 1.

        Args:
            detail: (n, n, 3) float32, log luma, Cb, Cr without the light of the face.
        """
        odd = _oddness(detail)
        bridge = float(odd[self._bridge].mean(1).max())
        read = cpu.read_at(odd, *self._arcs).reshape(-1, 2, len(ARC_ANGLES), len(ARC_NORMALS))
        arcs = np.minimum(read.max(-1), STRONGEST).mean(-1).min(-1)
        belief = smoothstep(bridge, *BRIDGE_EVIDENCE) * smoothstep(arcs.max(), *ARC_EVIDENCE)
        return float(belief)

    def cover(self, detail: F32) -> F32:
        """(n, n) float32, 1 where glasses lie, if there are any."""
        odd = _oddness(detail)
        dark = smoothstep(-detail[..., 0], *DARK_LENS)
        found = np.maximum(smoothstep(odd, 0.3, 0.6), dark).astype(np.float32) * self._zone
        return np.asarray(np.clip(cpu.blur(cpu.dilate(found, 2), 1.2), 0, 1), np.float32)

    def _arc_places(self) -> tuple[F32, F32]:
        """x and y maps over all arcs: (radii * flatness * drops, eyes, angles, normals), flat."""
        shape = [(r, f, d) for r in ARC_RADII for f in ARC_FLATNESS for d in ARC_DROPS]
        radius, flat, drop = (np.array(v)[:, None, None, None] for v in zip(*shape, strict=True))
        eye = np.stack(self._eyes)[None, :, None, None]
        across = np.asarray(ARC_NORMALS)[None, None, None]
        c, s = (f(ARC_ANGLES)[None, None, :, None] for f in (np.cos, np.sin))
        x = eye[..., 0] + c * (self._half * radius + across)
        y = eye[..., 1] + drop + s * (self._half * radius * flat + across)
        return tuple(v.reshape(len(shape), -1).astype(np.float32) for v in (x, y))

    def _draw_zone(self, space: TextureSpace) -> F32:
        """Where glasses may lie: around the eyes, with brows and temples, not the lids."""
        row, column = np.mgrid[0 : space.side, 0 : space.side].astype(np.float32)
        zone = np.zeros((space.side, space.side), np.float32)
        for x, y in self._eyes:
            far = np.hypot((column - x) / (2.5 * self._half), (row - y - 3) / (2.3 * self._half))
            zone = np.maximum(zone, 1 - smoothstep(far, 0.85, 1.0))
        level = float(np.mean([y for _, y in self._eyes]))
        arms = 1 - smoothstep(np.abs(row - level), 0.6 * self._half, 1.1 * self._half)
        return np.asarray(np.maximum(zone, arms) * space.inside, np.float32)


def _oddness(detail: F32) -> F32:
    """(n, n) float32, 0..1: how much each texel differs from its near surroundings."""
    fine = detail - cpu.blur(detail, FINE_SIGMA)
    luma = np.abs(fine[..., 0]) / LUMA_STEP
    chroma = np.sqrt((fine[..., 1:] ** 2).sum(-1)) / CHROMA_STEP
    return np.asarray(np.minimum(np.maximum(luma, chroma), 1), np.float32)
