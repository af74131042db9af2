"""Bringing batches of frames to a GPU and their painted parts back."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from ..carriers import Frames
from ..closing import Closing
from ..errors import InternalError
from ..gpu import Device, Event, MemoryPool, PinnedArray, Stream
from ..ops.cuda import DeviceFrames, Painting, RegionDownload, layout_of, region_bytes
from ..ops.cuda.painting import MOST_MARKS

__all__ = ["Carriage"]

UPLOADS = 3
"""Batches on their way up: while one is packed, another is copied, and a third is done soon."""

PACKERS = 4
"""Threads that copy frames into pinned memory. One of an H100's host packed 500 frames of 1080p a second."""


class _Slot(Closing):
    """Pinned memory and an event behind the last copy that used it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.done = Event()
        self.flags = PinnedArray((MOST_MARKS,), np.int32)
        self._memory: PinnedArray | None = None

    def room(self, nbytes: int) -> PinnedArray:
        """At least so many bytes; the last copy must be done."""
        if self._memory is None or self._memory.array.nbytes < nbytes:
            if self._memory is not None:
                self._memory.close()
            self._memory = PinnedArray((nbytes,), np.uint8)
        return self._memory

    def close(self) -> None:
        """Wait for the copies, and free the memory."""
        self.stream.synchronize()
        if self._memory is not None:
            self._memory.close()
        self.flags.close()
        self.done.close()


class Carriage(Closing):
    """Copies whole batches up, and what was painted down. `load` and `unload` may run side by side.

    Args:
        device: where frames are worked on.
        pool: of its memory.
        downloads: batches whose painted parts may be on their way down, or being put into their
            frames.
    """

    def __init__(self, device: Device, pool: MemoryPool, downloads: int) -> None:
        self._device, self._pool = device, pool
        self._lock = threading.Lock()
        self._events: list[Event] = []
        with ExitStack() as stack:
            self._packers = stack.enter_context(ThreadPoolExecutor(PACKERS, "ffswap-pack"))
            up, down = device.stream(), device.stream()
            stack.callback(up.close)
            stack.callback(down.close)
            self._up, self._down = up, down
            self._loads: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
            self._unloads: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
            for line, stream, count in (
                (self._loads, up, UPLOADS), (self._unloads, down, downloads)
            ):  # fmt: skip
                for _ in range(count):
                    line.put(stack.enter_context(_Slot(stream)))
            stack.callback(self._close_events)
            self._stack = stack.pop_all()

    def _close_events(self) -> None:
        for event in self._events:
            event.close()
        self._events.clear()

    def _event(self) -> Event:
        with self._lock:
            return self._events.pop() if self._events else Event()

    def load(self, frames: Frames) -> DeviceFrames:
        """Start to copy frames to the device; by one thread at a time.

        Args:
            frames: of the host; they stay there, as `DeviceFrames.host`.

        Returns:
            The frames, to be given to `unload` or `discard`.

        Raises:
            DeviceError: the device has no memory left.
        """
        self._device.activate()
        nbytes = len(frames) * layout_of(frames.format, frames.height, frames.width).frame_bytes
        slot = self._loads.get()
        try:
            slot.done.synchronize()
            buffer = self._pool.take((nbytes,), np.uint8, self._up)
            painting = Painting(self._pool.take((MOST_MARKS,), np.int32, self._up))
            there = DeviceFrames.upload(
                frames, buffer, slot.room(nbytes), self._up, self._event(), painting,
                self._packers,
            )  # fmt: skip
            self._up.record(slot.done)
        finally:
            self._loads.put(slot)
        return there

    def unload(self, frames: DeviceFrames) -> Frames:
        """Put what was painted into the frames on the host, and wait for it; the device's are freed.

        Args:
            frames: as `load` gave them, painted.

        Returns:
            The frames that were loaded, changed in place.
        """
        self._device.activate()
        painting, host = frames.painting, frames.on_host()
        if painting is None or frames.ready is None:
            raise InternalError(f"{frames!r} did not come from here")
        marks = len(painting.where)
        if not marks:
            self.discard(frames)
            return host
        slot = self._unloads.get()
        try:
            where, rectangles = painting.regions()
            staging = slot.room(max(1, region_bytes(frames.format, rectangles)))
            with self._lock:  # one stream, and its order is that of `down`'s users
                self._down.wait(frames.ready)
                parts = RegionDownload(frames, where, rectangles, staging, self._down)
                painting.sound.rows(0, marks).copy_to(slot.flags.array[:marks], self._down)
                self._down.record(slot.done)
            slot.done.synchronize()
            parts.write_into(host)
            painting.tell(slot.flags.array[:marks])
        finally:
            self._unloads.put(slot)
        self._free(frames, painting)
        return host

    def discard(self, frames: DeviceFrames) -> None:
        """Free frames of which nothing is wanted back."""
        self._device.activate()
        if frames.painting is None or frames.ready is None:
            raise InternalError(f"{frames!r} did not come from here")
        with self._lock:
            self._down.wait(frames.ready)
        self._free(frames, frames.painting)

    def _free(self, frames: DeviceFrames, painting: Painting) -> None:
        with self._lock:
            self._pool.give(frames.buffer, self._down)
            self._pool.give(painting.sound, self._down)
            if frames.ready is not None:
                self._events.append(frames.ready)

    def close(self) -> None:
        """Wait for its copies, and free everything of its own; closing twice is allowed."""
        self._stack.close()
