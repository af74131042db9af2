"""Batch normalisation of inference is a scale and a shift: computed here once, in double."""

from __future__ import annotations

import numpy as np
import onnx

from ..onnx_nodes import attribute
from ._net import Net

__all__ = ["fold"]

_DEFAULT_EPSILON = 1e-5  # of the operator's definition
_OPSET_OF_INFERENCE = 9  # earlier ones normalise each pixel for itself, or by an attribute


def fold(net: Net) -> None:
    """Give every BatchNormalization with constant statistics the mean 0 and the variance 1.

    A variance may be far beyond the range of FP16, or below it, while scale and shift are not; and
    a runtime that folds them from FP16 rounds each of the four and the epsilon.

    Args:
        net: is changed.
    """
    if net.opsets.get("", 0) < _OPSET_OF_INFERENCE:
        return
    taken = net.names()
    for node in net.nodes:
        if node.op_type == "BatchNormalization" and not node.domain:
            _fold_node(net, node, taken)


def _fold_node(net: Net, node: onnx.NodeProto, taken: set[str]) -> None:
    trains = attribute(node, "training_mode") or len([name for name in node.output if name]) > 1
    given = [net.weight(name) for name in node.input[1:]]
    if trains or any(one is None or one.dtype != np.float32 for one in given):
        return
    scale, shift, mean, variance = (np.asarray(one, np.float64) for one in given)
    epsilon = attribute(node, "epsilon")
    epsilon = _DEFAULT_EPSILON if epsilon is None else float(epsilon)
    with np.errstate(invalid="ignore", divide="ignore"):  # the run on sample data tells
        scale = scale / np.sqrt(variance + epsilon)
        folded = (scale, shift - mean * scale, np.zeros_like(mean), np.ones_like(variance))
    for place, (part, values) in enumerate(
        zip(("scale", "shift", "mean", "variance"), folded, strict=True), start=1
    ):
        name = f"{node.name}_{part}"
        while name in taken:
            name += "_"
        taken.add(name)
        net.add_weight(name, values.astype(np.float32))
        node.input[place] = name
    for one in [one for one in node.attribute if one.name == "epsilon"]:
        node.attribute.remove(one)
    node.attribute.append(onnx.helper.make_attribute("epsilon", 0.0))
