"""What everybody who reads ONNX graphs asks of a node. A leaf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

__all__ = ["attribute", "constant", "subgraphs"]

# Attributes of a Constant that hold numbers, and NumPy's names of their types.
_NUMBERS = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
}


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or the default."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of an If, a Loop or a Scan."""
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def constant(node: onnx.NodeProto, name: str) -> onnx.TensorProto | None:
    """What a Constant holds, as a tensor of that name; None if that is no tensor and no numbers."""
    for item in node.attribute:
        if item.name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(item.t)
            tensor.name = name
            return tensor
        if item.name in _NUMBERS:
            values = np.asarray(onnx.helper.get_attribute_value(item), _NUMBERS[item.name])
            return onnx.numpy_helper.from_array(values, name)
    return None
