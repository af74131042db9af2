"""One net ready to run: the protocol that every runtime fulfils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InternalError

__all__ = ["Session", "TensorSpec", "check_feeds"]


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

    def __str__(self) -> str:
        dims = ", ".join("N" if dim == -1 else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype} ({dims})"


class Session(Protocol):
    """A loaded net. Used by one thread at a time; closed by whoever made it.

    As a context manager it closes itself at the end of the block.
    """

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""

    @property
    def device(self) -> str:
        """Where it runs, as in the ``device`` option: ``cpu``, ``cuda:0``."""

    @property
    def runtime(self) -> str:
        """Name and version of the library that runs it, for reports."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch and wait for it.

        Args:
            feeds: an array in host memory for every input, all with the same batch size, 1 or more.
                They are not changed and may be used again at once.

        Returns:
            A new array in host memory for every output, by name.

        Raises:
            InternalError: the feeds are not the inputs, or the session is closed.
            MachineError: the runtime failed.
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
