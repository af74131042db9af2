"""Device memory that is used again and again: blocks that are given back, and taken with an event."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ..closing import Closing
from ..errors import DeviceError, InternalError
from .device import Device
from .memory import DeviceArray
from .stream import Event, Stream

__all__ = ["MemoryPool"]

# Left to others by default: a decoder takes its surfaces later, 20 of 4K with 10 bits (25 MB each).
_RESERVE_BYTES = 512 << 20
_SMALLEST_BYTES = 256  # CUDA's own alignment of what it allocates
_STEPS = 8  # sizes of blocks from one power of two to the next: an eighth is wasted at the most
_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


@dataclass(eq=False)
class _Block:
    """Memory of the pool: in use, or free behind an event.

    Attributes:
        memory: all of it.
        event: of its last use; made when it is first given back with a stream.
        stream: that the event was recorded on; None: nobody uses it any more.
    """

    memory: DeviceArray
    event: Event | None = None
    stream: Stream | None = None

    def free_on(self, stream: Stream) -> bool:
        """Work that comes next on a stream may use it without waiting."""
        return self.stream is None or self.stream is stream or self.event is None or self.event.done

    def close(self) -> None:
        self.memory.close()
        if self.event is not None:
            self.event.close()


class MemoryPool(Closing):
    """Blocks of device memory, recycled in the order of streams. May be used by several threads.

    It follows the rule for buffers that cross streams, which stands in `stream`: `give` records an
    event behind the last use, and `take` gives a block to a stream that comes after this event. The
    host never waits, except when memory is so short that blocks of other sizes must be freed.

    The device's context is current in the threads that use it. Nothing is taken or given while a
    stream is captured: a graph keeps its addresses.

    Args:
        device: whose memory it is.
        limit_bytes: what it may hold; if not given, what is free now, less 512 MiB for others.
    """

    def __init__(self, device: Device, limit_bytes: int | None = None) -> None:
        self._device = device
        if limit_bytes is None:
            limit_bytes = max(device.free_bytes() - _RESERVE_BYTES, 0)
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._free: dict[int, list[_Block]] = {}  # by size; who waits longest comes first
        # By identity of the array, which is kept, so that no other gets the same.
        self._used: dict[int, tuple[DeviceArray, _Block]] = {}
        self._in_use = self._held = self._peak = 0

    @property
    def in_use_bytes(self) -> int:
        """Blocks that are taken."""
        return self._in_use

    @property
    def held_bytes(self) -> int:
        """All blocks, taken or not."""
        return self._held

    @property
    def peak_bytes(self) -> int:
        """The most that it held so far."""
        return self._peak

    def take(self, shape: tuple[int, ...], dtype: DTypeLike, stream: Stream) -> DeviceArray:
        """An array of whatever was in memory, to be used on a stream.

        Args:
            shape: of the array.
            dtype: of one value.
            stream: work that is put on it from now on may use the array; other streams: rule 1 of
                `stream`.

        Returns:
            The array, to be given back; at an address that is a multiple of 256.

        Raises:
            DeviceError: the limit is reached, or the device has no memory left.
        """
        kind = np.dtype(dtype)
        size = _block_bytes(math.prod(shape) * kind.itemsize)
        with self._lock:
            block = self._recycled(size, stream) or self._new(size)
            array = DeviceArray.at(block.memory.pointer, shape, kind, self._device.name)
            self._used[id(array)] = array, block
            self._in_use += size
        return array

    def give(self, array: DeviceArray, stream: Stream | None) -> None:
        """Give an array back; it cannot be used any more.

        Args:
            array: as `take` gave it, not a view of it.
            stream: of its last use, see rule 3 of `stream`; None: all work that used it is done.

        Raises:
            InternalError: it was not taken here, or was given back before.
        """
        with self._lock:
            if id(array) not in self._used:
                raise InternalError(f"{array!r} was not taken from this pool, or given back before")
            _, block = self._used[id(array)]
            if stream is not None:
                block.event = stream.record(block.event or Event())
            block.stream = stream
            del self._used[id(array)]
            array.close()
            self._in_use -= block.memory.nbytes
            self._free.setdefault(block.memory.nbytes, []).append(block)

    def _recycled(self, size: int, stream: Stream) -> _Block | None:
        free = self._free.get(size)
        if not free:
            return None
        found = next((block for block in reversed(free) if block.stream is stream), None)
        found = found or next((block for block in free if block.free_on(stream)), None)
        if found is None:
            found = free[0]
            if found.event is not None:
                stream.wait(found.event)
        free.remove(found)
        return found

    def _new(self, size: int) -> _Block:
        if self._held + size > self.limit_bytes:
            self._trim()
        if self._held + size > self.limit_bytes:
            raise self._exhausted(size, "its limit is reached")
        try:
            memory = self._allocate(size)
        except DeviceError as error:
            if _OUT_OF_MEMORY not in error.message:
                raise
            self._trim()
            memory = self._allocate_or_explain(size)
        self._held += size
        self._peak = max(self._peak, self._held)
        return _Block(memory)

    def _allocate(self, size: int) -> DeviceArray:
        return self._device.empty((size,), np.uint8)

    def _allocate_or_explain(self, size: int) -> DeviceArray:
        try:
            return self._allocate(size)
        except DeviceError as error:
            if _OUT_OF_MEMORY not in error.message:
                raise
            raise self._exhausted(size, "the device has no memory left") from error

    def _exhausted(self, size: int, why: str) -> DeviceError:
        free = self._device.free_bytes()
        return DeviceError(
            f"{_mib(size)} of memory were asked for on {self._device.name}, but {why}: "
            f"{_mib(self._held)} held, {_mib(self._in_use)} of them in use, "
            f"{_mib(self.limit_bytes)} allowed, {_mib(free)} free on the device",
            hint="choose a smaller batch, or end other programs that use the GPU (nvidia-smi)",
        )

    def _trim(self) -> None:
        """Free the blocks that nobody has; the driver waits for work that still uses one."""
        for blocks in self._free.values():
            while blocks:
                block = blocks.pop()
                self._held -= block.memory.nbytes
                block.close()

    def close(self) -> None:
        """Free everything, after the work that uses it; closing twice is allowed."""
        with self._lock:
            self._trim()
            for array, block in self._used.values():
                self._held -= block.memory.nbytes
                array.close()
                block.close()
            self._used.clear()
            self._in_use = 0


def _block_bytes(nbytes: int) -> int:
    """Size of the block for so many bytes: steps of an eighth of the power of two below."""
    if nbytes <= _SMALLEST_BYTES:
        return _SMALLEST_BYTES
    step = max((1 << ((nbytes - 1).bit_length() - 1)) // _STEPS, _SMALLEST_BYTES)
    return -(-nbytes // step) * step


def _mib(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):.1f} MiB"
