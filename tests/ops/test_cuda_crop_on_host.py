"""The kernel that crops, compiled for the CPU, against what the CPU does with OpenCV.

Values that come from integer planes are the same to the last bit: readings are rounded to code values, and
what follows is float32 in the same order. Older OpenCV rounds places to 1/32 of a pixel, and
processors without AVX2 round some of them in another way: there the tests allow for it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour
from ffswap.errors import InternalError
from ffswap.geometry.crop_masks import split_boost
from ffswap.models import ImageInput
from ffswap.ops import cpu
from ffswap.ops.cuda import CropReader, NetForm
from ffswap.stages.feed import picture_input
from tests.ops.device_fakes import (
    NO_STREAM,
    SUBSAMPLINGS,
    WEIGHTS,
    HostPrograms,
    cpu_crops,
    form,
    maps,
    noisy_frames,
    on_device,
    packed,
    same_values,
)

HEIGHT, WIDTH = 91, 133  # odd: the last chroma samples stand for one luma sample
PLAIN = NetForm()

# x, y of the middle, luma pixels of one pixel of the crop, degrees
PLACES = [
    (60.3, 40.8, 1.5, 0), (66, 45, 2.0, 0), (66.4, 44.7, 3.7, 33), (60, 50, 8.0, -75),
    (70.2, 41.1, 0.37, 20), (64, 48, 1.0, 90), (2, 3, 1.2, 10), (130, 88, 1.7, 190),
    (66, 0, 2.6, 0), (0, 45, 4.2, -12), (-300, 40, 1.0, 5), (66, 900, 2.5, 0), (66, 45, 20.0, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return HostPrograms(tmp_path_factory.mktemp("crop"))


@pytest.mark.parametrize("pad_black", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10])
def test_it_crops_as_the_cpu_does(programs, depth, subsampling, pad_black):
    for side, (full_range, weights) in itertools.product(
        (32, 21), [(False, "bt709"), (True, "bt601"), (False, "bt2020")]
    ):
        colour = Colour(*WEIGHTS[weights], full_range=full_range)
        frames = noisy_frames(2, form(subsampling, depth), colour, HEIGHT, WIDTH)
        memory, device = packed(frames)
        matrices = maps(PLACES, side)
        where = np.arange(len(matrices)) % 2
        out = np.full((len(matrices), 3, side, side), np.nan, np.float32)
        CropReader(programs)(
            device, where, matrices, on_device(out), PLAIN, NO_STREAM, pad_black=pad_black
        )
        want = cpu_crops(frames, where, matrices, side, pad_black=pad_black)
        same_values(out, want, depth)
        assert len(memory)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("boost", [1, 2, 4])
def test_it_gives_a_net_what_it_asks_for(programs, boost, layout, dtype):
    image = ImageInput(
        name="x", layout=layout, size=(12, 12), colour="bgr" if boost == 2 else "rgb",
        mean=(127.5, 120.0, 110.25), std=(128.0, 127.5, 60.5),
    )  # fmt: skip
    frames = noisy_frames(3, form("420", 8), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    matrices = maps(PLACES[:5], 12 * boost)
    where = np.array([2, 0, 1, 1, 0])
    net = NetForm.of(image)
    out = np.full(net.shape(5 * boost**2, 12, 12), np.nan, dtype)
    reader = CropReader(programs)
    reader(device, where, matrices, on_device(out), net, NO_STREAM, boost=boost)
    crops = cpu_crops(frames, where, matrices, 12 * boost)
    want = picture_input(split_boost(crops, boost), image)
    # Half precision rounds what is equal before to the same value.
    same_values(out, want.astype(dtype), white=255 / min(image.std))
    assert len(memory)


def test_a_window_is_read_and_the_rest_is_black(programs):
    image = ImageInput(
        name="x", layout="nchw", size=(40, 24), colour="bgr", mean=(104.0, 117.0, 123.0),
        std=(1.0, 2.0, 4.0),
    )  # fmt: skip
    frames = noisy_frames(2, form("420", 10), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    windows = np.array([[40, 17], [13, 24], [1, 1]])
    scale = 40 / WIDTH
    matrix = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    matrices = np.stack([matrix] * 3)
    out = np.full((3, 3, 24, 40), np.nan, np.float32)
    CropReader(programs)(
        device, np.array([0, 1, 1]), matrices, on_device(out), NetForm.of(image), NO_STREAM,
        windows=windows,
    )  # fmt: skip
    for i, (width, height) in enumerate(windows.tolist()):
        picture = np.zeros((3, 24, 40), np.float32)
        planes = frames.planes[min(i, 1)]
        picture[:, :height, :width] = cpu.crop_rgb(
            planes, frames.format, frames.colour, matrix, (width, height)
        )
        same_values(out[i : i + 1], picture_input([picture], image), 10, white=255)
    assert len(memory)


def test_more_crops_than_a_launch_holds_go_in_several(programs):
    frames = noisy_frames(4, form("422", 8), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    places = [(20 + 2 * i, 30 + i, 1 + i / 9, 9 * i) for i in range(37)]
    matrices, where = maps(places, 16), np.arange(37) % 4
    out = np.full((37, 3, 16, 16), np.nan, np.float32)
    CropReader(programs)(device, where, matrices, on_device(out), PLAIN, NO_STREAM)
    same_values(out, cpu_crops(frames, where, matrices, 16))
    assert len(memory)


def test_no_crops_are_no_work(programs):
    memory, device = packed(noisy_frames(1, form("420", 8), Colour(), HEIGHT, WIDTH))
    out = np.zeros((0, 3, 16, 16), np.float32)
    none = np.zeros((0, 2, 3))
    CropReader(programs)(device, np.zeros(0, np.int64), none, on_device(out), PLAIN, NO_STREAM)
    assert len(memory)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 3, 8, 8), "f4"), ((1, 8, 8, 3), "f4"), ((1, 3, 8), "f4"), ((1, 3, 8, 8), "f8")],
)
def test_an_input_of_another_shape_or_type_is_refused(programs, shape, dtype):
    memory, device = packed(noisy_frames(1, form("420", 8), Colour(), HEIGHT, WIDTH))
    out = np.zeros(shape, dtype)
    with pytest.raises(InternalError):
        CropReader(programs)(
            device, np.zeros(1, np.int64), maps(PLACES[:1], 8), on_device(out), PLAIN, NO_STREAM
        )
    assert len(memory)
