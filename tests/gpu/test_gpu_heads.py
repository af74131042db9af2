"""Kernels that measure and copy, on a GPU: what they say is what their references say.

Without a GPU these tests are skipped; FFSWAP_REQUIRE_GPU=1 makes that a failure.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from ffswap.carriers import PixelFormat
from ffswap.gpu.program import Programs
from ffswap.ops.cuda.contrast import Darkness
from ffswap.ops.cuda.detect import HeadDecoder
from ffswap.ops.cuda.landmarks import HeatmapPeaks
from ffswap.ops.cuda.thumbnails import ThumbnailMaker
from ffswap.ops.thumbnails import thumbnail
from tests.gpu.crop_kinds import crops_of_all_kinds, reference_mean
from tests.gpu.head_batches import FAMILIES, SIZE, batch, compare, crowd, decode, reference
from tests.gpu.real_gpu import open_gpu
from tests.gpu.surface_scenes import Scene, assert_nothing_else_changed, fill

pytestmark = pytest.mark.gpu

REQUIRED = os.environ.get("FFSWAP_REQUIRE_GPU") == "1"


class Bench:
    """A device with its kernels and one stream, and the arrays that a test makes on it."""

    def __init__(self, device, programs):
        self.device, self.programs, self.stream = device, programs, device.stream()
        self.arrays = []

    def empty(self, shape, dtype):
        array = self.device.empty(shape, dtype)
        array.fill_bytes(0xA5, self.stream)
        self.arrays.append(array)
        return array

    def put(self, values):
        array = self.empty(values.shape, values.dtype)
        array.copy_from(values, self.stream)
        self.stream.synchronize()
        return array

    def fetch(self, array):
        values = np.empty(array.shape, array.dtype)
        array.copy_to(values, self.stream)
        self.stream.synchronize()
        return values

    def close(self):
        self.stream.synchronize()
        for array in self.arrays:
            array.close()
        self.stream.close()


@pytest.fixture(scope="module")
def device():
    with open_gpu() as found:
        yield found


@pytest.fixture(scope="module")
def programs(device):
    with Programs(device) as made:
        yield made


@pytest.fixture
def bench(device, programs):
    made = Bench(device, programs)
    yield made
    made.close()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_heads_are_decoded_as_on_the_cpu(bench, family, dtype):
    tensors = [t.astype(dtype) for t in batch(family, [crowd(1, 60), [], crowd(2, 150)])]
    decoder = HeadDecoder(bench.programs, family, SIZE, 0.5, 0.4)
    arrays = [bench.put(t) for t in tensors]
    counts, found = decode(decoder, arrays, 3, bench.empty, bench.fetch, bench.stream)
    assert counts[1] == 0
    assert counts[2] > 10
    for i, got in enumerate(found):
        want = reference(family, [t[i] for t in tensors], 0.5, 0.4)
        compare(got, want, exact=family != "yunet")


@pytest.mark.parametrize("family", FAMILIES)
def test_thousands_of_candidates_give_the_same_faces_each_time(bench, family):
    """Threads arrive in another order each time; many scores are the same."""
    rng = np.random.default_rng(3)
    tensors = [
        (rng.integers(0, 9, t.shape) / 8).astype(np.float32) for t in batch(family, [[], [], []])
    ]
    if family == "yolo_face":
        tensors[0][:, :4] *= 100
    decoder = HeadDecoder(bench.programs, family, SIZE, 0.4, 0.4, faces=2000)
    arrays = [bench.put(t) for t in tensors]
    for _ in range(3):
        counts, found = decode(decoder, arrays, 3, bench.empty, bench.fetch, bench.stream)
        assert (counts > 50).all()
        for i, got in enumerate(found):
            want = reference(family, [t[i] for t in tensors], 0.4, 0.4)
            compare(got, want, exact=family != "yunet")


def test_more_faces_than_rows_are_reported(bench):
    tensors = batch("scrfd", [crowd(7, 150)])
    decoder = HeadDecoder(bench.programs, "scrfd", SIZE, 0.3, 0.4, faces=8)
    arrays = [bench.put(t) for t in tensors]
    counts, found = decode(decoder, arrays, 1, bench.empty, bench.fetch, bench.stream)
    assert counts.tolist() == [9]
    want = reference("scrfd", [t[0] for t in tensors], 0.3, 0.4)
    compare(found[0], want.rows(np.arange(8)), exact=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_peaks_of_heat_maps(bench, dtype):
    maps = np.random.default_rng(1).normal(0.2, 0.3, (3, 68, 64, 64)).astype(dtype)
    maps[2, 5, 3, 3] = np.nan
    peaks = bench.empty((3, 68), np.float32)
    HeatmapPeaks(bench.programs)(bench.put(maps), 3, peaks, bench.stream)
    np.testing.assert_array_equal(bench.fetch(peaks), maps.astype(np.float32).max((2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_lightness_of_crops(bench, dtype):
    crops = crops_of_all_kinds(256).astype(dtype)
    means = bench.empty((len(crops),), np.float32)
    Darkness(bench.programs)(bench.put(crops), len(crops), means, bench.stream)
    want = [reference_mean(crop.astype(np.float32)) for crop in crops]
    np.testing.assert_allclose(bench.fetch(means), want, rtol=0, atol=0.01)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(1080, 1920), (361, 479), (36, 64), (144, 256)])
def test_thumbnails(bench, depth, size):
    dtype = np.uint8 if depth == 8 else np.uint16
    luma = np.random.default_rng(2).integers(0, 1 << depth, (3, *size)).astype(dtype)
    out = bench.empty((3, 18, 32), dtype)
    maker = ThumbnailMaker(bench.programs, size[1], size[0], depth)
    maker(bench.put(luma).pointer, luma.strides[1], luma.strides[0], 3, out, bench.stream)
    np.testing.assert_array_equal(bench.fetch(out), [thumbnail(frame) for frame in luma])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_surfaces_there_and_back(bench, depth, planar):
    scene = Scene(PixelFormat("yuv420p", depth, 1, 1), 237, 331, planar=planar)
    fill(scene.surface_views(), scene.raised())
    given, frame = [bench.put(a) for a in scene.memory], bench.put(scene.frame)
    made = [bench.empty(a.shape, a.dtype) for a in scene.memory]
    copier = scene.copier(bench.programs)
    copier.read(scene.surface([a.pointer for a in given]), frame.pointer, bench.stream)
    copier.write(scene.surface([a.pointer for a in made]), frame.pointer, bench.stream)
    scene.frame[...] = bench.fetch(frame)
    for got, want in zip(scene.frame_views(), scene.truth, strict=True):
        np.testing.assert_array_equal(got, want)
    assert_nothing_else_changed([scene.frame], scene.frame_views())
    for array, device_array in zip(scene.memory, made, strict=True):
        array[...] = bench.fetch(device_array)
    for got, want in zip(scene.surface_views(), scene.raised(), strict=True):
        np.testing.assert_array_equal(got, want)
