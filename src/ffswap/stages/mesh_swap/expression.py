"""The folds of a smile: taken from the target, since they belong to the moment, not to the face."""

from __future__ import annotations

import numpy as np

from ...carriers import F32
from ...geometry.face_mesh import smoothstep
from ...ops import cpu
from .texture import TextureSpace

__all__ = ["FoldTransfer", "smile"]

MOUTH_CORNERS = (61, 291)
LIPS_MIDDLE = (0, 17)
"""Top of the upper and bottom of the lower lip."""

REST_WIDTH_CM, REST_LIFT_CM = 5.0, 0.1
"""Of a mouth at rest in canonical space: measured on neutral faces (width 4.7 to 5.3, lift 0 to
0.15; broad smiles have 6.5 to 7.5 and 0.7 to 1.1)."""

DIFFERENT_SMILES_CM = (0.5, 1.6)
"""Difference of two smiles between which the target's folds come to replace the source's."""

FOLD_SIGMA = 0.02
"""Folds are wider than this share of the texture; what is finer is the source's own skin."""

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


class FoldTransfer:
    """Exchanges the source's folds for the target's where their mouths differ.

    Args:
        space: of the light textures.
        source_detail: (n, n) float32 log luma of the source without its light.
        source_shape: (468, 3) the source in canonical space, y down.
    """

    def __init__(self, space: TextureSpace, source_detail: F32, source_shape: F32) -> None:
        self._smile = smile(source_shape)
        self._sigma = FOLD_SIGMA * space.side
        x = np.abs(space.spread(space.mesh.xyz[:, 0]))
        # The cheeks beside nose and mouth, and the chin; the nose itself keeps its own light.
        beside = smoothstep(x, 0.9, 1.9)
        below = 1 - smoothstep(space.height, -4.5, -3.0)
        under_eyes = 1 - smoothstep(space.height, EYES_CM - 2.2, EYES_CM - 1.0)
        region = space.skin * np.maximum(beside, below) * under_eyes
        self._region = cpu.blur(region.astype(np.float32), self._sigma)
        self._source = self._folds(source_detail)

    def _folds(self, detail: F32) -> F32:
        weight = self._region + 1e-3
        return np.asarray(
            cpu.blur(detail * weight, self._sigma) / cpu.blur(weight, self._sigma), np.float32
        )

    def share(self, shape: F32) -> float:
        """How much of the folds a target of this (468, 3) shape keeps, 0 to 1."""
        return float(smoothstep(abs(smile(shape) - self._smile), *DIFFERENT_SMILES_CM))

    def __call__(self, target_detail: F32, contrast: float, share: float) -> F32:
        """(n, n) float32, to be added to the log luma of the target's light.

        Args:
            target_detail: (n, n) float32 log luma of the target without its light.
            contrast: with which the source's detail will be painted.
            share: 0: the source's folds are painted; 1: the target's.
        """
        theirs = np.clip(self._folds(target_detail), -0.5, 0.5)
        return np.asarray(share * self._region * (theirs - contrast * self._source), np.float32)
