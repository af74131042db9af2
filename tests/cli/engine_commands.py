"""Nets and recipes for the tests of the commands that build engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from tests.engines.build_nets import conv_net
from tests.engines.small_nets import net, node

__all__ = ["BAD_MODELS", "failed", "foreign"]


def failed(ended: Any, code: int, *words: str) -> None:
    """One error and at most one hint on stderr, with these words; nothing on stdout."""
    lines = [one for one in ended.stderr.splitlines() if not one.startswith("ffswap: progress: ")]
    assert (ended.exit_code, ended.stdout) == (code, ""), ended
    assert lines[0].startswith("ffswap: error: ")
    assert len(lines) <= 2
    for line in lines[1:]:
        assert line.startswith("ffswap: hint: ")
    for word in words:
        assert word in ended.stderr


def not_onnx(path: Path) -> None:
    path.write_bytes(b"PK\3\4 a checkpoint of PyTorch")


def truncated(path: Path) -> None:
    conv_net(path)
    path.write_bytes(path.read_bytes()[:-500])


def without_weights(path: Path) -> None:
    conv_net(path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (path.parent / "net.data").unlink()


def free_size(path: Path) -> None:
    shape: list[int | str] = ["N", 3, "H", "W"]
    onnx.save(net([node("relu: Relu x -> y")], {"x": shape}, {"y": shape}), path)


def foreign(path: Path) -> None:
    """ONNX Runtime knows these operators, TensorRT does not."""
    nodes = [
        node(f"{name}: QuickGelu {ends}") for name, ends in (("one", "x -> a"), ("two", "a -> y"))
    ]
    for one in nodes:
        one.domain = "com.microsoft"
    domains = {"com.microsoft": 1}
    onnx.save(net(nodes, {"x": [1, 4]}, {"y": [1, 4]}, domains=domains), path)


def unknown(path: Path) -> None:
    """Nobody knows these operators."""
    nodes = [node("one: Divine x -> a"), node("two: Divine a -> y")]
    for one in nodes:
        one.domain = "mine"
    onnx.save(net(nodes, {"x": [1, 4]}, {"y": [1, 4]}, domains={"mine": 1}), path)


def mixing(path: Path) -> None:
    nodes = [node("mean: ReduceMean x -> m", axes=[0], keepdims=1), node("less: Sub x m -> y")]
    onnx.save(net(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}), path)


def missing(path: Path) -> None:
    assert not path.exists()


# What makes the file, the exit code, and words of the error and its hint; with a batch of 1,2.
BAD_MODELS: list[tuple[Callable[[Path], None], int, list[str]]] = [
    (missing, 3, ["net.onnx: no such file"]),
    (Path.mkdir, 3, ["is a folder", "an ONNX file"]),
    (Path.touch, 3, ["net.onnx: is empty; give an ONNX file"]),
    (not_onnx, 3, ["net.onnx: is not ONNX; it looks like a zip archive", "hint: give an ONNX"]),
    (truncated, 3, ["net.onnx: begins like ONNX, but is damaged or cut short", "hint: give an"]),
    (without_weights, 3, ["net.onnx: its weights are in 'net.data'", "hint: put net.data into"]),
    (free_size, 3, ["dimension 2 of the input x: float32 (N, 3, H, W) is free", "only the batch",
                    "hint: give the shape of one row", "x = [3, 640, 640]"]),
    (mixing, 3, ["node 'mean' (ReduceMean)", "hint: this net can only be run with one row"]),
    (unknown, 5, ["node one (mine.Divine)", "node two (mine.Divine)",
                  "hint: export the net with operators of the ONNX standard"]),
]  # fmt: skip
