"""Finding faces: the embedded detector over whole frames and over tiles of them, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, FrameBatch
from ..engines import Session
from ..geometry import affine, boxes
from ..geometry.boxes import Detections
from ..models import ModelSpec
from ..options import DetectOptions
from .feed import CropNet

__all__ = ["Detector", "FaceDetector", "View", "views_of"]

ANCHOR_GRIDS = {192: ((48, 1),)}
"""(cells per side, anchors per cell) by the side of the net's input. Source: MediaPipe's
face_detection_full_range graph (one scale, stride 4, one anchor a cell)."""

NET_FACE_PX = 16
"""A face must be at least this high in the net's input. Measured with seven portraits pasted in a
photograph at random places, score 0.5: 95 % found at 14 px, 98 % at 16 px, all at 18 px."""

OVERLAP = 0.3
"""Boxes that overlap more are one face. Source: MediaPipe's face_detection graph."""

LEVEL_STEP = 4
"""Tiles of one size are this many times smaller than the next larger ones, or the frame: with faces of
at least a twelfth of a view they then overlap by a third, and no height of a face is left out."""

REFERENCE_HEIGHT = 1080
"""`DetectOptions.min_face_px` is meant for frames up to this high and grows in proportion above:
otherwise the search would cost 16 times as much in an 8K frame."""


@dataclass(frozen=True)
class View:
    """A part of the frame that goes through the net at once.

    Attributes:
        x: left edge, pixels.
        y: top edge, pixels.
        width: pixels.
        height: pixels.
    """

    x: int
    y: int
    width: int
    height: int


class FaceDetector(Protocol):
    """Finds the faces in frames. Passive: one per thread."""

    def views(self, frames: FrameBatch) -> tuple[View, ...]:
        """All views that a full search of one of these frames takes, the whole frame first."""

    def __call__(self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]) -> list[Detections]:
        """Search views of frames.

        Args:
            frames: n frames.
            wanted: (index into `frames`, view) pairs.

        Returns:
            For each of the n frames what its views hold together, in pixels of the luma plane,
            suppressed; nothing for frames that no view was asked of. The points of a face are five
            (eyes, nose tip, mouth corners) or six (eyes, nose tip, middle of the mouth, ears), as
            seen in the upright picture, image left first.
        """


def views_of(height: int, width: int, net_px: int, min_face_px: int) -> tuple[View, ...]:
    """The whole frame, then the tiles in which a face of `min_face_px` is large enough.

    Tiles overlap, so that a face that is too small for the next larger view is whole in some tile.
    Where the frame is very much larger than the smallest face, there are tiles of several sizes.

    Args:
        height: of the frame, pixels.
        width: of the frame, pixels.
        net_px: side of the net's input.
        min_face_px: smallest face to look for.
    """
    longest = max(height, width)
    views = [View(0, 0, width, height)]
    smallest = min_face_px * max(1.0, min(height, width) / REFERENCE_HEIGHT)
    side = round(smallest * net_px / NET_FACE_PX)
    while side < longest:
        larger = min(side * LEVEL_STEP, longest)
        overlap = round(larger * NET_FACE_PX / net_px)
        views += [
            View(x, y, min(side, width), min(side, height))
            for y in _starts(height, side, overlap)
            for x in _starts(width, side, overlap)
        ]
        side *= LEVEL_STEP
    return tuple(views)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Evenly spread starts of stretches of `side` over `length`."""
    if side >= length:
        return [0]
    count = int(np.ceil((length - overlap) / (side - overlap)))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


class Detector:
    """Boxes and six points (eyes, nose, mouth, ears) of the faces in frames.

    Passive: one per thread.

    Args:
        session: of a BlazeFace-like net.
        spec: what the net wants and gives.
        options: thresholds.
    """

    def __init__(self, session: Session, spec: ModelSpec, options: DetectOptions) -> None:
        self._net, self._options = CropNet(session, spec), options
        self._score = spec.score if options.score is None else options.score
        self._iou = OVERLAP if options.iou is None else options.iou
        self._size = self._net.size
        self._centres = boxes.anchors(ANCHOR_GRIDS[self._size])

    def views(self, frames: FrameBatch) -> tuple[View, ...]:
        """All views that a full search of one of these frames takes, the whole frame first."""
        return views_of(frames.height, frames.width, self._size, self._options.min_face_px)

    def __call__(self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]) -> list[Detections]:
        """Search views of frames.

        Args:
            frames: n frames.
            wanted: (index into `frames`, view) pairs.

        Returns:
            For each of the n frames what its views hold together, in pixels of the luma plane,
            suppressed; nothing for frames that no view was asked of.
        """
        found: list[list[Detections]] = [[] for _ in range(len(frames))]
        places = [(i, self._matrix(frames, view)) for i, view in wanted]
        if places:
            outputs = self._net(frames.on_host(), places, pad_black=True)
            for (i, matrix), regressors, logits in zip(places, *outputs, strict=True):
                found[i].append(self._decode(regressors, logits, matrix))
        nothing = Detections(*(np.zeros(s, np.float32) for s in ((0, 4), (0, 6, 2), (0,))))
        return [
            boxes.non_maximum_suppression(Detections.concatenate(f), self._iou) if f else nothing
            for f in found
        ]

    def _matrix(self, frames: FrameBatch, view: View) -> NDArray[np.float64]:
        return affine.letterbox_matrix(
            view.x, view.y, view.width, view.height, frames.rotation, self._size
        )

    def _decode(self, regressors: F32, logits: F32, matrix: NDArray[np.float64]) -> Detections:
        found = boxes.decode_anchored(regressors, logits, self._centres, self._size, self._score)
        found = boxes.non_maximum_suppression(found, self._iou)
        back = affine.invert(matrix)
        corners = affine.apply(back, found.box.reshape(-1, 2, 2))
        box = np.concatenate([corners.min(1), corners.max(1)], 1)
        return Detections(box, affine.apply(back, found.points), found.score)
