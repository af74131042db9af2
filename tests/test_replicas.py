"""Replicas: valid, with the published ports and operators, the same every time, and worth rounding."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import tools.replicas
from tools.replicas import FAMILIES, make
from tools.replicas.__main__ import main
from tools.replicas.report import report

ROOT = Path(__file__).resolve().parents[1]
FREE = 64  # pixels that a free height or width gets here

F32, F64 = "float32", "float64"
Ports = dict[str, tuple[str, tuple[Any, ...]]]


def picture(side: int, name: str = "input") -> Ports:
    return {name: (F32, (1, 3, side, side))}


def vector(name: str = "input") -> Ports:
    return {name: (F32, (1, 512))}


def cells(kinds: dict[str, int], anchors: int, *, batch: bool, free: bool = False) -> Ports:
    found: Ports = {}
    for kind, values in kinds.items():
        for stride in (8, 16, 32):
            rows: Any = f"{kind}_{stride}_rows" if free else anchors * (64 // stride) ** 2
            found[f"{kind}_{stride}"] = F32, (1, rows, values) if batch else (rows, values)
    return found


THREE = {"score": 1, "bbox": 4, "kps": 10}
FOUR = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}

# Names, types and order are those of the published files; sides of pictures are an eighth to a half.
INTERFACES: dict[str, tuple[Ports, Ports]] = {
    "yoloface_8n": (picture(64), {"output": (F32, (1, 20, 84))}),
    "scrfd_2.5g": (picture(64), cells(THREE, 2, batch=False)),
    "retinaface_10g": (
        {"input": (F32, (1, 3, "?", "?"))},
        cells(THREE, 2, batch=False, free=True),
    ),
    "yunet_2023_mar": (picture(64), cells(FOUR, 1, batch=True)),
    "2dfan4": (
        picture(64),
        {"landmarks": (F32, (1, 68, 3)), "heatmaps": (F32, (1, 68, 16, 16))},
    ),
    "peppa_wutz": (picture(64), {"output": (F32, (1, 204))}),
    "fan_68_5": ({"input": (F32, (1, 5, 2))}, {"output": (F32, (1, 68, 2))}),
    "arcface_w600k_r50": (picture(32), vector("output")),
    "crossface_simswap": (vector(), vector("output")),
    "inswapper_128": (picture(32, "target") | vector("source"), picture(32, "output")),
    "hyperswap_1a_256": (
        vector("source") | picture(64, "target"),
        picture(64, "output") | {"mask": (F32, (1, 1, 64, 64))},
    ),
    "simswap_256": (vector("source") | picture(64, "target"), picture(64, "output")),
    "ghost_1_256": (vector("source") | picture(64, "target"), picture(64, "output")),
    "hififace_unofficial_256": (vector("source") | picture(64, "target"), picture(64, "output")),
    "uniface_256": (picture(64, "source") | picture(64, "target"), picture(64, "output")),
    "blendswap_256": (picture(64, "target") | picture(32, "source"), picture(64, "output")),
    "xseg_1": ({"input": (F32, (1, 64, 64, 3))}, {"output": (F32, (1, 64, 64, 1))}),
    "bisenet_resnet_18": (picture(64), {"output": (F32, (1, 19, 64, 64))}),
    "gfpgan_1.4": (picture(64), picture(64, "output")),
    "codeformer": (picture(64) | {"weight": (F64, (1,))}, picture(64, "output")),
}

# What makes each family hard for whatever rewrites or builds it.
OPERATORS = {
    "yoloface_8n": "Sigmoid Slice Split Concat MaxPool Resize Softmax Transpose Reshape",
    "scrfd_2.5g": "Sigmoid Transpose Reshape Resize InstanceNormalization",
    "retinaface_10g": "Sigmoid Transpose Reshape Resize Shape Slice Concat",
    "yunet_2023_mar": "Conv MaxPool Resize Sigmoid Transpose Reshape",
    "2dfan4": "AveragePool BatchNormalization ArgMax Mod Div Cast ReduceMax Resize",
    "peppa_wutz": "Conv GlobalAveragePool HardSigmoid Clip Flatten Gemm",
    "fan_68_5": "Reshape Gemm Relu",
    "arcface_w600k_r50": "BatchNormalization PRelu Flatten Gemm",
    "crossface_simswap": "Gemm ReduceL2 Expand Shape ReduceMean Pow Sqrt Erf",
    "inswapper_128": "Pad ReduceMean Sub Mul Sqrt Div Gemm Unsqueeze Slice Resize Tanh",
    "hyperswap_1a_256": "InstanceNormalization Cast Resize Sigmoid",
    "simswap_256": "Pad ReduceMean Sqrt Reciprocal Gather Resize Gemm BatchNormalization",
    "ghost_1_256": "InstanceNormalization Sigmoid ConvTranspose BatchNormalization Resize",
    "hififace_unofficial_256": "LeakyRelu Resize InstanceNormalization Gemm AveragePool",
    "uniface_256": "ReduceSum ReduceMean Sqrt Gemm Resize Sigmoid GlobalAveragePool",
    "blendswap_256": "PRelu ReduceL2 InstanceNormalization Resize Sigmoid",
    "xseg_1": "Transpose ConvTranspose Sigmoid MatMul Max ReduceMean",
    "bisenet_resnet_18": "GlobalAveragePool Resize Shape MaxPool BatchNormalization",
    "gfpgan_1.4": "Conv ReduceSum Pow Reciprocal Reshape Gemm Slice Concat Resize",
    "codeformer": "MatMul Softmax ArgMax Gather Cast Erf InstanceNormalization",
}


@functools.cache
def model(family: str) -> onnx.ModelProto:
    return make(family)


@functools.cache
def session(family: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model(family).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def feeds(family: str, seed: int) -> dict[str, NDArray[Any]]:
    """Pictures in the range of their family, embeddings of the length of their family."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for name, (kind, dims) in INTERFACES[family][0].items():
        shape = [dim if isinstance(dim, int) else FREE for dim in dims]
        values = rng.uniform(0, 1, shape)
        if len(shape) == 2:
            values = rng.standard_normal(shape)
            # Only ghost's embedding is not of length one.
            values /= 1 if family.startswith("ghost") else np.linalg.norm(values)
        if family.startswith("yunet"):
            values *= 255
        found[name] = values.astype(kind)
    return found


def ports(values: Any) -> Ports:
    found: Ports = {}
    for value in values:
        tensor = value.type.tensor_type
        dims = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
        found[value.name] = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), dims
    return found


def test_all_is_sorted():
    assert tools.replicas.__all__ == sorted(tools.replicas.__all__)


def test_the_tables_here_name_every_family():
    assert INTERFACES.keys() == FAMILIES.keys() == OPERATORS.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_valid_and_marked(family: str):
    onnx.checker.check_model(model(family), full_check=True)
    assert {entry.key: entry.value for entry in model(family).metadata_props} == {"replica": "1"}
    assert model(family).ir_version == 8
    (opset,) = model(family).opset_import
    assert 11 <= opset.version == FAMILIES[family].opset <= 17
    assert opset.domain == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_its_ports_are_the_published_ones(family: str):
    inputs, outputs = INTERFACES[family]
    graph = model(family).graph
    assert list(ports(graph.input).items()) == list(inputs.items())
    assert list(ports(graph.output).items()) == list(outputs.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_it_has_the_operators_of_its_family(family: str):
    kinds = {node.op_type for node in model(family).graph.node}
    assert set(OPERATORS[family].split()) - kinds == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_runs_and_neither_vanishes_nor_saturates(family: str):
    results = session(family).run(None, feeds(family, 1))
    for name, result in zip(INTERFACES[family][1], results, strict=True):
        kind, dims = INTERFACES[family][1][name]
        assert result.dtype == kind
        assert [got for got, want in zip(result.shape, dims, strict=True) if want != got] == [
            got for got, want in zip(result.shape, dims, strict=True) if isinstance(want, str)
        ]
        assert np.isfinite(result).all(), name
        assert result.std() > 5e-3, name
        if dims[1:] and dims[-1] == dims[-2]:  # a picture, a mask or maps
            assert np.abs(np.diff(result)).mean() > 1e-3, name  # not flat
        if name == "output" and "swapper" in FAMILIES[family].stands_for:
            assert (np.abs(result) > 0.99).mean() < 0.02, name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_input_counts(family: str):
    before = feeds(family, 1)
    first = session(family).run(None, before)
    for name, other in feeds(family, 2).items():
        then = session(family).run(None, {**before, name: other})
        assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(first, then, strict=True)), name


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(family: str):
    bytes_of = model(family).SerializeToString(deterministic=True)
    assert make(family, seed=0).SerializeToString(deterministic=True) == bytes_of
    other = make(family, seed=1)
    assert ports(other.graph.input) == ports(model(family).graph.input)
    assert other.SerializeToString(deterministic=True) != bytes_of


def test_the_last_initialiser_of_inswapper_is_a_map_that_nothing_reads():
    graph = model("inswapper_128").graph
    last = graph.initializer[-1]
    assert tuple(last.dims) == (512, 512)
    assert last.name not in {name for node in graph.node for name in node.input}


def test_hyperswap_has_float16_weights():
    kinds = {tensor.data_type for tensor in model("hyperswap_1a_256").graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_retinaface_takes_other_sizes():
    results = session("retinaface_10g").run(None, {"input": np.zeros((1, 3, 96, 160), np.float32)})
    assert results[0].shape == (2 * 12 * 20, 1)


@pytest.mark.parametrize(
    ("family", "inputs", "outputs"),
    [
        ("yoloface_8n", picture(640), {"output": (F32, (1, 20, 8400))}),
        ("fan_68_5", *INTERFACES["fan_68_5"]),
    ],
)
def test_full_ones_have_the_published_sizes(family: str, inputs: Ports, outputs: Ports):
    full = make(family, "full")
    assert (ports(full.graph.input), ports(full.graph.output)) == (inputs, outputs)
    assert report(full).parameters > 10 * report(model(family)).parameters


@pytest.mark.parametrize(
    ("family", "size", "message"),
    [
        ("inswapper", "small", "family is 'inswapper'; allowed: yoloface_8n, "),
        ("xseg_1", "full", "size of xseg_1 is 'full'; allowed: small$"),
        ("fan_68_5", "tiny", "size of fan_68_5 is 'tiny'; allowed: small, full"),
    ],
)
def test_what_there_is_not_is_refused(family: str, size: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make(family, size)


def test_report_counts_one_convolution_exactly():
    """3 x 3 of 2 to 4 channels on 8 x 8 pixels, and a matrix of 3 x 5."""
    value = functools.partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    weights = {"w": (4, 2, 3, 3), "m": (3, 5), "unused": (100, 100)}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("MatMul", ["a", "m"], ["b"]),
        ],
        "g",
        [value("x", shape=[1, 2, 8, 8]), value("a", shape=[2, 3])],
        [value("y", shape=[1, 4, 8, 8]), value("b", shape=[2, 5])],
        [
            onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )
    found = report(onnx.helper.make_model(graph))
    assert found.parameters == 4 * 2 * 9 + 15
    assert found.gflop == pytest.approx(2e-9 * (64 * 4 * 2 * 9 + 2 * 5 * 3))
    assert found.nodes == 2


def test_the_program_writes_files_and_a_table(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.replicas", str(tmp_path / "new"), "fan_68_5", "yunet_2023_mar"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "fan_68_5.onnx",
        "yunet_2023_mar.onnx",
    ]
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["file", "parameters", "GFLOP", "MB", "nodes", "opset"]
    assert [row.split()[0] for row in rows] == ["fan_68_5.onnx", "yunet_2023_mar.onnx"]
    assert rows[0].split()[1] == f"{report(model('fan_68_5')).parameters:,}"
    written = onnx.load(tmp_path / "new" / "fan_68_5.onnx")
    assert written == model("fan_68_5")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nonsense"], "family is 'nonsense'"), (["xseg_1", "--full"], "xseg_1 has no full size")],
)
def test_the_program_refuses_before_it_writes(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "new"), *words])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
