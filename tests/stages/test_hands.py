"""The tracker of hands with nets whose answers are scripted by the frame's number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32, Colour, Faces, Frames, PixelFormat
from ffswap.geometry.hand import palm_centre, roi_from_hand
from ffswap.models import get
from ffswap.stages.hands import Hand, HandNet, HandTracker, PalmDetector

FORMAT = PixelFormat("yuv420p", 8, 1, 1)
PALM, HAND = get("palm_detection"), get("hand_landmark")
SIZE = (240, 320)  # height, width
FACE = (110.0, 70.0, 210.0, 170.0)  # its view, 2.2 times as large, is 220 pixels wide


def frames_of(numbers: Sequence[int], rotation: int = 0, every: int = 1) -> Frames:
    """Frames at 24 a second whose grey is their number in the clip."""
    grey = np.full(FORMAT.chroma_shape(*SIZE), 128, np.uint8)
    planes = [(np.full(SIZE, 16 + n, np.uint8), grey, grey.copy()) for n in numbers]
    pts = np.array(numbers, np.int64) * every
    return Frames(planes, FORMAT, Colour(), pts, Fraction(1, 24), numbers[0], rotation)


def faces_of(rows: Sequence[int], box: Sequence[float] = FACE) -> Faces:
    """One face in each of these frames of a batch."""
    n = len(rows)
    return Faces(
        frame=np.array(rows, np.int64),
        track=np.zeros(n, np.int64),
        score=np.ones(n, np.float32),
        box=np.tile(np.array(box, np.float32), (n, 1)),
        points=np.zeros((n, 5, 2), np.float32),
        mesh=np.zeros((n, 468, 3), np.float32),
        fresh=np.zeros(n, np.bool_),
    )


def canonical_hand() -> F32:
    """(63,) in pixels of 224, where the region taken from it is the whole crop again."""
    points = np.zeros((21, 3), np.float32)
    points[0, :2] = 50, 200
    for k in range(4):
        points[1 + k, :2] = 20 - 10 * k, 180 - 20 * k
        for finger in range(4):
            points[5 + 4 * finger + k, :2] = 30 + 20 * finger, 100 - 25 * k
    matrix = roi_from_hand(points).matrix(224)
    points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2] + 0.5
    return points.reshape(-1)


def numbers_of(images: NDArray[Any]) -> list[int]:
    """Frames that crops (n, 3, s, s) 0..1 were taken from."""
    middle = images.shape[2] // 2
    return [int(v) for v in np.round(images[:, 0, middle, middle] * 219)]


class Net:
    """A session with a script."""

    inputs: Mapping[str, Any] = {}

    def __init__(self, answer: Callable[[int], dict[str, F32]]) -> None:
        self.answer = answer
        self.seen: list[int] = []

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        numbers = numbers_of(feeds["image"])
        self.seen += numbers
        rows = [self.answer(n) for n in numbers]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def palm_net(visible: Collection[int], places: Sequence[tuple[float, float]] = ((96, 96),)) -> Net:
    """Sees palms of side 30, upright, around these places of its input in these frames."""

    def answer(number: int) -> dict[str, F32]:
        boxes = np.zeros((2016, 18), np.float32)
        scores = np.full((2016, 1), -20, np.float32)
        for x, y in places if number in visible else ():
            row, column = int(y // 16), int(x // 16)
            anchor = 24 * 24 * 2 + (row * 12 + column) * 6 + 3
            offset = np.array([x - (column + 0.5) * 16, y - (row + 0.5) * 16])
            points = np.zeros((7, 2))
            points[0, 1], points[2, 1] = 15, -15
            boxes[anchor] = [*offset, 30, 30, *(points + offset).ravel()]
            scores[anchor] = 3
        return {"boxes": boxes, "scores": scores}

    return Net(answer)


def hand_net(present: Collection[int]) -> Net:
    points = canonical_hand()

    def answer(number: int) -> dict[str, F32]:
        score = 0.9 if number in present else 0.05
        return {
            "landmarks": points,
            "presence": np.array([score], np.float32),
            "handedness": np.zeros(1, np.float32),
            "world": points,
        }

    return Net(answer)


def tracker_of(palm: Any, hand: Any) -> HandTracker:
    return HandTracker(palm, PALM, hand, HAND)


def run(tracker: HandTracker, count: int, batch: int) -> list[list[Hand]]:
    found: list[list[Hand]] = []
    for start in range(0, count, batch):
        numbers = list(range(start, min(start + batch, count)))
        found += tracker(frames_of(numbers), faces_of(range(len(numbers))))
    return found


def where(found: Sequence[list[Hand]]) -> list[int]:
    return [i for i, hands in enumerate(found) if hands]


def test_palms_are_decoded_at_their_anchors():
    detector: Any = PalmDetector(palm_net([0], [(30, 50), (120, 100)]), PALM)  # type: ignore[arg-type]
    view = np.array([10, 20, 106, 116], np.float32)  # half the size of the input
    found = detector(frames_of([0]), [(0, view)])[0]
    assert len(found) == 2
    found = found.rows(np.argsort(found.box[:, 0]))
    # An edge at e of the input is the pixel e - 0.5, and the view begins half a pixel before 10.
    for box, (x, y) in zip(found.box, [(30, 50), (120, 100)], strict=True):
        middle = 10 - 0.5 + x / 2, 20 - 0.5 + y / 2
        assert ((box[:2] + box[2:]) / 2).tolist() == pytest.approx(middle, abs=1e-3)
        assert (box[2:] - box[:2]).tolist() == pytest.approx((15, 15), abs=1e-3)
    wrist, middle_finger = found.points[0, 0], found.points[0, 2]
    assert (wrist - middle_finger).tolist() == pytest.approx((0, 15), abs=1e-3)


def test_palms_of_frames_that_are_stored_turned():
    detector: Any = PalmDetector(palm_net([0]), PALM)  # type: ignore[arg-type]
    found = detector(frames_of([0], rotation=90), [(0, np.array([10, 20, 202, 212], np.float32))])
    # Upright is a quarter counter-clockwise from stored: up in the view is right as stored.
    wrist, middle = found[0].points[0, 0], found[0].points[0, 2]
    assert (middle - wrist).tolist() == pytest.approx((30, 0), abs=1e-3)


def test_many_views_go_in_parts():
    net = palm_net([])
    detector: Any = PalmDetector(net, PALM)  # type: ignore[arg-type]
    view = np.array([0, 0, 100, 100], np.float32)
    assert [len(f) for f in detector(frames_of([3]), [(0, view)] * 20)] == [0] * 20
    assert len(net.seen) == 20


def test_points_come_back_to_the_frame():
    net: Any = HandNet(hand_net([0]), HAND)  # type: ignore[arg-type]
    palm_up = canonical_hand().reshape(21, 3)
    roi = roi_from_hand(palm_up)
    hand = net(frames_of([0]), 0, [roi])[0]
    assert hand.score == pytest.approx(0.9)
    np.testing.assert_allclose(hand.points[:, :2], palm_up[:, :2], atol=0.6)
    assert roi_from_hand(hand.points).size == pytest.approx(roi.size, rel=1e-4)
    assert net(frames_of([0]), 0, []) == []


def test_without_faces_no_net_is_asked():
    palm, hand = palm_net(range(99)), hand_net(range(99))
    tracker = tracker_of(palm, hand)
    assert tracker(frames_of(range(16)), Faces.empty()) == [[] for _ in range(16)]
    assert palm.seen == hand.seen == []


def test_a_hand_that_comes_between_searches_is_found_from_its_first_frame():
    palm, hand = palm_net(range(5, 99)), hand_net(range(5, 99))
    found = run(tracker_of(palm, hand), 16, 16)
    assert where(found) == list(range(5, 16))
    assert max(map(len, found)) == 1
    assert palm.seen == sorted(palm.seen)
    assert palm.seen[-1] == 15  # what comes late is found too
    assert len(palm.seen) <= 4  # 0.67 s at 0.25 s


def test_a_hand_that_only_the_last_frame_shows_is_found():
    found = run(tracker_of(palm_net([15]), hand_net([15])), 16, 16)
    assert where(found) == [15]


@pytest.mark.parametrize("batch", [1, 3, 8, 16])
def test_batches_have_no_seams(batch: int):
    present = range(20, 90)
    palm, hand = palm_net(present), hand_net(present)
    found = run(tracker_of(palm, hand), 100, batch)
    got = where(found)
    assert got == list(range(got[0], 90))
    assert 20 <= got[0] < 20 + max(7 - batch, 1)  # searched every 6 frames, looked back a batch
    assert max(map(len, found)) == 1
    # Once per frame to follow, a few to find it, to look back and to lose it.
    assert len(hand.seen) <= 70 + 2 + 8
    assert len(palm.seen) <= 100 / 3 + 2


def test_searches_are_rare_when_nothing_is_there():
    palm, hand = palm_net([]), hand_net([])
    assert where(run(tracker_of(palm, hand), 96, 16)) == []
    assert len(palm.seen) <= 4 * 5  # 4 s at 0.25 s, and one at the end of each batch
    assert hand.seen == []


def test_every_clip_time_counts_not_the_number_of_frames():
    palm = palm_net([])
    tracker = tracker_of(palm, hand_net([]))
    tracker(frames_of(range(10), every=24), faces_of(range(10)))  # one frame a second
    assert palm.seen == list(range(10))


def test_after_a_loss_the_next_frame_is_searched_once():
    palm, hand = palm_net([0, 1]), hand_net([0, 1])
    tracker = tracker_of(palm, hand)
    assert where(tracker(frames_of([0, 1]), faces_of([0, 1]))) == [0, 1]
    assert palm.seen == [1]
    assert where(tracker(frames_of([2, 3, 4]), faces_of(range(3)))) == []
    assert palm.seen == [1, 3]


def test_loss_in_the_last_frame_is_made_good_in_the_next_batch():
    palm, hand = palm_net(range(99)), hand_net([0, 1, 2, 4, 5])
    tracker = tracker_of(palm, hand)
    found = tracker(frames_of([0]), faces_of([0]))
    found += tracker(frames_of([1, 2, 3]), faces_of(range(3)))
    assert palm.seen == [0]
    found += tracker(frames_of([4]), faces_of([0]))
    assert where(found) == [0, 1, 2, 4]
    assert palm.seen == [0, 4]


def test_what_only_the_palm_net_sees_is_no_hand():
    found = run(tracker_of(palm_net(range(99)), hand_net([])), 16, 16)
    assert where(found) == []


def test_two_hands_at_most_near_one_face():
    places = [(30, 100), (96, 100), (160, 100)]
    palm, hand = palm_net(range(99), places), hand_net(range(99))
    tracker = tracker_of(palm, hand)
    found = run(tracker, 16, 16)
    assert [len(hands) for hands in found] == [2] * 16
    centres = [palm_centre(h.points)[0] for h in found[0]]
    assert abs(centres[0] - centres[1]) > 40
    palm.seen.clear()
    assert len(tracker(frames_of(range(16, 32)), faces_of(range(16)))[-1]) == 2
    assert palm.seen == []  # both are known: nothing is searched


def test_a_hand_is_dropped_when_no_face_is_near():
    palm, hand = palm_net([0]), hand_net(range(99))
    tracker = tracker_of(palm, hand)
    assert len(tracker(frames_of([0]), faces_of([0]))[0]) == 1
    far = (900.0, 700.0, 1000.0, 800.0)
    assert tracker(frames_of([1, 2]), faces_of([0, 1], far)) == [[], []]
    assert len(hand.seen) == 2  # twice when found, never after that


def test_two_palms_of_one_hand_give_one_hand():
    points = canonical_hand().reshape(21, 3)
    hand = Hand(points, 1.0)
    length = np.linalg.norm(points[9] - points[0])
    assert hand.is_same(palm_centre(points) + np.float32(0.3 * length))
    assert not hand.is_same(palm_centre(points) + np.float32(0.5 * length))


@pytest.mark.parametrize(
    ("scale", "shift", "follows"), [(1, 0.5, True), (1, 1.2, False), (1.4, 0, True), (2, 0, False)]
)
def test_a_jump_ends_a_hand(scale: float, shift: float, follows: bool):
    """The hand net moves its answer from frame 1 on."""
    palm, hand = palm_net([0]), hand_net(range(99))
    steady = hand.answer

    def jumping(number: int) -> dict[str, F32]:
        out = steady(number)
        points = out["landmarks"].reshape(21, 3).copy()
        length = np.linalg.norm(points[9] - points[0])
        points = (points - points.mean(0)) * scale + points.mean(0)
        points[:, 0] += shift * length
        return out | {"landmarks": points.reshape(-1)} if number else out

    hand.answer = jumping
    tracker = tracker_of(palm, hand)
    assert len(tracker(frames_of([0]), faces_of([0]))[0]) == 1
    assert bool(tracker(frames_of([1]), faces_of([0]))[0]) == follows


def test_a_known_hand_may_be_less_sure_than_a_new_one():
    palm, hand = palm_net(range(99)), hand_net(range(99))
    sure = hand.answer
    hand.answer = lambda n: sure(n) | {"presence": np.full(1, 0.9 if n == 0 else 0.4, np.float32)}
    tracker = tracker_of(palm, hand)
    assert len(tracker(frames_of([0]), faces_of([0]))[0]) == 1
    assert len(tracker(frames_of([1]), faces_of([0]))[0]) == 1
    assert tracker_of(palm, hand)(frames_of([1]), faces_of([0])) == [[]]
