"""Finding faces with the published detectors: whole frames, letterboxed, turned as often as asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, FrameBatch, Frames
from ..engines import Session
from ..errors import InternalError, ModelError, OptionError
from ..geometry import affine, boxes, heads
from ..geometry.boxes import Detections
from ..models import ModelSpec
from ..ops import cpu
from ..options import DetectOptions
from .detect import View
from .feed import PictureNet

__all__ = ["ANGLES", "NetDetector", "Shot", "TurningDetector"]

ANGLES = (0, 90, 180, 270)
"""Degrees by which a picture may be turned before it is searched."""

F64 = NDArray[np.float64]
Head = Callable[[Sequence[F32], tuple[int, int], float], Detections]


def _yolo_face(tensors: Sequence[F32], _: tuple[int, int], score: float) -> Detections:
    if len(tensors) != 1:
        raise ModelError(
            f"the detector gives {len(tensors)} tensors; allowed: 1",
            hint="check that the file is the one that the catalogue names",
        )
    return heads.decode_yolo_face(tensors[0], score)


_HEADS: Mapping[str, Head] = MappingProxyType(
    {
        "scrfd": heads.decode_scrfd,
        "yolo_face": _yolo_face,
        "yunet": heads.decode_yunet,
    }
)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture for the net.

    Attributes:
        frame: index into the batch.
        size: (width, height) of the part of the net's input that is not empty, from its top left.
        read: (2, 3), from luma pixels to pixels of the input, for reading.
        back: (2, 3), from what the net answers to luma pixels.
    """

    frame: int
    size: tuple[int, int]
    read: F64
    back: F64


OVERLAP = {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1}
"""Boxes that overlap more are one face, by the number of angles. Source: FaceFusion 3.8.1."""


class TurningDetector(ABC):
    """Boxes and five points of the faces in frames: what detectors on all devices have in common.

    The picture is made as published: turned upright, shrunk to fit but never enlarged, put into the
    top left corner of an empty one. It is shrunk without aliasing, which the published procedure
    does not do. As there, the answers are multiplied by the ratio of the sizes.

    `DetectOptions.min_face_px` has no meaning here: there is one view, the whole frame. Passive: one
    per thread.

    Args:
        spec: what the net wants and gives; of a family other than ``blazeface``.
        options: thresholds.
        angles: degrees, of `ANGLES`; the picture is searched once for each, turned counter-clockwise
            by it, and what is found in all is suppressed together.

    Raises:
        OptionError: an angle is not allowed, none is given, or one twice.
        InternalError: the family is not one of those that are decoded here.
    """

    def __init__(
        self, spec: ModelSpec, options: DetectOptions, angles: Sequence[int] = (0,)
    ) -> None:
        if not angles or set(angles) - set(ANGLES) or len(set(angles)) != len(angles):
            raise OptionError(
                f"detector angles are {', '.join(map(str, angles)) or 'none'}; allowed: one or more "
                f"of {', '.join(map(str, ANGLES))}, each once"
            )
        if spec.family not in _HEADS:
            raise InternalError(f"model {spec.name!r} is of the family {spec.family}")
        self._spec, self._angles = spec, tuple(angles)
        self._score = spec.score if options.score is None else options.score
        self._iou = OVERLAP[len(angles)] if options.iou is None else options.iou
        self._size = spec.picture.size

    def views(self, frames: FrameBatch) -> tuple[View, ...]:
        """The whole frame."""
        return (View(0, 0, frames.width, frames.height),)

    def __call__(self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]) -> list[Detections]:
        """Search views of frames, as `FaceDetector` says; the points are five.

        Raises:
            ModelError: the net's tensors are not those of its family.
        """
        shots = [
            self._shot(i, view, (frames.rotation + angle) % 360, frames.pixel_aspect)
            for i, view in wanted
            for angle in self._angles
        ]
        found: list[list[Detections]] = [[] for _ in range(len(frames))]
        if shots:
            for shot, one in zip(shots, self._search(frames, shots), strict=True):
                found[shot.frame].append(_placed(one, shot))
        nothing = Detections(*(np.zeros(s, np.float32) for s in ((0, 4), (0, 5, 2), (0,))))
        suppressed = partial(boxes.non_maximum_suppression, iou=self._iou)
        return [suppressed(Detections.concatenate(f)) if f else nothing for f in found]

    def _shot(self, frame: int, view: View, rotation: int, pixel_aspect: float) -> Shot:
        turn = affine.turn_matrix(view.x, view.y, view.width, view.height, rotation)
        across = rotation in (90, 270)
        width, height = (view.height, view.width) if across else (view.width, view.height)
        shown = max(1, round(view.width * pixel_aspect))
        size = _fitting(*((view.height, shown) if across else (shown, view.height)), self._size)
        x, y = size[0] / width, size[1] / height
        # Pictures are shrunk from edge to edge; answers are multiplied, without that half pixel.
        shrink = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
        enlarge = np.array([[1 / x, 0, 0], [0, 1 / y, 0]])
        return Shot(
            frame=frame,
            size=size,
            read=affine.compose(shrink, turn),
            back=affine.compose(affine.invert(turn), enlarge),
        )

    @abstractmethod
    def _search(self, frames: FrameBatch, shots: Sequence[Shot]) -> list[Detections]:
        """What is in each of the pictures, suppressed, in pixels of the net's input.

        Raises:
            ModelError: the net's tensors are not those of its family.
        """


class NetDetector(TurningDetector):
    """Boxes and five points of the faces in frames, from a net of another family than the embedded.

    Args:
        session: of the net.
        spec: see `TurningDetector`, as the rest.
        options: thresholds.
        angles: degrees.
    """

    def __init__(
        self,
        session: Session,
        spec: ModelSpec,
        options: DetectOptions,
        angles: Sequence[int] = (0,),
    ) -> None:
        super().__init__(spec, options, angles)
        self._net, self._decode = PictureNet(session, spec), _HEADS[spec.family]

    def _search(self, frames: FrameBatch, shots: Sequence[Shot]) -> list[Detections]:
        tensors = self._net(self._pictures(frames.on_host(), shots))
        decoded = [
            self._decode(answers, self._size, self._score) for answers in zip(*tensors, strict=True)
        ]
        return [boxes.non_maximum_suppression(one, self._iou) for one in decoded]

    def _pictures(self, frames: Frames, shots: Sequence[Shot]) -> Iterator[F32]:
        for shot in shots:
            width, height = shot.size
            picture = np.zeros((3, self._size[1], self._size[0]), np.float32)
            picture[:, :height, :width] = cpu.crop_rgb(
                frames.planes[shot.frame], frames.format, frames.colour, shot.read, shot.size
            )
            yield picture


def _placed(found: Detections, shot: Shot) -> Detections:
    """From pixels of the net's input to those of the luma plane."""
    corners = affine.apply(shot.back, found.box.reshape(-1, 2, 2))
    box = np.concatenate([corners.min(1), corners.max(1)], 1)
    return Detections(box, affine.apply(shot.back, found.points), found.score)


def _fitting(width: int, height: int, room: tuple[int, int]) -> tuple[int, int]:
    """The size to which a picture is shrunk to fit into another, at least one pixel each way."""
    if width <= room[0] and height <= room[1]:
        return width, height
    if width * room[1] >= height * room[0]:
        return room[0], max(1, height * room[0] // width)
    return max(1, width * room[1] // height), room[1]
