"""Following faces: a mesh per face and frame, from the region where it was one frame before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Faces, FrameBatch, State
from ..engines import Session
from ..geometry import affine
from ..geometry.boxes import Detections, box_iou
from ..geometry.one_euro import OneEuroFilter
from ..geometry.roi import Roi, face_points, mesh_box, roi_from_keypoints, roi_from_mesh
from ..models import ModelSpec
from ..options import TrackOptions
from .cuts import CutDetector
from .detect import FaceDetector, View
from .feed import CropNet

__all__ = ["FaceTracker", "MeshNet", "still_mesh"]

TILE_SHARES = 3
"""A periodic search takes every third tile in turn (and the whole frame each time): small faces
are picked up within three periods at a third of the cost."""

SEARCH_AFTER_LOSS_S = 0.5
"""After losing a face the whole frame is searched again in every second frame for this long."""

REMEMBER_S = 1.0
"""A face that comes back within this time near its old place keeps its number."""

SAME_FACE_IOU = 0.4
"""Two meshes whose boxes overlap more than this lie on the same face."""

LARGEST_JUMP = 1.6
"""A mesh that grows or shrinks by more than this from one frame to the next has left its face."""


class MeshNet:
    """The face mesh in regions of a frame, batched over the regions. Passive: one per thread.

    Args:
        session: of the landmark net.
        spec: what the net wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._net = CropNet(session, spec)

    def __call__(self, frames: FrameBatch, i: int, rois: Sequence[Roi]) -> tuple[F32, F32]:
        """Meshes (n, 468, 3) in pixels of the luma plane and their confidence (n,), 0 to 1."""
        if not rois:
            return np.zeros((0, 468, 3), np.float32), np.zeros(0, np.float32)
        matrices = [roi.matrix(self._net.size) for roi in rois]
        landmarks, logits = self._net(frames.on_host(), [(i, matrix) for matrix in matrices])
        meshes = landmarks.reshape(len(rois), -1, 3).copy()
        for mesh, matrix in zip(meshes, matrices, strict=True):
            # The net counts from the crop's edge, our pixels from the centre of the first.
            mesh[:, :2] = affine.apply(affine.invert(matrix), mesh[:, :2] - 0.5)
            mesh[:, 2] /= affine.scale_of(matrix)
        presence = 1.0 / (1.0 + np.exp(-logits.reshape(-1)))
        return meshes, presence.astype(np.float32)


@dataclass
class _Track:
    """One face on its way through the clip."""

    number: int
    raw: F32
    score: float
    filter: OneEuroFilter
    seen_s: float
    fresh: bool = True
    smooth: F32 = field(default_factory=lambda: np.zeros((468, 3), np.float32))

    @property
    def box(self) -> F32:
        return mesh_box(self.raw)

    def state(self) -> State:
        plain = {
            name: getattr(self, name) for name in ("number", "score", "seen_s", "fresh")
        }  # fmt: skip
        arrays = {"raw": self.raw.copy(), "smooth": self.smooth.copy()}
        return {**plain, **arrays, "filter": self.filter.state()}


class FaceTracker:
    """All faces of a clip, frame after frame. Passive, one per clip; frames come in order.

    Args:
        detector: finds faces that are not followed yet.
        net: finds the mesh of a face in its region.
        options: how.
    """

    def __init__(self, detector: FaceDetector, net: MeshNet, options: TrackOptions) -> None:
        self._detector, self._net, self._options = detector, net, options
        self._cuts = CutDetector()
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._numbers = 0
        self._next_search_s: float | None = None
        self._share = 0
        self._search_until_s = -np.inf
        self._frame_parity = 0

    @property
    def faces_seen(self) -> int:
        """Different faces so far."""
        return self._numbers

    def state(self) -> State:
        """See `face_swap.Tracker.state`."""
        return {
            "cuts": self._cuts.state(),
            "tracks": [track.state() for track in self._tracks],
            "lost": [track.state() for track in self._lost],
            "numbers": self._numbers,
            "next_search_s": self._next_search_s,
            "share": self._share,
            "search_until_s": self._search_until_s,
            "frame_parity": self._frame_parity,
        }

    def restore(self, state: State) -> None:
        """See `face_swap.Tracker.restore`."""
        self._cuts.restore(state["cuts"])
        self._tracks = [self._track(one) for one in state["tracks"]]
        self._lost = [self._track(one) for one in state["lost"]]
        self._numbers = state["numbers"]
        self._next_search_s, self._share = state["next_search_s"], state["share"]
        self._search_until_s = state["search_until_s"]
        self._frame_parity = state["frame_parity"]

    def _track(self, state: dict[str, Any]) -> _Track:
        smoother = OneEuroFilter(self._options.smooth_hz, self._options.smooth_beta)
        smoother.restore(state["filter"])
        return _Track(**{**state, "filter": smoother})

    def __call__(self, frames: FrameBatch) -> Faces:
        """The faces of the next frames of the clip, meshes smoothed."""
        cuts = self._cuts(frames.on_host())
        planned = self._plan(frames, cuts)
        wanted = [(i, view) for i, views in planned.items() for view in views]
        found = self._detector(frames, wanted)
        rows = [
            self._step(frames, i, cuts[i], found[i] if i in planned else None)
            for i in range(len(frames))
        ]
        return Faces.concatenate(rows)

    def _plan(self, frames: FrameBatch, cuts: list[bool]) -> dict[int, Sequence[View]]:
        """Which views of which frames are searched whatever happens."""
        views = self._detector.views(frames)
        plan: dict[int, Sequence[View]] = {}
        for i, cut in enumerate(cuts):
            now = frames.seconds(i)
            if cut or self._next_search_s is None:
                plan[i] = views
            elif now >= self._next_search_s:
                plan[i] = (views[0], *views[1 + self._share :: TILE_SHARES])
                self._share = (self._share + 1) % TILE_SHARES
            else:
                continue
            self._next_search_s = now + self._options.detect_every_s
        return plan

    def _step(self, frames: FrameBatch, i: int, cut: bool, found: Detections | None) -> Faces:
        """One frame: follow, forget, find."""
        now = frames.seconds(i)
        if cut:
            self._tracks, self._lost = [], []
        self._follow(frames, i, now)
        self._frame_parity ^= 1
        if found is None and now < self._search_until_s and self._frame_parity:
            found = self._detector(frames, [(i, self._detector.views(frames)[0])])[i]
        if found is not None and len(found):
            self._adopt(frames, i, now, found)
        self._lost = [t for t in self._lost if now - t.seen_s < REMEMBER_S]
        return self._rows(i)

    def _follow(self, frames: FrameBatch, i: int, now: float) -> None:
        if not self._tracks:
            return
        meshes, scores = self._net(frames, i, [roi_from_mesh(t.raw) for t in self._tracks])
        boxes = np.stack([mesh_box(mesh) for mesh in meshes])
        overlap = np.stack([box_iou(track.box, boxes) for track in self._tracks])
        sure = (scores >= self._options.score) & np.isfinite(boxes).all(1)
        owned = _shared_out(overlap, boxes, sure)
        kept: list[_Track] = []
        for t, track in enumerate(self._tracks):
            m = owned.get(t)
            if m is None or not _same_size(track.raw, meshes[m]):
                self._lost.append(track)
                self._search_until_s = now + SEARCH_AFTER_LOSS_S
                continue
            rivals = np.flatnonzero(overlap[:, m] > SAME_FACE_IOU)
            track.fresh = any(int(other) not in owned for other in rivals)
            self._update(track, meshes[m], float(scores[m]), now)
            kept.append(track)
        self._tracks = kept

    def _update(self, track: _Track, mesh: F32, score: float, now: float) -> None:
        size = roi_from_mesh(mesh, 1.0).size
        track.smooth = track.filter(mesh, size, now - track.seen_s)
        track.raw, track.score, track.seen_s = mesh, score, now

    def _adopt(self, frames: FrameBatch, i: int, now: float, found: Detections) -> None:
        """Faces found that are not followed yet become tracks, if the mesh net agrees."""
        middle = (found.box[:, :2] + found.box[:, 2:]) / 2
        known = np.zeros(len(found), bool)
        for track in self._tracks:
            low, high = track.box[:2], track.box[2:]
            known |= ((middle > low) & (middle < high)).all(1)
        rois = [roi_from_keypoints(p) for p in found.points[~known]]
        meshes, scores = self._net(frames, i, rois)
        sure = np.flatnonzero(scores >= self._options.score)
        meshes, scores = self._net(frames, i, [roi_from_mesh(meshes[k]) for k in sure])
        for mesh, score in zip(meshes, scores, strict=True):
            box = mesh_box(mesh)
            if score < self._options.score or self._taken(box):
                continue
            number = self._number_for(box)
            smoother = OneEuroFilter(self._options.smooth_hz, self._options.smooth_beta)
            track = _Track(number, mesh, float(score), smoother, now)
            self._update(track, mesh, float(score), now)
            self._tracks.append(track)

    def _taken(self, box: F32) -> bool:
        return any(box_iou(box, t.box[None])[0] > SAME_FACE_IOU for t in self._tracks)

    def _number_for(self, box: F32) -> int:
        """That of a face lost nearby a moment ago, or a new one."""
        for track in reversed(self._lost):
            near = np.abs(box - track.box).max() < (track.box[2:] - track.box[:2]).max()
            if near:
                self._lost = [t for t in self._lost if t is not track]
                return track.number
        self._numbers += 1
        return self._numbers - 1

    def _rows(self, i: int) -> Faces:
        tracks = self._tracks
        if not tracks:
            return Faces.empty()
        mesh = np.stack([t.smooth for t in tracks]).astype(np.float32)
        faces = Faces(
            frame=np.full(len(tracks), i, np.int64),
            track=np.array([t.number for t in tracks], np.int64),
            score=np.array([t.score for t in tracks], np.float32),
            box=np.stack([mesh_box(m) for m in mesh]),
            points=np.stack([face_points(m) for m in mesh]).astype(np.float32),
            mesh=mesh,
            fresh=np.array([t.fresh for t in tracks], np.bool_),
        )
        for track in tracks:
            track.fresh = False
        return faces


def _same_size(old: F32, new: F32) -> bool:
    """Whether a mesh may be that of the same face one frame later."""
    jump = roi_from_mesh(new).size / roi_from_mesh(old).size
    return 1 / LARGEST_JUMP < jump < LARGEST_JUMP


def _shared_out(overlap: F32, boxes: F32, sure: NDArray[np.bool_]) -> dict[int, int]:
    """Index of the mesh by that of its track, where faces cross: the likeliest pair first.

    A track takes the mesh that was found where it was, or one that overlaps with it as the same
    face does. A mesh on a face that is taken already goes to nobody.

    Args:
        overlap: (n, n) of each track's last place with each of the meshes.
        boxes: (n, 4) of the meshes.
        sure: (n,) which of the meshes are those of faces; the others go to nobody.
    """
    allowed = (np.eye(len(boxes), dtype=bool) | (overlap > SAME_FACE_IOU)) & sure
    pairs = sorted(zip(*np.nonzero(allowed), strict=True), key=lambda pair: -overlap[pair])
    owned: dict[int, int] = {}
    for track, mesh in pairs:
        taken = boxes[list(owned.values())] if owned else np.zeros((0, 4), np.float32)
        if int(track) not in owned and not (box_iou(boxes[mesh], taken) > SAME_FACE_IOU).any():
            owned[int(track)] = int(mesh)
    return owned


def still_mesh(detector: FaceDetector, net: MeshNet, frames: FrameBatch, score: float) -> F32:
    """Meshes (n, 468, 3) of the faces in one still frame, refined, largest first."""
    found = detector(frames, [(0, view) for view in detector.views(frames)])[0]
    meshes, scores = net(frames, 0, [roi_from_keypoints(p) for p in found.points])
    for _ in range(2):
        meshes, scores = net(frames, 0, [roi_from_mesh(m) for m in meshes[scores >= score]])
    kept: list[F32] = []
    for mesh in sorted(meshes[scores >= score], key=lambda m: -np.ptp(m[:, 1])):
        box = mesh_box(mesh)
        if all(box_iou(box, mesh_box(k)[None])[0] <= SAME_FACE_IOU for k in kept):
            kept.append(mesh)
    return np.stack(kept) if kept else np.zeros((0, 468, 3), np.float32)
