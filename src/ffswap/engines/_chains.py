"""Finds normalisation that is written in primitive operators: AdaIN, layer norm, demodulation.

    x -> ReduceMean -> Sub -> Mul (square) -> ReduceMean -> Add (eps) -> Sqrt -> Div
          mean         x - mean               variance                         (x - mean) / root

From each square root the chain is followed back to the data, and forward to the operator that
applies the root. Squares leave the range of FP16 from 256 on, and an epsilon is below it.
"""

from __future__ import annotations

import numpy as np
import onnx

from ._net import Net

__all__ = ["normalisation"]

_WHOLE = frozenset({
    "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
})  # fmt: skip
_REDUCTIONS = frozenset({
    "GlobalAveragePool", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare",
})  # fmt: skip
_PASSING = frozenset({
    "Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze",
})  # fmt: skip
_ARITHMETIC = _PASSING | frozenset({
    "Abs", "Add", "Clip", "Div", "Max", "Min", "Mul", "Neg", "Pow", "Relu", "Sub",
})  # fmt: skip

# Operators between variance and root. An unbiased variance with its guard and two reshapes has
# six; a longer way leads out of the normalisation.
_FARTHEST = 8


def normalisation(net: Net) -> set[int]:
    """Indices of the nodes that normalise.

    Args:
        net: any net.
    """
    return _Chains(net).found


class _Chains:
    def __init__(self, net: Net) -> None:
        self._net = net
        self.found: set[int] = set()
        for index, node in enumerate(net.nodes):
            if node.op_type in _WHOLE:
                self.found.add(index)
            elif node.op_type == "ReduceL2":
                self._reduction(index)
                self._forward(index, _FARTHEST)
            elif self._is_root(node) and self._reaches_reduction(node, _FARTHEST):
                self.found.add(index)
                self._forward(index, _FARTHEST)

    def _number(self, name: str) -> float | None:
        """The value of a weight with one element."""
        values = self._net.weight(name)
        return None if values is None or values.size != 1 else float(np.ravel(values)[0])

    def _is_root(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Pow":
            return bool(self._number(node.input[1]) in (0.5, -0.5))
        return str(node.op_type) == "Sqrt"

    def _is_square(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Mul":
            return bool(node.input[0] == node.input[1])
        return bool(node.op_type == "Pow" and self._number(node.input[1]) == 2)

    def _reaches_reduction(self, node: onnx.NodeProto, steps: int) -> bool:
        """Whether a reduction feeds the node through arithmetic alone; notes what is between."""
        reached = False
        for name in node.input:
            maker = self._net.producer(name)
            if maker is None or not self._net.is_float(name):
                continue
            above = self._net.nodes[maker]
            if above.op_type in _REDUCTIONS:
                self._reduction(maker)
                reached = True
            elif (
                steps and above.op_type in _ARITHMETIC and self._reaches_reduction(above, steps - 1)
            ):
                self.found.add(maker)
                reached = True
        return reached

    def _reduction(self, index: int) -> None:
        """Note a reduction, the square that it takes and the centring before that."""
        self.found.add(index)
        node = self._net.nodes[index]
        maker = self._net.producer(node.input[0])
        if maker is None:
            return
        above = self._net.nodes[maker]
        if above.op_type in _REDUCTIONS:  # first over the width, then over the height
            self._reduction(maker)
        elif node.op_type in ("ReduceL2", "ReduceSumSquare"):
            self._centring(node.input[0])
        elif self._is_square(above):
            self.found.add(maker)
            self._centring(above.input[0])

    def _centring(self, name: str) -> None:
        """Note the subtraction of a mean that makes this tensor, if that is what makes it."""
        maker = self._net.producer(name)
        if maker is None or self._net.nodes[maker].op_type != "Sub":
            return
        for operand in self._net.nodes[maker].input:
            if mean := self._mean(operand):
                self.found.update(mean, (maker,))

    def _mean(self, name: str) -> list[int]:
        """The nodes that average, up to the data; none if the tensor is not an average."""
        way: list[int] = []
        while (maker := self._net.producer(name)) is not None:
            node = self._net.nodes[maker]
            scaled = node.op_type in ("Div", "Mul") and node.input[1] in self._net.weights
            if not (node.op_type in _PASSING or node.op_type in _REDUCTIONS or scaled):
                break
            way.append(maker)
            name = node.input[0]
        last = max((k for k, i in enumerate(way) if self._op(i) in _REDUCTIONS), default=-1)
        return way[: last + 1]

    def _op(self, index: int) -> str:
        return str(self._net.nodes[index].op_type)

    def _forward(self, index: int, steps: int) -> None:
        """Note everything up to the operator that applies the root."""
        for name in self._net.nodes[index].output:
            for reader in self._net.readers(name) if steps else ():
                node = self._net.nodes[reader]
                others = [one for one in node.input if one != name]
                by_weight = all(one in self._net.weights for one in others)
                if node.op_type in ("Div", "Mul"):
                    self.found.add(reader)
                    if by_weight:
                        self._forward(reader, steps - 1)
                    elif others:
                        self._centring(others[0])
                elif (
                    node.op_type in _PASSING
                    or node.op_type in ("Clip", "Max", "Reciprocal")
                    or (node.op_type == "Add" and by_weight)
                ):
                    self.found.add(reader)
                    self._forward(reader, steps - 1)
