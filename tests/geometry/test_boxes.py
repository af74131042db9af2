"""Anchors, decoding, overlap and suppression against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.geometry import boxes
from ffswap.geometry.boxes import Detections


def detections(*rows: tuple[float, float, float, float, float]) -> Detections:
    """Of (left, top, right, bottom, score); one point each, whose x is the row's number."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    points = np.zeros((len(rows), 1, 2), np.float32)
    points[:, 0, 0] = np.arange(len(rows))
    return Detections(table[:, :4], points, table[:, 4])


def test_anchors_lie_in_the_middle_of_their_cells():
    got = boxes.anchors([(2, 1)])
    assert got.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_anchors_of_one_cell_follow_each_other_and_grids_too():
    got = boxes.anchors([(2, 2), (1, 3)])
    assert got.shape == (4 * 2 + 3, 2)
    assert got[0].tolist() == got[1].tolist() == [0.25, 0.25]
    assert got[2].tolist() == [0.75, 0.25]
    assert got[8:].tolist() == [[0.5, 0.5]] * 3


def test_decoding_by_hand():
    # An anchor at a quarter of 192 is the edge 48, which is pixel 47.5. Centre offset (2, -4),
    # width 20 and height 10: x from 39.5 to 59.5, y from 38.5 to 48.5; the point 1, 3 beyond.
    regressors = np.array([[2, -4, 20, 10, 1, 3]], np.float32)
    centres = np.array([[0.25, 0.25]], np.float32)
    got = boxes.decode_anchored(regressors, np.zeros((1, 1), np.float32), centres, 192, 0.4)
    assert got.box.tolist() == [[39.5, 38.5, 59.5, 48.5]]
    assert got.points.tolist() == [[[48.5, 50.5]]]
    assert got.score.tolist() == [0.5]


def test_decoding_keeps_what_is_sure_and_sorts_by_score():
    logits = np.array([0.0, 3.0, -3.0, 1.0], np.float32)
    regressors = np.zeros((4, 6), np.float32)
    regressors[:, 0] = [0, 10, 20, 30]
    centres = np.full((4, 2), 0.5, np.float32)
    got = boxes.decode_anchored(regressors, logits, centres, 10, 0.5)
    # 0.5 itself is not more than 0.5.
    assert got.score == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))], abs=1e-6)
    assert got.box[:, 0].tolist() == [14.5, 34.5]


def test_decoding_survives_extreme_logits():
    logits = np.array([-1e4, 1e4], np.float32)
    got = boxes.decode_anchored(
        np.zeros((2, 4), np.float32), logits, np.zeros((2, 2), np.float32), 10, 0.5
    )
    assert got.score.tolist() == [1.0]
    assert got.points.shape == (1, 0, 2)


def test_nothing_sure_decodes_to_nothing():
    got = boxes.decode_anchored(
        np.zeros((3, 16), np.float32), np.full(3, -9, np.float32), np.zeros((3, 2), np.float32),
        10, 0.5,
    )  # fmt: skip
    assert len(got) == 0
    assert got.box.shape == (0, 4)
    assert got.points.shape == (0, 6, 2)


def test_overlap_by_hand():
    one = np.array([0, 0, 4, 2], np.float32)
    many = np.array(
        [[0, 0, 4, 2], [2, 0, 6, 2], [4, 0, 8, 2], [9, 9, 10, 10], [1, 0, 2, 2], [6, 5, 8, 9]],
        np.float32,
    )
    # Half of it in common: 4 of 12. Touching: nothing. Inside: 2 of 8.
    assert boxes.box_iou(one, many) == pytest.approx([1, 1 / 3, 0, 0, 0.25, 0], abs=1e-6)


def test_overlap_with_empty_boxes_is_none():
    nothing = np.zeros((1, 4), np.float32)
    assert boxes.box_iou(nothing[0], nothing).tolist() == [0]
    assert boxes.box_iou(nothing[0], np.zeros((0, 4), np.float32)).shape == (0,)


def test_suppression_keeps_the_best_of_each_place():
    found = detections(
        (0, 0, 10, 10, 0.6), (1, 0, 11, 10, 0.9), (50, 50, 60, 60, 0.7), (0, 1, 10, 11, 0.8)
    )
    kept = boxes.non_maximum_suppression(found, 0.3)
    assert kept.points[:, 0, 0].tolist() == [1, 2]
    assert kept.score == pytest.approx([0.9, 0.7])


def test_suppression_does_not_chain():
    """The middle one falls to the first; the last overlaps only the middle one and stays."""
    found = detections((0, 0, 10, 10, 0.9), (4, 0, 14, 10, 0.8), (8, 0, 18, 10, 0.7))
    assert boxes.non_maximum_suppression(found, 0.3).points[:, 0, 0].tolist() == [0, 2]


def test_overlap_of_exactly_the_limit_is_allowed():
    found = detections((0, 0, 4, 2, 0.9), (2, 0, 6, 2, 0.8), (0, 0, 4, 1.9, 0.5))
    third = float(boxes.box_iou(found.box[0], found.box[1:2])[0])
    assert boxes.non_maximum_suppression(found, third).points[:, 0, 0].tolist() == [0, 1]


def test_suppression_of_nothing():
    assert len(boxes.non_maximum_suppression(detections(), 0.5)) == 0


def test_suppression_of_a_random_crowd():
    """Of any result: kept boxes overlap little; each dropped one has a better kept one on it."""
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 100, (120, 2))
    box = np.concatenate([low, low + rng.uniform(5, 40, (120, 2))], 1)
    score = rng.uniform(0, 1, (120, 1))
    found = detections(*np.concatenate([box, score], 1).tolist())
    kept = boxes.non_maximum_suppression(found, 0.4)
    numbers = kept.points[:, 0, 0].astype(int)
    assert 1 < len(kept) < 120
    for i in range(120):
        overlap = boxes.box_iou(found.box[i], kept.box)
        if i in numbers:
            assert (overlap > 0.4).sum() == 1
        else:
            assert ((overlap > 0.4) & (kept.score > found.score[i])).any()


def test_concatenation_sorts_by_score():
    parts = [detections((0, 0, 1, 1, 0.2), (0, 0, 2, 2, 0.1)), detections((0, 0, 3, 3, 0.15))]
    both = Detections.concatenate(parts)
    assert both.score == pytest.approx([0.2, 0.15, 0.1])
    assert both.box[:, 2].tolist() == [1, 3, 2]
