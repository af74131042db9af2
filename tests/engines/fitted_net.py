"""A small net that is fitted to a smooth function, and faces of a kind that it sees.

Its hidden layers are random and its last layer is solved for, by least squares, so that its output is
a picture that means something and the error of a rounded layer is what such an error is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ffswap.engines._range import runs
from ffswap.engines.calibration import CalibrationRows
from ffswap.models.onnx_files import fingerprint

__all__ = ["POSE", "SIDE", "SKIN", "calibration_rows", "faces", "fitted_net", "outlier_net"]

SIDE = 24
SKIN = ("dark", "medium", "light")
POSE = ("left", "right")
_WIDTH = 32
_TINT = 4
# How large one channel of `outlier_net` is beside the others.
_OUTLIER = 300.0


def faces(count: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Smooth pictures, one after the other of each skin and pose, and a tint for each.

    Returns:
        ``target`` (count, 3, SIDE, SIDE), 0 to 1, and ``source`` (count, 4), -1 to 1.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) - 0.5
    pictures = []
    for row in range(count):
        light = 0.25 + 0.2 * (row % len(SKIN))
        side = 0.3 if row % len(POSE) else -0.3
        waves = sum(
            random.normal(0, 0.08) * np.cos(6 * (np.cos(a) * x + np.sin(a) * y) + p)
            for a, p in random.uniform(0, 6.3, (6, 2))
        )
        oval = np.exp(-8 * ((x - side * 0.3) ** 2 + y**2))
        pictures.append([light * (0.6 + 0.6 * oval) * tone + waves for tone in (1.0, 0.8, 0.7)])
    target = np.clip(np.array(pictures), 0, 1).astype(np.float32)
    return {"target": target, "source": random.uniform(-1, 1, (count, _TINT)).astype(np.float32)}


def wanted(feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """What the net is fitted to: the picture blurred, in other colours, and tinted."""
    x = feeds["target"].astype(np.float64)
    blurred = sum(np.roll(x, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    mixed = np.einsum("ij,njhw->nihw", [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]], blurred)
    tint = 0.1 * feeds["source"][:, :3, None, None]
    wanted: NDArray[np.float32] = np.tanh(mixed + tint * mixed).astype(np.float32)
    return wanted


class _Writer:
    def __init__(self) -> None:
        self.random = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def conv(self, source: str, name: str, into: int, out: int, gain: float = 1.0) -> str:
        """A convolution of 3 x 3 whose kernel has its weight in the middle, as smooth nets have."""
        kernel = self.random.normal(0, gain / np.sqrt(into), (out, into, 3, 3))
        kernel *= np.outer([0.4, 1, 0.4], [0.4, 1, 0.4])
        inputs = [source, self.weight(f"{name}_w", kernel)]
        inputs.append(self.weight(f"{name}_b", self.random.normal(0, 0.1, out)))
        self.node("Conv", inputs, name, pads=[1] * 4)
        return name

    def node(self, kind: str, inputs: list[str], name: str, **options: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **options))
        return name

    def model(self, outputs: dict[str, int], batch: str | int, opset: int) -> onnx.ModelProto:
        def info(name: str, *shape: Any) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])

        graph = helper.make_graph(
            self.nodes, "fitted",
            [info("target", 3, SIDE, SIDE), info("source", _TINT)],
            [info(name, channels, SIDE, SIDE) for name, channels in outputs.items()],
            self.weights,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _hidden() -> _Writer:
    """Convolutions: a first one with a tint, two plain ones, one with a sum, one more."""
    net = _Writer()
    net.conv("target", "first", 3, _WIDTH)
    net.node(
        "Gemm", ["source", net.weight("tint_w", net.random.normal(0, 0.3, (_TINT, _WIDTH)))], "tint"
    )
    net.weights.append(numpy_helper.from_array(np.array([0, _WIDTH, 1, 1]), "tint_shape"))
    net.node("Reshape", ["tint", "tint_shape"], "tint_map")
    net.node("Add", ["first", "tint_map"], "tinted")
    x = net.node("LeakyRelu", ["tinted"], "act_0", alpha=0.2)
    for index in (1, 2):
        net.conv(x, f"plain_{index}", _WIDTH, _WIDTH)
        x = net.node("LeakyRelu", [f"plain_{index}"], f"act_{index}", alpha=0.2)
    net.conv(x, "summed", _WIDTH, _WIDTH)
    net.node("Add", ["summed", x], "sum")
    x = net.node("LeakyRelu", ["sum"], "act_3", alpha=0.2)
    net.conv(x, "wide", _WIDTH, 2 * _WIDTH, gain=0.1)
    net.node("Tanh", ["wide"], "features")
    return net


@cache
def _last() -> NDArray[np.float64]:
    """The last layer, 1 x 1 with a bias: least squares over 40 faces."""
    feeds = faces(40, seed=100)
    net = _hidden().model({"features": 2 * _WIDTH}, "N", 17)
    (found,) = [one["features"] for one in runs(net, [feeds])]
    columns = np.moveaxis(found, 1, 3).reshape(-1, 2 * _WIDTH).astype(np.float64)
    columns = np.column_stack([columns, np.ones(len(columns))])
    goal = np.arctanh(np.moveaxis(wanted(feeds), 1, 3).reshape(-1, 3).astype(np.float64))
    damped = columns.T @ columns + 1e-2 * np.eye(columns.shape[1])
    solved: NDArray[np.float64] = np.linalg.solve(damped, columns.T @ goal).T
    return solved


def fitted_net(*, batch: str | int = 1, opset: int = 17) -> onnx.ModelProto:
    """The net: ``target`` and ``source`` to ``output``, a picture of the size of the target."""
    net = _hidden()
    solved = _last()
    inputs = ["features", net.weight("last_w", solved[:, :-1, None, None])]
    net.node("Conv", [*inputs, net.weight("last_b", solved[:, -1])], "last")
    net.node("Tanh", ["last"], "output")
    return net.model({"output": 3}, batch, opset)


def outlier_net(**options: Any) -> onnx.ModelProto:
    """The same function with one channel between two layers so large that INT8 loses the others."""
    model = fitted_net(**options)
    weights = {one.name: one for one in model.graph.initializer}
    for name, axis, factor in (
        ("plain_1_w", 0, _OUTLIER), ("plain_1_b", 0, _OUTLIER), ("plain_2_w", 1, 1 / _OUTLIER),
    ):  # fmt: skip
        values = numpy_helper.to_array(weights[name]).copy()
        np.moveaxis(values, axis, 0)[5] *= factor
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    return model


def calibration_rows(
    net: onnx.ModelProto, *, model: str = "fitted", rows: int = 60, people: int = 12, **changes: Any
) -> CalibrationRows:
    """Rows of `faces` for a net, with their groups."""
    place = np.arange(rows)
    known: dict[str, Any] = {
        "group_skin": place % len(SKIN),
        "group_pose": place % len(POSE),
        "person": place % people,
        "face_px": np.full(rows, 120.0, np.float32),
        "ita": np.linspace(-30, 60, rows).astype(np.float32),
        "yaw": np.where(place % 2, 20.0, -20.0).astype(np.float32),
        "pitch": np.zeros(rows, np.float32),
    }
    return CalibrationRows(
        **{
            "model": model, "onnx_sha256": fingerprint(net), "inputs": faces(rows, seed=1),
            "skin": SKIN, "pose": POSE, **known, **changes,
        }
    )  # fmt: skip
