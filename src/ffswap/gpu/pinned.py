"""Host memory that a device copies from and to without a detour."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..closing import Closing
from ..errors import InternalError
from .driver import call

__all__ = ["PinnedArray"]


class PinnedArray(Closing):
    """A page-locked host array: copies between it and a device run beside everything else.

    A copy from or to other host memory makes the thread wait, and other streams with it. Made while
    the context of a device is current. When the host may touch it: rule 4 of `stream`.

    Args:
        shape: of the array.
        dtype: of one value.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        kind = np.dtype(dtype)
        nbytes = math.prod(shape) * kind.itemsize
        self._pointer = int(call("cuMemHostAlloc", max(nbytes, 1), 0))
        memory = (ctypes.c_uint8 * nbytes).from_address(self._pointer)
        self._array: NDArray[Any] | None = np.ndarray(shape, kind, buffer=memoryview(memory))

    @property
    def array(self) -> NDArray[Any]:
        """The values, contiguous and writable; of whatever was in memory at first.

        No view of it may be used after `close`.
        """
        if self._array is None:
            raise InternalError("the pinned array is closed")
        return self._array

    def close(self) -> None:
        """Free it, after the copies that use it; closing twice is allowed."""
        if self._array is not None:
            self._array = None
            call("cuMemFreeHost", self._pointer)
