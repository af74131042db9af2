"""Frames in device memory: where their samples lie, their way there, and painted parts back."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour
from ffswap.errors import InternalError
from ffswap.ops.cuda import DeviceFrames, RegionDownload, layout_of, region_bytes
from tests.ops.device_fakes import SUBSAMPLINGS, HostStaging, form, noisy_frames, on_device, packed

HEIGHT, WIDTH = 37, 301
STREAM: Any = SimpleNamespace(raw=0)


def copy_on_host(name: str, *args: Any) -> None:
    """What the driver's copies do, at once."""
    if name == "cuMemcpyHtoDAsync":
        ctypes.memmove(args[0], args[1], args[2])
        return
    assert name == "cuMemcpy2DAsync"
    plan = args[0]
    assert (int(plan.srcMemoryType), int(plan.dstMemoryType)) == (2, 1)
    for row in range(plan.Height):
        to, source = int(plan.dstHost) + row * plan.dstPitch, int(plan.srcDevice)
        ctypes.memmove(to, source + row * plan.srcPitch, plan.WidthInBytes)


@pytest.fixture
def _copies(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cuda.bindings.driver")
    monkeypatch.setattr("ffswap.gpu.memory.call", copy_on_host)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10])
def test_rows_are_aligned_and_planes_do_not_overlap(depth, subsampling):
    fmt = form(subsampling, depth)
    layout = layout_of(fmt, HEIGHT, WIDTH)
    rows, columns = fmt.chroma_shape(HEIGHT, WIDTH)
    assert all(number % 256 == 0 for number in (*layout.pitch, *layout.offset, layout.frame_bytes))
    assert layout.pitch[0] >= WIDTH * fmt.dtype.itemsize
    assert layout.pitch[1] == layout.pitch[2] >= columns * fmt.dtype.itemsize
    ends = [layout.pitch[0] * HEIGHT, *[layout.offset[k] + layout.pitch[k] * rows for k in (1, 2)]]
    assert ends == [*layout.offset[1:], layout.frame_bytes]


def test_the_descriptor_says_where_and_what_the_samples_are():
    fmt, colour = form("420", 10), Colour(kr=0.2126, kb=0.0722)
    memory, device = packed(noisy_frames(2, fmt, colour, HEIGHT, WIDTH))
    told = device.descriptor()
    assert told.ndim == 0
    assert told["base"] == memory.ctypes.data
    assert told["frame_bytes"] * 2 == memory.nbytes
    assert told["width"].tolist() == [301, 151]
    assert told["height"].tolist() == [37, 19]
    assert told["zero"].tolist() == [64, 512]
    assert told["gain"] == pytest.approx([1 / 876, 1.8556 / 896, 1.5748 / 896], rel=1e-6)
    assert told["green"] == pytest.approx([0.2126 / 0.7152, 0.0722 / 0.7152], rel=1e-6)
    assert told["weight"] == pytest.approx([0.2126, 0.7152, 0.0722], rel=1e-6)
    assert told["span"] == pytest.approx([876, 896 / 1.8556, 896 / 1.5748], rel=1e-6)
    assert told["top"] == 1023


@pytest.mark.usefixtures("_copies")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10])
def test_every_sample_arrives(depth, subsampling):
    frames = replace(
        noisy_frames(3, form(subsampling, depth), Colour(), HEIGHT, WIDTH), index=40, rotation=90
    )
    nbytes = 3 * layout_of(frames.format, HEIGHT, WIDTH).frame_bytes
    memory, staging = np.zeros(nbytes + 999, np.uint8), HostStaging(nbytes)
    device = DeviceFrames.upload(frames, on_device(memory), staging, STREAM)  # type: ignore[arg-type]
    assert (len(device), device.height, device.width) == (3, HEIGHT, WIDTH)
    assert (device.index, device.rotation, device.colour) == (40, 90, frames.colour)
    assert device.seconds(2) == frames.seconds(2)
    for i, planes in enumerate(frames.planes):
        got = device.layout.planes(memory, i, frames.format)
        assert all((one == two).all() for one, two in zip(got, planes, strict=True))
    assert (memory[nbytes:] == 0).all()


@pytest.mark.usefixtures("_copies")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10])
def test_only_the_rectangles_come_back(depth, subsampling):
    fmt = form(subsampling, depth)
    painted = noisy_frames(3, fmt, Colour(), HEIGHT, WIDTH, seed=1)
    here = noisy_frames(3, fmt, Colour(), HEIGHT, WIDTH, seed=2)
    before = [[plane.copy() for plane in planes] for planes in here.planes]
    memory, device = packed(painted)
    where = np.array([0, 2, 2, 1])
    rectangles = np.array([[4, 6, 90, 20], [0, 0, 2, 2], [290, 30, 301, 37], [0, 0, 0, 0]])
    staging: Any = HostStaging(region_bytes(fmt, rectangles) + 50)
    download = RegionDownload(device, where, rectangles, staging, STREAM)
    assert (staging.array[-50:] == 0xAB).all()
    download.write_into(here)
    for i, planes in enumerate(here.planes):
        for k, plane in enumerate(planes):
            x, y = (fmt.log2_chroma_w, fmt.log2_chroma_h) if k else (0, 0)
            want = before[i][k].copy()
            for frame, (left, top, right, bottom) in zip(where, rectangles.tolist(), strict=True):
                part = np.s_[top >> y : -(-bottom >> y), left >> x : -(-right >> x)]
                if frame == i:
                    want[part] = painted.planes[i][k][part]
            assert (plane == want).all()
    assert len(memory)


def test_a_short_staging_array_is_refused():
    memory, device = packed(noisy_frames(1, form("420", 8), Colour(), HEIGHT, WIDTH))
    rectangles = np.array([[0, 0, 20, 10]])
    assert region_bytes(device.format, rectangles) == 300
    staging: Any = HostStaging(299)
    with pytest.raises(InternalError, match="299 bytes for rectangles of 300"):
        RegionDownload(device, np.zeros(1, np.int64), rectangles, staging, STREAM)
    assert len(memory)


def test_a_buffer_that_is_too_small_is_refused():
    memory, device = packed(noisy_frames(2, form("420", 8), Colour(), HEIGHT, WIDTH))
    with pytest.raises(InternalError, match="does not hold 2 frames"):
        replace(device, buffer=device.buffer.rows(0, len(memory) - 1))
