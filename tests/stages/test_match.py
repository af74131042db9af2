"""Knowing people again: verdicts rest on what was seen of a track, and do not flicker."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ffswap.carriers import Colour, Faces, Frames, PixelFormat
from ffswap.stages.match import LOOK_EVERY_S, PeopleMatcher

TINY = (np.zeros((2, 2), np.uint8),) * 3
ANNA, BEN, EVE = np.eye(3, 4, dtype=np.float32)
FPS = 25


def frames(first, n):
    pts = np.arange(first, first + n, dtype=np.int64)
    return Frames(
        [TINY] * n, PixelFormat("yuv444p", 8, 0, 0), Colour(), pts, Fraction(1, FPS), first
    )


def faces(*rows, fresh=False, height=100):
    """Of (frame, track)."""
    n = len(rows)
    box = np.zeros((n, 4), np.float32)
    box[:, 2:] = height
    return Faces(
        frame=np.array([row[0] for row in rows], np.int64),
        track=np.array([row[1] for row in rows], np.int64),
        score=np.ones(n, np.float32),
        box=box,
        points=np.zeros((n, 5, 2), np.float32),
        fresh=np.full(n, fresh),
    )


class Recogniser:
    """Knows what each track looks like, and counts what it was asked."""

    def __init__(self, looks):
        self.looks, self.asked = looks, []
        self.tracks = []

    def matcher(self, *references, distance=0.3):
        return PeopleMatcher(self, np.stack(references), distance)

    def __call__(self, _, where, points):
        assert len(where) == len(points)
        self.asked.append(where.tolist())
        return np.stack([self.looks[int(i)] for i in where]) * 7  # raw embeddings have any length


def test_each_face_gets_the_person_that_it_is():
    known = Recogniser([ANNA + 0.2 * EVE, BEN, EVE])
    who = known.matcher(BEN, ANNA)(frames(0, 3), faces((0, 10), (1, 11), (2, 12), fresh=True))
    assert who.tolist() == [1, 0, -1]
    assert known.asked == [[0, 1, 2]]


def test_the_distance_is_half_of_one_minus_the_cosine():
    towards = np.float32(np.cos(1.0)) * ANNA + np.float32(np.sin(1.0)) * BEN
    apart = (1 - np.cos(1.0)) / 2
    for limit, person in ((apart + 1e-3, 0), (apart - 1e-3, -1)):
        matcher = Recogniser([towards]).matcher(ANNA, distance=limit)
        assert matcher(frames(0, 1), faces((0, 1))).tolist() == [person]


def test_a_face_is_looked_at_once_in_a_while():
    known = Recogniser([ANNA] * 50)
    matcher = known.matcher(ANNA)
    for first in range(0, 50, 5):
        who = matcher(frames(first, 5), faces(*((i, 1) for i in range(5))))
        assert who.tolist() == [0] * 5
    assert sum(map(len, known.asked)) == round(50 / FPS / LOOK_EVERY_S)


def test_one_bad_look_changes_nothing_and_many_do():
    known = Recogniser([ANNA])
    matcher = known.matcher(ANNA, BEN)
    step, told = FPS, []
    for k, look in enumerate([ANNA, ANNA, BEN, ANNA, BEN, BEN, BEN, BEN, BEN, BEN]):
        known.looks = [look]
        told.append(int(matcher(frames(k * step, 1), faces((0, 1)))[0]))
    assert told[:5] == [0] * 5
    assert told[-1] == 1
    assert told == sorted(told)


@pytest.mark.parametrize("before", [5, 60, 600])
def test_a_track_that_slid_onto_somebody_else_is_told_so_within_seconds(before):
    known = Recogniser([ANNA])
    matcher = known.matcher(ANNA, BEN)
    for k in range(before):
        assert matcher(frames(k * FPS, 1), faces((0, 1))).tolist() == [0]
    known.looks, told = [BEN], []
    for k in range(before, before + 6):
        told.append(int(matcher(frames(k * FPS, 1), faces((0, 1)))[0]))
    assert told[0] == 0
    assert told[-1] == 1


def test_a_face_that_was_lost_for_a_moment_is_who_it_was():
    known = Recogniser([ANNA])
    matcher = known.matcher(ANNA, BEN)
    for k in range(5):
        matcher(frames(k * FPS, 1), faces((0, 1)))
    known.looks = [EVE]  # nobody: a bad look
    assert matcher(frames(5 * FPS, 1), faces((0, 1), fresh=True)).tolist() == [0]


def test_somebody_else_who_takes_a_track_over_is_told_so_within_a_second():
    known = Recogniser([ANNA])
    matcher = known.matcher(ANNA, BEN)
    for k in range(20):
        matcher(frames(k * FPS, 1), faces((0, 1)))
    known.looks = [EVE]
    told = [
        int(matcher(frames(20 * FPS + 13 * k, 1), faces((0, 1), fresh=k == 0))[0])
        for k in range(4)  # every 13 frames: as often as it is looked at
    ]
    assert told == [0, 0, -1, -1]


def test_a_face_at_the_limit_does_not_flicker():
    limit = (1 - np.cos(1.0)) / 2
    looks = [np.float32(np.cos(a)) * ANNA + np.float32(np.sin(a)) * BEN for a in (0.9, 1.05)]
    known = Recogniser(looks)
    matcher = known.matcher(ANNA, distance=float(limit))
    told = []
    for k in range(20):
        known.looks = [looks[k % 2 if k else 0]]
        told.append(int(matcher(frames(k * FPS, 1), faces((0, 1)))[0]))
    assert set(told) == {0}


def test_a_new_face_with_an_old_number_is_looked_at_afresh():
    known = Recogniser([ANNA])
    matcher = known.matcher(ANNA, BEN)
    assert matcher(frames(0, 1), faces((0, 1), fresh=True)).tolist() == [0]
    known.looks = [BEN]
    assert matcher(frames(1, 1), faces((0, 1), fresh=True)).tolist() == [1]


def test_tracks_that_are_gone_are_forgotten():
    known = Recogniser([ANNA] * 100)
    matcher = known.matcher(ANNA)
    for k in range(200):
        assert matcher(frames(100 * k, 1), faces((0, k), fresh=True)).tolist() == [0]
    assert len(matcher._known) == 1


def test_tiny_faces_are_nobody():
    known = Recogniser([ANNA])
    assert known.matcher(ANNA)(frames(0, 1), faces((0, 1), height=9)).tolist() == [-1]
    assert known.asked == []


def test_a_recogniser_that_says_nothing_tells_nobody():
    known = Recogniser([np.zeros(4, np.float32), np.full(4, np.nan, np.float32)])
    assert known.matcher(ANNA)(frames(0, 2), faces((0, 1), (1, 2))).tolist() == [-1, -1]


def test_no_faces():
    assert Recogniser([]).matcher(ANNA)(frames(0, 1), Faces.empty()).tolist() == []
