"""Landmark nets over faces of several frames: what they are shown, and where their answers lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.errors import InternalError, ModelError
from ffswap.geometry import affine
from ffswap.geometry.landmarks import landmark_matrix
from ffswap.ops.contrast import lift_dark
from ffswap.stages.landmark import Landmarker, PointsTo68
from tests.stages.face_scenes import FORMATS, U8, frames_of
from tests.stages.fake_nets import FakeNet, spec_of

FAN = spec_of("landmarker", "fan_heatmap", size=(256, 256))
PEPPA = spec_of("landmarker", "peppa_wutz", size=(256, 256))
FAN_POINTS = spec_of("landmarker", "fan_points")
TEMPLATE = np.array(
    [[0.38, 0.47], [0.62, 0.47], [0.5, 0.61], [0.39, 0.725], [0.61, 0.725]], np.float32
)

CELLS = np.random.default_rng(5).uniform(4, 60, (68, 2)).astype(np.float32)
"""Where the nets of these tests see the points, in cells of 64."""


def fan_net(score: float = 0.72, **how: Any) -> FakeNet:
    """Sees the points at `CELLS` in every picture, with peaks of this height."""
    heatmaps = np.zeros((68, 64, 64), np.float32)
    heatmaps[:, 31, 7] = score
    points = np.concatenate([CELLS, np.full((68, 1), score)], 1).astype(np.float32)
    return FakeNet(lambda _: (points, heatmaps), **how)


def peppa_net(score: float = 0.76, **how: Any) -> FakeNet:
    table = np.concatenate([CELLS, np.full((68, 1), score)], 1).astype(np.float32)
    return FakeNet(lambda _: (table.reshape(-1),), outputs=("first",), **how)


def spot_net() -> FakeNet:
    """All points are where the picture is brightest."""

    def answer(picture: F32) -> Sequence[F32]:
        ys, xs = np.nonzero(picture.max(0) > 0.7)
        at = np.array([xs.mean(), ys.mean()], np.float32) / 4
        heatmaps = np.full((68, 64, 64), 0.9, np.float32)
        return np.tile(at, (68, 1)), heatmaps

    return FakeNet(answer)


def grey(height: int = 300, width: int = 400, value: int = 128) -> U8:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("rows", [-1, 1])
@pytest.mark.parametrize("family", ["fan_heatmap", "peppa_wutz"])
def test_all_faces_of_a_batch_go_in_one_run(family, rows):
    """And come back through the inverse of each one's own matrix."""
    net, spec = (
        (fan_net(rows=rows), FAN) if family == "fan_heatmap" else (peppa_net(rows=rows), PEPPA)
    )
    frames = frames_of([grey()] * 3)
    box = np.array([[10, 20, 110, 160], [200, 50, 290, 130], [-20, 100, 60, 200]], np.float32)
    frame, angle = np.array([0, 2, 2]), np.array([0, 90, 270])
    got, score = Landmarker(net, spec)(frames, frame, box, angle)
    assert net.batches == ([3] if rows == -1 else [1, 1, 1])
    assert got.shape == (3, 68, 2)
    assert got.dtype == score.dtype == np.float32
    assert score == pytest.approx([0.8, 0.8, 0.8])
    for k in range(3):
        matrix = landmark_matrix(box[k], int(angle[k]), 256)
        assert np.abs(affine.apply(matrix, got[k]) - CELLS * 4).max() < 1e-3


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_spot_is_found_where_it_is(angle):
    """In frames of their own, at 10 bits: the crop and its inverse agree to half a pixel."""
    places = [(140, 90), (301, 222)]
    pictures = [grey(value=60) for _ in places]
    for picture, (x, y) in zip(pictures, places, strict=True):
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    frames = frames_of(pictures, FORMATS["yuv420p10le"])
    box = np.array([[x - 40, y - 25, x + 20, y + 31] for x, y in places], np.float32)
    turns = np.full(2, angle)
    got, _ = Landmarker(spot_net(), FAN)(frames, np.array([0, 1]), box, turns)
    assert np.abs(got - np.array(places)[:, None]).max() < 0.5


def test_the_net_sees_blue_green_red_and_black_outside():
    picture = grey(200, 200)
    picture[...] = (200, 120, 40)
    net = fan_net()
    frames = frames_of([picture], FORMATS["yuv444p16le"])
    box = np.array([[-60, 20, 40, 120]], np.float32)
    Landmarker(net, FAN)(frames, np.array([0]), box, np.array([0]))
    (fed,) = net.feeds
    # The middle of the box, column -10 of the frame, is column 128, and 1.95 columns are a pixel.
    assert not fed[:, :, :145].any()
    assert np.abs(fed[:, 128, 200] - np.array([40, 120, 200]) / 255).max() < 0.002


def test_a_dark_crop_gets_contrast_and_a_bright_one_is_left_alone():
    ramp = np.tile(np.linspace(0, 30, 200).astype(np.uint8)[None, :, None], (200, 1, 3))
    net = fan_net()
    frames = frames_of([ramp, ramp + 100], FORMATS["yuv444p16le"])
    box = np.tile(np.array([[30, 30, 170, 170]], np.float32), (2, 1))
    Landmarker(net, FAN)(frames, np.array([0, 1]), box, np.array([0, 0]))
    dark, bright = net.feeds
    inside = (slice(None), slice(40, 216), slice(40, 216))
    assert np.abs(dark[inside] - (bright[inside] - 100 / 255)).max() > 0.02
    assert np.abs(dark * 255 - np.round(dark * 255)).max() < 1e-3
    assert bright[0, 128, 128] == pytest.approx((100 + 15) / 255, abs=0.005)


def published(bgr: U8) -> U8:
    """OpenCV's calls in the order of the published procedure."""
    lab: Any = cv2.cvtColor(bgr, cv2.COLOR_RGB2Lab)
    if lab[:, :, 0].mean() < 30:
        lab[:, :, 0] = cv2.createCLAHE(clipLimit=2).apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.uint8)


@pytest.mark.parametrize("top", [25, 60, 160, 255])
def test_contrast_is_that_of_the_published_procedure(top):
    """A coloured picture, so that the order of the colours matters; bright ones to the rounding."""
    rng = np.random.default_rng(top)
    small = rng.integers(0, top, (8, 8, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)
    bgr: U8 = np.asarray(cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR), np.uint8)
    rgb = bgr.transpose(2, 0, 1)[::-1].astype(np.float32) / 255
    got = lift_dark(rgb)[::-1].transpose(1, 2, 0) * 255
    want = published(bgr)
    is_dark = top <= 60
    assert (np.abs(want.astype(int) - bgr).max() > 8) == is_dark
    assert np.abs(got - want).max() < (0.01 if is_dark else 6)
    assert (lift_dark(rgb) is rgb) != is_dark


def test_more_faces_than_a_batch_go_in_parts():
    net = fan_net()
    frames = frames_of([grey()])
    box = np.tile(np.array([[10, 20, 110, 160]], np.float32), (20, 1))
    got, score = Landmarker(net, FAN)(frames, np.zeros(20, np.int64), box, np.zeros(20, np.int64))
    assert net.batches == [16, 4]
    assert len(got) == len(score) == 20


def test_no_faces_run_no_net():
    net = fan_net()
    none = np.zeros(0, np.int64)
    got, score = Landmarker(net, FAN)(frames_of([grey()]), none, np.zeros((0, 4), np.float32), none)
    assert (got.shape, score.shape) == ((0, 68, 2), (0,))
    assert PointsTo68(net, FAN_POINTS, TEMPLATE)(np.zeros((0, 5, 2), np.float32)).shape == (
        0,
        68,
        2,
    )
    assert not net.batches


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("rows", [-1, 1])
def test_points_are_laid_on_the_template_and_back(count, rows):
    """By a net to which the 68 are the five, over and over."""
    net = FakeNet(lambda five: (np.resize(five, (68, 2)),), rows=rows, outputs=("first",))
    rng = np.random.default_rng(6)
    turn, side = rng.uniform(-3, 3, count), rng.uniform(30, 300, count)
    c, s = np.cos(turn) * side, np.sin(turn) * side
    matrix = np.stack([np.stack([c, -s], 1), np.stack([s, c], 1)], 1)
    points = np.einsum("nij,kj->nki", matrix, TEMPLATE) + rng.uniform(0, 900, (count, 1, 2))
    points = points.astype(np.float32)
    got = PointsTo68(net, FAN_POINTS, TEMPLATE)(points)
    assert np.abs(np.stack(net.feeds) - TEMPLATE).max() < 1e-4
    assert sum(net.batches) == count
    want = np.stack([np.resize(one, (68, 2)) for one in points])
    assert np.abs(got - want).max() < 1e-2


def test_other_nets_are_refused():
    frames, box = frames_of([grey()]), np.array([[10, 20, 110, 160]], np.float32)
    none = np.zeros(1, np.int64)
    with pytest.raises(InternalError, match="fan_points"):
        Landmarker(fan_net(), FAN_POINTS)
    with pytest.raises(InternalError, match="fan_heatmap"):
        PointsTo68(fan_net(), FAN, TEMPLATE)
    with pytest.raises(ModelError, match="gives 1 tensors; allowed: 2 or more"):
        Landmarker(peppa_net(), FAN)(frames, none, box, none)
    with pytest.raises(ModelError, match="landmark net gives arrays"):
        Landmarker(FakeNet(lambda _: (CELLS,), outputs=("first",)), PEPPA)(frames, none, box, none)
    with pytest.raises(ModelError, match=r"\(1, 5, 2\)"):
        PointsTo68(FakeNet(lambda five: (five,), outputs=("first",)), FAN_POINTS, TEMPLATE)(
            TEMPLATE[None] * 100
        )
