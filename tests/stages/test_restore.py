"""The restorer: what is already painted is made better, by so much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Frames
from ffswap.engines import OrtCpuSession
from ffswap.errors import InternalError
from ffswap.stages.masks import FaceMasks
from ffswap.stages.net_swap import NetSwapper
from ffswap.stages.restore import Restorer
from tests.known_answers import (
    TEMPLATES,
    face_points,
    faces_at,
    frames_with,
    painted,
    painter,
    restorer,
    restorer_spec,
    swapper_spec,
)
from tests.stages.face_scenes import FORMATS, copy_of, to_planes

FFHQ = TEMPLATES["ffhq_512"]
LEVEL = 110


def grey_frames(count: int = 1) -> Frames:
    fmt = FORMATS["yuv444p16le"]
    grey = np.full((200, 300, 3), LEVEL, np.uint8)
    return frames_with([to_planes(grey, fmt) for _ in range(count)], fmt)


def luma(frames: Frames, i: int, x: int, y: int) -> float:
    """0 to 1."""
    offset, span = frames.colour.luma_scale(16)
    return (float(frames.planes[i][0][y, x]) - offset) / span


def restore(frames: Frames, faces: Any, spec: Any, model: bytes, **options: Any) -> None:
    with OrtCpuSession(model, name="restorer") as session:
        stage = Restorer(session, spec, FFHQ, **options)
        stage.paint(frames, stage.plan(frames, faces))


@pytest.mark.parametrize("blend", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("size", [256, 512])
def test_the_result_is_laid_over_the_face_by_the_blend(size, blend):
    spec = restorer_spec(size)
    frames = grey_frames(2)
    before = copy_of(frames)
    faces = faces_at((1, face_points(150, 100, 120, 25, "ffhq_512")))
    restore(frames, faces, spec, restorer(spec), blend=blend)
    assert luma(frames, 1, 150, 100) == pytest.approx(LEVEL / 255 + 0.2 * blend, abs=2e-4)
    assert luma(frames, 1, 20, 20) == luma(before, 1, 20, 20)
    assert all(
        np.array_equal(a, b) for a, b in zip(frames.planes[0], before.planes[0], strict=True)
    )


def test_the_blend_is_four_fifths_by_default():
    spec = restorer_spec(256)
    frames = grey_frames()
    faces = faces_at((0, face_points(150, 100, 120, 0, "ffhq_512")))
    restore(frames, faces, spec, restorer(spec))
    assert luma(frames, 0, 150, 100) == pytest.approx(LEVEL / 255 + 0.16, abs=2e-4)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_constant_input_reaches_the_net_in_its_own_type(weight, batch):
    """As CodeFormer's: float64 of shape (1,), whatever the batch."""
    spec = restorer_spec(256, weight=weight)
    frames = grey_frames(3)
    faces = faces_at(*((i, face_points(150, 100, 120, 0, "ffhq_512")) for i in range(3)))
    restore(frames, faces, spec, restorer(spec, batch), blend=1.0)
    for i in range(3):
        assert luma(frames, i, 150, 100) == pytest.approx(LEVEL / 255 + 0.2 * weight, abs=2e-4)


def test_it_sees_what_the_swapper_has_painted():
    """The plan is made before the frames are swapped, the crop after."""
    swap, better = swapper_spec(128), restorer_spec(256)
    frames = grey_frames()
    points = face_points(150, 100, 120)
    faces = faces_at((0, points))
    source = np.full((1, 512), -0.01, np.float32)
    with (
        OrtCpuSession(painter(swap), name="painter") as one,
        OrtCpuSession(restorer(better), name="restorer") as two,
    ):
        swapper = NetSwapper(one, swap, TEMPLATES["arcface_128"], [source], FaceMasks())
        stage = Restorer(two, better, FFHQ, blend=1.0)
        first, second = swapper.plan(frames, faces), stage.plan(frames, faces)
        swapper.paint(frames, first)
        swapped = luma(frames, 0, 150, 100)
        stage.paint(frames, second)
    assert swapped == pytest.approx(float(painted(source)[0, 0]), abs=1e-3)
    assert luma(frames, 0, 150, 100) == pytest.approx(swapped + 0.2, abs=1e-3)


def test_faces_that_overlap_are_both_read_before_either_is_painted():
    spec = restorer_spec(256)
    frames = grey_frames()
    faces = faces_at(*((0, face_points(x, 100, 120, 0, "ffhq_512")) for x in (140, 160)))
    restore(frames, faces, spec, restorer(spec), blend=1.0)
    assert luma(frames, 0, 150, 100) == pytest.approx(LEVEL / 255 + 0.2, abs=2e-4)


def test_its_box_has_no_padding_unless_other_masks_are_given():
    spec = restorer_spec(256)
    faces = faces_at((0, face_points(150, 100, 120, 0, "ffhq_512")))
    plain, padded = grey_frames(), grey_frames()
    restore(plain, faces, spec, restorer(spec))
    restore(padded, faces, spec, restorer(spec), masks=FaceMasks(padding=(50, 0, 0, 0)))
    assert luma(plain, 0, 150, 70) > LEVEL / 255 + 0.1
    assert luma(padded, 0, 150, 70) == pytest.approx(LEVEL / 255, abs=5e-3)
    assert luma(padded, 0, 150, 120) > LEVEL / 255 + 0.1


def test_a_blend_that_there_is_not_is_refused():
    spec = restorer_spec(256)
    with (
        OrtCpuSession(restorer(spec), name="restorer") as session,
        pytest.raises(InternalError, match=r"blend 1\.5"),
    ):
        Restorer(session, spec, FFHQ, blend=1.5)
