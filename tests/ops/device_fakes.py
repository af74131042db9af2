"""Kernels of `ops.cuda` on a machine without a GPU: run on the CPU, on arrays of NumPy."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ffswap.carriers import F32, Colour, Frames, PixelFormat
from ffswap.geometry import affine
from ffswap.gpu import DeviceArray
from ffswap.ops import cpu
from ffswap.ops.cuda import DeviceFrames, layout_of
from ffswap.ops.paste import paste_crop
from tests.gpu.host_kernels import HostProgram

SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}

AVX2 = cv2.checkHardwareSupport(11)  # CV_CPU_AVX2 of OpenCV


NO_STREAM: Any = None
"""Kernels that run on the CPU are done when they return."""


class HostKernel:
    """What `gpu.Kernel` is, for arrays that are in host memory."""

    def __init__(self, program: HostProgram, name: str, grids: list[tuple[int, ...]]) -> None:
        self._program, self._name, self._grids = program, name, grids

    def launch(self, stream: Any, grid: Any, block: Any, *args: Any, shared_bytes: int = 0) -> None:  # noqa: ARG002
        self._grids.append(grid)
        assert max(grid[1:], default=1) < 1 << 16
        values = [np.uint64(one.pointer) if isinstance(one, DeviceArray) else one for one in args]
        assert sum(np.asarray(one).nbytes for one in values) <= 4096
        self._program.launch(self._name, grid, block, *values)


class HostPrograms:
    """What `gpu.Programs` is, with kernels that run on the CPU."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: dict[str, HostProgram] = {}
        self.grids: list[tuple[int, ...]] = []
        """Of all launches so far."""

    def kernel(self, program: str, name: str) -> Any:
        if program not in self._programs:
            self._programs[program] = HostProgram(program, self._folder)
        return HostKernel(self._programs[program], name, self.grids)


class _HostArray(DeviceArray):
    """A DeviceArray whose memory is the host's: what the device does at once is done at once."""

    kept: NDArray[Any]

    def fill_bytes(self, value: int, stream: Any) -> None:  # noqa: ARG002
        self.kept.view(np.uint8)[...] = value


def on_device(array: NDArray[Any]) -> DeviceArray:
    """A view of a NumPy array that takes itself for one on a device."""
    assert array.flags.c_contiguous
    made = _HostArray.at(array.ctypes.data, array.shape, array.dtype, "cuda:0")
    made.kept = array  # type: ignore[attr-defined]
    return made


def form(subsampling: str, depth: int) -> PixelFormat:
    return PixelFormat(f"yuv{subsampling}p{depth}", depth, *SUBSAMPLINGS[subsampling])


def noisy_frames(
    n: int, fmt: PixelFormat, colour: Colour, height: int, width: int, seed: int = 0
) -> Frames:
    """Every sample anything: every misplaced reading is seen."""
    rng = np.random.default_rng(seed)
    chroma = fmt.chroma_shape(height, width)
    planes = [
        tuple(
            rng.integers(0, 1 << fmt.depth, s).astype(fmt.dtype)
            for s in ((height, width), chroma, chroma)
        )
        for _ in range(n)
    ]
    return Frames(
        planes=planes,  # type: ignore[arg-type]
        format=fmt,
        colour=colour,
        pts=np.arange(n, dtype=np.int64),
        time_base=Fraction(1, 25),
    )


class HostStaging:
    """What `gpu.PinnedArray` is."""

    def __init__(self, nbytes: int) -> None:
        self.array = np.full(nbytes, 0xAB, np.uint8)


def packed(frames: Frames) -> tuple[NDArray[np.uint8], DeviceFrames]:
    """The memory of a device with frames in it, and the frames."""
    layout = layout_of(frames.format, frames.height, frames.width)
    memory = np.full(len(frames) * layout.frame_bytes, 0xCD, np.uint8)
    for i, planes in enumerate(frames.planes):
        for to, plane in zip(layout.planes(memory, i, frames.format), planes, strict=True):
            to[:] = plane
    return memory, DeviceFrames(
        buffer=on_device(memory), layout=layout, format=frames.format, colour=frames.colour,
        pts=frames.pts, time_base=frames.time_base,
    )  # fmt: skip


def exact_opencv() -> bool:
    """Does this OpenCV read where it is told to, and not at the nearest 1/32 of a pixel?"""
    ramp = np.tile(np.arange(64, dtype=np.float32), (8, 1))
    shift = np.array([[1.0, 0.0, 0.3], [0, 1, 0]])
    read = cv2.warpAffine(ramp, shift, (35, 1), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[0]
    return bool(np.abs(read - np.arange(35) - 0.3).max() < 1e-5)


def maps(places: Any, side: int) -> NDArray[np.float64]:
    """(n, 2, 3) of (x, y of the middle, luma pixels of one pixel of the crop, degrees) each."""
    return np.stack(
        [
            affine.crop_matrix(x, y, side * step, np.deg2rad(turn), side)
            for x, y, step, turn in places
        ]
    )


def same_values(got: NDArray[Any], want: F32, depth: int = 8, white: float = 1.0) -> None:
    """The same to the last bit, where OpenCV is the one we know; white is so much more than black."""
    off = np.abs(np.asarray(got, np.float32) - np.asarray(want, np.float32))
    assert got.shape == want.shape
    if exact_opencv():
        assert (off > 0).mean() <= (0 if AVX2 else 5e-3), (
            f"{(off > 0).mean()} differ by {off.max()}"
        )
        # The last bit of a place turns the rounding of one sample over: blue counts it twice.
        assert off.max() <= 2.5 * white / ((1 << depth) - 1)
    else:
        # Noise has its whole range between two neighbours.
        assert off.max() <= 3 / 32 * white


def same_frames(memory: Any, device: DeviceFrames, want: Frames) -> None:
    """Every sample of every frame is what the CPU made of it."""
    for i, planes in enumerate(want.planes):
        for got, plane in zip(device.layout.planes(memory, i, want.format), planes, strict=True):
            off = np.abs(got.astype(int) - plane)
            if exact_opencv():
                assert (off > 0).mean() <= (0 if AVX2 else 5e-3), f"frame {i}: {(off > 0).mean()}"
                assert off.max() <= 1
            else:
                assert off.max() <= (1 << want.format.depth) / 8


def cpu_crops(frames: Any, where: Any, matrices: Any, side: Any, **more: Any) -> F32:
    return np.stack(
        [
            cpu.crop_rgb(frames.planes[i], frames.format, frames.colour, matrix, side, **more)
            for i, matrix in zip(where, matrices, strict=True)
        ]
    )


def paste_on_cpu(
    frames: Frames, where: Any, maps: Any, crops: Any, masks: Any, opacity: Any
) -> None:
    for i, matrix, crop, mask, one in zip(where, maps, crops, masks, opacity, strict=True):
        paste_crop(frames.planes[i], frames.format, frames.colour, crop, mask, matrix, float(one))
