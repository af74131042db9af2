"""What one thread works with on a device: a stream, its scratch memory, and nets with their buffers."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from ...closing import Closing
from ...engines import Session, TensorSpec
from ...engines.session import Binding
from ...errors import InternalError
from ...gpu import Device, DeviceArray, Event, PinnedArray, Programs, Scratch
from ...ops.cuda import DeviceFrames

__all__ = ["DeviceNet", "Lane"]

_BATCHED = -1


class Lane(Closing):
    """A stream and what is bound to it. Used by one thread at a time.

    Work on one lane is done in order; between lanes, frames carry the event that the next one waits
    for (`gpu.stream` has the rule). Close it after everything that was made on it.

    Args:
        device: its context must be current in every thread that uses the lane.
        programs: kernels.
        urgent: its work goes before that of other lanes where both wait for the device.

    Attributes:
        stream: of its work.
        scratch: of its nets.
        turn: held by the thread that uses a lane which several share.
    """

    def __init__(self, device: Device, programs: Programs, *, urgent: bool = False) -> None:
        self.device, self.programs = device, programs
        self.stream = device.stream(urgent=urgent)
        self.scratch = Scratch()
        self.turn = threading.Lock()
        self._done = Event()

    def begin(self, frames: DeviceFrames) -> None:
        """Let the work that comes now wait until these frames are what they should be."""
        self.device.activate()
        if frames.ready is not None:
            self.stream.wait(frames.ready)

    def end(self, frames: DeviceFrames) -> None:
        """Say that the frames are painted once the work that is on the lane now is done."""
        if frames.ready is None:
            raise InternalError(f"{frames!r} cannot tell when they are painted")
        self.stream.record(frames.ready)

    def finish(self) -> None:
        """Wait on the host until everything on the lane is done; the thread sleeps meanwhile."""
        self.stream.record(self._done).synchronize()

    def upload(self, array: np.ndarray, into: DeviceArray, staging: PinnedArray) -> None:
        """Start to copy a small array through pinned memory, which must not be in use."""
        staging.array[...] = array
        into.copy_from(staging.array, self.stream)

    def close(self) -> None:
        """Free stream and scratch; closing twice is allowed."""
        self._done.close()
        self.scratch.close()
        self.stream.close()


class DeviceNet(Closing):
    """A net with buffers of its own in device memory. Used by the thread of its lane.

    Args:
        session: on the lane's stream; it stays the caller's.
        lane: where it runs.
        most: rows at a time, where the session has no batch sizes of its own.
        name: for messages.

    Attributes:
        most: rows at a time.
        inputs: by name, (most, ...) or, where the net has no batch, its own shape.
        outputs: the same.
    """

    def __init__(self, session: Session, lane: Lane, *, most: int = 16, name: str) -> None:
        self._session, self._lane, self._name = session, lane, name
        fixed = [spec for spec in session.inputs.values() if spec.shape[:1] == (1,)]
        if session.buckets:
            most = session.buckets[-1]
        elif len(fixed) == len(session.inputs):
            most = 1  # the graph itself has no other batch
        self.most = most
        self.inputs = {name: self._buffer(spec) for name, spec in session.inputs.items()}
        self.outputs = {name: self._buffer(spec) for name, spec in session.outputs.items()}
        self._bindings: dict[int, Binding] = {}

    def _buffer(self, spec: TensorSpec) -> DeviceArray:
        array = self._lane.device.empty(spec.with_batch(self.most), spec.dtype)
        # What is beyond the rows of a run must be finite: some nets mix what they normalise.
        array.fill_bytes(0, self._lane.stream)
        return array

    def fill(self, name: str, value: float) -> None:
        """Give an input one value everywhere, once and for all."""
        buffer = self.inputs[name]
        buffer.copy_from(np.full(buffer.shape, value, buffer.dtype), self._lane.stream)
        self._lane.finish()

    def run(self, rows: int) -> None:
        """Start a run over the first rows of the inputs.

        Raises:
            InternalError: more rows than `most`, or none.
            EngineError: the runtime failed.
        """
        if not 1 <= rows <= self.most:
            raise InternalError(f"{self._name}: {rows} rows; it takes 1 to {self.most}")
        bucket = self._bucket(rows)
        binding = self._bindings.get(bucket)
        if binding is None:
            binding = self._bindings[bucket] = self._bind(bucket)
        binding.enqueue(self._lane.stream)

    def _bucket(self, rows: int) -> int:
        """The batch size that serves so many rows."""
        if self._session.buckets:
            return next(one for one in self._session.buckets if one >= rows)
        # Without sizes of its own: powers of two, so that few shapes have to be prepared.
        return min(self.most, 1 << (rows - 1).bit_length())

    def _bind(self, bucket: int) -> Binding:
        specs = {**self._session.inputs, **self._session.outputs}
        buffers: Mapping[str, DeviceArray] = {**self.inputs, **self.outputs}
        views = {
            name: buffers[name].rows(0, bucket) if spec.shape[:1] == (_BATCHED,) else buffers[name]
            for name, spec in specs.items()
        }
        binding = self._session.bind(bucket, views)
        capture = getattr(binding, "capture", None)
        if capture is not None:
            capture()
        return binding

    def close(self) -> None:
        """Free bindings and buffers, after the lane's work is done; closing twice is allowed."""
        for binding in self._bindings.values():
            binding.close()
        self._bindings.clear()
        for buffer in (*self.inputs.values(), *self.outputs.values()):
            buffer.close()
