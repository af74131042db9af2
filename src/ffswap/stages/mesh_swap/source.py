"""The source face: its portrait unrolled, and told apart into light and features."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ...carriers import F32
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import FaceMesh, smoothstep
from ...ops import cpu
from .expression import fold_region, source_folds
from .glasses import GLASSES_SIDE, Glasses
from .texture import TextureSpace, agreeing, low_pass

__all__ = ["LOG_OFFSET", "SIDES", "MeshSource", "SourceTexture", "log_luma"]

SIDES = (64, 128, 256, 512)
"""Sides of the textures: the first for light, the others for painting faces of growing size."""

LOG_OFFSET = 0.03
"""Added to luma (0..1) before the logarithm, so that noise in the dark does not become texture."""

SHARPNESS_SIDE = 256
SHARPNESS_SIGMAS = (0.0, 0.7, 1.2, 2.0, 3.2)
"""Blurs of the source whose sharpness is measured once, to be matched to a target's."""

VISIBLE = (0.15, 0.45)
"""Cosine to the camera between which a part of the portrait starts to count; what is turned further
away has the background's colours mixed in."""

DISAGREES = (0.25, 0.55)
"""Distance from the light (log luma and four times Cb) between which a texel is a feature."""

CB_LIMITS, CR_LIMITS = (-0.08, 0.025), (-0.08, 0.12)
"""How far features may differ in colour from the skin: lips and brows do, towards red and brown; blue
is a lamp's gloss or the background."""


def log_luma(ycc: F32) -> F32:
    """(n, n, 3) Y' 0..1, Cb, Cr to log luma, Cb, Cr: light then adds instead of multiplying."""
    out = np.array(ycc, np.float32)
    out[..., 0] = np.log(np.maximum(ycc[..., 0], 0) + LOG_OFFSET)
    return out


@dataclass(frozen=True)
class SourceTexture:
    """The source at one size.

    Attributes:
        space: its texture space.
        detail: (n, n, 3) float32: log luma, Cb, Cr without the portrait's light.
        light: (n, n, 3) float32: the portrait's light and skin tone.
        mask: (n, n) float32: how much of the source may be painted, 0 to 1.
        valid: (n, n) float32: 0 where hair, a cap or glasses cover the portrait's skin, and where its
            features were left out because of them.
        folds: (n, n, 3) float32: the part of `detail` that the portrait's expression has made.
    """

    space: TextureSpace
    detail: F32
    light: F32
    mask: F32
    valid: F32
    folds: F32


class MeshSource:
    """One face that is put into others. Thread-safe after construction.

    Args:
        mesh: the canonical mesh.
        rgb: (H, W, 3) float32 portrait, 0 to 1.
        points: (468, 3) its mesh, pixels.
    """

    def __init__(self, mesh: FaceMesh, rgb: F32, points: F32) -> None:
        self.mesh = mesh
        self.shape = mesh.to_canonical(points)
        """(468, 3) its shape, centimetres, y down."""
        self._rgb, self._points = rgb, points
        self._facing = mesh.facing(points)
        self._spaces = {side: TextureSpace(mesh, side) for side in SIDES}
        self._textures: dict[tuple[int, float, float], SourceTexture] = {}
        self._sharpness: dict[tuple[float, float], tuple[float, ...]] = {}
        self._glasses = Glasses(self._spaces[GLASSES_SIDE])
        self._worn: dict[tuple[float, float], F32] = {}
        self._lock = threading.RLock()

    def space(self, side: int) -> TextureSpace:
        """The texture space of one of `SIDES`."""
        return self._spaces[side]

    def texture(self, side: int, kr: float, kb: float) -> SourceTexture:
        """The source at a size, in the Y'CbCr of these luma weights; made once."""
        key = (side, kr, kb)
        with self._lock:
            if key not in self._textures:
                self._textures[key] = self._build(side, kr, kb)
            return self._textures[key]

    def sharpness(self, kr: float, kb: float) -> tuple[float, ...]:
        """Mean absolute Laplacian of the source's detail after each of `SHARPNESS_SIGMAS`."""
        texture = self.texture(SHARPNESS_SIDE, kr, kb)
        with self._lock:
            if (kr, kb) not in self._sharpness:
                detail = np.ascontiguousarray(texture.detail[..., 0])
                self._sharpness[kr, kb] = tuple(
                    sharpness_of(cpu.blur(detail, sigma) if sigma else detail, texture.space.skin)
                    for sigma in SHARPNESS_SIGMAS
                )
            return self._sharpness[kr, kb]

    def _build(self, side: int, kr: float, kb: float) -> SourceTexture:
        space = self._spaces[side]
        logged = log_luma(self._unroll(side, kr, kb))
        visible = smoothstep(space.spread(self._facing), *VISIBLE).astype(np.float32)
        counts = space.skin * visible
        weight, _ = agreeing(logged, counts, DISAGREES, rounds=3)
        cover = self._cover(space, logged, weight)
        # The shadow that hair throws beside it must not pass for the light of the face.
        shadow = cpu.blur(cpu.dilate(cover, max(1, int(0.05 * side))), 0.02 * side)
        weight = weight * (1 - np.clip(shadow * 1.2, 0, 1)) + 1e-6
        light = low_pass(logged, weight)
        off = np.abs(logged[..., 0] - light[..., 0])
        light = low_pass(
            logged, (weight * (1 - smoothstep(off, 0.25, 0.5))).astype(np.float32) + 1e-6
        )
        cover = cpu.blur(cpu.dilate(cover, max(1, int(0.02 * side))), 0.022 * side)
        cover = np.clip(cover, 0, 1)
        detail = logged - light
        detail[..., 0] = _soft_ceiling(detail[..., 0])
        np.clip(detail[..., 1], *CB_LIMITS, out=detail[..., 1])
        np.clip(detail[..., 2], *CR_LIMITS, out=detail[..., 2])
        # What is left of a fringe just below its edge would be painted as a line across the brow.
        brows = space.hulls([fm.RIGHT_BROW, fm.LEFT_BROW], 0.02).astype(np.float32)
        plain = np.clip(shadow * 1.5, 0, 1) * (1 - cpu.blur(brows, 0.015 * side))
        detail *= (1 - plain)[..., None]
        usable = visible * (1 - np.clip(cover * 1.3, 0, 1))
        detail, usable = _completed(detail, usable)
        mask = space.paint * usable
        worn = cpu.resize(self._worn_glasses(detail, kr, kb), side, side)
        mask, cover = mask * (1 - worn), np.maximum(cover, worn)
        folds = source_folds(detail, fold_region(space))
        return SourceTexture(
            space,
            detail.astype(np.float32),
            light,
            mask.astype(np.float32),
            1 - np.maximum(cover, plain),
            folds,
        )

    def _worn_glasses(self, detail: F32, kr: float, kb: float) -> F32:
        """0..1 at `GLASSES_SIDE` where the portrait wears glasses; found at that side first."""
        if detail.shape[0] == GLASSES_SIDE:
            self._worn[kr, kb] = self._glasses.evidence(detail) * self._glasses.cover(detail)
        elif (kr, kb) not in self._worn:
            self.texture(GLASSES_SIDE, kr, kb)
        return self._worn[kr, kb]

    def _unroll(self, side: int, kr: float, kb: float) -> F32:
        """(side, side, 3) Y'CbCr of the portrait in texture space, without aliasing."""
        face = fm.cheek_width(self._points)
        picture = self._rgb if face <= 2 * side else cpu.blur(self._rgb, face / side / 3)
        x, y = self._spaces[side].places(self._points[:, :2])
        rgb = cpu.read_at(picture, x, y, repeat_edge=True, cubic=face < 1.5 * side)
        return cpu.rgb_to_ycc(np.clip(rgb, 0, 1), kr, kb)

    def _cover(self, space: TextureSpace, logged: F32, weight: F32) -> F32:
        """0..1 where something other than skin lies on the forehead or at the rim."""
        sure = weight > 0.5
        if not sure.any():
            sure = weight >= weight.max() / 2
        usual = np.median(logged[sure], axis=0)
        soft = cpu.blur(logged, 0.008 * space.side)
        far = np.abs(soft[..., 0] - usual[0]) + 6 * np.abs(soft[..., 1:] - usual[1:]).sum(-1)
        brow = space.mesh.xyz[list(fm.RIGHT_BROW), 1].max()
        rim = 1 - smoothstep(space.oval_distance, 0.8, 2.0)
        rim[space.hulls([fm.RIGHT_BROW, fm.LEFT_BROW], 0.02)] = 0
        region = np.maximum(smoothstep(space.height, brow - 0.1, brow + 0.6), rim)
        return np.asarray(smoothstep(far, 0.35, 0.75) * region, np.float32)


def sharpness_of(log_detail: F32, weight: F32) -> float:
    """Weighted mean absolute Laplacian of an (n, n) log luma."""
    return float(
        (np.abs(cpu.laplacian(log_detail)) * weight).sum() / max(float(weight.sum()), 1e-6)
    )


def _completed(detail: F32, usable: F32) -> tuple[F32, F32]:
    """Fill what the portrait does not show (a turned side, hair) from the face's other half.

    Texture space is symmetric: a texel's counterpart lies in the mirrored column. Light is not
    taken along, so the halves fit.
    """
    other = np.ascontiguousarray(usable[:, ::-1])
    share = smoothstep(other - usable, 0.1, 0.6).astype(np.float32)
    share = cpu.blur(share, 0.01 * usable.shape[0])
    filled = detail + share[..., None] * (detail[:, ::-1] - detail)
    return filled.astype(np.float32), (usable + share * (other - usable)).astype(np.float32)


def _soft_ceiling(detail: F32, knee: float = 0.25, reach: float = 0.25) -> F32:
    """Gloss of the portrait, held below `knee + reach`: it belongs to the portrait's lamp."""
    over = knee + reach * np.tanh((detail - knee) / (2 * reach))
    return np.where(detail > knee, over, detail).astype(np.float32)
