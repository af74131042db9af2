"""Choosing a face: the largest, without changing one's mind at every frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ffswap.carriers import Colour, Faces, Frames, PixelFormat
from ffswap.options import FaceChoice
from ffswap.stages.choose import FaceChooser

TINY = (np.zeros((2, 2), np.uint8),) * 3


def frames(first: int, n: int, fps: int = 25) -> Frames:
    """Frames that have times only."""
    return Frames(
        [TINY] * n, PixelFormat("yuv444p", 8, 0, 0), Colour(),
        np.arange(first, first + n, dtype=np.int64), Fraction(1, fps), first,
    )  # fmt: skip


def faces(*rows: tuple[int, int, float]) -> Faces:
    """Of (frame, track, height)."""
    n = len(rows)
    box = np.zeros((n, 4), np.float32)
    box[:, 2] = 50
    box[:, 3] = [r[2] for r in rows]
    return Faces(
        frame=np.array([r[0] for r in rows], np.int64),
        track=np.array([r[1] for r in rows], np.int64),
        score=np.ones(n, np.float32),
        box=box,
        points=np.zeros((n, 5, 2), np.float32),
        mesh=np.zeros((n, 468, 3), np.float32),
        fresh=np.zeros(n, np.bool_),
    )


def chosen(heights: list[dict[int, float]], fps: int = 25, batch: int = 4) -> list[int | None]:
    """The track chosen in each frame, given the heights of the tracks in each."""
    chooser, out = FaceChooser(FaceChoice("largest")), []
    for at in range(0, len(heights), batch):
        part = heights[at : at + batch]
        rows = [(i, t, h) for i, all_of in enumerate(part) for t, h in all_of.items()]
        given = faces(*rows) if rows else Faces.empty()
        got = given.rows(chooser(frames(at, len(part), fps), given))
        by_frame = dict(zip(got.frame.tolist(), got.track.tolist(), strict=True))
        assert len(by_frame) == len(got)
        out += [by_frame.get(i) for i in range(len(part))]
    return out


def test_all_means_all():
    some = faces((0, 3, 10), (0, 4, 20), (1, 3, 10))
    assert FaceChooser(FaceChoice("all"))(frames(0, 2), some).tolist() == [0, 1, 2]


def test_the_largest_of_the_first_frame():
    assert chosen([{5: 60.0, 6: 90.0, 7: 30.0}]) == [6]
    assert chosen([{}]) == [None]


def test_a_slightly_larger_one_never_takes_over():
    assert chosen([{1: 100.0, 2: 90.0}] + [{1: 100.0, 2: 128.0}] * 60) == [1] * 61


@pytest.mark.parametrize(("fps", "batch"), [(25, 4), (25, 1), (50, 7), (10, 3)])
def test_a_clearly_larger_one_takes_over_after_a_second(fps, batch):
    got = chosen([{1: 100.0, 2: 90.0}] + [{1: 100.0, 2: 135.0}] * (2 * fps), fps, batch)
    # Frame 1 is the first in which it is larger, so frame 1 + fps is a second later.
    assert got == [1] * (1 + fps) + [2] * fps


def test_an_interruption_starts_the_second_again():
    larger, smaller = {1: 100.0, 2: 150.0}, {1: 100.0, 2: 120.0}
    got = chosen([{1: 100.0}] + [larger] * 20 + [smaller] + [larger] * 27)
    # To the frame: 1.88 s - 0.88 s is a little less than a second in floating point.
    assert got[: 1 + 20 + 1 + 25] == [1] * 47
    assert got[-1] == 2


def test_another_rival_starts_the_second_again():
    got = chosen([{1: 100.0}] + [{1: 100.0, 2: 150.0}] * 20 + [{1: 100.0, 3: 150.0}] * 26)
    assert got == [1] * (1 + 20 + 25) + [3]


def test_when_it_is_lost_the_largest_of_the_others_takes_over_and_stays():
    got = chosen([{1: 100.0, 2: 90.0, 3: 80.0}, {3: 80.0, 2: 70.0}] + [{1: 100.0, 3: 80.0}] * 10)
    assert got == [1, 3] + [3] * 10


def test_it_stays_chosen_through_frames_without_any_face():
    assert chosen([{1: 100.0}, {}, {}, {1: 100.0, 2: 125.0}]) == [1, None, None, 1]


def test_after_a_change_the_old_one_is_a_rival_like_any_other():
    got = chosen([{1: 100.0}] + [{1: 100.0, 2: 150.0}] * 26 + [{1: 300.0, 2: 150.0}] * 27)
    assert got == [1] * 26 + [2] * (1 + 25) + [1] * 2


def by_place(
    text: str, *batches: list[tuple[int, int, float, bool]]
) -> list[list[tuple[int, int]]]:
    """(frame, track) chosen in each batch of (frame, track, left edge, fresh)."""
    chooser, out = FaceChooser(FaceChoice.parse(text)), []
    for rows in batches:
        given = faces(*((frame, track, 50.0) for frame, track, _, _ in rows))
        given.box[:, 0] = [left for _, _, left, _ in rows]
        given.box[:, 2] = given.box[:, 0] + 40
        given.fresh[:] = [fresh for _, _, _, fresh in rows]
        rows_of = given.rows(chooser(frames(0, 9), given))
        out.append(list(zip(rows_of.frame.tolist(), rows_of.track.tolist(), strict=True)))
    return out


def test_places_are_counted_from_the_left():
    row = [(0, 7, 200.0, True), (0, 8, 10.0, True), (0, 9, 90.0, True)]
    assert by_place("left-right:1", row) == [[(0, 8)]]
    assert by_place("left-right:1,3", row) == [[(0, 7), (0, 8)]]
    assert by_place("left-right:4", row) == [[]]


def test_a_face_keeps_the_place_that_it_had_when_it_appeared():
    first = [(0, 1, 10.0, True), (0, 2, 90.0, True), (1, 1, 99.0, False), (1, 2, 20.0, False)]
    later = [(0, 1, 99.0, False), (0, 2, 20.0, False), (0, 3, 0.0, True)]
    assert by_place("left-right:1", first, later) == [[(0, 1), (1, 1)], [(0, 1), (0, 3)]]


@pytest.mark.parametrize(("rotation", "first"), [(0, 1), (90, 3), (180, 2), (270, 4)])
def test_left_is_left_as_the_picture_is_shown(rotation, first):
    given = faces(*((0, track, 40.0) for track in (1, 2, 3, 4)))
    given.fresh[:] = True
    for row, (x, y) in enumerate([(0, 50), (100, 50), (50, 0), (50, 100)]):
        given.box[row] = (x, y, x + 40, y + 40)
    clip = frames(0, 1)
    turned = Frames(
        clip.planes, clip.format, clip.colour, clip.pts, clip.time_base, rotation=rotation
    )
    got = given.rows(FaceChooser(FaceChoice.parse("left-right:1"))(turned, given))
    assert got.track.tolist() == [first]
