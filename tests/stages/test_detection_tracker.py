"""Following by detection: who is who, and whose points are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import F32, I64, Faces, FrameBatch, Frames
from ffswap.errors import InternalError
from ffswap.geometry.boxes import Detections
from ffswap.options import DetectOptions
from ffswap.stages.detect import View
from ffswap.stages.detection_tracker import DetectionTracker
from ffswap.stages.net_detect import NetDetector
from ffswap.stages.track import REMEMBER_S
from tests.geometry.head_tensors import ENCODERS, face_at
from tests.stages.face_scenes import frames_of
from tests.stages.fake_nets import FakeNet, spec_of

Places = Mapping[str, tuple[float, float]]

FIVE = np.array([(-12, -10), (12, -10), (0, 4), (-9, 18), (9, 18)], np.float32)
SIDE = 60


def found_at(places: Sequence[tuple[float, float]]) -> Detections:
    """Faces of 60 x 60 pixels, their middles at these places."""
    n = len(places)
    middle = np.array(places, np.float32).reshape(n, 2)
    box = np.concatenate([middle - SIDE / 2, middle + SIDE / 2], 1)
    score = np.linspace(0.9, 0.8, n).astype(np.float32)
    return Detections(box, middle[:, None] + FIVE, score)


class World:
    """A detector to which the places of faces are a function of the frame.

    Args:
        faces: of the index of a frame: name and place of each face.
    """

    def __init__(self, faces: Callable[[int], Places]) -> None:
        self.faces = faces
        self.calls: list[list[int]] = []

    def views(self, frames: FrameBatch) -> tuple[View, ...]:
        return (View(0, 0, frames.width, frames.height),)

    def __call__(self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]) -> list[Detections]:
        self.calls.append([frames.index + i for i, _ in wanted])
        return [found_at(list(self.faces(frames.index + i).values())) for i in range(len(frames))]


def clip(
    first: int, last: int, fps: int = 10, shade: Callable[[int], int] = lambda _: 100
) -> Frames:
    pictures = [np.full((96, 128, 3), shade(k), np.uint8) for k in range(first, last)]
    return frames_of(pictures, fps=fps, first=first)


def follow(tracker: DetectionTracker, n: int, batch: int = 4, **how: Any) -> list[Faces]:
    """The faces of each frame."""
    out = []
    for at in range(0, n, batch):
        part = clip(at, min(at + batch, n), **how)
        faces = tracker(part)
        assert (np.diff(faces.frame) >= 0).all()
        out += [faces.rows(faces.frame == i) for i in range(len(part))]
    return out


def histories(world: World, got: Sequence[Faces]) -> dict[str, list[int]]:
    """The numbers that each named face had, in order, without repeats."""
    numbers: dict[str, list[int]] = {}
    for k, faces in enumerate(got):
        for (name, place), row in zip(world.faces(k).items(), range(len(faces)), strict=True):
            assert np.abs((faces.box[row, :2] + faces.box[row, 2:]) / 2 - place).max() < 1e-3
            seen = numbers.setdefault(name, [])
            if not seen or seen[-1] != faces.track[row]:
                seen.append(int(faces.track[row]))
    return numbers


def test_every_frame_is_searched_all_of_a_batch_at_once():
    world = World(lambda _: {"a": (100, 100)})
    got = follow(DetectionTracker(world), 10)
    assert world.calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(faces.score.tolist() == [np.float32(0.9)] for faces in got)


def test_faces_keep_their_numbers_whatever_order_they_are_found_in():
    """Two that change places in the list at every frame."""

    def faces(k: int) -> Places:
        both = {"a": (100.0 + 3 * k, 100.0), "b": (300.0 - 3 * k, 120.0)}
        return both if k % 2 else {name: both[name] for name in ("b", "a")}

    world = World(faces)
    tracker = DetectionTracker(world)
    got = follow(tracker, 12)
    assert histories(world, got) == {"b": [0], "a": [1]}
    assert tracker.faces_seen == 2
    assert [f.fresh.tolist() for f in got] == [[True, True]] + [[False, False]] * 11


@pytest.mark.parametrize("step", [10, 45, 55])
def test_a_fast_face_is_expected_where_its_last_step_leads(step):
    """Also from its first step on, which nothing foretells; and when it stops dead."""
    world = World(lambda k: {"a": (100.0 + step * min(k, 8), 100.0)})
    tracker = DetectionTracker(world)
    assert histories(world, follow(tracker, 12)) == {"a": [0]}
    assert tracker.faces_seen == 1


def test_faces_that_pass_each_other_are_not_exchanged():
    """Each is where the other was one frame before."""
    world = World(lambda k: {"a": (100.0 + 20 * k, 100.0), "b": (320.0 - 20 * k, 100.0)})
    assert histories(world, follow(DetectionTracker(world), 12)) == {"a": [0], "b": [1]}


def test_a_face_that_is_taken_over_by_nearness_is_in_doubt():
    """One leaves while another comes, less than a face away: it may be the same or not."""
    world = World(lambda k: {"a": (100.0, 100.0)} if k < 4 else {"b": (140.0, 100.0)})
    got = follow(DetectionTracker(world), 8)
    assert histories(world, got) == {"a": [0], "b": [0]}
    # Twice: it did not go on as it had come.
    assert [f.fresh.tolist() for f in got] == [
        [True],
        *[[False]] * 3,
        *[[True]] * 2,
        *[[False]] * 2,
    ]


def test_the_next_person_is_somebody_else():
    """One leaves while another comes, more than a face away."""
    world = World(lambda k: {"a": (100.0, 100.0)} if k < 4 else {"b": (170.0, 100.0)})
    got = follow(DetectionTracker(world), 8)
    assert histories(world, got) == {"a": [0], "b": [1]}
    assert got[4].fresh.tolist() == [True]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (8, True), (9, False), (20, False)])
def test_a_lost_face_keeps_its_number_for_a_while(gap, same):
    """At ten frames a second, seen again some pixels off; beside one that stays."""
    assert REMEMBER_S == 1.0

    def faces(k: int) -> Places:
        away = 3 <= k < 3 + gap
        return {"b": (300.0, 100.0)} | ({} if away else {"a": (100.0 + 20 * (k >= 3), 100.0)})

    world = World(faces)
    tracker = DetectionTracker(world)
    got = follow(tracker, 3 + gap + 3)
    numbers = histories(world, got)
    assert numbers == {"b": [0], "a": [1] if same else [1, 2]}
    assert tracker.faces_seen == (2 if same else 3)
    assert [len(f) for f in got[3 : 3 + gap]] == [1] * gap
    assert got[3 + gap].fresh.tolist() == [False, True]
    assert got[4 + gap].fresh.tolist() == [False, False]


def test_a_cut_starts_anew():
    world = World(lambda _: {"a": (100.0, 100.0)})
    tracker = DetectionTracker(world)
    got = follow(tracker, 8, shade=lambda k: 60 if k < 5 else 200)
    assert [f.track.tolist() for f in got] == [[0]] * 5 + [[1]] * 3
    assert [f.fresh.tolist() for f in got] == [[True]] + [[False]] * 4 + [[True]] + [[False]] * 2
    assert tracker.faces_seen == 2


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_do_not_matter(batch):
    def faces(k: int) -> Places:
        a, b = (100.0 + 17 * k, 100.0), (400.0 - 23 * k, 110.0)
        return {"a": a} | ({} if k in (3, 4, 9) else {"b": b})

    one, other = (follow(DetectionTracker(World(faces)), 16, b) for b in (16, batch))
    for x, y in zip(one, other, strict=True):
        assert x.track.tolist() == y.track.tolist()
        assert x.fresh.tolist() == y.fresh.tolist()
        assert (x.points == y.points).all()


def test_frames_at_one_and_the_same_time_do_no_harm():
    world = World(lambda k: {"a": (100.0 + 10 * k, 100.0)})
    pictures = [np.full((96, 128, 3), 100, np.uint8)] * 4
    faces = DetectionTracker(world)(frames_of(pictures, pts=[0, 40, 40, 30]))
    assert faces.track.tolist() == [0, 0, 0, 0]
    assert faces.box[:, 0].tolist() == [70, 80, 90, 100]


def test_nothing_is_smoothed():
    rng = np.random.default_rng(1)
    shake = rng.normal(0, 3, (10, 2))
    world = World(lambda k: {"a": (100 + shake[k, 0], 100 + shake[k, 1])})
    for k, faces in enumerate(follow(DetectionTracker(world), 10)):
        assert np.abs(faces.points[0] - (FIVE + 100 + shake[k])).max() < 1e-4


def test_no_faces_at_all():
    marks: Any = Marks({})
    guess: Any = Guess()
    tracker = DetectionTracker(World(lambda _: {}), points_to_68=guess, landmarker=marks)
    faces = tracker(clip(0, 3))
    assert len(faces) == 0
    assert tracker.faces_seen == 0


def test_a_face_that_cannot_be_aligned_is_left_out():
    """Its points fall together in one frame; the number is kept."""

    class Broken(World):
        def __call__(
            self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]
        ) -> list[Detections]:
            found = super().__call__(frames, wanted)
            found[1].points[0] = found[1].points[0, :1]
            found[2].points[1] = np.nan
            return found

    world = Broken(lambda _: {"a": (100.0, 100.0), "b": (300.0, 100.0)})
    tracker = DetectionTracker(world)
    faces = tracker(clip(0, 4))
    assert faces.frame.tolist() == [0, 0, 1, 2, 3, 3]
    assert faces.track.tolist() == [0, 1, 1, 0, 0, 1]
    assert tracker.faces_seen == 2


def test_a_detector_of_six_points_is_refused():
    class Six(World):
        def __call__(
            self, frames: FrameBatch, wanted: Sequence[tuple[int, View]]
        ) -> list[Detections]:
            (one,) = super().__call__(frames, wanted)
            return [Detections(one.box, np.zeros((1, 6, 2), np.float32), one.score)]

    with pytest.raises(InternalError, match=r"\(6, 2\)"):
        DetectionTracker(Six(lambda _: {"a": (100, 100)}))(clip(0, 1))


def sixty_eight(five: Any, jaw: float = 30.0) -> F32:
    """(n, 68, 2): rings, nose and mouth at the five points, the rest in their middle; the ends of the
    jaw to the left and right of that."""
    out = np.tile(five.mean(1, keepdims=True), (1, 68, 1))
    out[:, 36:42], out[:, 42:48] = five[:, :1], five[:, 1:2]
    out[:, [30, 48, 54]] = five[:, 2:]
    out[:, 0, 0] -= jaw
    out[:, 16, 0] += jaw
    return out.astype(np.float32)


class Marks:
    """A landmarker: points a pixel to the right of the truth.

    Args:
        scores: by index of the frame in its batch; 0.9 for others.
        upside_down: what it gives as points has no alignment.
    """

    def __init__(self, scores: Mapping[int, float], value: float | None = None) -> None:
        self._scores, self._value = scores, value
        self.angles: list[list[int]] = []

    def __call__(self, _: Frames, frame: I64, box: F32, angle: I64) -> tuple[F32, F32]:
        self.angles.append(angle.tolist())
        middle = (box[:, None, :2] + box[:, None, 2:]) / 2
        marks = sixty_eight(middle + FIVE + [1, 0])
        if self._value is not None:
            marks[:] = self._value
        score = [self._scores.get(int(i), 0.9) for i in frame]
        return marks, np.array(score, np.float32)


class Guess:
    """Of 68 points from five.

    Args:
        jaw: half its width; negative: the face is upside down.
    """

    def __init__(self, jaw: float = 30.0) -> None:
        self._jaw = jaw

    def __call__(self, points: F32, pixel_aspect: float) -> F32:
        assert pixel_aspect == 1
        return sixty_eight(points, self._jaw)


def tracker_of(landmarker: Any, guess: Any, **how: Any) -> DetectionTracker:
    world = World(lambda _: {"a": (100.0, 100.0)})
    return DetectionTracker(world, landmarker=landmarker, points_to_68=guess, **how)


def test_points_come_from_the_landmarks_where_these_are_sure():
    """More than the threshold: 0.5 itself is not."""
    faces = tracker_of(Marks({1: 0.2, 2: 0.5, 3: 0.51}), Guess())(clip(0, 4))
    assert faces.landmarks is not None
    for k, sure in enumerate([True, False, False, True]):
        want = FIVE + 100 + ([1, 0] if sure else [0, 0])
        assert np.abs(faces.points[k] - want).max() < 1e-4
        assert np.abs(faces.landmarks[k] - sixty_eight(want[None])[0]).max() < 1e-4
    strict = tracker_of(Marks({}), Guess(), landmark_score=0.95)(clip(0, 1))
    assert np.abs(strict.points[0] - (FIVE + 100)).max() < 1e-4


def test_without_nets_of_landmarks_there_are_none():
    faces = tracker_of(None, None)(clip(0, 2))
    assert faces.landmarks is None
    assert np.abs(faces.points - (FIVE + 100)).max() < 1e-4


def test_guessed_landmarks_leave_the_points_alone():
    faces = tracker_of(None, Guess())(clip(0, 2))
    assert faces.landmarks is not None
    assert np.abs(faces.points - (FIVE + 100)).max() < 1e-4
    assert np.abs(faces.landmarks - sixty_eight(faces.points)).max() < 1e-4


def test_doubtful_landmarks_are_kept_where_nothing_else_is_known():
    faces = tracker_of(Marks({0: 0.1}), None)(clip(0, 1))
    assert faces.landmarks is not None
    assert np.abs(faces.points[0] - (FIVE + 100)).max() < 1e-4
    assert np.abs(faces.landmarks[0, 30] - (FIVE[2] + [101, 100])).max() < 1e-4


@pytest.mark.parametrize("guess", [None, Guess()])
@pytest.mark.parametrize("value", [np.nan, 50.0])
def test_landmarks_that_cannot_be_aligned_are_not_used(guess, value):
    faces = tracker_of(Marks({}, value), guess)(clip(0, 2))
    assert faces.landmarks is not None
    assert np.isfinite(faces.landmarks).all()
    assert np.abs(faces.points - (FIVE + 100)).max() < 1e-4


def test_the_landmarker_is_told_how_the_face_is_turned():
    upright, turned, eyes = Marks({}), Marks({}), Marks({})
    tracker_of(upright, Guess())(clip(0, 2))
    tracker_of(turned, Guess(jaw=-30))(clip(0, 2))
    tracker_of(eyes, None)(clip(0, 2))
    assert (upright.angles, turned.angles, eyes.angles) == ([[0, 0]], [[180, 180]], [[0, 0]])


def test_a_real_detector_is_followed():
    """With a net of the YOLO family behind it, which sees one face."""
    tensors = ENCODERS["yolo_face"]([face_at(20, 30, 40, 50, 0.8)], (64, 96))
    net = FakeNet(lambda _: tensors, outputs=("output0",))
    spec = spec_of("detector", "yolo_face", size=(64, 96))
    tracker = DetectionTracker(NetDetector(net, spec, DetectOptions()))
    faces = tracker(clip(0, 3))
    assert net.batches == [3]
    assert faces.track.tolist() == [0, 0, 0]
    # 128 x 96 becomes 64 x 48.
    assert np.abs(faces.box - [40, 60, 120, 160]).max() < 1e-3
