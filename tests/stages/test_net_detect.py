"""The published detectors over frames: what they are shown, and where their answers lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.errors import InternalError, ModelError, OptionError
from ffswap.geometry.boxes import box_iou
from ffswap.models import get
from ffswap.options import DetectOptions, TrackOptions
from ffswap.stages.detect import View
from ffswap.stages.net_detect import NetDetector
from ffswap.stages.track import FaceTracker, still_mesh
from tests.geometry.head_tensors import ENCODERS, Face, face_at
from tests.stages.face_scenes import FORMATS, U8, Nets, frames_of, scene
from tests.stages.fake_nets import FakeNet, spec_of

NAMES: dict[str, Sequence[str]] = {
    "yolo_face": ("output0",),
    "scrfd": [str(446 + 3 * k) for k in range(9)],
    "yunet": [f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32)],
}
FIVE_SHARES = np.array([(0.31, 0.4), (0.71, 0.37), (0.52, 0.61), (0.36, 0.83), (0.68, 0.79)])
"""Where `face_at` puts the points, in shares of the box."""


def net_of(family: str, faces: Sequence[Face], size: tuple[int, int], **how: Any) -> FakeNet:
    """A detector that finds the same in every picture."""
    tensors = ENCODERS[family](faces, size)
    return FakeNet(lambda _: tensors, outputs=NAMES[family], **how)


def finder(size: tuple[int, int]) -> FakeNet:
    """A YOLO net to which the white part of the picture is one face, from edge to edge."""

    def answer(picture: F32) -> Sequence[F32]:
        ys, xs = np.nonzero(picture.min(0) > 0.5)
        if not len(xs):
            return ENCODERS["yolo_face"]([], size)
        x, y = float(xs.min()), float(ys.min())
        face = face_at(x, y, float(xs.max() + 1 - x), float(ys.max() + 1 - y), 0.8)
        return ENCODERS["yolo_face"]([face], size)

    return FakeNet(answer, outputs=NAMES["yolo_face"])


def whole(frames: Any) -> list[tuple[int, View]]:
    return [(i, View(0, 0, frames.width, frames.height)) for i in range(len(frames))]


def grey(height: int, width: int) -> U8:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize(("rows", "batched"), [(-1, True), (1, True), (1, False)])
@pytest.mark.parametrize("count", [1, 3])
def test_known_faces_are_found_in_every_frame(family, rows, batched, count):
    """With a free batch and with one of 1, with and without a batch axis of the outputs."""
    faces = [face_at(30.5, 40.25, 60, 72, 0.9, 8), face_at(200, 100, 110, 130, 0.8, 16)]
    net = net_of(family, faces, (640, 384), rows=rows, batched=batched)
    spec = spec_of("detector", family, size=(640, 384))
    detector = NetDetector(net, spec, DetectOptions())
    # Twice as large as the net's input.
    frames = frames_of([grey(768, 1280)] * count)
    assert detector.views(frames) == (View(0, 0, 1280, 768),)
    found = detector(frames, whole(frames))
    assert len(found) == count
    assert sum(net.batches) == count
    assert net.batches == ([count] if rows == -1 else [1] * count)
    for one in found:
        assert np.abs(one.box - [[2 * v for v in face.box] for face in faces]).max() < 1e-3
        want = 2 * np.array([face.points for face in faces])
        assert np.abs(one.points - want).max() < 1e-3
        assert one.score == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_what_is_found_lies_where_it_is_in_the_frame_as_stored(turned, angle):
    """By a net that sees white: rotation of the clip and angle of the search both are undone."""
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[100:180, 420:540] = 255
    frames = frames_of([picture], FORMATS["yuv444p"], rotation=turned)
    detector = NetDetector(
        finder((320, 320)), spec_of("detector", "yolo_face", size=(320, 320)), DetectOptions(),
        (angle,),
    )  # fmt: skip
    (found,) = detector(frames, whole(frames))
    # A net pixel is 1.9 of ours, and the white is found in whole net pixels.
    assert np.abs(found.box - [[420, 100, 540, 180]]).max() < 3
    back = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[(turned + angle) % 360]
    c, s = back
    shares = (FIVE_SHARES - 0.5) * ((120, 80) if s == 0 else (80, 120))
    want = shares @ np.array([[c, s], [-s, c]]) + [480, 140]
    assert np.abs(found.points[0] - want).max() < 3


def test_the_picture_is_shrunk_into_the_top_left_of_an_empty_one():
    rng = np.random.default_rng(1)
    tiles = rng.integers(40, 216, (4, 6, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(tiles, 100, 0), 100, 1)  # 600 x 400
    net = net_of("scrfd", [], (320, 320))
    spec = spec_of("detector", "scrfd", size=(320, 320), mean=127.5, std=128.0)
    frames = frames_of([picture], FORMATS["yuv444p16le"])
    NetDetector(net, spec, DetectOptions())(frames, whole(frames))
    (fed,) = net.feeds
    assert fed.shape == (3, 320, 320)
    # 600 x 400 becomes 320 x 213; below is black.
    assert np.abs(fed[:, 213:] - (0 - 127.5) / 128).max() < 1e-6
    step = 320 / 6
    for row in range(4):
        for column in range(6):
            y, x = int((row + 0.5) * step), int((column + 0.5) * step)
            want = (tiles[row, column, ::-1].astype(float) - 127.5) / 128
            assert np.abs(fed[:, y, x] - want).max() < 0.01
    assert (fed[:, :213] > (30 - 127.5) / 128).all()


def test_nothing_is_enlarged():
    net = net_of("yolo_face", [face_at(10, 20, 40, 50, 0.9)], (640, 640))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(640, 640)), DetectOptions())
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    frames = frames_of([picture], FORMATS["yuv444p16le"])
    (found,) = detector(frames, whole(frames))
    assert np.abs(found.box - [[10, 20, 50, 70]]).max() < 1e-4
    (fed,) = net.feeds
    assert np.abs(fed[::-1, :90, :120].transpose(1, 2, 0) - picture / 255.0).max() < 2e-4
    assert not fed[:, 90:].any()
    assert not fed[:, :, 120:].any()


def test_a_picture_is_shrunk_from_edge_to_edge():
    """By a whole factor each pixel is the mean of a block, however noisy."""
    picture = np.random.default_rng(3).integers(40, 216, (240, 320, 3), dtype=np.uint8)
    net = net_of("yolo_face", [], (80, 80))
    spec = spec_of("detector", "yolo_face", size=(80, 80))
    frames = frames_of([picture], FORMATS["yuv444p16le"])
    NetDetector(net, spec, DetectOptions())(frames, whole(frames))
    blocks = picture.reshape(60, 4, 80, 4, 3).mean((1, 3)) / 255
    assert np.abs(net.feeds[0][::-1, :60].transpose(1, 2, 0) - blocks).max() < 1e-3


def test_width_and_height_have_ratios_of_their_own():
    """As published: 1000 x 101 becomes 64 x 6, for sizes are rounded down."""
    net = net_of("yolo_face", [face_at(8, 1, 16, 4, 0.9)], (64, 64))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(64, 64)), DetectOptions())
    frames = frames_of([grey(101, 1000)], FORMATS["yuv444p"])
    (found,) = detector(frames, whole(frames))
    assert not net.feeds[0][:, 6:].any()
    assert net.feeds[0][:, :6].all()
    want = [8 * 1000 / 64, 101 / 6, 24 * 1000 / 64, 5 * 101 / 6]
    assert np.abs(found.box[0] - want).max() < 1e-3


def test_shrinking_does_not_alias():
    """Stripes of one pixel become grey, as no bilinear reading of every third pixel makes them."""
    picture = np.zeros((960, 960, 3), np.uint8)
    picture[:, ::2] = 255
    net = net_of("yolo_face", [], (240, 240))
    spec = spec_of("detector", "yolo_face", size=(240, 240))
    frames = frames_of([picture], FORMATS["yuv444p"])
    NetDetector(net, spec, DetectOptions())(frames, whole(frames))
    assert np.abs(net.feeds[0] - 0.5).max() < 0.02


@pytest.mark.parametrize(("height", "width"), [(1, 2000), (2000, 1), (479, 641), (3, 3)])
def test_odd_sizes_are_searched(height, width):
    net = net_of("yolo_face", [], (64, 32))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(64, 32)), DetectOptions())
    frames = frames_of([grey(height, width)], FORMATS["yuv444p"])
    assert len(detector(frames, whole(frames))[0]) == 0
    assert net.feeds[0].shape == (3, 32, 64)


def test_all_angles_are_suppressed_together():
    """A face in the middle of a square picture is found at the same place in each turn."""
    net = net_of("yolo_face", [face_at(120, 120, 80, 80, 0.9)], (320, 320))
    spec = spec_of("detector", "yolo_face", size=(320, 320))
    frames = frames_of([grey(320, 320)] * 2)
    detector = NetDetector(net, spec, DetectOptions(), (0, 90, 180, 270))
    found = detector(frames, whole(frames))
    assert net.batches == [8]
    assert [len(one) for one in found] == [1, 1]
    apart = net_of("yolo_face", [face_at(10, 10, 80, 80, 0.9)], (320, 320))
    detector = NetDetector(apart, spec, DetectOptions(), (0, 90))
    (both, _) = detector(frames, whole(frames))
    assert len(both) == 2


def test_scores_and_overlaps_are_those_of_the_options():
    faces = [face_at(100, 100, 80, 80, 0.9), face_at(120, 100, 80, 80, 0.7)]  # overlap: 0.6
    spec = spec_of("detector", "yolo_face", size=(320, 320))
    frames = frames_of([grey(320, 320)])
    for score, iou, want in ((0.5, 0.5, 1), (0.5, 0.65, 2), (0.8, 0.65, 1), (0.95, 0.65, 0)):
        net = net_of("yolo_face", faces, (320, 320))
        detector = NetDetector(net, spec, DetectOptions(score=score, iou=iou))
        assert len(detector(frames, whole(frames))[0]) == want


def test_frames_that_nobody_asked_of_have_nothing():
    net = net_of("yolo_face", [face_at(100, 100, 80, 80, 0.9)], (320, 320))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(320, 320)), DetectOptions())
    frames = frames_of([grey(320, 320)] * 20)
    found = detector(frames, whole(frames)[1:])
    assert sum(net.batches) == 19
    assert max(net.batches) < 19
    assert [len(one) for one in found] == [0] + [1] * 19
    assert found[0].points.shape == (0, 5, 2)
    assert [len(one) for one in detector(frames, [])] == [0] * 20


@pytest.mark.parametrize("angles", [(), (45,), (0, 90, 0), (360,)])
def test_angles_that_cannot_be_are_refused(angles):
    net, spec = net_of("yolo_face", [], (64, 64)), spec_of("detector", "yolo_face", size=(64, 64))
    with pytest.raises(OptionError, match="detector angles"):
        NetDetector(net, spec, DetectOptions(), angles)


def test_nets_of_other_families_are_refused():
    with pytest.raises(InternalError, match="blazeface"):
        NetDetector(
            net_of("yolo_face", [], (64, 64)), get("face_detection_full_range"), DetectOptions()
        )
    net = net_of("scrfd", [], (64, 64))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(64, 64)), DetectOptions())
    frames = frames_of([grey(64, 64)])
    with pytest.raises(ModelError, match="gives 9 tensors; allowed: 1"):
        detector(frames, whole(frames))


def test_the_face_mesh_follows_what_a_net_of_five_points_finds(nets: Nets):
    """The same mesh from five points as from the embedded detector's six."""
    embedded, mesh_net = nets
    frames = frames_of([scene(180, 320, ("astronaut", 90, 20, 140))] * 2)
    (six,) = embedded(frames, [(0, embedded.views(frames)[0])])[:1]
    right, left, nose, mouth = six.points[0, :4]
    corner = 0.3 * (left - right)
    box = tuple(six.box[0].tolist())
    points = tuple(tuple(p.tolist()) for p in (right, left, nose, mouth - corner, mouth + corner))
    face = Face(box, points, 0.9)
    net = net_of("yolo_face", [face], (640, 640))
    detector = NetDetector(net, spec_of("detector", "yolo_face", size=(640, 640)), DetectOptions())
    faces = FaceTracker(detector, mesh_net, TrackOptions())(frames)
    assert faces.track.tolist() == [0, 0]
    want = FaceTracker(embedded, mesh_net, TrackOptions())(frames)
    assert faces.mesh is not None
    assert want.mesh is not None
    assert box_iou(faces.box[1], want.box[1:])[0] > 0.95
    assert np.abs(faces.mesh - want.mesh)[..., :2].max() < 3
    assert len(still_mesh(detector, mesh_net, frames, 0.5)) == 1
