"""The folds of a smile: taken from the target, since they belong to the moment, not to the face."""

from __future__ import annotations

import numpy as np

from ...carriers import F32
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import smoothstep
from ...ops import cpu
from .texture import TextureSpace

__all__ = ["fold_region", "fold_share", "smile", "source_folds", "target_folds"]

MOUTH_CORNERS = (61, 291)
LIPS_MIDDLE = (0, 17)
"""Top of the upper and bottom of the lower lip."""

REST_WIDTH_CM, REST_LIFT_CM = 5.0, 0.1
"""Of a mouth at rest in canonical space: measured on neutral faces (width 4.7 to 5.3, lift 0 to
0.15; broad smiles have 6.5 to 7.5 and 0.7 to 1.1)."""

DIFFERENT_SMILES_CM = (0.5, 1.6)
"""Difference of two smiles between which the target's folds come to replace the source's."""

TARGET_SIGMA, SOURCE_SIGMA = 0.02, 0.006
"""Blurs, by the side of the texture, that leave the folds: the target's are read at the small side
of the light textures; the source's are taken out down to where its pores begin."""

DEEPEST = 0.5
"""Log luma that a fold of the target may be darker or brighter than the light around it."""

FAINT = (0.06, 0.01, 0.01)
"""Log luma, Cb and Cr by which pores and freckles differ from the skin around them, at most."""

REGION_SIGMA = 0.012
"""Softness of the region's edge, by the side of the texture."""

EYES_CM = 2.6
"""Height of the eyes in the canonical face."""


def smile(shape: F32) -> float:
    """How far the mouth is drawn apart and up, centimetres of an average face; about 0 at rest.

    Args:
        shape: (468, 3) in canonical space, y down.
    """
    right, left = (shape[v] for v in MOUTH_CORNERS)
    middle = (shape[LIPS_MIDDLE[0], 1] + shape[LIPS_MIDDLE[1], 1]) / 2
    width = float(np.linalg.norm(right - left)) - REST_WIDTH_CM
    lift = float(middle - (right[1] + left[1]) / 2) - REST_LIFT_CM
    return max(0.0, width) + max(0.0, lift)


def fold_share(source_shape: F32, target_shape: F32) -> float:
    """How much of its own folds a target keeps, 0 (none: alike) to 1, from (468, 3) shapes."""
    return float(smoothstep(abs(smile(target_shape) - smile(source_shape)), *DIFFERENT_SMILES_CM))


def fold_region(space: TextureSpace) -> F32:
    """(n, n) float32, 1 where a smile makes folds: cheeks beside nose and mouth, and the chin.

    The nose itself keeps its own light, lips and eyes are no skin; the region reaches closer to the
    lips than `TextureSpace.skin` does, since creases begin at the corners of the mouth.
    """
    x = np.abs(space.spread(space.mesh.xyz[:, 0]))
    beside = smoothstep(x, 0.9, 1.9)
    below = 1 - smoothstep(space.height, -4.5, -3.0)
    under_eyes = 1 - smoothstep(space.height, EYES_CM - 2.2, EYES_CM - 1.0)
    skin = smoothstep(space.oval_distance, 0.7, 1.8) * space.inside
    skin[space.hulls([fm.OUTER_LIPS])] = 0
    skin[space.hulls([fm.NOSTRILS], 0.005)] = 0
    region = (skin * np.maximum(beside, below) * under_eyes).astype(np.float32)
    return np.asarray(cpu.blur(region, REGION_SIGMA * space.side), np.float32)


def source_folds(detail: F32, region: F32) -> F32:
    """(n, n, 3) what of the source (log luma, Cb, Cr without its light) its expression has made.

    Everything but what is fine and faint: pores stay, creases go.
    """
    folds = []
    for k, faint in enumerate(FAINT):
        plane = np.ascontiguousarray(detail[..., k])
        fine = np.clip(plane - _blurred(plane, region, SOURCE_SIGMA), -faint, faint)
        folds.append(region * (plane - fine))
    return np.stack(folds, -1).astype(np.float32)


def target_folds(detail: F32, region: F32) -> F32:
    """(n, n) what comes from the target's log luma (without its light)."""
    folds = np.clip(_blurred(detail, region, TARGET_SIGMA), -DEEPEST, DEEPEST)
    return np.asarray(region * folds, np.float32)


def _blurred(detail: F32, region: F32, sigma: float) -> F32:
    """Normalised convolution: what lies outside the region is not mixed in."""
    weight = region + 1e-3
    pixels = sigma * region.shape[0]
    return np.asarray(cpu.blur(detail * weight, pixels) / cpu.blur(weight, pixels), np.float32)
