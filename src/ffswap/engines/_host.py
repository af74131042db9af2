"""Runs a net on a device with arrays of the host: the plain way, for tests, gates and reports."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..gpu import Device, DeviceArray, Stream
from .session import check_feeds

if TYPE_CHECKING:
    from .session import Binding, Session, TensorSpec

__all__ = ["HostRunner", "split"]


def split(batch: int, buckets: tuple[int, ...]) -> list[tuple[int, int]]:
    """How a batch goes through a net that knows some batch sizes only.

    Args:
        batch: rows, 1 or more.
        buckets: ascending; empty: any batch is fine.

    Returns:
        (bucket, rows) of each part; the rest of a bucket is padded.
    """
    if not buckets:
        return [(batch, batch)]
    parts = [(buckets[-1], buckets[-1])] * (batch // buckets[-1])
    if rest := batch % buckets[-1]:
        parts.append((next(one for one in buckets if one >= rest), rest))
    return parts


def _batched(spec: TensorSpec) -> bool:
    return spec.shape[:1] == (-1,)


class HostRunner:
    """The `run` of a session whose bindings are on a device.

    Args:
        session: whose bindings it uses; it keeps one, with its buffers, for each batch size.
        device: its context must be current in the thread.
        stream: of the session.
    """

    def __init__(self, session: Session, device: Device, stream: Stream) -> None:
        self._session, self._device, self._stream = session, device, stream
        self._bound: dict[int, tuple[Binding, dict[str, DeviceArray]]] = {}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Copy in, run, copy out, wait; see `Session.run`."""
        session = self._session
        batch = check_feeds(repr(session), session.inputs, feeds)
        parts: list[dict[str, NDArray[Any]]] = []
        start = 0
        for bucket, rows in split(batch, session.buckets):
            piece = {
                name: feeds[name][start : start + rows] if _batched(spec) else feeds[name]
                for name, spec in session.inputs.items()
            }
            parts.append(self._run_bucket(bucket, rows, piece))
            start += rows
        return {
            name: np.concatenate([part[name] for part in parts])
            if _batched(spec)
            else parts[-1][name]
            for name, spec in session.outputs.items()
        }

    def _run_bucket(
        self, bucket: int, rows: int, feeds: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        binding, buffers = self._bound.get(bucket) or self._bind(bucket)
        padded = {}
        for name, spec in self._session.inputs.items():
            # The last row is repeated: what a net makes of zeros might not be finite.
            more = bucket - rows if _batched(spec) else 0
            filling = np.repeat(feeds[name][-1:], more, axis=0) if more else feeds[name][:0]
            padded[name] = np.ascontiguousarray(np.concatenate([feeds[name], filling]))
            buffers[name].copy_from(padded[name], self._stream)
        binding.enqueue(self._stream)
        results = {}
        for name, spec in self._session.outputs.items():
            results[name] = np.empty(spec.with_batch(bucket), spec.dtype)
            buffers[name].copy_to(results[name], self._stream)
        self._stream.synchronize()
        return {
            name: array[:rows] if _batched(self._session.outputs[name]) else array
            for name, array in results.items()
        }

    def _bind(self, bucket: int) -> tuple[Binding, dict[str, DeviceArray]]:
        specs = {**self._session.inputs, **self._session.outputs}
        if not self._session.buckets:
            self.close()  # any batch is possible: the buffers of one are enough
        with ExitStack() as stack:
            buffers = {}
            for name, spec in specs.items():
                buffers[name] = self._device.empty(spec.with_batch(bucket), spec.dtype)
                stack.callback(buffers[name].close)
            self._bound[bucket] = self._session.bind(bucket, buffers), buffers
            stack.pop_all()
        return self._bound[bucket]

    def close(self) -> None:
        """Free bindings and buffers; closing twice is allowed."""
        for binding, buffers in self._bound.values():
            binding.close()
            for buffer in buffers.values():
                buffer.close()
        self._bound.clear()
