"""Restorers: a net that sharpens faces goes over those that were swapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32, I64, Faces, Frames
from ..engines import Session
from ..errors import InternalError
from ..models import ModelSpec
from .feed import SharedNet
from .masks import FaceMasks
from .net_paint import CropPainter, NetPaint

__all__ = ["Restorer"]


class Restorer(CropPainter):
    """Restores faces of frames that are already swapped. Passive; for its threads see `CropPainter`.

    Args:
        session: of the restorer; nothing else may use it.
        spec: what it wants and gives.
        template: (5, 2) where the five points belong in its crop, in units of the crop's side.
        blend: how much of the result is laid over the face, 0 to 1.
        masks: what of a crop is painted; None: the published box without padding.

    Raises:
        InternalError: `blend` is not allowed.
    """

    def __init__(
        self,
        session: Session,
        spec: ModelSpec,
        template: F32,
        blend: float = 0.8,
        masks: FaceMasks | None = None,
    ) -> None:
        if not 0 <= blend <= 1:
            raise InternalError(f"blend {blend}")
        super().__init__(SharedNet(session, spec), template, masks or FaceMasks())
        self.name = spec.name
        """Of the model."""
        self._blend = np.float32(blend)

    def plan(
        self,
        frames: Frames,
        faces: Faces,
        covers: Sequence[Sequence[F32]] = (),
        who: I64 | None = None,
        opacity: F32 | None = None,
    ) -> list[list[NetPaint]]:
        """What will be restored in each of the frames; see `CropPainter.plan`.

        Whether a frame is swapped by then does not matter: its pixels are read when it is painted.
        """
        given = np.ones(len(faces), np.float32) if opacity is None else opacity
        return super().plan(frames, faces, covers, who, given * self._blend)
