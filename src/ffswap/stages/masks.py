"""Which part of a crop is painted: box, what covers the face, regions and areas of the face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ..carriers import F32
from ..errors import InternalError
from ..geometry.crop_masks import AREAS, box_mask
from ..ops import cpu
from ..options import MaskKind
from .feed import SharedNet

__all__ = ["FaceMasks", "soft_edge"]

EDGE_SIGMA_PX = 5.0
"""Softness of the edges of all masks but the box, pixels of the crop whatever its size. Source:
FaceFusion 3.8.1, face_masker.py."""

PARSER_ROWS = 4
"""Crops whose labels are read at a time: a score for each of 19 labels and 512 x 512 pixels is 20 MB."""


def soft_edge(mask: F32, sigma: float = EDGE_SIGMA_PX) -> F32:
    """A mask (S, S), 0 to 1, that falls to 0 where its edge was, and softly inside.

    Source: FaceFusion 3.8.1, face_masker.py.
    """
    soft = np.clip(cpu.blur(mask, sigma), 0.5, 1)
    return np.asarray((soft - 0.5) * 2, np.float32)


class FaceMasks:
    """The masks of crops, the smallest of all that are asked for. Passive; for several threads.

    Args:
        kinds: which masks; at least one.
        blur: of the box, 0 to 1.
        padding: of the box: top, right, bottom, left, percent of the side.
        occluders: nets that see what covers a face; for ``occlusion`` at least one. Of several the
            smallest value counts.
        parser: net that labels a face's pixels, for ``region``; its specification says what the
            labels mean.
        regions: names of the labels that are painted.
        areas: names of areas, keys of `geometry.crop_masks.AREAS`, for ``area``.

    Raises:
        InternalError: a kind without its net or names, or a name that there is not.
    """

    def __init__(
        self,
        kinds: Sequence[MaskKind] = ("box",),
        *,
        blur: float = 0.3,
        padding: tuple[float, float, float, float] = (0, 0, 0, 0),
        occluders: Sequence[SharedNet] = (),
        parser: SharedNet | None = None,
        regions: Sequence[str] = (),
        areas: Sequence[str] = (),
    ) -> None:
        self._kinds = frozenset(kinds)
        self._blur, self._padding = blur, padding
        self._occluders, self._parser = tuple(occluders), parser
        classes = {} if parser is None else parser.spec.classes
        _require(bool(kinds) and self._kinds <= set(get_args(MaskKind)), f"kinds {kinds}")
        _require("occlusion" not in kinds or bool(occluders), "occlusion without an occluder")
        if "region" in kinds:
            _require(parser is not None and bool(regions), "region without a parser or names")
            _require(set(regions) <= set(classes), f"regions {regions} of {sorted(classes)}")
        if "area" in kinds:
            _require(bool(areas) and set(areas) <= set(AREAS), f"areas {areas} of {sorted(AREAS)}")
        self._labels = np.array([classes[name] for name in regions if name in classes], np.int64)
        self._points = [point for name in areas for point in AREAS[name]]

    @property
    def needs_landmarks(self) -> bool:
        """Whether `after` needs the 68 points."""
        return "area" in self._kinds

    @property
    def is_box(self) -> bool:
        """Whether all faces have one and the same mask: no picture is looked at."""
        return self._kinds == {"box"}

    def box(self, side: int) -> F32:
        """(side, side) float32, 0 to 1: the mask of all faces, where `is_box`."""
        return box_mask(side, self._blur, self._padding)

    def before(self, crops: F32) -> F32:
        """What the target's own crops say: box and occlusion.

        Args:
            crops: (n, 3, S, S) float32 RGB, 0 to 1, before the swap.

        Returns:
            (n, S, S) float32, 0 to 1; NaN where a net's answer was no number.
        """
        n, _, side, _ = crops.shape
        masks = np.ones((n, side, side), np.float32)
        if "box" in self._kinds:
            np.minimum(masks, box_mask(side, self._blur, self._padding), out=masks)
        if "occlusion" in self._kinds:
            for net in self._occluders:
                free = net(_resized(crops, net.size)).reshape(n, net.size, net.size)
                for mask, one in zip(masks, np.clip(free, 0, 1), strict=True):
                    np.minimum(mask, soft_edge(cpu.resize(one, side, side)), out=mask)
        return masks

    def after(self, crops: F32, landmarks: F32 | None = None) -> F32:
        """What the swapped crops say: region and area.

        Args:
            crops: (n, 3, S, S) float32 RGB, 0 to 1, after the swap.
            landmarks: (n, 68, 2) float32, pixels of the crops, for ``area``.

        Returns:
            (n, S, S) float32, 0 to 1; NaN where a net's answer was no number.

        Raises:
            InternalError: an area was asked for and there are no landmarks.
        """
        n, _, side, _ = crops.shape
        masks = np.ones((n, side, side), np.float32)
        if "region" in self._kinds and self._parser is not None:
            for mask, one in zip(masks, self._regions(crops, self._parser), strict=True):
                np.minimum(mask, soft_edge(cpu.resize(one, side, side)), out=mask)
        if "area" in self._kinds:
            if landmarks is None:
                raise InternalError("an area of the face was asked for without landmarks")
            for mask, points in zip(masks, landmarks[:, self._points], strict=True):
                hull = cpu.convex_polygons((side, side), [points])
                np.minimum(mask, soft_edge(hull / np.float32(255)), out=mask)
        return masks

    def _regions(self, crops: F32, parser: SharedNet) -> F32:
        """(n, s, s) float32, 1 where the label is one of those asked for; s: the parser's size.

        NaN where the parser's answer was no number.
        """
        wanted = []
        for at in range(0, len(crops), PARSER_ROWS):
            scores = parser(_resized(crops[at : at + PARSER_ROWS], parser.size))
            regions = np.isin(scores.argmax(1), self._labels).astype(np.float32)
            regions[np.isnan(scores[:, 0, 0, 0])] = np.nan  # a row is NaN as a whole
            wanted.append(regions)
        return np.concatenate(wanted)


def _resized(crops: F32, side: int) -> F32:
    """(n, 3, S, S) to (n, 3, side, side)."""
    if crops.shape[-1] == side:
        return crops
    planes = [cpu.resize(plane, side, side) for plane in crops.reshape(-1, *crops.shape[2:])]
    return np.stack(planes).reshape(len(crops), 3, side, side)


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise InternalError(f"masks: {what}")
