"""Small nets to build plans of, and the job that builds them for GPUs that are not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ffswap.engines.build import BuildJob

__all__ = ["FAKES", "conv_net", "job", "save_net"]

FAKES = Path(__file__).parent / "fakes"


def save_net(path: Path, nodes: list[Any], shapes: dict[str, list[Any]], weights: Any = ()) -> Path:
    """A net from `x` to `y`, all float32, without a check of whether it is one."""
    ends = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    inputs = [info for name, info in ends.items() if name != "y"]
    graph = helper.make_graph(nodes, "net", inputs, [ends["y"]], list(weights))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def conv_net(path: Path, *, layers: int = 3, batch: str | int = "N", channels: int = 8) -> Path:
    """Convolutions and ReLUs, (batch, 3, 8, 8) to (batch, channels, 8, 8)."""
    random = np.random.default_rng(0)
    nodes, weights, depth, tensor = [], [], 3, "x"
    for index in range(layers):
        kernel = random.normal(0, 0.1, (channels, depth, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        out = "y" if index == layers - 1 else f"r{index}"
        nodes += [
            helper.make_node(
                "Conv", [tensor, f"w{index}"], [f"c{index}"], name=f"conv_{index}", pads=[1] * 4
            ),
            helper.make_node("Relu", [f"c{index}"], [out], name=f"relu_{index}"),
        ]
        depth, tensor = channels, out
    return save_net(path, nodes, {"x": [batch, 3, 8, 8], "y": [batch, channels, 8, 8]}, weights)


def job(folder: Path, onnx_file: Path, **options: Any) -> BuildJob:
    """For an SM86 and one row unless told otherwise; the plan is `folder/net.plan`."""
    given: dict[str, Any] = {"product": "tensorrt_rtx", "batches": (1,), "targets": ("sm86",)}
    return BuildJob(
        **{"onnx": onnx_file, "plan": folder / "net.plan", "name": "net", **given, **options}
    )
