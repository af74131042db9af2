"""The 68 points of faces: from their pictures, or guessed from five."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, FrameBatch
from ..engines import Session
from ..errors import InternalError, ModelError
from ..geometry import affine, landmarks
from ..geometry.similarity import similarity
from ..models import ModelSpec
from ..ops import cpu
from ..ops.contrast import lift_dark
from .feed import MAX_BATCH, PictureNet, output_names, run_rows

__all__ = ["CropLandmarker", "Landmarker", "PointsTo68"]

_HEADS: Mapping[str, tuple[int, Callable[..., tuple[F32, F32]]]] = MappingProxyType(
    {
        "fan_heatmap": (2, landmarks.decode_fan_heatmap),
        "peppa_wutz": (1, landmarks.decode_peppa_wutz),
    }
)
"""How many outputs a family reads, and what does it."""


class CropLandmarker(ABC):
    """68 points of faces in frames, with a score: what landmarkers on all devices have in common.

    Args:
        spec: what the net wants and gives; of the family ``fan_heatmap`` or ``peppa_wutz``.

    Raises:
        InternalError: it is of another family.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if spec.family not in _HEADS:
            raise InternalError(f"model {spec.name!r} is of the family {spec.family}")
        self._spec, self._size = spec, spec.size

    def __call__(self, frames: FrameBatch, frame: I64, box: F32, angle: I64) -> tuple[F32, F32]:
        """Look at all faces of a batch of frames at once.

        Args:
            frames: where they are.
            frame: (n,), index into `frames`, of each face.
            box: (n, 4) left, top, right, bottom, pixels of the luma plane.
            angle: (n,) 0, 90, 180 or 270: degrees by which a face is turned clockwise as stored.

        Returns:
            Landmarks (n, 68, 2) in pixels of the luma plane, and how sure they are, (n,), 0 to 1.

        Raises:
            ModelError: the net's tensors are not those of its family.
        """
        if not len(frame):
            return np.zeros((0, 68, 2), np.float32), np.zeros(0, np.float32)
        matrices = [
            landmarks.landmark_matrix(one, turn, self._size, frames.pixel_aspect)
            for one, turn in zip(box, angle.tolist(), strict=True)
        ]
        points, score = self._look(frames, frame, matrices)
        return _undone(matrices, points), score

    @abstractmethod
    def _look(
        self, frames: FrameBatch, frame: I64, matrices: Sequence[NDArray[np.float64]]
    ) -> tuple[F32, F32]:
        """Landmarks (n, 68, 2) in pixels of the crops that the matrices give, and scores (n,)."""


class Landmarker(CropLandmarker):
    """68 points of faces in frames, with a score. Passive: one per thread.

    Args:
        session: of the net.
        spec: see `CropLandmarker`.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._net = PictureNet(session, spec)
        self._reads, self._decode = _HEADS[spec.family]

    def _look(
        self, frames: FrameBatch, frame: I64, matrices: Sequence[NDArray[np.float64]]
    ) -> tuple[F32, F32]:
        host = frames.on_host()
        tensors = self._net(
            lift_dark(
                cpu.crop_rgb(
                    host.planes[i], host.format, host.colour, matrix, self._size,
                    pad_black=True,
                )
            )
            for i, matrix in zip(frame.tolist(), matrices, strict=True)
        )  # fmt: skip
        if len(tensors) < self._reads:
            raise ModelError(
                f"the landmark net gives {len(tensors)} tensors; allowed: {self._reads} or more",
                hint="check that the file is the one that the catalogue names",
            )
        return self._decode(*tensors[: self._reads], self._size)


class PointsTo68:
    """68 points of faces guessed from five, by a net that takes no picture. Passive: one per thread.

    Args:
        session: of the net.
        spec: what the net gives; of the family ``fan_points``.
        template: (5, 2), where the net expects the five points, in units of a crop's side.

    Raises:
        InternalError: it is of another family.
    """

    def __init__(self, session: Session, spec: ModelSpec, template: F32) -> None:
        if spec.family != "fan_points":
            raise InternalError(f"model {spec.name!r} is of the family {spec.family}")
        self._session, self._template = session, template
        self._name = next(iter(session.inputs))
        self._output = output_names(session, spec)[0]

    def __call__(self, points: F32, pixel_aspect: float = 1.0) -> F32:
        """Landmarks (n, 68, 2), in the unit of `points`.

        Args:
            points: (n, 5, 2) of faces that can be aligned (`geometry.similarity.is_alignable`).
            pixel_aspect: of the frames that they are in.

        Raises:
            InternalError: a face cannot be aligned.
            ModelError: the net's tensor is not that of its family.
        """
        if not len(points):
            return np.zeros((0, 68, 2), np.float32)
        matrices = similarity(points, self._template, 1.0, pixel_aspect)
        unit = np.stack([affine.apply(m, p) for m, p in zip(matrices, points, strict=True)])
        parts = [
            run_rows(self._session, {self._name: unit[at : at + MAX_BATCH]})[self._output]
            for at in range(0, len(unit), MAX_BATCH)
        ]
        guessed = np.concatenate(parts)
        if guessed.shape != (len(points), 68, 2):
            raise ModelError(
                f"the net of points gives an array of shape {guessed.shape}; "
                f"allowed: {(len(points), 68, 2)}",
                hint="check that the file is the one that the catalogue names",
            )
        return _undone(matrices, guessed)


def _undone(matrices: NDArray[np.float64] | Sequence[NDArray[np.float64]], points: F32) -> F32:
    """Each face's points through the inverse of its matrix."""
    return np.stack(
        [affine.apply(affine.invert(m), p) for m, p in zip(matrices, points, strict=True)]
    )
