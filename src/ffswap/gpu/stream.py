"""Streams, events, and graphs captured from streams.

The rule for buffers that cross streams. Work on one stream happens in its order; the work of two
streams happens in any order, unless one waits for an event of the other. So:

1. Who reads on another stream than the one that wrote lets the reading stream wait for an event that
   was recorded on the writing stream behind the write.
2. Who writes into a buffer again lets its stream wait for an event that was recorded behind the last
   use by anybody, reading or writing.
3. A buffer is given back (`MemoryPool.give`) with the stream of its last use. Was it used on several
   streams, that stream first waits for events behind the uses on the others. The next owner may then
   use it on the stream that it named to `MemoryPool.take`, and on others by 1.
4. The host touches memory that a copy reads or writes only when an event behind the copy is done.
5. What is freed (`close`) is freed when all work that uses it is done: the host waits for an event.

An event stands for the work that was on its stream when it was recorded. A wait takes what the event
stands for at that moment; recording it again later does not change it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DeviceError, InternalError
from .driver import call, driver, is_done

__all__ = ["Event", "Graph", "Stream"]


class Event:
    """A point on a stream, to wait for from other streams or from the host.

    Args:
        timing: the time between two events can be asked for.
    """

    def __init__(self, *, timing: bool = False) -> None:
        flags = driver().CUevent_flags
        # Waiting for it puts the thread to sleep instead of spinning on a core.
        wanted = int(flags.CU_EVENT_BLOCKING_SYNC)
        if not timing:
            wanted |= int(flags.CU_EVENT_DISABLE_TIMING)
        self.handle: Any = call("cuEventCreate", wanted)

    @property
    def done(self) -> bool:
        """Whether the work before it is done, or it was never recorded; nobody waits."""
        return is_done("cuEventQuery", self.handle)

    def synchronize(self) -> None:
        """Wait on the host until the work before it is done."""
        call("cuEventSynchronize", self.handle)

    def milliseconds_since(self, start: Event) -> float:
        """Time on the device between two events that are both done and keep time."""
        return float(call("cuEventElapsedTime", start.handle, self.handle))

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        if self.handle is not None:
            call("cuEventDestroy", self.handle)
            self.handle = None


class Graph:
    """Work captured from a stream, to be launched again as one call. Made by `Stream.capture`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def launch(self, stream: Stream) -> None:
        """Start the whole work on a stream."""
        if self._handle is None:
            raise InternalError("the graph is closed")
        call("cuGraphLaunch", self._handle, stream.raw)

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        if self._handle is not None:
            call("cuGraphExecDestroy", self._handle)
            self._handle = None


class Stream:
    """An ordered queue of work of one device, independent of the default stream.

    Made by `Device.stream` while its context is current. Used by one thread at a time.

    Args:
        urgent: its work is begun before that of other streams, where both wait for the device.
    """

    def __init__(self, *, urgent: bool = False) -> None:
        flags = int(driver().CUstream_flags.CU_STREAM_NON_BLOCKING)
        if urgent:
            _, greatest = call("cuCtxGetStreamPriorityRange")
            self.raw: Any = call("cuStreamCreateWithPriority", flags, greatest)
        else:
            self.raw = call("cuStreamCreate", flags)
        self._handle = int(self.raw)

    @property
    def handle(self) -> int:
        """What other libraries take as a stream."""
        return self._handle

    def synchronize(self) -> None:
        """Wait on the host until everything on it is done."""
        call("cuStreamSynchronize", self.raw)

    def record(self, event: Event) -> Event:
        """Put an event behind the work that is on the stream now."""
        call("cuEventRecord", event.handle, self.raw)
        return event

    def wait(self, event: Event) -> None:
        """Let work that comes later wait for an event of another stream; the host does not wait."""
        call("cuStreamWaitEvent", self.raw, event.handle, 0)

    def capture(self, work: Callable[[Stream], None]) -> Graph:
        """Record what a function puts on the stream instead of doing it.

        Addresses and shapes are fixed in the graph. Nothing may be allocated in `work`.

        Args:
            work: is called once with this stream.

        Raises:
            DeviceError: something in it cannot be captured; the stream works on as before.
        """
        modes = driver().CUstreamCaptureMode
        call("cuStreamBeginCapture", self.raw, modes.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            work(self)
        except BaseException:
            self._end_failed_capture()
            raise
        recorded = call("cuStreamEndCapture", self.raw)
        try:
            graph = Graph(call("cuGraphInstantiate", recorded, 0))
        finally:
            call("cuGraphDestroy", recorded)
        return graph

    def _end_failed_capture(self) -> None:
        try:
            recorded = call("cuStreamEndCapture", self.raw)
        except DeviceError:
            return  # the capture was invalid: there is no graph to free
        if recorded is not None and int(recorded):
            call("cuGraphDestroy", recorded)

    def close(self) -> None:
        """Free it, after what is on it; closing twice is allowed."""
        if self.raw is not None:
            call("cuStreamDestroy", self.raw)
            self.raw = None
