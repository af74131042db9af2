"""The rules of following, with a detector and a net that say what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import F32, Colour, Faces, Frames, PixelFormat
from ffswap.geometry.boxes import Detections
from ffswap.geometry.roi import Roi
from ffswap.models import canonical_mesh, get
from ffswap.options import TrackOptions
from ffswap.stages.detect import View
from ffswap.stages.track import SEARCH_AFTER_LOSS_S, FaceTracker, MeshNet

VIEWS = tuple(View(k, 0, 10, 10) for k in range(7))
SHAPE = (canonical_mesh().vertices * [4, -4, -4]).astype(np.float32)


def mesh_at(x: float, y: float = 100.0, scale: float = 1.0) -> F32:
    """A face of about 60 x 70 pixels around a place."""
    return np.asarray(SHAPE * scale + [x, y, 0], np.float32)


def found_at(*places: float) -> Detections:
    """What a detector says of faces around these places (y = 100)."""
    n = len(places)
    box = np.array([[x - 30, 70, x + 30, 130] for x in places], np.float32).reshape(n, 4)
    six = [(-15, -10), (15, -10), (0, 5), (0, 20), (-30, -5), (30, -5)]
    points = np.array([[(x + a, 100 + b) for a, b in six] for x in places], np.float32)
    return Detections(box, points.reshape(n, 6, 2), np.ones(n, np.float32))


class World:
    """Detector and net over faces whose places are a function of the frame.

    Args:
        faces: frame -> {place: score}; the net finds the nearest face to a region.
        jump: frame -> factor by which the net's meshes grow.
    """

    def __init__(
        self,
        faces: Callable[[int], Mapping[float, float]],
        jump: Callable[[int], float] = lambda _: 1.0,
    ) -> None:
        self._faces, self._jump = faces, jump
        self.searched: list[tuple[int, View]] = []

    def views(self, _: Frames) -> tuple[View, ...]:
        return VIEWS

    def __call__(self, frames: Frames, *args: Any) -> Any:
        if len(args) == 1:
            return self._detect(frames, args[0])
        return self._net(frames, *args)

    def _detect(self, frames: Frames, wanted: Sequence[tuple[int, View]]) -> list[Detections]:
        self.searched += [(frames.index + i, view) for i, view in wanted]
        asked = {i for i, _ in wanted}
        return [
            found_at(*self._faces(frames.index + i)) if i in asked else found_at()
            for i in range(len(frames))
        ]

    def _net(self, frames: Frames, i: int, rois: Sequence[Roi]) -> tuple[F32, F32]:
        faces = self._faces(frames.index + i)
        meshes, scores = np.zeros((len(rois), 468, 3), np.float32), np.zeros(len(rois), np.float32)
        for k, roi in enumerate(rois):
            place = min(faces, key=lambda x: abs(x - roi.cx), default=None)
            if place is None:
                meshes[k] = mesh_at(roi.cx)
                continue
            meshes[k] = mesh_at(place, scale=self._jump(frames.index + i))
            scores[k] = faces[place]
        return meshes, scores


def follow(world: World, n: int, fps: int = 10, options: TrackOptions | None = None) -> list[Faces]:
    """One frame per batch, all alike to the cut detector."""
    tracker = FaceTracker(world, world, options or TrackOptions(smooth_hz=0))  # type: ignore[arg-type]
    plane = np.full((200, 320), 100, np.uint8)
    out = []
    for k in range(n):
        frames = Frames(
            [(plane, plane, plane)], PixelFormat("yuv444p", 8, 0, 0), Colour(),
            np.array([k], np.int64), Fraction(1, fps), k,
        )  # fmt: skip
        out.append(tracker(frames))
    return out


def test_the_first_frame_is_searched_whole_and_then_thirds_in_turn():
    world = World(lambda _: {100.0: 1.0})
    follow(world, 13, options=TrackOptions(detect_every_s=0.35))
    by_frame = {k: [v.x for f, v in world.searched if f == k] for k in range(13)}
    assert by_frame[0] == [0, 1, 2, 3, 4, 5, 6]
    assert [by_frame[k] for k in (4, 8, 12)] == [[0, 1, 4], [0, 2, 5], [0, 3, 6]]
    assert all(not by_frame[k] for k in range(13) if k % 4)


def test_after_a_loss_every_second_frame_is_searched_for_a_while():
    world = World(lambda k: {100.0: 1.0} if k < 3 else {})
    follow(world, 20, options=TrackOptions(detect_every_s=100))
    later = [k for k, _ in world.searched if k >= 3]
    assert later
    assert all(np.diff(later) == 2)
    assert max(later) < 3 + SEARCH_AFTER_LOSS_S * 10
    assert len(later) in (2, 3)


def test_a_face_below_the_score_is_lost():
    got = follow(World(lambda k: {100.0: 1.0 if k < 2 else 0.45}), 4)
    assert [len(f) for f in got] == [1, 1, 0, 0]


def test_a_mesh_that_jumps_has_left_its_face():
    # Grown at once to 1.7 times its size: lost, then found again under its old number.
    got = follow(World(lambda _: {100.0: 1.0}, lambda k: 1.7 if k >= 3 else 1.0), 4,
                 options=TrackOptions(detect_every_s=100, smooth_hz=0))  # fmt: skip
    assert [len(f) for f in got[:3]] == [1, 1, 1]
    assert len(got[3]) == 0 or got[3].fresh.all()
    steady = follow(World(lambda _: {100.0: 1.0}, lambda k: 1.05**k), 8)
    assert [f.fresh.tolist() for f in steady[1:]] == [[False]] * 7


def test_two_tracks_on_one_face_become_one():
    # The right face goes; its region then shows the left one.
    got = follow(World(lambda k: {100.0: 1.0, 170.0: 1.0} if k < 3 else {100.0: 1.0}), 6)
    assert [len(f) for f in got] == [2, 2, 2, 1, 1, 1]
    assert got[5].track.tolist() == [0]


def test_of_two_tracks_on_one_face_the_one_that_was_there_keeps_it():
    """The first passes behind the second: its region shows the second's face then."""

    def faces(k: int) -> Mapping[float, float]:
        return {170.0: 1.0} if 3 <= k < 5 else {100.0 + 20 * k if k < 3 else 110.0: 1.0, 170.0: 1.0}

    got = follow(World(faces), 9, options=TrackOptions(detect_every_s=100, smooth_hz=0))
    assert [f.track.tolist() for f in got[:5]] == [[0, 1]] * 3 + [[1]] * 2
    assert got[3].fresh.tolist() == [False]
    # It comes back with its own number, and is in doubt.
    assert sorted(got[-1].track.tolist()) == [0, 1]
    back = next(f for f in got[5:] if len(f) == 2)
    assert back.fresh.tolist() == [False, True]


def test_a_face_whose_track_may_be_that_of_its_neighbour_is_in_doubt():
    """Two that overlap become one: whose it is, nobody can tell."""
    got = follow(World(lambda k: {100.0: 1.0, 138.0: 1.0} if k < 3 else {119.0: 1.0}), 6)
    assert [len(f) for f in got] == [2, 2, 2, 1, 1, 1]
    assert [f.fresh.tolist() for f in got[3:]] == [[True], [False], [False]]


def test_faces_are_shared_out_by_where_they_were():
    """The net finds each in the other's region."""

    class Crossed(World):
        def _net(self, frames: Frames, i: int, rois: Sequence[Roi]) -> tuple[F32, F32]:
            turn = -1 if frames.index + i >= 3 and len(rois) == 2 else 1
            meshes, scores = super()._net(frames, i, rois)
            return meshes[::turn], scores[::turn]

    got = follow(Crossed(lambda _: {100.0: 1.0, 138.0: 1.0}), 6)
    for faces in got:
        assert faces.track.tolist() == [0, 1]
        assert (np.diff(faces.box[:, 0]) > 0).all()


def test_a_mesh_that_is_no_face_takes_nobodys_place():
    """The region of one shows the place of the other, and says that it is not sure."""

    class Doubtful(World):
        def _net(self, frames: Frames, i: int, rois: Sequence[Roi]) -> tuple[F32, F32]:
            meshes, scores = super()._net(frames, i, rois)
            if frames.index + i >= 3 and len(rois) == 2:
                meshes[0], meshes[1] = mesh_at(110.0), mesh_at(122.0)
                scores[0] = 0.2
            return meshes, scores

    got = follow(Doubtful(lambda _: {100.0: 1.0, 138.0: 1.0}), 4)
    assert got[3].track.tolist() == [1]


def test_two_detections_of_one_face_are_one_track():
    class Doubled(World):
        def _detect(self, frames: Frames, _: Any) -> list[Detections]:
            return [found_at(98.0, 104.0) for _ in range(len(frames))]

    got = follow(Doubled(lambda _: {100.0: 1.0}), 3)
    assert [f.track.tolist() for f in got] == [[0]] * 3


def test_faces_that_are_followed_are_not_adopted_again():
    got = follow(World(lambda k: {60.0 + k: 1.0, 200.0 - k: 1.0}), 12)
    assert all(sorted(f.track.tolist()) == [0, 1] for f in got)


class Landmarks:
    """A session whose answer is one point, in pixels counted from the crop's edge."""

    inputs: Mapping[str, Any] = {}

    def __init__(self, point: tuple[float, float, float]) -> None:
        self._point = point

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        (images,) = feeds.values()
        n = len(images)
        answer = np.tile(np.array(self._point, np.float32), (n, 468)).reshape(n, 1, 1, 1404)
        logits = np.array([0.0, 2.0, -2.0][:n], np.float32).reshape(n, 1, 1, 1)
        return dict(zip(get("face_landmark").outputs, (answer, logits), strict=True))


def test_landmarks_are_taken_from_the_crop_to_the_frame():
    size = get("face_landmark").picture.size[0]
    net = MeshNet(Landmarks((size / 2, size / 2 + size / 4, 10.0)), get("face_landmark"))  # type: ignore[arg-type]
    plane = np.full((200, 320), 100, np.uint8)
    frames = Frames(
        [(plane, plane, plane)], PixelFormat("yuv444p", 8, 0, 0), Colour(), np.zeros(1, np.int64),
        Fraction(1, 25),
    )  # fmt: skip
    rois = [Roi(90.0, 70.0, 2.0 * size, 0.0), Roi(90.0, 70.0, size / 2, np.pi / 2)]
    meshes, scores = net(frames, 0, rois)
    # The middle of the crop is the middle of the region; a quarter of its side further down.
    assert meshes[0, 0] == pytest.approx([90, 70 + size / 2, 20.0], abs=1e-3)
    assert meshes[1, 467] == pytest.approx([90 - size / 8, 70, 5.0], abs=1e-3)
    assert scores == pytest.approx([0.5, 1 / (1 + np.exp(-2))], abs=1e-6)
    assert net(frames, 0, [])[0].shape == (0, 468, 3)
