"""One node on the way of the batch through a graph, and where the rows lie in its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import ModelError
from ...onnx_nodes import attribute
from .._proto import node_label

__all__ = ["ONE_ROW", "Place", "Step"]

ONE_ROW = "this net can only be run with one row at a time"


@dataclass(frozen=True)
class Place:
    """Where the batch is in a tensor: index = (i * rows + row) * inner + j on one axis.

    Attributes:
        axis: of the tensor.
        outer: values of i: what was merged into the axis before the batch.
        inner: values of j: what was merged into the axis behind it, such as the heads of attention.
    """

    axis: int
    outer: int = 1
    inner: int = 1

    @property
    def span(self) -> int:
        """Size of the axis with one row."""
        return self.outer * self.inner


class Step:
    """One node, what is known about its tensors with one row, and how to change it.

    Args:
        node: may be changed.
        opset: of the graph.
        dims: shape of every tensor with one row.
        places: of the tensors that hold rows, by name.
        constants: small tensors that never change.
        add_constant: takes an array, gives the name of a new initialiser.
        choose: takes one of several places, the likeliest first.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        opset: int,
        dims: dict[str, tuple[int, ...]],
        places: dict[str, Place],
        constants: dict[str, NDArray[Any]],
        add_constant: Callable[[NDArray[Any]], str],
        choose: Callable[[list[Place]], Place],
    ) -> None:
        self.node, self.opset = node, opset
        self._dims, self._places, self._constants = dims, places, constants
        self._add_constant = add_constant
        self.choose = choose

    def place(self, index: int) -> Place | None:
        """Of an input; None: it is the same for every row, or left out."""
        return self._places.get(self.name(index))

    def name(self, index: int) -> str:
        """Of an input; "" if it is left out."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def dims(self, index: int) -> tuple[int, ...]:
        """Shape of an input."""
        return self._shape(self.name(index))

    def out(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an output."""
        return self._shape(self.node.output[index])

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._dims:
            self.refuse(f"works on {name!r}, whose shape cannot be told beforehand")
        return self._dims[name]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute."""
        return attribute(self.node, name, default)

    def constant(self, index: int) -> NDArray[Any] | None:
        """Value of an input, if it never changes."""
        return self._constants.get(self.name(index))

    def integers(self, index: int, name: str) -> list[int] | None:
        """What is an input in newer opsets and was an attribute in older ones; None: not given."""
        if self.name(index):
            value = self.constant(index)
            if value is None:
                self.refuse(f"has {name} that are computed while it runs")
            return [int(v) for v in value.ravel()]
        given = self.attribute(name)
        return None if given is None else [int(v) for v in np.ravel(given)]

    def set_constant(self, index: int, value: NDArray[Any]) -> None:
        """Give an input another value, for this node alone."""
        while len(self.node.input) <= index:
            self.node.input.append("")
        self.node.input[index] = self._add_constant(value)

    def refuse(self, why: str) -> NoReturn:
        """The batch cannot be made free, because this node ..."""
        raise ModelError(
            f"its batch cannot be made free: {node_label(self.node)} {why}",
            hint=ONE_ROW,
        )

    @property
    def data(self) -> Place:
        """Place of the first input, which holds rows."""
        place = self.place(0)
        if place is None:
            self.refuse("mixes what belongs to a row with its first input, which belongs to none")
        return place

    def only_first(self, why: str = "has parameters that differ from row to row") -> None:
        """Refuse rows in any but the first input."""
        if any(self.place(index) for index in range(1, len(self.node.input))):
            self.refuse(why)
