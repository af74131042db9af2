"""A session under the names of the catalogue, of a file that has its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..engines import Binding, Session, TensorSpec
from ..models.interface import PortNames

__all__ = ["RenamedSession"]


class RenamedSession(Closing):
    """A net whose inputs and outputs are called as the catalogue does; fulfils `Session`.

    Outputs that the model's family does not read are left out; where buffers are bound, they go to
    buffers of its own.

    Args:
        session: of the file; it is closed with this one.
        names: of the file's inputs and outputs.
        spare: makes a buffer of a shape and type where the session runs, such as `Device.empty`.
    """

    def __init__(
        self,
        session: Session,
        names: PortNames,
        *,
        spare: Callable[[tuple[int, ...], np.dtype[Any]], Any] = np.empty,
    ) -> None:
        self._session, self._names, self._spare = session, names, spare
        self._unread: dict[tuple[int, str], Any] = {}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """See `Session.inputs`; in the catalogue's order."""
        return _renamed(self._session.inputs, self._names.inputs)

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """See `Session.outputs`; in the order in which the family reads them."""
        return _renamed(self._session.outputs, self._names.outputs)

    @property
    def buckets(self) -> tuple[int, ...]:
        """See `Session.buckets`."""
        return self._session.buckets

    @property
    def device(self) -> str:
        """See `Session.device`."""
        return self._session.device

    @property
    def runtime(self) -> str:
        """See `Session.runtime`."""
        return self._session.runtime

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        names = self._names
        found = self._session.run({names.inputs.get(k, k): rows for k, rows in feeds.items()})
        return {name: found[own] for name, own in names.outputs.items()}

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> Binding:
        """See `Session.bind`."""
        own = {**self._names.inputs, **self._names.outputs}
        given = {own.get(name, name): one for name, one in buffers.items()}
        for name, spec in self._session.outputs.items():
            if name not in given and name not in own.values():
                given[name] = self._buffer(batch, spec)
        return self._session.bind(batch, given)

    def _buffer(self, batch: int, spec: TensorSpec) -> Any:
        key = batch, spec.name
        if key not in self._unread:
            self._unread[key] = self._spare(spec.with_batch(batch), spec.dtype)
        return self._unread[key]

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()
        for buffer in self._unread.values():
            if not isinstance(buffer, np.ndarray):
                buffer.close()
        self._unread.clear()


def _renamed(ports: Mapping[str, TensorSpec], names: Mapping[str, str]) -> dict[str, TensorSpec]:
    return {name: replace(ports[own], name=name) for name, own in names.items()}
