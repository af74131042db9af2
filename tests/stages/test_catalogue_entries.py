"""Every published entry of the catalogue through its own stage, by nets with known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.engines import OrtCpuSession
from ffswap.geometry import affine
from ffswap.geometry.landmarks import landmark_matrix
from ffswap.models import get, names, template
from ffswap.options import DetectOptions
from ffswap.stages.detect import View
from ffswap.stages.feed import SharedNet
from ffswap.stages.identify import Recogniser, source_vector
from ffswap.stages.landmark import Landmarker, PointsTo68
from ffswap.stages.masks import FaceMasks
from ffswap.stages.net_detect import NetDetector
from ffswap.stages.restore import Restorer
from tests import known_answers as known
from tests.geometry.head_tensors import ENCODERS, face_at
from tests.stages.face_scenes import FORMATS, frames_of, to_planes
from tests.stages.fake_nets import FakeNet

DETECTORS = [one for one in names("detector") if not get(one).embedded]
POINTS = np.random.default_rng(8).uniform(4, 60, (68, 2)).astype(np.float32)
"""Where the landmarkers of these tests see a face, in cells of 64."""


def grey(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), 110, np.uint8)


@pytest.mark.conformance("faces")
@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_finds_known_faces(name: str):
    spec = get(name)
    faces = [face_at(30.5, 40.25, 60, 72, 0.9, 8), face_at(200, 100, 110, 130, 0.8, 16)]
    tensors = ENCODERS[spec.family](faces, spec.picture.size)
    net = FakeNet(lambda _: tensors, outputs=[str(k) for k in range(len(tensors))])
    frames = frames_of([grey(960, 1280)])  # twice as wide as the net's input
    (found,) = NetDetector(net, spec, DetectOptions())(frames, [(0, View(0, 0, 1280, 960))])
    assert np.abs(found.box - [[2 * v for v in face.box] for face in faces]).max() < 1e-3
    assert np.abs(found.points - 2 * np.array([face.points for face in faces])).max() < 1e-3
    assert found.score == pytest.approx([0.9, 0.8])
    level = (110 - spec.picture.mean[0]) / spec.picture.std[0]
    assert net.feeds[0][:, 200, 300] == pytest.approx([level] * 3, abs=0.02 * abs(level) + 0.01)


def heat_maps(_: F32) -> Sequence[F32]:
    maps = np.zeros((68, 64, 64), np.float32)
    maps[:, 9, 50] = 0.72
    return np.concatenate([POINTS, np.full((68, 1), 0.72)], 1).astype(np.float32), maps


def table(_: F32) -> Sequence[F32]:
    return (np.concatenate([POINTS, np.full((68, 1), 0.76)], 1).astype(np.float32).reshape(-1),)


@pytest.mark.conformance("points")
@pytest.mark.parametrize(("name", "answer"), [("2dfan4", heat_maps), ("peppa_wutz", table)])
def test_a_landmarker_sees_points_where_they_are(name: str, answer: Callable[[F32], Sequence[F32]]):
    spec = get(name)
    frames, box = frames_of([grey(300, 400)]), np.array([[10, 20, 110, 160]], np.float32)
    net = FakeNet(answer, outputs=("maps", "more")[: len(answer(POINTS))])
    got, score = Landmarker(net, spec)(frames, np.array([0]), box, np.array([90]))
    matrix = landmark_matrix(box[0], 90, spec.size)
    assert np.abs(affine.apply(matrix, got[0]) - POINTS * 4).max() < 1e-2
    assert score == pytest.approx([0.8])


@pytest.mark.conformance("points", models=["fan_68_5"])
def test_points_are_guessed_on_the_template():
    """By a net to which the 68 are the five, over and over."""
    five = template("ffhq_512") * 90 + np.float32(20)
    net = FakeNet(lambda points: (np.resize(points, (68, 2)),), outputs=("first",))
    got = PointsTo68(net, get("fan_68_5"), template("ffhq_512"))(five[None])
    assert np.abs(net.feeds[0] - template("ffhq_512")).max() < 1e-4
    assert np.abs(got[0] - np.resize(five, (68, 2))).max() < 1e-2


@pytest.mark.conformance("embedding")
@pytest.mark.parametrize("name", names("recogniser"))
def test_a_recogniser_sees_the_aligned_crop(name: str):
    spec, colour = get(name), np.array([[200, 150, 120]], np.uint8)
    fmt = FORMATS["yuv444p16le"]
    rgb = np.broadcast_to(colour, (90, 120, 3)).astype(np.uint8)
    frames = known.frames_with([to_planes(rgb, fmt)], fmt)
    with OrtCpuSession(known.recogniser(spec, 1)) as session:
        embed = Recogniser(session, spec, template(spec.template or ""))
        got = embed(frames, np.zeros(1, np.int64), known.face_points(60, 45, 40, 20)[None])
    assert np.abs(got - known.recognised(colour / np.float32(255))).max() < 5e-3


def swappers_of(converter: str) -> list[str]:
    return [one for one in names("swapper") if converter in get(one).needs]


@pytest.mark.conformance("embedding")
@pytest.mark.parametrize("name", names("converter"))
def test_a_converter_stands_between_recogniser_and_swapper(name: str):
    embedding = np.random.default_rng(5).standard_normal(512).astype(np.float32)
    assert swappers_of(name)
    for swapper in swappers_of(name):
        source = get(swapper).source
        assert source is not None
        with OrtCpuSession(known.converter(1)) as session:
            got = source_vector(embedding, source, session, None)[0]
        # The known converter gives vectors of length 3.
        want = known.converted(embedding) / (3 if source.unit_after else 1)
        assert np.abs(got - want).max() < 1e-5


SKIN, GREEN = (0.8, 0.6, 0.5), (0.1, 0.9, 0.1)


def half_green(side: int) -> F32:
    """(1, 3, side, side): skin on the left, green on the right."""
    crop = np.empty((1, 3, side, side), np.float32)
    crop[0] = np.array(SKIN)[:, None, None]
    crop[0, :, :, side // 2 :] = np.array(GREEN)[:, None, None]
    return crop


def assert_left_half(mask: F32) -> None:
    side = mask.shape[-1]
    assert (mask[:, side // 2 + 1 :] == 0).all()
    assert (mask[:, : side // 2 - 30] > 0.999).all()


@pytest.mark.conformance("mask")
@pytest.mark.parametrize("name", names("occluder"))
def test_an_occluder_leaves_out_what_covers_the_face(name: str):
    spec = get(name)
    with OrtCpuSession(known.occluder(spec, 1)) as session:
        masks = FaceMasks(["occlusion"], occluders=[SharedNet(session, spec)])
        assert_left_half(masks.before(half_green(256))[0])


@pytest.mark.conformance("mask")
@pytest.mark.parametrize("name", names("parser"))
def test_a_parser_keeps_the_parts_that_are_asked_for(name: str):
    spec = get(name)
    with OrtCpuSession(known.parser(spec, {"skin": SKIN, "mouth": GREEN}, 1)) as session:
        masks = FaceMasks(["region"], parser=SharedNet(session, spec), regions=["skin"])
        assert_left_half(masks.after(half_green(512))[0])


@pytest.mark.conformance("blend")
@pytest.mark.parametrize("name", names("restorer"))
def test_a_restorer_makes_a_face_brighter_by_the_blend(name: str):
    spec, fmt = get(name), FORMATS["yuv444p16le"]
    frames = known.frames_with([to_planes(grey(200, 300), fmt)], fmt)
    faces = known.faces_at((0, known.face_points(150, 100, 120, 25)))
    with OrtCpuSession(known.restorer(spec, 1)) as session:
        stage = Restorer(session, spec, template(spec.template or ""), blend=0.5)
        stage.paint(frames, stage.plan(frames, faces))
    offset, span = frames.colour.luma_scale(16)
    at = (float(frames.planes[0][0][100, 150]) - offset) / span
    share = 0.5 * spec.constants.get("weight", 1.0)
    assert at == pytest.approx(110 / 255 + 0.2 * share, abs=5e-4)
