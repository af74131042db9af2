"""A detector that finds the same faces in every picture, in the format of the published YOLO net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ffswap.carriers import F32
from ffswap.models import ModelSpec

CANDIDATES = 8400


def known_yolo(spec: ModelSpec, faces: Sequence[F32]) -> bytes:
    """The bytes of an ONNX file that finds these faces, whatever the picture.

    Args:
        spec: of yolo_face.
        faces: five points (5, 2) each, pixels of the net's input; the box is what holds them, and
            a third more on each side.
    """
    tensor = np.zeros((1, 20, CANDIDATES), np.float32)
    for k, points in enumerate(faces):
        low, high = points.min(0), points.max(0)
        column = tensor[0, :, 1000 + 97 * k]
        column[:2], column[2:4], column[4] = (low + high) / 2, (high - low) * 5 / 3, 0.9
        column[5:] = np.column_stack([points, np.ones(5)]).reshape(-1)
    width, height = spec.picture.size
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "found"], ["output"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "known",
        [value("input", TensorProto.FLOAT, [1, 3, height, width])],
        [value("output", TensorProto.FLOAT, [1, 20, CANDIDATES])],
        [numpy_helper.from_array(tensor, "found"), numpy_helper.from_array(np.float32(0), "none")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
