"""Putting the stages of a swap together from models and options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from ..engines import OrtCpuSession, Session
from ..errors import DeviceError, NoFaceError
from ..geometry.face_mesh import FaceMesh
from ..media import Picture, picture_frames
from ..models import ModelSpec, canonical_mesh, embedded_bytes, get
from ..options import SwapOptions
from ..stages.choose import FaceChooser
from ..stages.detect import Detector
from ..stages.face_swap import FaceSwap
from ..stages.hands import HandTracker
from ..stages.mesh_swap import MeshSource, MeshSwapper
from ..stages.track import FaceTracker, MeshNet, still_mesh
from .plan import EMBEDDED_SWAPPER

__all__ = ["Chain", "open_chain", "resolve_device"]

DETECTOR = "face_detection_full_range"
LANDMARKER = "face_landmark"
PALM_DETECTOR = "palm_detection"
HAND_LANDMARKER = "hand_landmark"


def resolve_device(device: str) -> str:
    """The device that a swap will run on.

    Raises:
        DeviceError: the one that was asked for is not available.
    """
    if device.startswith("cuda"):
        raise DeviceError(
            f"device {device!r} was asked for; this version of ffswap computes on: cpu",
            hint="use --device auto or --device cpu",
        )
    return "cpu"


class Chain:
    """Loaded nets, and the swaps that can be made with them.

    Args:
        detector: finds faces.
        net: the face mesh.
        hands: sessions and specs of the palm and the hand net; None: hands are painted over.
        options: of the run.
    """

    model = EMBEDDED_SWAPPER

    def __init__(
        self,
        detector: Detector,
        net: MeshNet,
        hands: tuple[Session, ModelSpec, Session, ModelSpec] | None,
        options: SwapOptions,
    ) -> None:
        self._detector, self._net, self._hands, self._options = detector, net, hands, options
        mesh = canonical_mesh()
        weights = np.zeros(len(mesh.vertices), np.float32)
        weights[mesh.procrustes_index] = mesh.procrustes_weight
        self._mesh = FaceMesh(mesh.vertices, mesh.uv, mesh.triangles, weights)

    def source(self, picture: Picture, name: str) -> tuple[MeshSource, tuple[str, ...]]:
        """The largest face of a portrait, and what the user should know about the choice.

        Raises:
            NoFaceError: there is none.
        """
        frames = picture_frames(picture)
        meshes = still_mesh(self._detector, self._net, frames, self._options.track.score)
        if not len(meshes):
            height, width = picture.rgb.shape[:2]
            raise NoFaceError(
                f"no face was found in this picture of {width}x{height} pixels",
                file=name,
                hint="give a sharp portrait that shows one face from the front, "
                "at least 64 pixels high",
            )
        warnings = []
        if len(meshes) > 1:
            warnings.append(f"{name}: {len(meshes)} faces were found; the largest is used")
        rgb = picture.rgb.astype(np.float32) / np.float32(255)
        return MeshSource(self._mesh, rgb, meshes[0]), tuple(warnings)

    def swap(self, source: MeshSource) -> FaceSwap:
        """A fresh swap, for one clip or picture."""
        tracker = FaceTracker(self._detector, self._net, self._options.track)
        swapper = MeshSwapper(source, self._options.mesh)
        hands = None if self._hands is None else HandTracker(*self._hands)
        return FaceSwap(tracker, FaceChooser(self._options.faces), swapper, hands)


@contextmanager
def open_chain(options: SwapOptions) -> Iterator[Chain]:
    """Load what a swap with these options needs; freed at the end of the block."""
    with ExitStack() as stack:

        def load(name: str) -> tuple[Session, ModelSpec]:
            spec = get(name)
            return stack.enter_context(OrtCpuSession(embedded_bytes(spec), name=name)), spec

        detector = Detector(*load(DETECTOR), options.detect)
        net = MeshNet(*load(LANDMARKER))
        hands = None
        if options.mesh.keep_occluders:
            hands = (*load(PALM_DETECTOR), *load(HAND_LANDMARKER))
        yield Chain(detector, net, hands, options)
