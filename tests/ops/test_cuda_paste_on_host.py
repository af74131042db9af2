"""The kernel that pastes, compiled for the CPU, against what the CPU does with OpenCV.

Samples are the same: the change is float32 in the same order and is rounded once. With another OpenCV than
the one that `device_fakes` knows, places differ by up to 1/64 of a pixel and a mask of noise shows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour, Frames
from ffswap.errors import InternalError
from ffswap.geometry.crop_masks import join_boost, split_boost
from ffswap.models.spec import ImageOutput
from ffswap.ops.cuda import Paster, Soundness
from tests.ops.device_fakes import (
    NO_STREAM,
    SUBSAMPLINGS,
    WEIGHTS,
    HostPrograms,
    form,
    maps,
    noisy_frames,
    on_device,
    packed,
    paste_on_cpu,
    same_frames,
)

HEIGHT, WIDTH = 91, 133
UNIT = ImageOutput(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))

# x, y of the middle, luma pixels of one pixel of the crop, degrees
PLACES = [
    (60.3, 40.8, 1.5, 0), (66, 45, 2.0, 33), (60, 50, 3.7, -75), (66, 45, 8.0, 10),
    (64, 48, 1.0, 90), (2, 3, 1.2, 10), (130, 88, 1.7, 190), (66, 0, 2.6, 0), (0, 45, 0.8, -12),
    (-300, 40, 1.0, 5), (66, 900, 2.5, 0), (70, 41, 0.67, 20), (66, 45, 1 / 2.0, 0),
    (64.3, 44.7, 1 / 3.7, 33), (2, 88, 1 / 2.0, 12), (66.5, 45.5, 1 / 8.0, 0), (0, 0, 1 / 8.0, 5),
]  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return HostPrograms(tmp_path_factory.mktemp("paste"))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10])
def test_it_pastes_as_the_cpu_does(programs, depth, subsampling):
    rng = np.random.default_rng(depth)
    limited = "bt709" if depth == 8 else "bt2020"
    for side, full_range, weights in ((32, True, "bt601"), (45, False, limited)):
        colour = Colour(*WEIGHTS[weights], full_range=full_range)
        n = len(PLACES)
        frames = noisy_frames(n, form(subsampling, depth), colour, HEIGHT, WIDTH)
        before = [tuple(plane.copy() for plane in planes) for planes in frames.planes]
        memory, device = packed(frames)
        matrices, where = maps(PLACES, side), np.arange(n)
        crops = rng.random((n, 3, side, side), np.float32)
        masks = rng.random((n, side, side), np.float32)
        masks[rng.random(masks.shape) < 0.3] = 0
        masks[:, : side // 2] *= rng.random((n, 1, 1)) < 0.5
        opacity = np.where(np.arange(n) % 3, 1, 1 - 0.7 * rng.random(n)).astype(np.float32)
        rectangles = Paster(programs)(
            device,
            where,
            matrices,
            on_device(crops),
            on_device(masks),
            on_device(np.ones(len(where), np.int32)),
            UNIT,
            NO_STREAM,
            opacity=opacity,
        )
        paste_on_cpu(frames, where, matrices, crops, masks, opacity)
        same_frames(memory, device, frames)
        changed = [
            [(one != two).sum() for one, two in zip(old, new, strict=True)]
            for old, new in zip(before, frames.planes, strict=True)
        ]
        assert (np.array(changed)[:9, 0] > 0).all()
        check_rectangles(before, frames, rectangles)


def check_rectangles(before: Any, after: Frames, rectangles: Any) -> None:
    """Nothing changed outside of them, and they lie on the grid of the chroma samples."""
    fmt = after.format
    for old, new, (left, top, right, bottom) in zip(
        before, after.planes, rectangles.tolist(), strict=True
    ):
        for k, (one, two) in enumerate(zip(old, new, strict=True)):
            x, y = (fmt.log2_chroma_w, fmt.log2_chroma_h) if k else (0, 0)
            inside = np.zeros(one.shape, bool)
            inside[top >> y : -(-bottom >> y), left >> x : -(-right >> x)] = True
            assert (one == two)[~inside].all()
        assert left % (1 << fmt.log2_chroma_w) == top % (1 << fmt.log2_chroma_h) == 0
        assert right % (1 << fmt.log2_chroma_w) == 0 or right == after.width
        assert bottom % (1 << fmt.log2_chroma_h) == 0 or bottom == after.height
    outside = [i for i, place in enumerate(PLACES) if place[0] < -100 or place[1] > 500]
    assert (rectangles[outside] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("boost", [1, 2, 4])
def test_it_reads_a_nets_own_values_and_tiles(programs, boost, dtype):
    result = ImageOutput(mean=(127.5, 120.0, 110.0), std=(127.5, 130.0, 140.0))
    rng = np.random.default_rng(boost)
    side, places = 12 * boost, PLACES[:4]
    frames = noisy_frames(2, form("420", 8), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    matrices, where = maps(places, side), np.array([0, 1, 1, 0])
    made = (rng.random((4, 3, side, side), np.float32) * 2.4 - 1.2).astype(dtype)
    tiles = split_boost(made, boost)
    masks = rng.random((1, side, side), np.float32)
    Paster(programs)(
        device,
        where,
        matrices,
        on_device(tiles),
        on_device(masks),
        on_device(np.ones(len(where), np.int32)),
        result,
        NO_STREAM,
        boost=boost,
    )
    mean, std = (np.asarray(v, np.float32)[:, None, None] / 255 for v in (result.mean, result.std))
    unit = np.clip(join_boost(tiles, boost).astype(np.float32) * std + mean, 0, 1)
    paste_on_cpu(frames, where, matrices, unit, [masks[0]] * 4, [1] * 4)
    same_frames(memory, device, frames)


def test_faces_of_one_frame_lie_over_each_other_in_order(programs):
    """Three frames with 18, 1 and 21 faces: more than a launch holds, and each over the one before."""
    rng = np.random.default_rng(0)
    where = rng.permutation(np.repeat([0, 1, 2], [18, 1, 21]))
    n = len(where)
    frames = noisy_frames(3, form("422", 10), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    places = [(50 + 30 * rng.random(), 40 + 20 * rng.random(), 1.7, 9 * i) for i in range(n)]
    matrices = maps(places, 24)
    crops, masks = rng.random((n, 3, 24, 24), np.float32), rng.random((n, 24, 24), np.float32)
    Paster(programs)(
        device,
        where,
        matrices,
        on_device(crops),
        on_device(masks),
        on_device(np.ones(len(where), np.int32)),
        UNIT,
        NO_STREAM,
    )
    paste_on_cpu(frames, where, matrices, crops, masks, [1] * n)
    same_frames(memory, device, frames)


def test_twenty_frames_take_two_launches(programs):
    frames = noisy_frames(20, form("420", 8), Colour(), HEIGHT, WIDTH)
    memory, device = packed(frames)
    matrices = maps([(30 + 3 * i, 20 + 3 * i, 1.3, 7 * i) for i in range(20)], 24)
    crops, masks = np.full((20, 3, 24, 24), 0.8, np.float32), np.ones((1, 24, 24), np.float32)
    del programs.grids[:]
    Paster(programs)(
        device,
        np.arange(20),
        matrices,
        on_device(crops),
        on_device(masks),
        on_device(np.ones(20, np.int32)),
        UNIT,
        NO_STREAM,
    )
    paste_on_cpu(frames, range(20), matrices, crops, [masks[0]] * 20, [1] * 20)
    same_frames(memory, device, frames)
    assert [grid[2] for grid in programs.grids] == [32, 8]


def test_faces_outside_of_their_frames_are_no_work(programs):
    memory, device = packed(noisy_frames(1, form("420", 8), Colour(), HEIGHT, WIDTH))
    before = memory.copy()
    crops, masks = np.ones((1, 3, 24, 24), np.float32), np.ones((1, 24, 24), np.float32)
    del programs.grids[:]
    rectangles = Paster(programs)(
        device, np.zeros(1, np.int64), maps(PLACES[9:10], 24), on_device(crops), on_device(masks),
        on_device(np.ones(1, np.int32)), UNIT, NO_STREAM,
    )  # fmt: skip
    assert rectangles.tolist() == [[0, 0, 0, 0]]
    assert programs.grids == []
    assert (memory == before).all()


@pytest.mark.parametrize(
    ("picture", "masks"),
    [
        ((2, 3, 8, 8), (1, 8, 8)), ((1, 8, 8, 3), (1, 8, 8)), ((1, 3, 8, 8), (2, 8, 8)),
        ((1, 3, 8, 8), (1, 16, 16)),
    ],
)  # fmt: skip
def test_arrays_of_another_shape_are_refused(programs, picture, masks):
    memory, device = packed(noisy_frames(1, form("420", 8), Colour(), HEIGHT, WIDTH))
    made, weight = np.zeros(picture, np.float32), np.zeros(masks, np.float32)
    with pytest.raises(InternalError):
        Paster(programs)(
            device, np.zeros(1, np.int64), maps(PLACES[:1], 8), on_device(made),
            on_device(weight), on_device(np.ones(1, np.int32)), UNIT, NO_STREAM,
        )  # fmt: skip
    assert len(memory)


@pytest.mark.parametrize("half", [False, True])
def test_faces_with_values_that_are_no_numbers_stay_as_they_are(programs, half):
    memory, device = packed(noisy_frames(3, form("420", 8), Colour(), HEIGHT, WIDTH))
    before = memory.copy()
    where, matrices = np.arange(3), maps([PLACES[0]] * 3, 24)
    tiles = np.full((3 * 4, 3, 12, 12), 0.5, np.float16 if half else np.float32)
    tiles[5, 1, 7, 3], tiles[8, 0, 11, 11] = np.nan, np.inf  # in the second face, and the third
    sound = np.full(3, -1, np.int32)
    Soundness(programs)(on_device(tiles), on_device(sound), NO_STREAM)
    assert (sound != 0).tolist() == [True, False, False]
    masks = np.ones((1, 24, 24), np.float32)
    Paster(programs)(
        device, where, matrices, on_device(tiles), on_device(masks), on_device(sound), UNIT,
        NO_STREAM, boost=2,
    )  # fmt: skip
    each = device.layout.frame_bytes
    same = [(memory[i * each :][:each] == before[i * each :][:each]).all() for i in range(3)]
    assert same == [False, True, True]
