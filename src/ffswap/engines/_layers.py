"""Which layers of a net INT8 suits, and why the others are left as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..onnx_nodes import attribute
from ._net import Net
from ._ports import MOVES

__all__ = ["Layer", "Left", "LeftReason", "Residual", "find_layers", "kernel"]

LeftReason = Literal["first", "last", "channels", "grouped", "weights", "resize", "asked"]

# Fewer channels than this, in or out, leave most of an INT8 tensor core idle (NVIDIA's ModelOpt).
_LEAST_CHANNELS = 16
# Height and width; kernels of other ranks have no INT8 implementation in every version.
_KERNEL_RANK = 4
# What a builder moves a Q across, besides what passes values on: up to a Resize, for which
# TensorRT 8.6 then finds no INT8 implementation.
_CROSSED = MOVES | {"Pad", "Relu", "MaxPool", "DepthToSpace", "SpaceToDepth"}
_RESIZES = frozenset({"Resize", "Upsample"})
_PADS = frozenset({"Pad"})
# What a convolution takes along into one kernel before an addition.
_FOLLOWS = frozenset({"BatchNormalization", "Identity"})


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The other input of an addition that fuses with a convolution.

    Attributes:
        node: index of the Add.
        place: of the input in it.
        tensor: that is read there.
    """

    node: int
    place: int
    tensor: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution that INT8 suits.

    Attributes:
        node: its name.
        index: of it in the net.
        tensor: its input.
        weight: name of its kernel, a weight of four dimensions.
        residual: what is added to its output in the same kernel; or None.
        fenced: its input is doubled in front of the rounding, and its kernel halved: that a builder
            cannot move the rounding in front of a Resize or a Pad.
    """

    node: str
    index: int
    tensor: str
    weight: str
    residual: Residual | None = None
    fenced: bool = False


@dataclass(frozen=True, kw_only=True)
class Left:
    """A convolution that is not quantised.

    Attributes:
        node: its name.
        reason: ``first``: it reads a picture; ``last``: it makes an output; ``channels``: it has
            few; ``grouped``: it has groups; ``weights``: its kernel is computed, or is none of
            height and width; ``resize``: it is fed by a Resize, to which TensorRT 8.6 moves the
            rounding; ``asked``: the recipe names it.
    """

    node: str
    reason: LeftReason


def find_layers(
    net: Net, leave: Collection[str] = (), *, fences: bool = False
) -> tuple[tuple[Layer, ...], tuple[Left, ...]]:
    """All convolutions, each either suited or left for the first reason found.

    Args:
        net: any net in float32.
        leave: names of nodes to leave.
        fences: layers that are fed by a Resize or a Pad are fenced; else those that are fed by a
            Resize are left.
    """
    before, after = _conv_before(net), _conv_after(net)
    layers, left = [], []
    for index, node in enumerate(net.nodes):
        if node.op_type != "Conv" or node.domain:
            continue
        reason = _reason(net, index, leave, before, after)
        if reason is None or (reason == "resize" and fences):
            fenced = fences and _is_fed_by(net, node.input[0], _RESIZES | _PADS)
            layers.append(
                Layer(
                    node=node.name, index=index, tensor=node.input[0], weight=node.input[1],
                    fenced=fenced,
                )
            )  # fmt: skip
        else:
            left.append(Left(node=node.name, reason=reason))
    residuals = _residuals(net, {one.index for one in layers})
    return tuple(replace(one, residual=residuals.get(one.index)) for one in layers), tuple(left)


def _reason(
    net: Net, index: int, leave: Collection[str], before: set[str], after: set[str]
) -> LeftReason | None:
    node = net.nodes[index]
    kernel = net.weight(node.input[1])
    if node.name in leave:
        return "asked"
    if kernel is None or kernel.ndim != _KERNEL_RANK or kernel.dtype != np.float32:
        return "weights"
    if attribute(node, "group", 1) != 1:
        return "grouped"
    if node.input[0] not in before:
        return "first"
    if node.output[0] not in after:
        return "last"
    if min(kernel.shape[:2]) < _LEAST_CHANNELS:
        return "channels"
    return "resize" if _is_fed_by(net, node.input[0], _RESIZES) else None


def _conv_before(net: Net) -> set[str]:
    """Tensors that a convolution has worked on."""
    found: set[str] = set()
    for node in net.nodes:
        if node.op_type in ("Conv", "ConvTranspose") or not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def _conv_after(net: Net) -> set[str]:
    """Tensors that a convolution works on later."""
    found: set[str] = set()
    for node in reversed(net.nodes):
        if node.op_type in ("Conv", "ConvTranspose") or not found.isdisjoint(node.output):
            found.update(node.input)
    return found


def _is_fed_by(net: Net, tensor: str, kinds: Collection[str]) -> bool:
    """Whether rounding in front of a convolution could be moved to an operator of some kind."""
    maker = net.producer(tensor)
    if maker is None:
        return False
    node = net.nodes[maker]
    if node.op_type in kinds:
        return True
    if node.op_type not in _CROSSED:
        return False
    return any(_is_fed_by(net, name, kinds) for name in node.input if net.is_float(name))


def _residuals(net: Net, convs: Collection[int]) -> dict[int, Residual]:
    """By index of a convolution: what is added to its output alone.

    Of two convolutions that are added the later one takes the sum along, as TensorRT does; the
    other's output is then rounded like any input.
    """
    sums: dict[int, tuple[int, int]] = {}  # Add: convolution and the place of its output
    for conv in sorted(convs):
        end = _sum_after(net, conv)
        if end is not None:
            sums[end[0]] = (conv, end[1])
    found = {}
    for add, (conv, place) in sums.items():
        other = net.nodes[add].input[1 - place]
        if (
            net.is_float(other)
            and other not in net.weights
            and not _is_fed_by(net, other, _RESIZES)
        ):
            found[conv] = Residual(node=add, place=1 - place, tensor=other)
    return found


def _sum_after(net: Net, conv: int) -> tuple[int, int] | None:
    """The Add that alone reads a convolution's output, and at which place."""
    outputs = {one.name for one in net.model.graph.output}
    tensor = net.nodes[conv].output[0]
    for node, index in _only_readers(net, tensor, outputs):
        if node.op_type == "Add":
            places = [place for place, name in enumerate(node.input) if name == tensor]
            return (index, places[0]) if len(places) == 1 else None
        if node.op_type not in _FOLLOWS:
            return None
        tensor = node.output[0]
    return None


def _only_readers(net: Net, tensor: str, outputs: Collection[str]) -> Iterator[tuple[Any, int]]:
    """The one reader of a tensor, the one reader of what that makes, and so on."""
    while tensor not in outputs and len(net.readers(tensor)) == 1:
        (index,) = net.readers(tensor)
        node = net.nodes[index]
        yield node, index
        tensor = node.output[0]


def kernel(net: Net, layer: Layer) -> NDArray[np.float32]:
    """The kernel of a layer: float32 (out, in, height, width)."""
    values = net.weight(layer.weight)
    assert values is not None  # a layer has one
    return values
