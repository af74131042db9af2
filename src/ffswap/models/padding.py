"""Zero channels appended by a convolution, for builders that go wrong on a Pad of channels."""

from __future__ import annotations

import numpy as np
import onnx

from ..onnx_nodes import attribute
from ._proto import copied, default_opset, free_name, inferred, without_weights

__all__ = ["pad_by_convolution"]

# Since this opset the widths of a Pad are an input.
_OPSET_OF_INPUTS = 11
_RANK = 4


def pad_by_convolution(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every Pad that appends channels of zeros to pictures by a convolution of 1 x 1.

    The kernel is a unit matrix with rows of zeros below it, so finite values are passed on as they
    are. TensorRT 8.6 takes such a Pad for a slice of unknown size; in an engine with two profiles
    it then gave outputs of one row, with wrong values, whatever the batch.

    Args:
        model: clean, with all its weights; it is not changed.

    Returns:
        A copy, or the model itself if nothing was replaced.
    """
    found = [node for node in model.graph.node if node.op_type == "Pad" and not node.domain]
    if not found or (default_opset(model) or 0) < _OPSET_OF_INPUTS:
        return model
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = inferred(without_weights(model), model.graph.initializer)
    kernels = {}
    for node in found:
        more = _appended(node, weights)
        kind, dims = shapes.get(node.input[0], (None, ()))
        channels = dims[1] if len(dims) == _RANK else None
        if more and kind == np.float32 and isinstance(channels, int):
            kernel = np.eye(channels + more, channels, dtype=np.float32)
            kernels[node.output[0]] = kernel[:, :, np.newaxis, np.newaxis]
    if not kernels:
        return model
    changed = copied(model)
    taken = {*weights, *(name for node in model.graph.node for name in node.output)}
    for node in changed.graph.node:
        if node.op_type == "Pad" and node.output[0] in kernels:
            name = free_name(f"{node.name}/kernel", taken)
            taken.add(name)
            kernel = onnx.numpy_helper.from_array(kernels[node.output[0]], name)
            changed.graph.initializer.append(kernel)
            node.op_type = "Conv"
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("kernel_shape", [1, 1]))
            del node.input[1:]
            node.input.append(name)
    return changed


def _appended(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> int:
    """How many channels of zeros a Pad appends to pictures; 0 if it does anything else."""
    mode = attribute(node, "mode", b"constant")
    given = [weights.get(name) if name else None for name in node.input[1:]]
    if mode != b"constant" or not given or given[0] is None or any(node.input[3:]):
        return 0
    if len(given) > 1 and node.input[2]:
        value = given[1]
        if value is None or value.data_type != onnx.TensorProto.FLOAT:
            return 0
        if onnx.numpy_helper.to_array(value).any():
            return 0
    widths = onnx.numpy_helper.to_array(given[0]).tolist()
    channel = _RANK + 1  # starts of all axes, then ends
    if len(widths) != 2 * _RANK or any(w for i, w in enumerate(widths) if i != channel):
        return 0
    return max(0, int(widths[channel]))
