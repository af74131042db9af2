"""Hands near faces: found in views around the faces, followed from frame to frame and backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Faces, Frames, State
from ..engines import Session
from ..geometry import affine, boxes
from ..geometry.boxes import Detections
from ..geometry.hand import hand_box, hand_size, palm_centre, roi_from_hand, roi_from_palm
from ..geometry.roi import Roi
from ..models import ModelSpec
from .feed import CropNet

__all__ = ["Hand", "HandNet", "HandTracker", "PalmDetector"]

ANCHOR_GRIDS = ((24, 2), (12, 6))
"""(cells per side, anchors per cell) of the palm net. Source: MediaPipe's palm_detection_cpu graph:
strides 8, 16, 16, 16 of 192 pixels, two anchors a cell and layer, all of size 1."""

PALM_SCORE = 0.3
"""Least confidence of a palm, 0 to 1: below MediaPipe's 0.5, because the hand net has to agree."""

PALM_IOU = 0.3
"""Palms whose boxes overlap more than this are one. Source: MediaPipe's palm_detection_cpu."""

PRESENCE = 0.5
"""Least confidence of a hand, 0 to 1. Source: MediaPipe's hand_landmark_cpu."""

KEEP_PRESENCE = 0.3
"""The same for a hand that is followed: one that is known may be less sure for a moment."""

FIRST_PRESENCE = 0.15
"""The same for the first look, in the palm's region: a blurred hand there is often sure only in its
own region (0.33, then 0.96, for example)."""

VIEW = 2.2
"""Side of the view around a face by the longer side of its box: a hand whose palm lies outside it
does not reach over the face."""

SEARCH_EVERY_S = 0.15
SEARCH_EVERY_IDLE_S = 0.25
BUSY_S = 2.0
"""A hand was seen within this time: searched at the shorter interval, else at the longer one."""

CLOCK_TOLERANCE_S = 1e-4
"""Times that differ by less are the same: time stamps are rounded to their time base."""

HANDS_PER_FACE = 2

SAME_HAND = 0.5
"""Two hands whose palm centres are nearer than this many palm lengths are one."""

LARGEST_STEP = 0.9
"""A hand whose palm moved by more palm lengths than this in one frame is another one: the region
in which it is followed reaches about that far."""

LARGEST_GROWTH = 1.6
"""A hand that grew or shrank by more than this from one frame to the next has been lost."""

DEPTH_SCALE = 2.5
"""The net's z is this many times too small. Source: MediaPipe's hand_landmark_cpu (normalize_z)."""


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand in one frame.

    Attributes:
        points: (21, 3) float32: wrist, then four points per finger from the thumb on, root to tip;
            x, y in pixels of the luma plane as stored, z in the same unit with 0 at the wrist,
            smaller is nearer to the camera.
        score: confidence, 0 to 1.
    """

    points: F32
    score: float

    def is_same(self, centre: F32) -> bool:
        """Whether a palm around this point (2,) is this hand's."""
        near = SAME_HAND * hand_size(self.points)
        return bool(np.linalg.norm(palm_centre(self.points) - centre) < near)


class PalmDetector:
    """Palms in square views of frames. Passive: one per thread.

    Args:
        session: of the palm net.
        spec: what the net wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._net = CropNet(session, spec)
        self._size = self._net.size
        self._centres = boxes.anchors(ANCHOR_GRIDS)

    def __call__(self, frames: Frames, wanted: Sequence[tuple[int, F32]]) -> list[Detections]:
        """Search views.

        Args:
            frames: n frames.
            wanted: (index into `frames`, view) pairs; a view is a square (4,), left, top, right,
                bottom in pixels of the luma plane, and may reach outside the frame.

        Returns:
            What each view holds, suppressed: boxes and seven points, pixels of the luma plane.
        """
        places = [(i, self._matrix(frames, view)) for i, view in wanted]
        if not places:
            return []
        outputs = self._net(frames, places, pad_black=True)
        return [
            self._decode(regressors, logits, matrix)
            for (_, matrix), regressors, logits in zip(places, *outputs, strict=True)
        ]

    def _matrix(self, frames: Frames, view: F32) -> NDArray[np.float64]:
        left, top, right, bottom = (float(v) for v in view)
        return affine.letterbox_matrix(
            left, top, right - left, bottom - top, frames.rotation, self._size
        )

    def _decode(self, regressors: F32, logits: F32, matrix: NDArray[np.float64]) -> Detections:
        """Boxes stay squares: the net's boxes are, and a frame is turned by right angles only."""
        found = boxes.decode_anchored(regressors, logits, self._centres, self._size, PALM_SCORE)
        found = boxes.non_maximum_suppression(found, PALM_IOU)
        back = affine.invert(matrix)
        corners = affine.apply(back, found.box.reshape(-1, 2, 2))
        box = np.concatenate([corners.min(1), corners.max(1)], 1)
        return Detections(box, affine.apply(back, found.points), found.score)


class HandNet:
    """The points of a hand in regions of a frame, batched over them. Passive: one per thread.

    Args:
        session: of the hand net.
        spec: what the net wants and gives.
    """

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._net = CropNet(session, spec)

    def __call__(self, frames: Frames, i: int, rois: Sequence[Roi]) -> list[Hand]:
        """A hand per region of frame i, whatever its score."""
        if not rois:
            return []
        matrices = [roi.matrix(self._net.size) for roi in rois]
        landmarks, presence = self._net(frames, [(i, matrix) for matrix in matrices])[:2]
        hands = []
        for row, score, matrix in zip(landmarks, presence.reshape(-1), matrices, strict=True):
            points = row.reshape(-1, 3).astype(np.float32)
            # The net counts from the crop's edge, our pixels from the centre of the first.
            points[:, :2] = affine.apply(affine.invert(matrix), points[:, :2] - 0.5)
            points[:, 2] *= DEPTH_SCALE / affine.scale_of(matrix)
            hands.append(Hand(points, float(score)))
        return hands


class HandTracker:
    """The hands near the faces of a clip. Passive, one per clip; frames come in order.

    Args:
        palm_session: of the palm net.
        palm_spec: what it wants and gives.
        hand_session: of the hand net.
        hand_spec: what it wants and gives.
    """

    def __init__(
        self,
        palm_session: Session,
        palm_spec: ModelSpec,
        hand_session: Session,
        hand_spec: ModelSpec,
    ) -> None:
        self._palms = PalmDetector(palm_session, palm_spec)
        self._net = HandNet(hand_session, hand_spec)
        self._hands: list[Hand] = []
        self._searched_s = -np.inf
        self._seen_s = -np.inf
        self._retry = False

    def state(self) -> State:
        """What the hands in the next frames depend on."""
        return {
            "hands": [asdict(hand) for hand in self._hands],
            "searched_s": self._searched_s,
            "seen_s": self._seen_s,
            "retry": self._retry,
        }

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._hands = [Hand(**one) for one in state["hands"]]
        self._searched_s, self._seen_s = state["searched_s"], state["seen_s"]
        self._retry = state["retry"]

    def __call__(self, frames: Frames, faces: Faces) -> list[list[Hand]]:
        """The hands in the next frames of the clip.

        Args:
            frames: n frames.
            faces: those in these frames.

        Returns:
            n lists; a hand that came between two searches is in those of the frames before it was
            found too, as far back as these frames reach.
        """
        views = [_views(faces, i) for i in range(len(frames))]
        planned = self._plan(frames, faces, views)
        wanted = [(i, view) for i, some in planned.items() for view in some]
        palms: dict[int, list[Detections]] = {i: [] for i in planned}
        for (i, _), found in zip(wanted, self._palms(frames, wanted), strict=True):
            palms[i].append(found)
        result: list[list[Hand]] = []
        for i in range(len(frames)):
            searching = self._retry
            self._follow(frames, i, views[i])
            if searching and i not in palms:
                open_views = self._open(views[i])
                palms[i] = self._palms(frames, [(i, view) for view in open_views])
            new = self._adopt(frames, i, palms.get(i, []), views[i])
            self._look_back(frames, i, new, views, result)
            if self._hands:
                self._seen_s = frames.seconds(i)
            result.append(list(self._hands))
        return result

    def _plan(
        self, frames: Frames, faces: Faces, views: Sequence[Sequence[F32]]
    ) -> dict[int, list[F32]]:
        """Which views of which frames are searched whatever happens.

        The times are counted from the last frame backwards: what comes in between two searches is
        found by looking back, but not beyond these frames.
        """
        now = [frames.seconds(i) for i in range(len(frames))]
        waiting = [i for i, some in enumerate(views) if some]
        chosen = {i for i in waiting if faces.fresh[faces.frame == i].any()}
        every = SEARCH_EVERY_S if now[0] - self._seen_s < BUSY_S else SEARCH_EVERY_IDLE_S
        while waiting and now[waiting[-1]] - self._searched_s > every - CLOCK_TOLERANCE_S:
            at = waiting.pop()
            chosen.add(at)
            while waiting and now[at] - now[waiting[-1]] < every - CLOCK_TOLERANCE_S:
                waiting.pop()
        if chosen:
            self._searched_s = now[max(chosen)]
        return {i: some for i in sorted(chosen) if (some := self._open(views[i]))}

    def _open(self, views: Sequence[F32]) -> list[F32]:
        """The views in which a hand may be missing."""
        return [v for v in views if sum(_touches(h, [v]) for h in self._hands) < HANDS_PER_FACE]

    def _follow(self, frames: Frames, i: int, views: Sequence[F32]) -> None:
        """Every known hand one frame on; the search is repeated after a loss."""
        before = [hand for hand in self._hands if _touches(hand, views)]
        after = self._net(frames, i, [roi_from_hand(hand.points) for hand in before])
        self._hands, self._retry = [], False
        for old, new in zip(before, after, strict=True):
            if not _continues(old, new):
                self._retry = True
            elif _touches(new, views) and not _known(new, self._hands):
                self._hands.append(new)

    def _adopt(
        self, frames: Frames, i: int, palms: Sequence[Detections], views: Sequence[F32]
    ) -> list[Hand]:
        """Palms that are not followed yet become hands, if the hand net agrees."""
        rois = [
            roi_from_palm(box, points)
            for found in palms
            for box, points in zip(found.box, found.points, strict=True)
            if not any(hand.is_same((box[:2] + box[2:]) / 2) for hand in self._hands)
        ]
        first = [hand for hand in self._net(frames, i, rois) if hand.score >= FIRST_PRESENCE]
        # Once more from its own region: there the points and the score are better.
        refined = self._net(frames, i, [roi_from_hand(hand.points) for hand in first])
        new: list[Hand] = []
        for hand in sorted(refined, key=lambda h: -h.score):
            here = self._hands + new
            room = any(
                _touches(hand, [v]) and sum(_touches(h, [v]) for h in here) < HANDS_PER_FACE
                for v in views
            )
            if hand.score >= PRESENCE and room and not _known(hand, here):
                new.append(hand)
        self._hands += new
        return new

    def _look_back(
        self,
        frames: Frames,
        i: int,
        new: Sequence[Hand],
        views: Sequence[Sequence[F32]],
        result: Sequence[list[Hand]],
    ) -> None:
        """Follow new hands of frame i backwards, into the lists of the frames before it."""
        hands = list(new)
        for k in range(i - 1, -1, -1):
            earlier = self._net(frames, k, [roi_from_hand(hand.points) for hand in hands])
            hands = [
                hand
                for later, hand in zip(hands, earlier, strict=True)
                if _continues(later, hand)
                and _touches(hand, views[k])
                and not _known(hand, result[k])
            ]
            if not hands:
                return
            result[k].extend(hands)


def _views(faces: Faces, i: int) -> list[F32]:
    """Squares (4,) around the faces in frame i."""
    found = []
    for box in faces.box[faces.frame == i]:
        middle, half = (box[:2] + box[2:]) / 2, VIEW / 2 * (box[2:] - box[:2]).max()
        found.append(np.concatenate([middle - half, middle + half]).astype(np.float32))
    return found


def _touches(hand: Hand, views: Sequence[F32]) -> bool:
    """Whether the hand's box meets one of these boxes (4,)."""
    box = hand_box(hand.points)
    return any(bool((box[:2] < v[2:]).all() and (box[2:] > v[:2]).all()) for v in views)


def _known(hand: Hand, others: Sequence[Hand]) -> bool:
    centre = palm_centre(hand.points)
    return any(other.is_same(centre) for other in others)


def _continues(old: Hand, new: Hand) -> bool:
    """Whether `new` is a hand, and the one that was `old` in a frame beside."""
    size = hand_size(old.points)
    step = float(np.linalg.norm(palm_centre(new.points) - palm_centre(old.points)))
    growth = roi_from_hand(new.points).size / roi_from_hand(old.points).size
    return (
        new.score >= KEEP_PRESENCE
        and step < LARGEST_STEP * size
        and 1 / LARGEST_GROWTH < growth < LARGEST_GROWTH
    )
