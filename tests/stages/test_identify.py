"""Embeddings of faces, their distance, and what the source input of a swapper gets of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ffswap.carriers import F32, Colour, Frames
from ffswap.engines import OrtCpuSession
from ffswap.errors import InternalError, ModelError
from ffswap.models.spec import SourceInput
from ffswap.stages.identify import (
    Recogniser,
    distance,
    mean_embedding,
    source_picture,
    source_vector,
)
from tests.known_answers import (
    TEMPLATES,
    converted,
    converter,
    face_points,
    frames_with,
    image_input,
    recognised,
    recogniser,
    recogniser_spec,
)
from tests.stages.face_scenes import FORMATS, to_planes

PEOPLE = np.array([[200, 150, 120], [90, 60, 50], [60, 120, 200], [220, 220, 60]], np.uint8)
"""Colours of the skin of four people."""

TEMPLATE = TEMPLATES["arcface_112_v2"]


def picture_frames(*people: int) -> Frames:
    """One plain frame for each of them, with full-range-like precision: 4:4:4 of 16 bits."""
    fmt = FORMATS["yuv444p16le"]
    pictures = [np.broadcast_to(PEOPLE[one], (90, 120, 3)).astype(np.uint8) for one in people]
    return frames_with([to_planes(rgb, fmt) for rgb in pictures], fmt, Colour())


def embed(frames: Frames, where: list[int], batch: int | str = "N") -> F32:
    spec = recogniser_spec()
    points = np.stack([face_points(60, 45, 40 + 5 * k, 20 * k) for k in range(len(where))])
    with OrtCpuSession(recogniser(spec, batch), name="recogniser") as session:
        return Recogniser(session, spec, TEMPLATE)(frames, np.array(where, np.int64), points)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("count", [1, 5, 19])
def test_each_face_gets_the_embedding_of_its_own_crop(count, batch):
    where = [(3 * k) % 4 for k in range(count)]
    got = embed(picture_frames(0, 1, 2, 3), where, batch)
    assert got.shape == (count, 512)
    assert got.dtype == np.float32
    want = recognised(PEOPLE[where] / np.float32(255))
    # Colours of 16 bits, times the recogniser's largest frequency, about 40.
    assert np.abs(got - want).max() < 5e-3


def test_no_faces_have_no_embeddings():
    spec = recogniser_spec()
    with OrtCpuSession(recogniser(spec), name="recogniser") as session:
        got = Recogniser(session, spec, TEMPLATE)(
            picture_frames(0), np.zeros(0, np.int64), np.zeros((0, 5, 2), np.float32)
        )
    assert got.shape == (0, 512)


def test_the_known_answer_recogniser_tells_people_apart():
    """FaceFusion's limit for one person is 0.3; different ones must lie beyond it."""
    one, two = (embed(picture_frames(0, 1, 2, 3), [0, 1, 2, 3]) for _ in range(2))
    apart = distance(one[:, None], two[None])
    assert np.abs(np.diag(apart)).max() < 1e-6
    assert apart[~np.eye(4, dtype=bool)].min() > 0.3
    assert np.linalg.norm(one, axis=1).min() > 10  # raw: a swapper that wants unit vectors shows it


def test_distance_is_half_of_one_minus_the_cosine():
    one = np.array([3.0, 0.0], np.float32)
    many = np.array([[5, 0], [0, 2], [-1, 0], [1, 1]], np.float32)
    want = [0, 0.5, 1, (1 - np.sqrt(0.5)) / 2]
    assert distance(one, many) == pytest.approx(want, abs=1e-6)
    assert float(distance(one, many[1])) == pytest.approx(0.5)


def test_every_photo_counts_the_same_whatever_its_norm():
    one, two = np.array([100.0, 0], np.float32), np.array([0, 0.01], np.float32)
    mean = mean_embedding([one, two])
    assert mean == pytest.approx([np.sqrt(0.5)] * 2, abs=1e-6)
    assert mean_embedding([two]) == pytest.approx([0, 1], abs=1e-6)
    assert mean.dtype == np.float32


@pytest.mark.parametrize("bad", [[np.zeros(4)], [np.full(4, np.nan)], [np.ones(4), -np.ones(4)]])
def test_an_embedding_without_direction_is_refused(bad):
    with pytest.raises(ModelError, match="no direction") as caught:
        mean_embedding([np.asarray(one, np.float32) for one in bad])
    assert "verify" in str(caught.value.hint)


EMBEDDING = np.random.default_rng(5).standard_normal(512).astype(np.float32) * 3
MATRIX = np.random.default_rng(6).standard_normal((512, 512)).astype(np.float32)


def source(**fields: object) -> SourceInput:
    return SourceInput(name="source", form="embedding", recogniser="arcface", **fields)  # type: ignore[arg-type]


def test_a_raw_embedding_goes_in_as_it_is():
    got = source_vector(EMBEDDING, source(), None, None)
    assert got.shape == (1, 512)
    assert np.array_equal(got[0], EMBEDDING)


def test_inswapper_gets_the_unit_embedding_through_the_matrix_of_its_file():
    got = source_vector(EMBEDDING, source(unit_before=True, projected=True), None, MATRIX)
    want = EMBEDDING.astype(np.float64) @ MATRIX / np.linalg.norm(EMBEDDING)
    assert np.abs(got[0] - want).max() < 1e-4


def test_hyperswap_gets_the_unit_embedding():
    got = source_vector(EMBEDDING, source(unit_before=True), None, None)
    assert np.abs(got[0] - EMBEDDING / np.linalg.norm(EMBEDDING)).max() < 1e-6


@pytest.mark.parametrize("name", ["input", "another"])
@pytest.mark.parametrize("unit", [False, True])
def test_a_converted_embedding_is_made_a_unit_where_it_is_asked_for(unit, name):
    asked = source(converter="crossface", unit_after=unit)
    with OrtCpuSession(converter(1, name), name="converter") as session:
        got = source_vector(EMBEDDING, asked, session, None)
    want = converted(EMBEDDING) / (3 if unit else 1)
    assert np.abs(got[0] - want).max() < 1e-5


def test_matrix_and_converter_must_be_those_that_are_asked_for():
    with pytest.raises(InternalError, match="matrix missing"):
        source_vector(EMBEDDING, source(projected=True), None, None)
    with pytest.raises(InternalError, match="matrix missing"):
        source_vector(EMBEDDING, source(), None, MATRIX)
    with pytest.raises(InternalError, match="converter missing"):
        source_vector(EMBEDDING, source(converter="crossface"), None, None)
    with pytest.raises(ModelError, match=r"256 x 256.*512 values"):
        source_vector(EMBEDDING, source(projected=True), None, MATRIX[:256, :256])


def test_a_picture_is_the_portrait_aligned_and_in_the_scale_that_is_asked_for():
    """A ramp from left to right: turned portraits come out upright."""
    fmt = FORMATS["yuv444p16le"]
    x = np.linspace(0, 255, 200).astype(np.uint8)
    ramp = np.broadcast_to(x[None, :, None], (200, 200, 3)).astype(np.uint8)
    image = image_input(112, "source", mean=(127.5,) * 3, std=(127.5,) * 3)
    asked = SourceInput(name="source", form="picture", image=image, template="arcface_112_v2")
    levels = []
    for degrees in (0, 90, 180):
        frames = frames_with([to_planes(ramp, fmt)], fmt)
        points = face_points(100, 100, 80, degrees, "arcface_112_v2")
        got = source_picture(frames, 0, points, asked, TEMPLATE)
        assert got.shape == (1, 3, 112, 112)
        assert got.dtype == np.float32
        levels.append(got[0, 0])
    flat = (100 / 199) * 2 - 1
    assert np.abs(levels[0][56] - np.linspace(flat - 0.4, flat + 0.4, 112)).max() < 0.02
    assert (np.diff(levels[0][56]) > 0).mean() > 0.7
    assert np.ptp(levels[1][:, 56]) > 0.7  # a head that lies on its side: the ramp runs downwards
    assert np.abs(levels[2] - levels[0][::-1, ::-1]).max() < 0.03
    for one, two in pairwise(levels):
        assert np.abs(one.mean() - two.mean()) < 0.01


def test_a_picture_for_an_embedding_is_refused():
    frames = picture_frames(0)
    with pytest.raises(InternalError, match="no square picture"):
        source_picture(frames, 0, face_points(60, 45, 40), source(), TEMPLATE)
    image = image_input(112, "source")
    picture = SourceInput(name="source", form="picture", image=image, template="arcface_112_v2")
    with pytest.raises(InternalError, match="takes a picture"):
        source_vector(EMBEDDING, picture, None, None)
