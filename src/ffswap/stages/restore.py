"""Restorers: a net that sharpens faces goes over those that were swapped."""

from __future__ import annotations

from ..carriers import F32
from ..engines import Session
from ..errors import InternalError
from ..models import ModelSpec
from .brush import HostBrush
from .feed import SharedNet
from .masks import FaceMasks
from .net_paint import CropPainter

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
        brush = HostBrush(SharedNet(session, spec), masks or FaceMasks())
        super().__init__(brush, template, opacity=blend)
