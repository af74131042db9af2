"""Thumbnails as kernels, run on the CPU, equal to those that OpenCV makes, and the cuts seen in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ffswap.errors import InternalError
from ffswap.ops.cuda.thumbnails import ThumbnailMaker
from ffswap.ops.thumbnails import THUMBNAIL, thumbnail
from ffswap.stages.cuts import CutDetector
from tests.gpu.host_programs import STREAM, HostArray, HostPrograms
from tests.stages.face_scenes import FORMATS, frames_of

DEPTHS = (8, 10, 16)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return HostPrograms(tmp_path_factory.mktemp("kernels"))


def planes(n: int, height: int, width: int, depth: int) -> np.ndarray:
    """Frames with something behind each row and each frame that must not be read."""
    dtype = np.uint8 if depth == 8 else np.uint16
    wide = np.full((n, height + 3, width + 5), 250, dtype)
    rng = np.random.default_rng(width * height + depth)
    wide[:, :height, :width] = rng.integers(0, 1 << depth, (n, height, width))
    return wide


def make(programs, wide: np.ndarray, height: int, width: int, depth: int) -> Any:
    out = HostArray.full((len(wide), *THUMBNAIL[::-1]), wide.dtype)
    maker = ThumbnailMaker(programs, width, height, depth)
    maker(wide.ctypes.data, wide.strides[1], wide.strides[0], len(wide), out, STREAM)
    return out.array


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("height", "width"),
    [(1080, 1920), (360, 640), (361, 479), (1920, 1080), (36, 64), (144, 256), (72, 1000), (54, 96),
     (18, 32), (18, 77), (100, 32), (73, 129), (1079, 1919)],
)  # fmt: skip
def test_thumbnails_are_opencv_s(programs, height, width, depth):
    wide = planes(2, height, width, depth)
    got = make(programs, wide, height, width, depth)
    want = [thumbnail(frame[:height, :width]) for frame in wide]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("height", "width"), [(9, 50), (31, 17), (9, 17), (9, 40), (17, 32), (1, 1), (1, 300), (300, 2)]
)
def test_planes_that_are_too_small_are_off_by_one_at_most(programs, height, width, depth):
    wide = planes(1, height, width, depth)
    got = make(programs, wide, height, width, depth)[0].astype(int)
    assert np.abs(got - thumbnail(wide[0, :height, :width])).max() <= 1


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le"])
def test_cuts_are_seen_in_thumbnails_as_in_frames(programs, name):
    rng = np.random.default_rng(1)
    scenes = [
        rng.integers(20, 236, (6, 10, 3), np.uint8).repeat(30, 0).repeat(32, 1) for _ in "abc"
    ]
    clip = frames_of([scenes[k] for k in (0, 0, 0, 1, 1, 2, 2, 2)], FORMATS[name])
    luma = np.stack([y for y, _, _ in clip.planes])
    small = make(programs, luma, clip.height, clip.width, clip.format.depth)
    seen = CutDetector().see(list(small), clip.colour, clip.format.depth)
    assert seen == CutDetector()(clip)
    assert [i for i, cut in enumerate(seen) if cut] == [3, 5]


def test_thumbnails_in_other_arrays_are_our_fault(programs):
    wide = planes(2, 36, 64, 8)
    maker = ThumbnailMaker(programs, 64, 36, 8)
    for shape, dtype, pitch in [((2, 18, 32), np.uint16, 69), ((1, 18, 32), np.uint8, 69),
                                ((2, 32, 18), np.uint8, 69), ((2, 18, 32), np.uint8, 63)]:  # fmt: skip
        with pytest.raises(InternalError, match="2 thumbnails"):
            maker(wide.ctypes.data, pitch, wide.strides[0], 2, HostArray.full(shape, dtype), STREAM)
