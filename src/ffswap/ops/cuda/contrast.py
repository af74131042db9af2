"""Which crops are too dark for a net, measured on the device as `ops.contrast` does.

The few dark ones are lifted on the host: copied there, `ops.contrast.lift_dark`, and copied back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...carriers import F32
from ...errors import InternalError
from ...gpu import DeviceArray, Stream
from ...gpu.program import Programs
from ..contrast import DARK

__all__ = ["Darkness", "dark_crops"]

THREADS = 512
"""Of a block; as in contrast.cu, which has shared memory for so many."""

LIGHT_STEPS = 8
"""Steps of linear light in one code value, in OpenCV's 8-bit Lab."""

LAB_ONE = 1 << 15
"""The number 1 in the fixed point of the cube root there."""

TABLES = np.dtype(
    [("linear", np.uint16, 256), ("lightness", np.uint8, 255 * LIGHT_STEPS + 1)], align=True
)
"""The struct of the same name in contrast.cu."""


@cache
def _tables() -> NDArray[Any]:
    """OpenCV's: sRGB code value to light, and luminance to L of 0 to 255.

    Source: IEC 61966-2-1 and CIE 15, in the fixed point of OpenCV's color_lab.cpp.
    """
    tables = np.zeros((), TABLES)
    code = np.arange(256) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    tables["linear"] = np.rint(255 * LIGHT_STEPS * light)
    y = np.arange(255 * LIGHT_STEPS + 1) / (255 * LIGHT_STEPS)
    # 7.787, 16 / 116 and 0.008856 are the rounded numbers of the older editions of CIE 15.
    root = np.where(y < 0.008856, 7.787 * y + 16 / 116, np.cbrt(y))
    fixed = np.rint(LAB_ONE * root).astype(np.int64)
    scale, offset = (116 * 255 + 50) // 100, (16 * 255 * LAB_ONE + 50) // 100
    tables["lightness"] = np.clip((scale * fixed - offset + LAB_ONE // 2) >> 15, 0, 255)
    return tables


class Darkness:
    """The mean lightness that `ops.contrast.lift_dark` decides by, for a batch of crops.

    Args:
        programs: the kernels of the device.
    """

    def __init__(self, programs: Programs) -> None:
        self._mean = programs.kernel("contrast", "mean_lightness")

    def __call__(self, crops: DeviceArray, n: int, means: DeviceArray, stream: Stream) -> None:
        """Start to measure n crops.

        Args:
            crops: (n or more, 3, height, width) float32 or float16, RGB, 0 to 1.
            n: crops.
            means: (n or more,) float32, 0 to 255.
            stream: of the work.

        Raises:
            InternalError: an array is too small or of another shape or type.
        """
        shape, half = crops.shape, crops.dtype == np.float16
        good = len(shape) == 4 and shape[0] >= n and shape[1] == 3 and crops.nbytes
        if not good or not (half or crops.dtype == np.float32):
            raise InternalError(f"{crops!r} are no {n} crops")
        if means.dtype != np.float32 or means.shape[0] < n:
            raise InternalError(f"no room for {n} crops in {means!r}")
        pixels = np.int32(shape[2] * shape[3])
        self._mean.launch(stream, (n,), (THREADS,), crops, np.int32(half), pixels, _tables(), means)


def dark_crops(means: F32) -> list[int]:
    """Which crops are to be lifted, of a host copy of the means."""
    return [i for i, mean in enumerate(means.tolist()) if mean < DARK]
