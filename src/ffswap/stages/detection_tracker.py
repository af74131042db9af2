"""Following faces by detection alone: every frame is searched, and overlap tells who is who."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, I64, Faces, FrameBatch, State
from ..errors import InternalError
from ..geometry.boxes import Detections, box_iou
from ..geometry.landmarks import eye_angle, face_angle, five_of
from ..geometry.similarity import is_alignable
from .cuts import CutDetector
from .detect import FaceDetector
from .landmark import CropLandmarker, PointsTo68
from .track import REMEMBER_S

__all__ = ["FOLLOW_IOU", "DetectionTracker"]

FOLLOW_IOU = 0.3
"""A box that overlaps more than this with the place where a face is expected is that face: a box
that is off by a quarter of its side each way still does, and one of the next person, a box further,
does not."""


@dataclass
class _Track:
    """One face on its way through the clip."""

    number: int
    box: F32
    seen_s: float
    speed: F32 = field(default_factory=lambda: np.zeros(2, np.float32))

    def expected(self, now: float) -> F32:
        """Where it would be if it went on as in its last step."""
        way = self.speed * np.float32(now - self.seen_s)
        return np.asarray(self.box + np.concatenate([way, way]), np.float32)

    def move(self, box: F32, now: float) -> None:
        """It was found again."""
        way = (box[:2] + box[2:] - self.box[:2] - self.box[2:]) / 2
        passed = now - self.seen_s
        # Broken files have frames at one and the same time.
        self.speed = way / np.float32(passed) if passed > 0 else np.zeros(2, np.float32)
        self.box, self.seen_s = box, now


class DetectionTracker:
    """All faces of a clip, frame after frame. Passive, one per clip; frames come in order.

    Every frame is searched, all frames of a batch in one run, and the landmark nets see all their
    faces in one run. Nothing is smoothed, as in the published chain, and no `TrackOptions` apply:
    neither their cut-off nor the time between searches nor the score of the mesh net.

    A face keeps its number while its box overlaps with the place where its last step leads, or
    lies near the last one; also when it was not seen for less than `track.REMEMBER_S`. A cut starts anew.
    A face whose points cannot be aligned is left out.

    Args:
        detector: one that finds five points.
        landmarker: finds 68 points in the picture, or None.
        points_to_68: guesses them from five, or None.
        landmark_score: the landmarker's points are used where they are surer than this, 0 to 1.
    """

    def __init__(
        self,
        detector: FaceDetector,
        *,
        landmarker: CropLandmarker | None = None,
        points_to_68: PointsTo68 | None = None,
        landmark_score: float = 0.5,
    ) -> None:
        self._detector, self._landmarker, self._guess = detector, landmarker, points_to_68
        self._landmark_score = landmark_score
        self._cuts = CutDetector()
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._numbers = 0

    @property
    def faces_seen(self) -> int:
        """Different faces so far."""
        return self._numbers

    def state(self) -> State:
        """See `face_swap.Tracker.state`."""
        return {
            "cuts": self._cuts.state(),
            "tracks": [asdict(track) for track in self._tracks],
            "lost": [asdict(track) for track in self._lost],
            "numbers": self._numbers,
        }

    def restore(self, state: State) -> None:
        """See `face_swap.Tracker.restore`."""
        self._cuts.restore(state["cuts"])
        self._tracks = [_Track(**one) for one in state["tracks"]]
        self._lost = [_Track(**one) for one in state["lost"]]
        self._numbers = state["numbers"]

    def __call__(self, frames: FrameBatch) -> Faces:
        """The faces of the next frames of the clip.

        Returns:
            By falling score within a frame. `points` are five of the landmarker's 68 where it is
            sure, else the detector's own. `landmarks` are the landmarker's where it is sure, else
            guessed from the five; without `points_to_68` the landmarker's all the same; None without
            both.

        Raises:
            ModelError: a net's tensors are not those of its family.
        """
        cuts = self._cuts(frames.on_host())
        views = self._detector.views(frames)
        found = self._detector(frames, [(i, view) for i in range(len(frames)) for view in views])
        found = [_alignable(one) for one in found]
        frame = np.repeat(np.arange(len(frames)), [len(one) for one in found]).astype(np.int64)
        box = np.concatenate([one.box for one in found])
        points, landmarks = self._described(
            frames, frame, box, np.concatenate([one.points for one in found])
        )
        who = [
            self._step(frames.seconds(i), cut, one.box)
            for i, (cut, one) in enumerate(zip(cuts, found, strict=True))
        ]
        if not len(frame):
            return Faces.empty()
        return Faces(
            frame=frame,
            track=np.concatenate([numbers for numbers, _ in who]),
            score=np.concatenate([one.score for one in found]),
            box=box,
            points=points,
            fresh=np.concatenate([fresh for _, fresh in who]),
            landmarks=landmarks,
        )

    def _described(
        self, frames: FrameBatch, frame: I64, box: F32, points: F32
    ) -> tuple[F32, F32 | None]:
        """The five points and the 68 of all faces of a batch."""
        guessed = None if self._guess is None else self._guess(points, frames.pixel_aspect)
        if self._landmarker is None:
            return points, guessed
        angle = eye_angle(points) if guessed is None else face_angle(guessed)
        seen, score = self._landmarker(frames, frame, box, angle)
        five = five_of(seen)
        whole: NDArray[np.bool_] = np.asarray(np.isfinite(seen).all((1, 2)))
        sure = (score > self._landmark_score) & whole & is_alignable(five)
        chosen = np.where(sure[:, None, None], five, points)
        if guessed is None:
            # What is no number would break whoever draws it; one place for all draws nothing.
            return chosen, np.where(whole[:, None, None], seen, points[:, 2:3])
        return chosen, np.where(sure[:, None, None], seen, guessed)

    def _step(self, now: float, cut: bool, box: F32) -> tuple[I64, NDArray[np.bool_]]:
        """The numbers of the faces of the next frame, (n,), and which of them are in doubt.

        In doubt is who has no past, and who was taken for a track by nearness alone: where faces
        cross it may be that of a neighbour.
        """
        if cut:
            self._tracks, self._lost = [], []
        self._lost = [track for track in self._lost if now - track.seen_s < REMEMBER_S]
        owner: dict[int, _Track] = {}
        overlap = [box_iou(track.expected(now), box) for track in self._tracks]
        _pair(owner, self._tracks, overlap, FOLLOW_IOU)
        sure = set(owner)
        # Whom no overlap tells: who just appeared and moves fast, who stopped, who was away.
        followed = {id(track) for track in owner.values()}
        others = [t for t in (*self._tracks, *reversed(self._lost)) if id(t) not in followed]
        _pair(owner, others, [_nearness(track.box, box) for track in others], 0.0)
        past = {id(track) for track in self._tracks}
        for k, one in enumerate(box):
            if k not in owner:
                owner[k] = _Track(self._numbers, one, now)
                self._numbers += 1
            elif id(owner[k]) in past:
                owner[k].move(one, now)
            else:
                owner[k] = _Track(owner[k].number, one, now)
        fresh = np.array([k not in sure for k in range(len(box))], bool)
        kept = {track.number for track in owner.values()}
        self._lost = [t for t in (*self._lost, *self._tracks) if t.number not in kept]
        self._tracks = [owner[k] for k in range(len(box))]
        return np.array([track.number for track in self._tracks], np.int64), fresh


def _alignable(found: Detections) -> Detections:
    """Without the faces that no net could be shown."""
    if found.points.shape[1:] != (5, 2):
        raise InternalError(f"a detector with points of shape {found.points.shape[1:]}, not (5, 2)")
    return found.rows(np.flatnonzero(is_alignable(found.points)))


def _nearness(old: F32, new: F32) -> F32:
    """1 where a box lies as before, 0 and less where an edge is off by its larger side."""
    side = max(float((old[2:] - old[:2]).max()), 1.0)
    return np.asarray(1 - np.abs(new - old).max(1) / side, np.float32)


def _pair(
    owner: dict[int, _Track], tracks: Sequence[_Track], likeness: Sequence[F32], least: float
) -> None:
    """Give boxes to tracks, the likeliest pair first, while it is likelier than `least`.

    Args:
        owner: track by index of its box; what is there stays, and pairs are added.
        tracks: that have no box yet.
        likeness: for each of them, with each of the boxes.
        least: see above.
    """
    if not tracks:
        return
    table = np.stack(likeness)
    table[:, list(owner)] = -np.inf
    while table.size:
        t, k = np.unravel_index(int(np.argmax(table)), table.shape)
        if not table[t, k] > least:
            return
        owner[int(k)] = tracks[int(t)]
        table[t], table[:, k] = -np.inf, -np.inf
