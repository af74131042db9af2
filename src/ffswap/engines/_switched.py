"""A net in which INT8 is switched on and off from run to run, to see what each layer costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..closing import Closing
from ._layers import Layer, kernel
from ._net import Net
from ._range import runs
from .quantise import WeightScales, kernel_scales, rounded

__all__ = ["SwitchedNet", "tensors_of"]


def tensors_of(layers: Collection[Layer]) -> tuple[str, ...]:
    """All that layers read or add, each once."""
    found = [one.tensor for one in layers]
    found += [one.residual.tensor for one in layers if one.residual is not None]
    return tuple(dict.fromkeys(found))


class SwitchedNet(Closing):
    """A net on the CPU that rounds as INT8 does, in float32, at the layers that a run asks for.

    It is loaded once for all runs: which layers round, and with what scales, are inputs of it.
    Rounding is written as division, Round, Clip and product; ONNX Runtime would take pairs of Q and
    DQ as leave to compute in INT8 itself, which on some processors saturates.

    Args:
        net: in float32.
        layers: of `find_layers` for it.
        weights: scales of kernels.
        threads: of ONNX Runtime, 1 or more.
    """

    def __init__(
        self, net: Net, layers: Sequence[Layer], *, weights: WeightScales, threads: int
    ) -> None:
        self._free = "_" * (1 + max(map(len, net.names())))  # longer than any name that is taken
        self._layers, self._tensors = layers, tensors_of(layers)
        self._next: dict[str, NDArray[Any]] = {}
        # The session lives in the iterator, which asks for inputs when it is asked for results.
        self._results = runs(self._switched(net, weights), self._feeds(), threads=threads)

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        on: Collection[str],
        scales: Mapping[str, NDArray[np.float32]],
    ) -> dict[str, NDArray[Any]]:
        """Compute one batch.

        Args:
            feeds: inputs of the net.
            on: names of the layers that round.
            scales: of all tensors that layers read or add.

        Raises:
            EngineError: ONNX Runtime cannot run it.
        """
        switches = {
            self._on(place): np.array(one.node in on) for place, one in enumerate(self._layers)
        }
        steps = {
            self._step(place): np.asarray(scales[name], np.float32)
            for place, name in enumerate(self._tensors)
        }
        self._next = {**feeds, **switches, **steps}
        return next(self._results)

    def close(self) -> None:
        """Let go of the net; closing twice is allowed."""
        self._results.close()

    def _feeds(self) -> Iterator[dict[str, NDArray[Any]]]:
        while True:
            yield self._next

    def _on(self, place: int) -> str:
        return f"{self._free}on{place}"

    def _step(self, place: int) -> str:
        return f"{self._free}step{place}"

    def _switched(self, net: Net, weights: WeightScales) -> onnx.ModelProto:
        model = net.whole()
        graph, free = model.graph, self._free
        del graph.node[:]
        for name, value in ((f"{free}low", -128.0), (f"{free}high", 127.0)):
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        for place in range(len(self._layers)):
            graph.input.append(helper.make_tensor_value_info(self._on(place), TensorProto.BOOL, []))
        for place in range(len(self._tensors)):
            graph.input.append(
                helper.make_tensor_value_info(self._step(place), TensorProto.FLOAT, [])
            )
        kernels: dict[int, str] = {}  # node: the kernel that it reads
        chosen: dict[int, dict[int, tuple[int, str]]] = {}  # node: place: layer and tensor
        for place, layer in enumerate(self._layers):
            values = kernel(net, layer)
            coarse = rounded(values, kernel_scales(values, weights))
            name, kernels[layer.index] = f"{free}kernel{place}", f"{free}weight{place}"
            graph.initializer.append(numpy_helper.from_array(coarse, name))
            switch = [self._on(place), name, layer.weight]
            graph.node.append(helper.make_node("Where", switch, [kernels[layer.index]]))
            chosen.setdefault(layer.index, {})[0] = place, layer.tensor
            if layer.residual is not None:
                add = chosen.setdefault(layer.residual.node, {})
                add[layer.residual.place] = place, layer.residual.tensor
        there: set[str] = set()
        for index, node in enumerate(net.nodes):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for slot, (place, tensor) in chosen.get(index, {}).items():
                copy.input[slot] = self._rounding(place, tensor, graph, there)
            if index in kernels:
                copy.input[1] = kernels[index]
            graph.node.append(copy)
        return model

    def _rounding(self, place: int, tensor: str, graph: onnx.GraphProto, there: set[str]) -> str:
        """Name of a tensor as a layer sees it, rounded or not; the nodes are added once."""
        number, free = self._tensors.index(tensor), self._free
        step, chosen = self._step(number), f"{free}in{place}_{number}"
        scaled, whole, bounded, result = (
            f"{free}{part}{number}" for part in ("scaled", "round", "clip", "rounded")
        )
        if result not in there:
            graph.node.extend([
                helper.make_node("Div", [tensor, step], [scaled]),
                helper.make_node("Round", [scaled], [whole]),
                helper.make_node("Clip", [whole, f"{free}low", f"{free}high"], [bounded]),
                helper.make_node("Mul", [bounded, step], [result]),
            ])  # fmt: skip
        if chosen not in there:
            switch = [self._on(place), result, tensor]
            graph.node.append(helper.make_node("Where", switch, [chosen]))
        there.update((result, chosen))
        return chosen
