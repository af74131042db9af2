"""Finding faces, put together from options: detectors, landmarkers and the trackers over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..carriers import Faces
from ..errors import OptionError
from ..media import Picture, picture_frames
from ..models.spec import Kind
from ..options import SwapOptions
from ..stages.detect import Detector, FaceDetector
from ..stages.detection_tracker import DetectionTracker
from ..stages.face_swap import Tracker
from ..stages.landmark import CropLandmarker, Landmarker, PointsTo68
from ..stages.net_detect import NetDetector
from ..stages.track import FaceTracker, MeshNet
from .net import Net
from .nets import Nets
from .room import GpuRoom

__all__ = ["FaceFinder", "open_finder", "points_guesser"]

EMBEDDED_DETECTOR = "face_detection_full_range"
EMBEDDED_LANDMARKER = "face_landmark"
_NO_LANDMARKER = "none"
POINTS_GUESSER = "landmarker_fallback"
"""Among the models of a report: what guesses the points of faces in which the landmarker is not sure."""


@dataclass(frozen=True, kw_only=True)
class FaceFinder:
    """Loaded nets that find faces, and the trackers that can be made with them.

    Attributes:
        detector: finds boxes and a few points.
        mesh: the face mesh; None: faces are found anew in every frame, and have no mesh.
        landmarker: 68 points, where there is no mesh.
        points_to_68: makes them of five, where there is no mesh.
        options: of the run.
        names: model by kind.
        room: the GPU on which frames are looked at, or None.
    """

    detector: FaceDetector
    mesh: MeshNet | None
    landmarker: CropLandmarker | None
    points_to_68: PointsTo68 | None
    options: SwapOptions
    names: dict[str, str]
    room: GpuRoom | None = None

    @property
    def embedded_detector(self) -> bool:
        """Whether the detector is the one that comes with ffswap."""
        return self.names["detector"] == EMBEDDED_DETECTOR

    @property
    def has_68_points(self) -> bool:
        """Whether faces come with the 68 points."""
        return self.landmarker is not None or self.points_to_68 is not None

    def tracker(self) -> Tracker:
        """A fresh one, for one clip or picture."""
        if self.mesh is not None:
            return FaceTracker(self.detector, self.mesh, self.options.track)
        return DetectionTracker(
            self.detector, landmarker=self.landmarker, points_to_68=self.points_to_68
        )

    def in_picture(self, picture: Picture) -> Faces:
        """The faces of a still picture, the largest (highest) first."""
        frames, tracker = picture_frames(picture), self.tracker()
        if self.room is None:
            faces = tracker(frames)
        else:
            with self.room.visiting(frames) as there:
                faces = tracker(there)
        height = faces.box[:, 3] - faces.box[:, 1]
        return faces.rows(np.argsort(-height, kind="stable"))


def open_finder(nets: Nets, options: SwapOptions) -> FaceFinder:
    """Load what finding faces with these options needs.

    Raises:
        OptionError: the detector's points are not what the rest needs.
        ModelError: a model is not installed, or its file is not what it should be.
    """
    models = options.models

    def find(asked: str, kind: Kind, embedded: str) -> Net:
        return nets.find(embedded if asked == "auto" else asked, kind)

    net = find(models.detector, "detector", EMBEDDED_DETECTOR)
    detector, spec = _open_detector(nets, net, options), net.spec
    names = {"detector": spec.name}
    mesh, landmarker, points = None, None, None
    if models.landmarker != _NO_LANDMARKER:
        net = find(models.landmarker, "landmarker", EMBEDDED_LANDMARKER)
        found = net.spec
        names["landmarker"] = found.name
        if found.family == "face_mesh":
            mesh = MeshNet(nets.open(net), found)
        elif found.family == "fan_points":
            template = nets.catalog.template(found.template or "")
            points = PointsTo68(nets.open(net), found, template)
        else:
            landmarker = _open_landmarker(nets, net)
            points = points_guesser(nets, names)
    if mesh is None and spec.family == "blazeface":
        raise OptionError(
            f"the detector {spec.name} does not find the corners of the mouth, which everything but "
            f"the face mesh needs; --landmarker is {models.landmarker!r}",
            hint="choose another --detector (`ffswap models list --kind detector`), or leave "
            "--landmarker out",
        )
    return FaceFinder(
        detector=detector, mesh=mesh, landmarker=landmarker, points_to_68=points, options=options,
        names=names, room=nets.room,
    )  # fmt: skip


def _open_detector(nets: Nets, net: Net, options: SwapOptions) -> FaceDetector:
    if net.spec.family == "blazeface":
        return Detector(nets.open(net), net.spec, options.detect)
    angles = options.models.detector_angles
    if nets.room is not None:
        return nets.room.detector(nets.compared(net), options.detect, angles)
    return NetDetector(nets.open(net), net.spec, options.detect, angles)


def _open_landmarker(nets: Nets, net: Net) -> CropLandmarker:
    if nets.room is not None:
        return nets.room.landmarker(nets.compared(net))
    return Landmarker(nets.open(net), net.spec)


def points_guesser(nets: Nets, names: dict[str, str]) -> PointsTo68 | None:
    """68 points of five, for faces in which the landmarker is not sure; if it is installed."""
    for spec in nets.installed("landmarker"):
        if spec.family == "fan_points":
            net = nets.find(spec.name, "landmarker")
            names[POINTS_GUESSER] = spec.name
            return PointsTo68(nets.open(net), spec, nets.catalog.template(spec.template or ""))
    return None
