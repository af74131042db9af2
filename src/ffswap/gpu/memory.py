"""Memory of a device: arrays, and scratch that nets on one stream share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InternalError
from .driver import call, driver
from .stream import Stream

__all__ = ["DeviceArray", "Scratch", "copy_rectangle"]


class DeviceArray:
    """A contiguous array in device memory. Made by `Device.empty` while the context is current.

    Whoever made it closes it, after the work that uses it: freeing memory waits for the device. Made
    by `at` or `rows` it owns nothing, and is good for as long as the memory of others that it shows.

    Args:
        shape: of the array.
        dtype: of one value.
        device: the device it is on, as in the ``device`` option.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self.pointer = int(call("cuMemAlloc", max(self.nbytes, 1)))
        self._owned = True

    @classmethod
    def at(cls, pointer: int, shape: tuple[int, ...], dtype: DTypeLike, device: str) -> DeviceArray:
        """A view of memory that belongs to somebody else.

        Args:
            pointer: address of the first value.
            shape: of the array.
            dtype: of one value.
            device: the device it is on, as in the ``device`` option.
        """
        view = cls.__new__(cls)
        view.shape, view.dtype, view.device = shape, np.dtype(dtype), device
        view.nbytes = math.prod(shape) * view.dtype.itemsize
        view.pointer, view._owned = pointer, False
        return view

    def rows(self, start: int, stop: int) -> DeviceArray:
        """A view of the entries `start` to before `stop` of the first axis.

        Raises:
            InternalError: there are no such entries.
        """
        if not self.shape or not 0 <= start <= stop <= self.shape[0]:
            raise InternalError(f"{self!r} has no rows {start} to {stop}")
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (stop - start, *self.shape[1:])
        return self.at(self.pointer + start * each, shape, self.dtype, self.device)

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {self.shape} on {self.device})"

    def copy_from(self, array: NDArray[Any], stream: Stream) -> None:
        """Start to copy a host array of the same shape and type into it.

        The array must stay as it is until the stream has come this far.
        """
        if array.shape != self.shape or array.dtype != self.dtype:
            raise InternalError(f"{self!r} cannot hold {array.dtype} {array.shape}")
        if not array.flags.c_contiguous:
            raise InternalError(f"{self!r} takes contiguous arrays only")
        call("cuMemcpyHtoDAsync", self.pointer, array.ctypes.data, self.nbytes, stream.raw)

    def copy_to(self, array: NDArray[Any], stream: Stream) -> None:
        """Start to copy it into a contiguous host array of the same shape and type."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise InternalError(f"{self!r} does not fit into {array.dtype} {array.shape}")
        if not array.flags.c_contiguous:
            raise InternalError(f"{self!r} is copied into contiguous arrays only")
        call("cuMemcpyDtoHAsync", array.ctypes.data, self.pointer, self.nbytes, stream.raw)

    def copy_across(self, other: DeviceArray, stream: Stream) -> None:
        """Start to copy another array of the same shape and type on the device into it."""
        if other.shape != self.shape or other.dtype != self.dtype:
            raise InternalError(f"{other!r} does not fit into {self!r}")
        call("cuMemcpyDtoDAsync", self.pointer, other.pointer, self.nbytes, stream.raw)

    def fill_bytes(self, value: int, stream: Stream) -> None:
        """Start to set every byte of it to `value`, 0 to 255."""
        call("cuMemsetD8Async", self.pointer, value, self.nbytes, stream.raw)

    def close(self) -> None:
        """Free it, if it owns its memory; closing twice is allowed."""
        if self.pointer and self._owned:
            call("cuMemFree", self.pointer)
        self.pointer = 0


class Scratch:
    """Working memory that all nets on one stream share, because they run one after another.

    Two streams must not share one: what runs at the same time would write into the same bytes.

    Users say how much they need when they are made (`reserve`) and ask for the address when they first
    run, so that the first block is as large as the largest of them. An address once given stays valid
    until `close`: captured graphs hold it. A later, larger need gets a block of its own.
    """

    def __init__(self) -> None:
        self._wanted = 0
        self._blocks: list[tuple[int, int]] = []  # (bytes, address), the largest last

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(size for size, _ in self._blocks)

    def reserve(self, nbytes: int) -> None:
        """Say that a user will need so many bytes."""
        self._wanted = max(self._wanted, nbytes)

    def address(self, nbytes: int) -> int:
        """Where a user finds its bytes, a multiple of 256; 0 if it needs none."""
        if nbytes == 0:
            return 0
        self.reserve(nbytes)
        if not self._blocks or self._blocks[-1][0] < nbytes:
            self._blocks.append((self._wanted, int(call("cuMemAlloc", self._wanted))))
        return self._blocks[-1][1]

    def close(self) -> None:
        """Free it, after all of its users; closing twice is allowed."""
        while self._blocks:
            call("cuMemFree", self._blocks.pop()[1])


def copy_rectangle(source: int, pitch: int, to: NDArray[np.uint8], stream: Stream) -> None:
    """Start to copy rows of device memory into host memory.

    Args:
        source: address of the first byte on the device.
        pitch: bytes from row to row there.
        to: (rows, bytes of a row), contiguous, page-locked.
        stream: of the copy.
    """
    kinds = driver().CUmemorytype
    plan = driver().CUDA_MEMCPY2D()
    plan.srcMemoryType, plan.dstMemoryType = kinds.CU_MEMORYTYPE_DEVICE, kinds.CU_MEMORYTYPE_HOST
    plan.srcDevice, plan.srcPitch = source, pitch
    plan.dstHost, plan.dstPitch = to.ctypes.data, to.shape[1]
    plan.Height, plan.WidthInBytes = to.shape
    call("cuMemcpy2DAsync", plan, stream.raw)
