"""Decoders of the published detectors, on tensors made from known boxes and points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.errors import ModelError
from ffswap.geometry.boxes import Detections
from ffswap.geometry.heads import decode_scrfd, decode_yolo_face, decode_yunet
from tests.geometry.head_tensors import (
    ENCODERS,
    STRIDES,
    Size,
    face_at,
    scrfd,
    yolo_face,
    yunet,
)

NEAR = 1e-3
"""Pixels."""


def decode(name: str, tensors: Sequence[F32], size: Size, score: float) -> Detections:
    if name == "yolo_face":
        (tensor,) = tensors
        return decode_yolo_face(tensor, score)
    return (decode_scrfd if name == "scrfd" else decode_yunet)(tensors, size, score)


FACES = [
    face_at(100.3, 200.7, 40.1, 52.9, 0.9, 8),
    face_at(333.25, 41.5, 120.6, 160.2, 0.95, 16),
    face_at(11.1, 350.9, 260.3, 280.4, 0.8, 32),
    face_at(-9.5, -14.2, 60.3, 70.1, 0.7, 8),
    face_at(601.9, 590.3, 55.7, 66.6, 0.6, 16),
    face_at(500.0, 3.0, 12.5, 15.5, 0.85, 8),
]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("batched", [False, True])
def test_known_faces_come_back(name, batched):
    """Of all strides, at odd places, over the border; with and without a batch axis."""
    tensors = ENCODERS[name](FACES, (640, 640))
    got = decode(name, [t[None] for t in tensors] if batched else tensors, (640, 640), 0.5)
    want = sorted(FACES, key=lambda f: -f.score)
    assert got.box.dtype == got.points.dtype == got.score.dtype == np.float32
    assert np.abs(got.box - np.array([f.box for f in want])).max() < NEAR
    assert np.abs(got.points - np.array([f.points for f in want])).max() < NEAR
    assert np.abs(got.score - np.array([f.score for f in want])).max() < 1e-6


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("stride", STRIDES)
def test_every_cell_of_every_grid_has_its_place(name, stride):
    """Random faces in a picture that is not square."""
    size = (320, 192)
    rng = np.random.default_rng(stride)
    for _ in range(40):
        w, h = rng.uniform(5, 180, 2)
        x, y = rng.uniform(0, size[0] - 1) - w / 2, rng.uniform(0, size[1] - 1) - h / 2
        face = face_at(x, y, w, h, 0.8, stride)
        got = decode(name, ENCODERS[name]([face], size), size, 0.5)
        assert len(got) == 1
        assert np.abs(got.box[0] - face.box).max() < NEAR
        assert np.abs(got.points[0] - face.points).max() < NEAR


def test_a_score_at_the_threshold_counts_where_the_format_says_so():
    """Only YOLO asks for more than the threshold."""
    on_it = [face_at(100, 100, 50, 60, 0.5)]
    assert len(decode_yolo_face(yolo_face(on_it)[0], 0.5)) == 0
    assert len(decode_yolo_face(yolo_face(on_it)[0], 0.499)) == 1
    assert len(decode_scrfd(scrfd(on_it), (640, 640), 0.5)) == 1
    assert len(decode_scrfd(scrfd(on_it), (640, 640), 0.501)) == 0
    halves = yunet(on_it)
    for tensor, value in ((halves[0], 0.5), (halves[3], 1.0)):
        tensor[tensor > 0] = value
    assert len(decode_yunet(halves, (640, 640), 0.5)) == 1
    assert len(decode_yunet(halves, (640, 640), 0.501)) == 0


def test_the_score_of_yunet_is_the_product_and_not_its_root():
    tensors = yunet([face_at(100, 100, 50, 60, 0.64)])
    for tensor in (tensors[0], tensors[3]):
        tensor[tensor > 0] = 0.6
    assert len(decode_yunet(tensors, (640, 640), 0.4)) == 0
    assert decode_yunet(tensors, (640, 640), 0.3).score == pytest.approx([0.36])


@pytest.mark.parametrize("name", ENCODERS)
def test_nothing_found_is_an_empty_table(name):
    got = decode(name, ENCODERS[name]([], (640, 640)), (640, 640), 0.5)
    assert (got.box.shape, got.points.shape, got.score.shape) == ((0, 4), (0, 5, 2), (0,))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, 1e5])
def test_values_out_of_all_bounds_do_no_harm(name, value):
    """A face is finite or is not there, and no arithmetic warning is raised."""
    tensors = ENCODERS[name](FACES[:1], (640, 640))
    broken: Any = [np.where((t != 0) & (t.shape[-1] != 1), np.float32(value), t) for t in tensors]
    got = decode(name, broken, (640, 640), 0.5)
    assert np.isfinite(got.box).all()
    assert np.isfinite(got.points).all()


@pytest.mark.parametrize("name", ["scrfd", "yunet"])
def test_tensors_of_another_net_are_refused(name):
    tensors = ENCODERS[name](FACES, (640, 640))
    with pytest.raises(ModelError, match=r"gives (8|11) tensors; allowed: (9|12)") as caught:
        decode(name, tensors[:-1], (640, 640), 0.5)
    assert caught.value.hint
    with pytest.raises(ModelError, match=r"a tensor of stride 8 .* shape \(\d+, 1\)"):
        decode(name, tensors, (320, 320), 0.5)
    swapped = [*tensors[:-1], tensors[0]]
    with pytest.raises(ModelError, match="a tensor of stride 32"):
        decode(name, swapped, (640, 640), 0.1)


def test_a_yolo_net_without_points_is_refused():
    with pytest.raises(ModelError, match=r"\(5, 8400\); allowed: \(20, candidates\)"):
        decode_yolo_face(np.zeros((5, 8400), np.float32), 0.5)
