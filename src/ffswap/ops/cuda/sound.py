"""Which faces a net gave numbers for, found on the device."""

from __future__ import annotations

import math

import numpy as np

from ...errors import InternalError
from ...gpu import DeviceArray, Programs, Stream

__all__ = ["Soundness"]

THREADS = 256
PARTS = 32
"""Blocks that share a row: a face of 128 x 128 pixels is six values a thread."""


class Soundness:
    """Finds values that are infinite or no numbers. Passive.

    Args:
        programs: where the kernels are.
    """

    def __init__(self, programs: Programs) -> None:
        self._kernel = programs.kernel("sound", "find_unsound")

    def __call__(self, values: DeviceArray, sound: DeviceArray, stream: Stream) -> None:
        """Start to look at every value.

        Args:
            values: (n * k, ...) float32 or float16.
            sound: (n,) int32; becomes 0 for each n-th part of the values that has a bad one, else it
                is not 0.
            stream: of the work.

        Raises:
            InternalError: an array has another shape or type.
        """
        n, half = sound.shape[0], values.dtype == np.float16
        count = math.prod(values.shape)
        if (
            not n
            or count % n
            or sound.dtype != np.int32
            or not (half or values.dtype == np.float32)
        ):
            raise InternalError(f"{values!r} are no values for {sound!r}")
        sound.fill_bytes(1, stream)
        self._kernel.launch(
            stream, (PARTS, n), (THREADS,), values, np.uint64(count // n), np.int32(half), sound
        )
