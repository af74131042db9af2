"""What a mixed net gives on hardware with FP16, computed on the CPU: slow, and honest about overflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ..errors import InternalError, ModelError
from ..onnx_nodes import subgraphs
from ._net import Net, captured
from ._range import runs

__all__ = ["Fp16Reference"]


class Fp16Reference:
    """A net with FP16 storage and float32 accumulation, as tensor cores have them.

    ONNX Runtime's own CPU provider computes most FP16 nodes in float32 and leaves the rounding
    between them out, so that a square of 600 does not overflow as it does on a GPU. Here every
    float16 tensor is computed in float32 and then rounded to FP16, each time a node has made it;
    what is too large becomes infinite. What a node computes inside of itself is not rounded: the
    sums of a convolution, or the mean and the variance of one InstanceNormalization.

    Args:
        model: with FP16 and float32 nodes, such as `Mixed.model`; is not changed.
        threads: threads that work on one operator, 1 or more.

    Raises:
        ModelError: a graph inside a node uses FP16, or the graph cannot be sorted.
    """

    def __init__(self, model: onnx.ModelProto, *, threads: int = 1) -> None:
        net = Net(model)
        dtypes: dict[int, type[np.generic]] = {
            TensorProto.FLOAT: np.float32,
            TensorProto.FLOAT16: np.float16,
        }
        self._inputs = {
            one.name: dtypes.get(net.types[one.name])
            for one in net.model.graph.input
            if one.name not in net.weights
        }
        self._next: dict[str, NDArray[Any]] = {}
        # Optimisations might take the rounding out, which is all that this is about. The session
        # lives in the iterator, which asks for the next inputs when it is asked for results.
        self._results = runs(_rounding(net), self._feeds(), threads=threads, optimise=False)

    def _feeds(self) -> Iterator[dict[str, NDArray[Any]]]:
        while True:
            yield self._next

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute one batch.

        Args:
            feeds: inputs by name. A float input may be given as float32 or float16.

        Returns:
            Outputs by name, in the types that the net gives them.

        Raises:
            InternalError: an input is missing or not one of the net's.
            EngineError: ONNX Runtime cannot run the net.
        """
        if set(self._inputs) != set(feeds):
            raise InternalError(f"the net takes {sorted(self._inputs)}, not {sorted(feeds)}")
        for name, values in feeds.items():
            kind = self._inputs[name]
            with np.errstate(over="ignore"):  # as on the device
                self._next[name] = values if kind is None else values.astype(kind, copy=False)
        return next(self._results)


def _rounding(net: Net) -> onnx.ModelProto:
    """The net in float32, with each tensor that is float16 in it rounded where it is made."""
    half = {name for name, kind in net.types.items() if kind == TensorProto.FLOAT16}
    taken = net.names()

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    nodes: list[onnx.NodeProto] = []

    def cast(source: str, target: str, kind: int) -> None:
        nodes.append(onnx.helper.make_node("Cast", [source], [target], to=kind))

    # Tensors keep their names and become float32; at the border they are float16 under that name.
    border = {one.name for one in (*net.model.graph.input, *net.model.graph.output)}
    inner = {name: fresh(f"{name}_wide") for name in sorted(half & border)}
    for name, held in inner.items():
        if net.producer(name) is None:
            cast(name, held, TensorProto.FLOAT)
    for node in net.nodes:
        _check_bodies(node, half)
        wide = onnx.NodeProto()
        wide.CopyFrom(node)
        made = [name for name in node.output if name in half]
        raw = {name: fresh(f"{name}_raw") for name in made}
        wide.input[:] = [inner.get(name, name) for name in node.input]
        wide.output[:] = [raw.get(name, name) for name in node.output]
        nodes.append(wide)
        for name in made:
            rounded = fresh(f"{name}_rounded")
            # Nothing to round where an attribute asks for float16, as with ConstantOfShape.
            cast(raw[name], rounded, TensorProto.FLOAT16)
            cast(rounded, inner.get(name, name), TensorProto.FLOAT)
    for value in net.model.graph.output:
        if value.name in half and net.producer(value.name) is not None:
            cast(inner[value.name], value.name, TensorProto.FLOAT16)
    result = onnx.ModelProto()
    result.CopyFrom(net.model)
    for field in ("node", "value_info"):
        result.graph.ClearField(field)
    result.graph.node.extend(nodes)
    for name, weight in net.weights.items():
        if name in half and name not in border:
            weight = numpy_helper.from_array(numpy_helper.to_array(weight).astype("f4"), name)
        result.graph.initializer.append(weight)
    return result


def _check_bodies(node: onnx.NodeProto, half: set[str]) -> None:
    wrong = sorted(half & set(captured(node)))
    for body in subgraphs(node):
        wrong += [one.name for one in body.initializer if one.data_type == TensorProto.FLOAT16]
    if wrong:
        raise ModelError(
            f"{wrong[0]!r} is FP16 inside of node {node.name!r}; only float32 is evaluated there"
        )
