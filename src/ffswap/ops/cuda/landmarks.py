"""What the host needs of the heat maps of a landmark net, taken from them on the device.

`geometry.landmarks.decode_peppa_wutz` needs nothing of the kind: its tensor has 204 numbers a face.
"""

from __future__ import annotations

import numpy as np

from ...errors import InternalError, ModelError
from ...gpu import DeviceArray, Stream
from ...gpu.program import Programs

__all__ = ["HeatmapPeaks"]

THREADS = 256
"""Of a block; as in landmarks.cu, which has shared memory for so many."""


class HeatmapPeaks:
    """The height of the peak of each heat map, for `geometry.landmarks.decode_fan_peaks`.

    Args:
        programs: the kernels of the device.
    """

    def __init__(self, programs: Programs) -> None:
        self._peaks = programs.kernel("landmarks", "peaks")

    def __call__(self, heatmaps: DeviceArray, n: int, peaks: DeviceArray, stream: Stream) -> None:
        """Start to look for the peaks of n faces.

        Args:
            heatmaps: (n or more, 68, height, width) float32 or float16.
            n: faces.
            peaks: (n or more, 68) float32: the largest of each map; not a number if one of it is none.
            stream: of the work.

        Raises:
            ModelError: the heat maps have another shape or type.
            InternalError: `peaks` is too small or of another type.
        """
        shape, half = heatmaps.shape, heatmaps.dtype == np.float16
        good = len(shape) == 4 and shape[0] >= n and shape[1] == 68 and heatmaps.nbytes
        if not good or not (half or heatmaps.dtype == np.float32):
            raise ModelError(
                f"the landmark net gives heat maps {heatmaps.dtype} {shape} for {n} faces; "
                "allowed: float32 or float16 (n, 68, height, width)",
                hint="check that the file is the one that the catalogue names",
            )
        if peaks.dtype != np.float32 or peaks.shape[1:] != (68,) or peaks.shape[0] < n:
            raise InternalError(f"no room for {n} faces in {peaks!r}")
        cells = np.int32(shape[2] * shape[3])
        grid = (68 * n,)
        self._peaks.launch(stream, grid, (THREADS,), heatmaps, np.int32(half), cells, peaks)
