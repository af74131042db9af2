"""Finds the nodes of a net that must compute in float32, and says why."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto

from ..errors import OptionError
from ..onnx_nodes import attribute
from ._chains import normalisation
from ._net import Net
from ._ports import MOVES, Port, Ports, ports_of

__all__ = ["LIMIT", "Island", "Reason", "find_islands", "ports_of_all"]

Reason = Literal["normalisation", "range", "weights", "operator", "asked"]

# Half of the largest FP16 number, 65504: other inputs than the samples may give twice as much.
LIMIT = 65504 / 2
# The smallest FP16 number with all its bits.
_SMALLEST_NORMAL = 2.0**-14
# Numbers of FP16 are 1/4 apart from here on, too coarse for a place in a picture.
_COARSE = 256.0

_WIDE_INTEGERS = frozenset(
    {TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32}
    | {TensorProto.INT64, TensorProto.UINT64}
)
# What is done with counts and places.
_COUNTING = MOVES | frozenset({
    "Add", "Cast", "Ceil", "Clip", "Div", "Floor", "Max", "Min", "Mod", "Mul", "Neg", "Round",
    "Sub", "Where",
})  # fmt: skip
# What must not see the zero that an epsilon has become in FP16.
_GUARDED = frozenset({"Div", "Expand", "Log", "Pow", "Reciprocal", "Sqrt"})
# Their weights are scales that FP16 has exactly, however small; see `quantise.scale_of`.
_SCALED = frozenset({"DequantizeLinear", "QuantizeLinear"})
# Input 2 of these is added to sums of products; what is too small for FP16 is lost in them.
_BIASED = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "Gemm"})


@dataclass(frozen=True, kw_only=True)
class Island:
    """A node that computes in float32.

    Attributes:
        node: its name.
        operator: such as ``ReduceMean``.
        reason: ``normalisation``: it is part of one; ``range``: values near it leave the range of
            FP16, or are counts or places that FP16 is too coarse for; ``weights``: a weight does;
            ``operator``: it knows no FP16 or loses too much by it; ``asked``: a recipe names it.
        value: the largest magnitude seen (``range``), or the weight: the largest magnitude if it
            is too large, else the smallest.
    """

    node: str
    operator: str
    reason: Reason
    value: float | None


def ports_of_all(net: Net) -> list[Ports | None]:
    """For each node which of its tensors may be FP16; None: it must stay in float32."""
    return [ports_of(node, net.opsets, net.types) for node in net.nodes]


def find_islands(
    net: Net,
    ports: Sequence[Ports | None],
    peaks: Mapping[str, float],
    keep: Collection[str],
) -> dict[int, Island]:
    """All islands by index of the node, each with the first reason that was found.

    Args:
        net: any net.
        ports: of its nodes.
        peaks: largest magnitude of each tensor that was looked at.
        keep: names of nodes to be kept in float32.

    Raises:
        OptionError: there is no node of such a name.
    """
    return _Finder(net, ports, peaks).find(keep)


def find_named(nodes: Sequence[onnx.NodeProto], keep: Collection[str]) -> list[int]:
    """Indices of the nodes that are called so.

    Raises:
        OptionError: there is no node of such a name.
    """
    names = [node.name for node in nodes]
    for name in keep:
        if name not in names:
            close = difflib.get_close_matches(name, names)
            raise OptionError(
                f"there is no node {name!r} to keep in float32"
                + (f"; close: {', '.join(close)}" if close else ""),
                hint="nodes are named in the ONNX file; any viewer of such files shows them",
            )
    return [index for index, name in enumerate(names) if name in keep]


class _Finder:
    def __init__(self, net: Net, ports: Sequence[Ports | None], peaks: Mapping[str, float]) -> None:
        self._net, self._ports, self._peaks = net, ports, peaks
        self._found: dict[int, Island] = {}

    def find(self, keep: Collection[str]) -> dict[int, Island]:
        asked = find_named(self._net.nodes, keep)
        self._note_all(normalisation(self._net), "normalisation")
        self._note_all((k for k, ports in enumerate(self._ports) if ports is None), "operator")
        for index in range(len(self._net.nodes)):
            self._weights(index)
        self._range()
        self._counts()
        self._places()
        self._note_all(asked, "asked")
        return dict(sorted(self._found.items()))

    def _note(self, index: int, reason: Reason, value: float | None = None) -> None:
        node = self._net.nodes[index]
        # A node without a float32 tensor computes nothing that FP16 could change.
        if any(self._net.is_float(name) for name in (*node.input, *node.output)):
            island = Island(node=node.name, operator=node.op_type, reason=reason, value=value)
            self._found.setdefault(index, island)

    def _note_all(self, indices: Iterable[int], reason: Reason) -> None:
        for index in indices:
            self._note(index, reason)

    def _float_inputs(self, index: int) -> list[tuple[int, str]]:
        """(place, name) of the inputs that would be FP16."""
        ports = self._ports[index]
        names = self._net.nodes[index].input
        return [
            (place, name)
            for place, name in enumerate(names)
            if ports is not None and ports.inputs[place] is Port.EITHER
        ]

    def _weights(self, index: int) -> None:
        node = self._net.nodes[index]
        if node.op_type in _SCALED:
            return
        for place, name in self._float_inputs(index):
            values = self._net.weight(name)
            if values is None or not values.size:
                continue
            sizes = np.abs(values)
            largest = float(sizes.max())
            if not largest <= LIMIT:
                # A bound that becomes infinite in FP16 bounds nothing there, as it did before.
                if not (node.op_type == "Clip" and place):
                    self._note(index, "weights", largest)
            # Rounding a number below the smallest normal one errs by 2^-25 at most: no more than
            # rounding that one does. So small weights are harmless beside a normal one.
            elif 0 < largest < _SMALLEST_NORMAL and not (node.op_type in _BIASED and place == 2):
                smallest = float(sizes[sizes > 0].min())
                self._note(index, "weights", smallest)
                self._guarded(index, smallest)

    def _guarded(self, index: int, value: float) -> None:
        """Note the operators that an epsilon keeps from zero."""
        after_inverse = self._net.nodes[index].op_type in ("Reciprocal", "Pow")
        for name in self._net.nodes[index].output:
            for reader in self._net.readers(name):
                kind = self._net.nodes[reader].op_type
                if kind in _GUARDED or (kind == "Mul" and after_inverse):
                    self._note(reader, "weights", value)
                    if kind not in ("Div", "Log", "Mul"):
                        self._guarded(reader, value)

    def _range(self) -> None:
        for name, peak in self._peaks.items():
            if peak > LIMIT:
                maker = self._net.producer(name)
                if maker is not None:
                    self._note(maker, "range", peak)
                for reader in self._net.readers(name):
                    if any(name == one for _, one in self._float_inputs(reader)):
                        self._note(reader, "range", peak)

    def _peak(self, node: onnx.NodeProto) -> float | None:
        seen = [self._peaks[name] for name in node.output if name in self._peaks]
        return max(seen, default=None)

    def _counts(self) -> None:
        """Note what is computed from integers: FP16 is exact up to 2048 only."""
        ways = []
        for index, node in enumerate(self._net.nodes):
            counted = node.op_type == "Range" or (
                node.op_type == "Cast" and self._net.types.get(node.input[0]) in _WIDE_INTEGERS
            )
            if counted and any(self._net.is_float(name) for name in node.output):
                ways.append(index)
        seen = set()
        while ways:
            index = ways.pop()
            if index in seen:
                continue
            seen.add(index)
            node = self._net.nodes[index]
            self._note(index, "range", self._peak(node))
            for name in node.output:
                if self._net.is_float(name):
                    ways += [
                        reader
                        for reader in self._net.readers(name)
                        if self._net.nodes[reader].op_type in _COUNTING
                    ]

    def _places(self) -> None:
        """Note the arithmetic that ends in places: large outputs, indices, sample positions."""
        ways = [
            one.name
            for one in self._net.model.graph.output
            if self._peaks.get(one.name, 0.0) > _COARSE
        ]
        for node in self._net.nodes:
            if node.op_type == "Cast" and attribute(node, "to") in _WIDE_INTEGERS:
                ways.append(node.input[0])
            elif node.op_type == "GridSample":
                ways.append(node.input[1])
        seen = set()
        while ways:
            name = ways.pop()
            maker = self._net.producer(name)
            if maker is None or name in seen or not self._net.is_float(name):
                continue
            seen.add(name)
            node = self._net.nodes[maker]
            if node.op_type in _COUNTING:
                self._note(maker, "range", self._peak(node))
                ways += node.input
