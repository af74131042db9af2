"""One net ready to run: the protocol that every runtime fulfils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InternalError
from ..gpu import Stream

__all__ = ["Binding", "Session", "TensorSpec", "check_buffers", "check_feeds"]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a net.

    Attributes:
        name: in the graph.
        dtype: of one value.
        shape: -1 where a dimension is free; the first axis is the batch.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def accepts(self, array: NDArray[Any]) -> bool:
        """Whether the array has this type and a shape that fits."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(want in (-1, got) for want, got in zip(self.shape, array.shape, strict=True))
        )

    def with_batch(self, batch: int) -> tuple[int, ...]:
        """The shape with this many rows.

        Raises:
            InternalError: another dimension than the batch is free.
        """
        shape = tuple(
            batch if not axis and dim == -1 else dim for axis, dim in enumerate(self.shape)
        )
        if -1 in shape:
            raise InternalError(f"{self} has more than one free dimension")
        return shape

    def __str__(self) -> str:
        dims = ", ".join("N" if dim == -1 else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype} ({dims})"


class Binding(Protocol):
    """One batch size of a net with the buffers that it reads and writes, ready to run again and again.

    Attributes:
        batch: rows of every buffer.
    """

    batch: int

    def enqueue(self, stream: Stream | None) -> None:
        """Start one run; the inputs are read and the outputs written by the work on the stream.

        On a GPU it returns at once: nothing waits but what is put on the same stream later. On the
        CPU the run is over when it returns.

        Args:
            stream: of the GPU; the one that the session was made for. None on the CPU.

        Raises:
            EngineError: the runtime failed.
            InternalError: it is closed, or this is not its stream.
        """

    def close(self) -> None:
        """Let go of the buffers; closing twice is allowed."""


class Session(Protocol):
    """A loaded net. Used by one thread at a time, on one stream; closed by whoever made it.

    There are two ways to run it. `run` takes and returns arrays in host memory and waits. `bind`
    fixes buffers once (NumPy arrays on the CPU, `gpu.DeviceArray` on a GPU); the binding is then
    enqueued as often as wanted, without a copy, a check or a wait.

    As a context manager it closes itself at the end of the block.
    """

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""

    @property
    def buckets(self) -> tuple[int, ...]:
        """The batch sizes that it was built for, ascending; empty: any."""

    @property
    def device(self) -> str:
        """Where it runs, as in the ``device`` option: ``cpu``, ``cuda:0``."""

    @property
    def runtime(self) -> str:
        """Name and version of the library that runs it, for reports."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch and wait for it.

        A session with buckets pads the batch to the next of them, or takes it in several parts.

        Args:
            feeds: an array in host memory for every input, all with the same batch size, 1 or more.
                They are not changed and may be used again at once.

        Returns:
            A new array in host memory for every output, by name.

        Raises:
            InternalError: the feeds are not the inputs, or the session is closed.
            MachineError: the runtime failed.
        """

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> Binding:
        """Fix the buffers of one batch size.

        Args:
            batch: one of `buckets`, if there are any, else 1 or more.
            buffers: for every input and output, by name: contiguous, of the specified type and shape
                with `batch` rows. They stay the caller's and must outlive the binding.

        Raises:
            InternalError: a buffer is missing, too many, or of the wrong type, shape or device; or
                the batch is not one that it was built for.
            EngineError: the runtime refused.
        """

    def close(self) -> None:
        """Free what it holds; closing twice is allowed."""

    def __enter__(self) -> Session: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def check_feeds(
    model: str, inputs: Mapping[str, TensorSpec], feeds: Mapping[str, NDArray[Any]]
) -> int:
    """Compare the feeds of a run with the net's inputs.

    Args:
        model: name for messages.
        inputs: what the net takes, by name.
        feeds: what it is given, by name.

    Returns:
        The batch size.

    Raises:
        InternalError: an input is missing, too many, of the wrong type or shape, or the batch
            is empty or differs between inputs.
    """
    if set(feeds) != set(inputs):
        raise InternalError(f"{model} takes {sorted(inputs)}, not {sorted(feeds)}")
    for name, spec in inputs.items():
        array = feeds[name]
        if not isinstance(array, np.ndarray):
            raise InternalError(f"{model} takes {spec}, not a {type(array).__name__}")
        if not spec.accepts(array):
            raise InternalError(f"{model} takes {spec}, not {array.dtype} {array.shape}")
    batches = {len(feeds[name]) for name, spec in inputs.items() if spec.shape[:1] == (-1,)}
    if len(batches) > 1 or 0 in batches:
        raise InternalError(f"{model}: batch sizes {sorted(batches)}; allowed: one, 1 or more")
    return batches.pop() if batches else 1


def check_buffers(
    model: str, specs: Mapping[str, TensorSpec], batch: int, buffers: Mapping[str, Any], device: str
) -> None:
    """Refuse buffers that a run with `batch` rows would read or write wrongly.

    Args:
        model: name for messages.
        specs: of all inputs and outputs.
        batch: rows.
        buffers: NumPy arrays for ``cpu``, device arrays elsewhere.
        device: that they must be on.

    Raises:
        InternalError: one is missing, too many, or has another type, shape or device.
    """
    if set(buffers) != set(specs):
        raise InternalError(f"{model} binds {sorted(specs)}, not {sorted(buffers)}")
    for name, spec in specs.items():
        buffer, shape = buffers[name], spec.with_batch(batch)
        on_cpu = isinstance(buffer, np.ndarray)
        place = "cpu" if on_cpu else buffer.device
        if buffer.dtype != spec.dtype or tuple(buffer.shape) != shape or place != device:
            raise InternalError(
                f"{model} binds {spec.dtype} {shape} on {device} as {name}, "
                f"not {buffer.dtype} {tuple(buffer.shape)} on {place}"
            )
        if on_cpu and not buffer.flags.c_contiguous:
            raise InternalError(f"{model} binds contiguous arrays only; {name} is not")
