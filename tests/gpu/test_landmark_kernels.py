"""Peaks of heat maps and the lightness of crops as kernels, run on the CPU, against their references."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.errors import InternalError, ModelError
from ffswap.geometry.landmarks import decode_fan_heatmap, decode_fan_peaks
from ffswap.ops.contrast import lift_dark
from ffswap.ops.cuda.contrast import Darkness, dark_crops
from ffswap.ops.cuda.landmarks import HeatmapPeaks
from tests.gpu.crop_kinds import crops_of_all_kinds, reference_mean
from tests.gpu.host_programs import STREAM, HostArray, HostPrograms


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return HostPrograms(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("cells", [(64, 64), (5, 3)])
def test_peaks_of_heat_maps_decide_how_sure_the_net_is(programs, dtype, cells):
    rng = np.random.default_rng(1)
    maps = rng.normal(0.2, 0.3, (4, 68, *cells)).astype(dtype)
    maps[1] -= 2  # a map may lie below 0 everywhere
    points = rng.uniform(0, 64, (3, 68, 3)).astype(np.float32)
    peaks = HostArray.full((3, 68), np.float32)
    HeatmapPeaks(programs)(HostArray(maps), 3, peaks, STREAM)
    wide = maps[:3].astype(np.float32)
    np.testing.assert_array_equal(peaks.array, wide.max((2, 3)))
    got, want = decode_fan_peaks(points, peaks.array, 256), decode_fan_heatmap(points, wide, 256)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


def test_a_heat_map_with_no_number_has_no_peak(programs):
    maps = np.zeros((1, 68, 64, 64), np.float32)
    maps[0, 3, 40, 7], maps[0, 4, 0, 0] = np.nan, np.inf
    peaks = HostArray.full((1, 68), np.float32)
    HeatmapPeaks(programs)(HostArray(maps), 1, peaks, STREAM)
    np.testing.assert_array_equal(peaks.array, maps.max((2, 3)))


def test_other_heat_maps_are_refused(programs):
    run, peaks = HeatmapPeaks(programs), HostArray.full((2, 68), np.float32)
    for shape, dtype in [((2, 98, 64, 64), np.float32), ((1, 68, 64, 64), np.float32),
                         ((2, 68, 64), np.float32), ((2, 68, 64, 64), np.int32)]:  # fmt: skip
        with pytest.raises(ModelError, match="heat maps"):
            run(HostArray.full(shape, dtype), 2, peaks, STREAM)
    with pytest.raises(InternalError, match="no room for 3"):
        run(HostArray.full((3, 68, 8, 8), np.float32), 3, peaks, STREAM)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("side", [256, 37])
def test_the_mean_lightness_of_a_crop_is_opencv_s(programs, dtype, side):
    crops = crops_of_all_kinds(side).astype(dtype)
    means = HostArray.full((len(crops),), np.float32)
    Darkness(programs)(HostArray(crops), len(crops), means, STREAM)
    want = [reference_mean(crop.astype(np.float32)) for crop in crops]
    # The same whole numbers with OpenCV 5; other versions may round single entries of tables differently.
    np.testing.assert_allclose(means.array, want, rtol=0, atol=0.01)
    dark = dark_crops(means.array)
    assert 0 < len(dark) < len(crops)
    for i, crop in enumerate(crops.astype(np.float32)):
        assert (i in dark) == (lift_dark(crop) is not crop)


def test_every_grey_has_opencv_s_lightness(programs):
    greys = np.arange(256, dtype=np.float32) / 255
    crops = np.ascontiguousarray(np.broadcast_to(greys[:, None, None, None], (256, 3, 1, 2)))
    means = HostArray.full((256,), np.float32)
    Darkness(programs)(HostArray(crops), 256, means, STREAM)
    np.testing.assert_array_equal(means.array, [reference_mean(crop) for crop in crops])


def test_crops_of_other_shapes_are_our_fault(programs):
    run, means = Darkness(programs), HostArray.full((2,), np.float32)
    for shape, dtype in [((2, 1, 8, 8), np.float32), ((1, 3, 8, 8), np.float32),
                         ((2, 3, 8, 8), np.uint8)]:  # fmt: skip
        with pytest.raises(InternalError, match="no 2 crops"):
            run(HostArray.full(shape, dtype), 2, means, STREAM)
    with pytest.raises(InternalError, match="no room for 3"):
        run(HostArray.full((3, 3, 8, 8), np.float32), 3, means, STREAM)
