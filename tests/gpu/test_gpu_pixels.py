"""Crops and pastes on an NVIDIA GPU, against what the CPU does.

Without a GPU these tests are skipped; FFSWAP_REQUIRE_GPU=1 makes that a failure.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour
from ffswap.geometry.crop_masks import join_boost, split_boost
from ffswap.gpu import Device, Event, PinnedArray, Programs
from ffswap.ops.cuda import (
    CropReader,
    DeviceFrames,
    NetForm,
    Paster,
    RegionDownload,
    layout_of,
    region_bytes,
)
from tests.gpu.real_gpu import open_gpu
from tests.ops.device_fakes import (
    cpu_crops,
    form,
    maps,
    noisy_frames,
    paste_on_cpu,
    same_frames,
    same_values,
)

pytestmark = pytest.mark.gpu

HEIGHT, WIDTH = 211, 333
SIDE = 64
PLACES = [
    (150.3, 90.8, 1.5, 0), (166, 105, 2.0, 33), (160, 100, 3.7, -75), (166, 105, 0.6, 10),
    (2, 3, 1.2, 10), (330, 208, 1.7, 190), (166, 0, 2.6, 0), (-300, 40, 1.0, 5),
    (166.3, 104.7, 0.27, 33), (20, 30, 0.5, 0),
]  # fmt: skip
RESULT = SimpleNamespace(mean=(127.5, 120.0, 110.0), std=(127.5, 130.0, 140.0))


@pytest.fixture(scope="module")
def device():
    with open_gpu() as found:
        yield found


class Workplace:
    """A device with a stream, our kernels, and what copies take."""

    def __init__(self, device: Device, stack: ExitStack) -> None:
        self.device, self._stack = device, stack
        self.programs = stack.enter_context(Programs(device))
        self.stream = device.stream()
        stack.callback(self.stream.close)

    def empty(self, shape: Any, dtype: Any) -> Any:
        array = self.device.empty(shape, dtype)
        self._stack.callback(array.close)
        return array

    def pinned(self, nbytes: int) -> PinnedArray:
        return self._stack.enter_context(PinnedArray((nbytes,), np.uint8))

    def sent(self, array: Any) -> Any:
        there = self.empty(array.shape, array.dtype)
        there.copy_from(array, self.stream)
        self.stream.synchronize()
        return there

    def fetched(self, array: Any) -> Any:
        here = np.empty(array.shape, array.dtype)
        array.copy_to(here, self.stream)
        self.stream.synchronize()
        return here

    def upload(self, frames: Any) -> DeviceFrames:
        nbytes = len(frames) * layout_of(frames.format, frames.height, frames.width).frame_bytes
        buffer, staging = self.empty((nbytes,), np.uint8), self.pinned(nbytes)
        event = Event()
        self._stack.callback(event.close)
        uploaded = DeviceFrames.upload(frames, buffer, staging, self.stream, event)
        assert uploaded.ready is event
        return uploaded


@pytest.fixture
def place(device):
    with ExitStack() as stack:
        yield Workplace(device, stack)


def test_frames_arrive_and_come_back(place):
    frames = noisy_frames(3, form("420", 10), Colour(), HEIGHT, WIDTH)
    uploaded = place.upload(frames)
    memory = place.fetched(uploaded.buffer)
    for i, planes in enumerate(frames.planes):
        got = uploaded.layout.planes(memory, i, frames.format)
        assert all((one == two).all() for one, two in zip(got, planes, strict=True))


@pytest.mark.parametrize("boost", [1, 2])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_it_crops_as_the_cpu_does(place, subsampling, depth, boost):
    frames = noisy_frames(2, form(subsampling, depth), Colour(), HEIGHT, WIDTH)
    uploaded = place.upload(frames)
    n = len(PLACES)
    where, matrices = np.arange(n) % 2, maps(PLACES, SIDE)
    small = SIDE // boost
    out = place.empty((n * boost**2, 3, small, small), np.float32)
    reader = CropReader(place.programs)
    reader(uploaded, where, matrices, out, NetForm(), place.stream, boost=boost)
    want = split_boost(cpu_crops(frames, where, matrices, SIDE), boost)
    same_values(place.fetched(out), want, depth)


def test_it_crops_into_half_precision_side_by_side(place):
    frames = noisy_frames(2, form("420", 8), Colour(), HEIGHT, WIDTH)
    uploaded = place.upload(frames)
    where, matrices = np.arange(len(PLACES)) % 2, maps(PLACES, SIDE)
    net = NetForm(layout="nhwc", colour="bgr")
    out = place.empty(net.shape(len(PLACES), SIDE, SIDE), np.float16)
    CropReader(place.programs)(uploaded, where, matrices, out, net, place.stream, pad_black=True)
    want = cpu_crops(frames, where, matrices, SIDE, pad_black=True)[:, ::-1].transpose(0, 2, 3, 1)
    same_values(place.fetched(out), want.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("subsampling", "depth"), [("420", 8), ("422", 10), ("444", 10)])
def test_it_pastes_as_the_cpu_does_and_the_rectangles_come_back(place, subsampling, depth, dtype):
    rng = np.random.default_rng(depth)
    n, boost = len(PLACES), 2
    frames = noisy_frames(3, form(subsampling, depth), Colour(), HEIGHT, WIDTH)
    host = noisy_frames(3, form(subsampling, depth), Colour(), HEIGHT, WIDTH)  # the same noise
    uploaded = place.upload(frames)
    where, matrices = np.arange(n) % 3, maps(PLACES, SIDE)
    made = (rng.random((n, 3, SIDE, SIDE), np.float32) * 2.4 - 1.2).astype(dtype)
    masks = rng.random((n, SIDE, SIDE), np.float32)
    opacity = (1 - 0.5 * rng.random(n)).astype(np.float32)
    tiles = split_boost(made, boost)
    rectangles = Paster(place.programs)(
        uploaded, where, matrices, place.sent(tiles), place.sent(masks),
        place.sent(np.ones(n, np.int32)), RESULT, place.stream,
        opacity=opacity, boost=boost,
    )  # fmt: skip
    mean, std = (np.asarray(v, np.float32)[:, None, None] / 255 for v in (RESULT.mean, RESULT.std))
    unit = np.clip(join_boost(tiles, boost).astype(np.float32) * std + mean, 0, 1)
    paste_on_cpu(frames, where, matrices, unit, masks, opacity)
    staging = place.pinned(region_bytes(frames.format, rectangles))
    download = RegionDownload(uploaded, where, rectangles, staging, place.stream)
    memory = place.fetched(uploaded.buffer)
    same_frames(memory, uploaded, frames)
    download.write_into(host)
    for i, planes in enumerate(host.planes):
        got = uploaded.layout.planes(memory, i, frames.format)
        assert all((one == two).all() for one, two in zip(got, planes, strict=True))
