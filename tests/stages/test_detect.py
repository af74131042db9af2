"""The views of a search, the detector's handling of a net's answers, and real faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.engines import Binding, Session, TensorSpec
from ffswap.geometry.boxes import box_iou
from ffswap.models import get
from ffswap.options import DetectOptions
from ffswap.stages.detect import NET_FACE_PX, REFERENCE_HEIGHT, Detector, View, views_of
from tests.stages.face_scenes import FORMATS, HEADS, frames_of, head, open_nets, portrait, scene

NET_PX = 192
SPEC = get("face_detection_full_range")

SIZES = [
    (1080, 5120),
    (90, 120), (240, 320), (480, 640), (479, 641), (576, 720), (720, 1280), (1080, 1920),
    (1920, 1080), (1079, 1919), (1080, 2560), (1440, 2560), (2160, 3840), (3840, 2160), (2160, 2160),
]  # fmt: skip


def holds(view: View, box: NDArray[Any]) -> bool:
    """Whether a box (left, top, right, bottom edges) lies whole in a view."""
    return bool(
        view.x <= box[0]
        and view.y <= box[1]
        and box[2] <= view.x + view.width
        and box[3] <= view.y + view.height
    )


@pytest.mark.parametrize("min_face_px", [12, 40, 60, 150])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_face_is_whole_in_a_view_that_shows_it_large_enough(height, width, min_face_px):
    """Property: any place, any size from the smallest upwards.

    One pixel of the frame is allowed for the rounding of the tiles' places.
    """
    views = views_of(height, width, NET_PX, min_face_px)
    assert views[0] == View(0, 0, width, height)
    for view in views:
        assert 0 <= view.x <= view.x + view.width <= width
        assert 0 <= view.y <= view.y + view.height <= height
    smallest = min_face_px * max(1.0, min(height, width) / REFERENCE_HEIGHT)
    rng = np.random.default_rng(height * width + min_face_px)
    for _ in range(300):
        size = smallest * np.exp(rng.uniform(0, np.log(max(1.01, min(height, width) / smallest))))
        if size > min(height, width) - 1:
            continue
        x, y = rng.uniform(0, width - size), rng.uniform(0, height - size)
        if rng.random() < 0.3:  # in the corners and at the edges, where tiles end
            x, y = rng.choice([0, width - size]), rng.choice([0, height - size, y])
        box = np.array([x, y, x + size, y + size])
        best = max(
            size * NET_PX / max(v.width, v.height)
            for v in views
            if holds(v, box + np.array([1, 1, -1, -1]))
        )
        assert best >= NET_FACE_PX * 0.98


def test_small_frames_are_seen_whole():
    assert views_of(360, 480, NET_PX, 40) == (View(0, 0, 480, 360),)
    assert len(views_of(360, 481, NET_PX, 40)) == 3


def test_known_tiles():
    """1920 x 1080, 40 px: tiles of 480 that overlap by 160 (the smallest face of the whole view)."""
    views = views_of(1080, 1920, NET_PX, 40)
    assert {(v.width, v.height) for v in views[1:]} == {(480, 480)}
    xs, ys = (sorted({getattr(v, a) for v in views[1:]}) for a in "xy")
    assert len(views) == 1 + len(xs) * len(ys)
    for starts, length in ((xs, 1920), (ys, 1080)):
        assert starts[0] == 0
        assert starts[-1] == length - 480
        assert max(np.diff(starts)) <= 480 - 160


def test_large_frames_cost_no_more_views():
    assert len(views_of(4320, 7680, NET_PX, 40)) == len(views_of(1080, 1920, NET_PX, 40))


class FakeNet(Session):
    """Answers with one box in the cell that is asked for, for every view.

    Args:
        cell: (column, row) in the net's grid of 48 x 48.
        extent: (width, height) of the box in the net's pixels.
    """

    def __init__(self, cell: tuple[int, int] = (10, 20), extent: tuple[float, float] = (30, 40)):
        self.batches: list[int] = []
        self.feeds: list[NDArray[Any]] = []
        self._cell, self._extent = cell, extent

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return {}

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return {}

    @property
    def buckets(self) -> tuple[int, ...]:
        return ()

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def runtime(self) -> str:
        return "fake"

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> Binding:
        raise NotImplementedError

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        (images,) = feeds.values()
        n = len(images)
        self.batches.append(n)
        self.feeds.append(images)
        regressors = np.zeros((n, 48 * 48, 16), np.float32)
        logits = np.full((n, 48 * 48, 1), -10, np.float32)
        cell = self._cell[1] * 48 + self._cell[0]
        regressors[:, cell, 2:4] = self._extent
        logits[:, cell] = 4 + np.arange(n)[:, None] * 0.01
        return dict(zip(SPEC.outputs, (regressors, logits), strict=True))

    def close(self) -> None:
        pass

    def __enter__(self) -> FakeNet:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_boxes_are_taken_from_the_view_to_the_frame():
    net = FakeNet()
    detector = Detector(net, SPEC, DetectOptions())
    frames = frames_of([np.zeros((400, 600, 3), np.uint8)] * 2)
    found = detector(frames, [(1, View(100, 50, 384, 384))])
    assert len(found[0]) == 0
    # Cell (10, 20) is centred on the edge (42, 82) of the net's input; a view of 384 magnifies by
    # 2: edge (184, 214) in the frame, pixel (183.5, 213.5); the box is 60 wide and 80 high.
    assert np.abs(found[1].box - [[153.5, 173.5, 213.5, 253.5]]).max() < 1e-3
    assert np.abs(found[1].points - [183.5, 213.5]).max() < 1e-3


def test_batches_are_bounded_and_results_go_to_their_frames():
    net = FakeNet()
    detector = Detector(net, SPEC, DetectOptions())
    frames = frames_of([np.zeros((400, 600, 3), np.uint8)] * 3)
    wanted = [(i, View(10 * k, 0, 384, 384)) for i in (0, 2) for k in range(12)]
    found = detector(frames, wanted)
    assert net.batches == [16, 8]
    assert len(found) == 3
    assert len(found[1]) == 0
    # Twelve boxes 10 pixels apart, 60 wide: neighbours overlap by 5/7, every fourth by 3/9.
    assert 2 <= len(found[0]) == len(found[2]) <= 4
    assert detector(frames, [])[0].box.shape == (0, 4)


def test_the_net_is_fed_what_the_catalogue_says():
    net = FakeNet()
    detector = Detector(net, SPEC, DetectOptions())
    white = np.full((200, 300, 3), 255, np.uint8)
    detector(frames_of([white], FORMATS["yuv444p16le"]), [(0, View(0, 0, 300, 200))])
    (images,) = net.feeds
    assert images.shape == (1, 3, 192, 192)
    assert images.dtype == np.float32
    mean, std = (np.array(v)[:, None] for v in (SPEC.picture.mean, SPEC.picture.std))
    assert np.abs(images[0, :, 96] - (255 - mean) / std).max() < 0.01
    # The frame is 128 rows of the 192; above and below it is black.
    assert np.abs(images[0, :, 5] - (0 - mean) / std).max() < 0.01


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_astronaut_is_found_in_every_format(nets, name):
    detector, _ = nets
    frames = frames_of([portrait("astronaut")], FORMATS[name])
    found = detector(frames, [(0, v) for v in detector.views(frames)])[0]
    assert len(found) == 1
    assert box_iou(found.box[0], np.array([[175, 60, 272, 158]], np.float32))[0] > 0.7
    right, left, nose, mouth = found.points[0, :4]
    eyes_and_mouth = np.array([(203, 101), (246, 104), (224, 146)])
    assert np.abs(np.stack([right, left, mouth]) - eyes_and_mouth).max() < 9
    assert right[0] < nose[0] < left[0]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_frame_gives_the_same_box_in_stored_coordinates(nets, rotation):
    """The stored picture, turned counter-clockwise by `rotation`, is the upright one."""
    detector, _ = nets
    upright = portrait("astronaut")[:400, :500]
    height, width = upright.shape[:2]
    fmt = FORMATS["yuv444p"]
    straight, turned = (
        frames_of([np.ascontiguousarray(np.rot90(upright, -k))], fmt, rotation=90 * k)
        for k in (0, rotation // 90)
    )
    a, b = (detector(f, [(0, detector.views(f)[0])])[0] for f in (straight, turned))
    assert len(a) == len(b) == 1

    def stored(x: Any, y: Any) -> NDArray[Any]:
        if rotation == 90:
            return np.stack([height - 1 - y, x], -1)
        if rotation == 180:
            return np.stack([width - 1 - x, height - 1 - y], -1)
        return np.stack([y, width - 1 - x], -1)

    assert np.abs(stored(a.points[0, :, 0], a.points[0, :, 1]) - b.points[0]).max() < 1.0
    corners = stored(a.box[0, ::2], a.box[0, 1::2])
    want = np.concatenate([corners.min(0), corners.max(0)])
    assert np.abs(want - b.box[0]).max() < 1.0


def test_portraits_of_40_px_and_up_are_found_in_full_hd(nets):
    """At least 90 % of 30 seeded placements; a place counts when a box's centre is on the face."""
    detector, _ = nets
    rng = np.random.default_rng(17)
    hits = 0
    texture = np.clip(rng.normal(0, 6, (1080, 1920, 3)), -20, 20)
    for batch in range(5):
        rgb = np.clip(np.full((1080, 1920, 3), (90, 120, 100)) + texture, 0, 255).astype(np.uint8)
        centres = []
        for k in range(6):
            name = ("astronaut", "hopper")[k % 2]
            # The face (brows to chin and a little more) is about 0.57 of the head's square.
            side = int(rng.uniform(40, 150) / 0.57)
            x = 640 * (k % 3) + rng.integers(0, 640 - side)
            y = 540 * (k // 3) + rng.integers(0, 540 - side)
            rgb[y : y + side, x : x + side] = head(name, side)
            centres.append((x + 0.5 * side, y + 0.5 * side, 0.3 * side))
        frames = frames_of([rgb])
        found = detector(frames, [(0, v) for v in detector.views(frames)])[0]
        middle = (found.box[:, :2] + found.box[:, 2:]) / 2
        near = [np.abs(middle - c[:2]).max(1) < c[2] for c in centres]
        hits += sum(bool(n.any()) for n in near)
        assert len(found) <= 7, f"frame {batch}: faces where there are none"
    assert hits >= 27


def test_no_face_in_noise_gradients_or_grey(nets):
    detector, _ = nets
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:540, 0:960]
    ramp = np.stack([x * 255 / 960, y * 255 / 540, 255 - x * 255 / 960], -1).astype(np.uint8)
    noise = rng.integers(0, 256, (540, 960, 3), dtype=np.uint8)
    coarse = np.repeat(np.repeat(noise[:54, :96], 10, 0), 10, 1)
    frames = frames_of([ramp, noise, coarse, np.full_like(ramp, 128)])
    wanted = [(i, v) for i in range(4) for v in detector.views(frames)]
    assert [len(f) for f in detector(frames, wanted)] == [0, 0, 0, 0]


def test_a_higher_score_finds_less():
    with open_nets(DetectOptions(score=0.99)) as (strict, _):
        frames = frames_of([scene(270, 480, ("hopper", 100, 60, 60))])
        assert len(strict(frames, [(0, strict.views(frames)[0])])[0]) == 0


def test_heads_lie_inside_their_pictures():
    for name, (left, top, side) in HEADS.items():
        height, width = portrait(name).shape[:2]
        assert 0 <= left <= left + side <= width
        assert 0 <= top <= top + side <= height
