"""Frames whose pixels are not square: nets see faces as they are shown."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffswap.carriers import F32, Colour, Frames
from ffswap.engines import OrtCpuSession
from ffswap.errors import InternalError
from ffswap.geometry import affine
from ffswap.media import ClipReader
from ffswap.models import get
from ffswap.options import DetectOptions
from ffswap.stages.detect import View
from ffswap.stages.feed import face_crops
from ffswap.stages.identify import Recogniser, source_picture
from ffswap.stages.landmark import Landmarker, PointsTo68
from ffswap.stages.masks import FaceMasks
from ffswap.stages.net_detect import NetDetector
from ffswap.stages.net_swap import NetSwapper
from tests import known_answers as known
from tests.geometry.head_tensors import ENCODERS, face_at
from tests.media.media_clips import Clip
from tests.stages.face_scenes import FORMATS, copy_of, frames_of
from tests.stages.fake_nets import FakeNet, spec_of

FMT = FORMATS["yuv444p16le"]
WIDE = 2.0  # a pixel is shown twice as wide as high


def stored(points: F32, aspect: float = WIDE) -> F32:
    """Places in the picture as it is shown, to pixels as they are stored."""
    return np.asarray(points / np.array([aspect, 1]), np.float32)


def waves(width: int, aspect: float) -> Frames:
    """The same picture of 240 x 320 as shown, in this many columns."""
    rows, columns = np.mgrid[0:240, 0:width].astype(np.float64)
    value = 0.5 + 0.2 * np.sin(columns * aspect / 37) * np.cos(rows / 29)
    luma = np.round((16 + 219 * value) * 256).astype(np.uint16)
    grey = np.full_like(luma, 128 << 8)
    frames = known.frames_with([(luma, grey, grey.copy())], FMT, Colour())
    return replace(frames, pixel_aspect=aspect)


FACE = known.face_points(160, 120, 120, 25)


def test_a_swapper_sees_the_face_as_it_is_shown_and_paints_it_back():
    spec, box = known.swapper_spec(128), known.TEMPLATES["arcface_128"]
    crops = []
    for frames, points in ((waves(320, 1.0), FACE), (waves(160, WIDE), stored(FACE))):
        before = copy_of(frames)
        with OrtCpuSession(known.identity_swapper(spec)) as session:
            swapper = NetSwapper(session, spec, box, [np.zeros((1, 512), np.float32)], FaceMasks())
            plans = swapper.plan(frames, known.faces_at((0, points)))
            swapper.paint(frames, plans)
        matrix = plans[0][0].matrix
        crops.append(face_crops(before, np.zeros(1, np.int64), matrix[None], 128))
        # The five points lie on the template, and the crop is a turn and one scale of what is shown.
        assert np.abs(affine.apply(matrix, points) - box * 128).max() < 1e-3
        square = matrix[:, :2] / (frames.pixel_aspect, 1)
        assert square @ square.T == pytest.approx(np.eye(2) * (128 / 120) ** 2, abs=1e-6)
        off = np.abs(frames.planes[0][0].astype(int) - before.planes[0][0])
        assert off.max() <= 256  # one code value of 8 bits
        # It was painted over what is the face's square as shown.
        rows, columns = np.mgrid[0:240, 0 : frames.width].astype(np.float32)
        inside = affine.apply(matrix, np.stack([columns, rows], -1))
        outside = ~((inside > -1) & (inside < 128)).all(-1)
        assert not off[outside].any()
        assert (~outside).sum() * frames.pixel_aspect == pytest.approx(122**2, rel=0.02)
    assert np.abs(crops[0] - crops[1]).max() < 5e-3


def test_a_recogniser_and_a_source_picture_see_the_face_as_it_is_shown():
    seen = []
    spec, uniface = get("arcface_w600k_r50"), get("uniface_256").source
    assert uniface is not None
    for frames, points in ((waves(320, 1.0), FACE), (waves(160, WIDE), stored(FACE))):
        net = FakeNet(lambda crop: (crop.reshape(-1),), outputs=("flat",))
        embed = Recogniser(net, spec, known.TEMPLATES["arcface_112_v2"])
        embed(frames, np.zeros(1, np.int64), points[None])
        picture = source_picture(frames, 0, points, uniface, known.TEMPLATES["ffhq_512"])
        seen.append((net.feeds[0], picture))
    for one, two in zip(*seen, strict=True):
        assert np.ptp(one) > 0.2
        assert np.abs(one - two).max() < 1e-2


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_detector_sees_the_picture_as_it_is_shown(rotation):
    """A white square as shown is one for the net; what it finds lies where it is as stored."""
    grey = np.full((240, 160, 3), 60, np.uint8)
    grey[60:140, 50:90] = 255  # 80 x 80 as shown
    tensors = ENCODERS["yolo_face"]([face_at(30, 40, 60, 80, 0.9)], (640, 640))
    net = FakeNet(lambda _: tensors, outputs=("found",))
    spec = spec_of("detector", "yolo_face", size=(640, 640))
    frames = replace(frames_of([grey], FMT, rotation=rotation), pixel_aspect=WIDE)
    whole = View(0, 0, 160, 240)
    (found,) = NetDetector(net, spec, DetectOptions())(frames, [(0, whole)])
    ys, xs = np.nonzero(net.feeds[0].min(0) > 0.6)
    assert (abs(np.ptp(xs) + 1 - 80) <= 1, abs(np.ptp(ys) + 1 - 80) <= 1) == (True, True)
    seen = 320 if rotation in (0, 180) else 240
    assert not net.feeds[0][:, :, seen:].any()
    box = found.box[0]
    sides = (30, 80) if rotation in (0, 180) else (40, 60)
    assert (box[2] - box[0], box[3] - box[1]) == pytest.approx(sides, abs=1e-3)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_landmarker_finds_a_spot_where_it_is(angle):
    grey = np.full((240, 160, 3), 60, np.uint8)
    grey[105:135, 73:88] = 255  # 30 x 30 as shown

    def brightest(picture: F32) -> tuple[F32, F32]:
        ys, xs = np.nonzero(picture.max(0) > 0.62)
        assert np.ptp(xs) == pytest.approx(np.ptp(ys), abs=4)
        at = np.array([xs.mean(), ys.mean()], np.float32) / 4
        return np.tile(at, (68, 1)), np.full((68, 64, 64), 0.9, np.float32)

    spec = spec_of("landmarker", "fan_heatmap", size=(256, 256))
    frames = replace(frames_of([grey], FMT), pixel_aspect=WIDE)
    box = np.array([[60, 90, 95, 160]], np.float32)
    got, _ = Landmarker(FakeNet(brightest), spec)(frames, np.array([0]), box, np.array([angle]))
    assert np.abs(got[0, 0] - (80, 119.5)).max() < 0.6


def test_points_are_guessed_from_a_face_as_it_is_shown():
    five = known.face_points(200, 150, 90, 30, "ffhq_512")
    net = FakeNet(lambda points: (np.resize(points, (68, 2)),), outputs=("first",))
    template = known.TEMPLATES["ffhq_512"]
    got = PointsTo68(net, get("fan_68_5"), template)(stored(five)[None], WIDE)
    assert np.abs(net.feeds[0] - template).max() < 1e-4
    assert np.abs(got[0] - np.resize(stored(five), (68, 2))).max() < 1e-2


@pytest.mark.parametrize(
    ("given", "want"), [(None, 1.0), (Fraction(16, 11), 16 / 11), (Fraction(1, 100), 1.0)]
)
def test_the_reader_says_how_pixels_are_shown(tmp_path: Path, given: Fraction | None, want: float):
    file = Clip(tmp_path / "in.mp4", frames=2, sar=given).make()
    with ClipReader(file) as reader:
        frames = next(item for item in reader if isinstance(item, Frames))
        assert frames.pixel_aspect == pytest.approx(want)


def test_pixels_without_a_side_are_refused():
    with pytest.raises(InternalError, match="pixel aspect 0"):
        replace(waves(160, WIDE), pixel_aspect=0.0)
