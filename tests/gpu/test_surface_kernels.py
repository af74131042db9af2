"""Surfaces of decoders and encoders to and from planar frames, by kernels that are run on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.carriers import PixelFormat
from ffswap.errors import InternalError
from ffswap.ops.cuda.surfaces import Surface
from tests.gpu.host_programs import STREAM, HostPrograms
from tests.gpu.surface_scenes import Scene, assert_nothing_else_changed, fill

STEPS = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return HostPrograms(tmp_path_factory.mktemp("kernels"))


CASES = [
    (name, depth, size, planar)
    for name in STEPS
    for depth in (8, 10, 12, 16)
    for size in ((6, 8), (37, 131), (1, 1))
    for planar in (False, True)
]


@pytest.mark.parametrize(("name", "depth", "size", "planar"), CASES)
def test_a_decoder_s_picture_becomes_planes(programs, name, depth, size, planar):
    scene = Scene(PixelFormat(name, depth, *STEPS[name]), *size, planar=planar)
    fill(scene.surface_views(), scene.raised())
    scene.copier(programs).read(scene.surface(), scene.frame.ctypes.data, STREAM)
    for got, want in zip(scene.frame_views(), scene.truth, strict=True):
        np.testing.assert_array_equal(got, want)
    assert_nothing_else_changed([scene.frame], scene.frame_views())


@pytest.mark.parametrize(("name", "depth", "size", "planar"), CASES)
def test_planes_become_an_encoder_s_picture(programs, name, depth, size, planar):
    scene = Scene(PixelFormat(name, depth, *STEPS[name]), *size, planar=planar)
    fill(scene.frame_views(), scene.truth)
    scene.copier(programs).write(scene.surface(), scene.frame.ctypes.data, STREAM)
    for got, want in zip(scene.surface_views(), scene.raised(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert_nothing_else_changed(scene.memory, scene.surface_views())


def test_low_bits_of_a_decoder_s_samples_are_dropped(programs):
    scene = Scene(PixelFormat("yuv420p10le", 10, 1, 1), 4, 6, planar=False)
    fill(scene.surface_views(), [plane | 0x3F for plane in scene.raised()])
    scene.copier(programs).read(scene.surface(), scene.frame.ctypes.data, STREAM)
    for got, want in zip(scene.frame_views(), scene.truth, strict=True):
        np.testing.assert_array_equal(got, want)


def test_pitches_that_are_too_small_or_odd_are_our_fault(programs):
    scene = Scene(PixelFormat("yuv420p10le", 10, 1, 1), 4, 6, planar=False)
    copier, surface = scene.copier(programs), scene.surface()
    for luma, chroma in ((11, 12), (13, 12), (12, 11), (12, 6)):
        narrow = Surface(
            luma=surface.luma, luma_pitch=luma, chroma=surface.chroma, chroma_pitch=chroma
        )
        with pytest.raises(InternalError, match="at a pitch of"):
            copier.read(narrow, scene.frame.ctypes.data, STREAM)
    scene.pitch = (12, 6, 5)
    with pytest.raises(InternalError, match="at a pitch of 5 bytes"):
        scene.copier(programs)
