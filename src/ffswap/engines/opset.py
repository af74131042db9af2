"""A newer opset for a net that needs operators of it, without touching its weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import version_converter

from ..errors import ModelError
from ._net import Net

__all__ = ["at_least_opset"]

# The converter looks at values of axes, shapes and scales only; they have a few elements.
_SEEN = 1024


def at_least_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same net in an opset, or in its own if that is newer.

    Args:
        model: is not changed; its weights are shared.
        opset: of the default domain.

    Raises:
        ModelError: ONNX cannot convert it.
    """
    net = Net(model)
    own = net.opsets.get("", 0)
    if own >= opset:
        return model
    bare = onnx.ModelProto()
    bare.CopyFrom(net.model)
    large = {}
    for name, weight in net.weights.items():
        if np.prod(weight.dims, dtype=np.int64) <= _SEEN:
            bare.graph.initializer.append(weight)
        else:  # an input while it is converted
            large[name] = weight
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(name, weight.data_type, weight.dims)
            )
    try:
        found = version_converter.convert_version(bare, opset)
    except (RuntimeError, ValueError) as error:  # what its C++ part raises
        raise ModelError(
            f"the net has opset {own} and cannot be brought to {opset}: {str(error).strip()}",
            hint="export it again with opset 17",
        ) from error
    kept = [one for one in found.graph.input if one.name not in large]
    del found.graph.input[:]
    found.graph.input.extend(kept)
    found.graph.initializer.extend(large.values())
    return found
