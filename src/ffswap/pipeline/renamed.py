"""A session under the names of the catalogue, of a file that has its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ..engines import Binding, Session, TensorSpec
from ..models.interface import PortNames

__all__ = ["RenamedSession"]


class RenamedSession(Session):
    """A net whose inputs and outputs are called as the catalogue does.

    Outputs that the model's family does not read are left out.

    Args:
        session: of the file; it is closed with this one.
        names: of the file's inputs and outputs.
    """

    def __init__(self, session: Session, names: PortNames) -> None:
        self._session, self._names = session, names

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
        """See `Session.bind`; only of files that have no more outputs than are read."""
        own = {**self._names.inputs, **self._names.outputs}
        return self._session.bind(batch, {own.get(k, k): one for k, one in buffers.items()})

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()

    def __enter__(self) -> RenamedSession:
        self._session.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.__exit__(kind, error, trace)


def _renamed(ports: Mapping[str, TensorSpec], names: Mapping[str, str]) -> dict[str, TensorSpec]:
    return {name: replace(ports[own], name=name) for name, own in names.items()}
