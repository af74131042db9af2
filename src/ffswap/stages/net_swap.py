"""Swappers from files: a net makes the source's face from a crop of the target's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32
from ..engines import Session
from ..errors import InternalError
from ..models import ModelSpec
from .brush import HostBrush
from .feed import SharedNet
from .masks import FaceMasks
from .net_paint import CropPainter, NetPaint

__all__ = ["NetPaint", "NetSwapper"]


class NetSwapper(CropPainter):
    """Puts one of several sources over each face. Passive; for its threads see `CropPainter`.

    Args:
        session: of the swapper; nothing else may use it.
        spec: what it wants and gives.
        template: (5, 2) where the five points belong in its crop, in units of the crop's side.
        sources: for each person what the source input gets, one row: `identify.source_vector` or
            `identify.source_picture`.
        masks: what of a crop is painted.
        boost: pixel boost: the crop is this many times larger than the net's input.

    Raises:
        InternalError: no swapper, or no source.
    """

    def __init__(
        self,
        session: Session,
        spec: ModelSpec,
        template: F32,
        sources: Sequence[F32],
        masks: FaceMasks,
        boost: int = 1,
    ) -> None:
        if spec.source is None or not sources:
            raise InternalError(f"{spec.name!r} is no swapper, or there is no source for it")
        rows = {spec.source.name: np.concatenate(sources)}
        brush = HostBrush(SharedNet(session, spec), masks, boost=boost, sources=rows)
        super().__init__(brush, template)
