"""FP16 in the graph: types, casts and weights, and that the numbers are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import ffswap
from ffswap.engines import _islands, precision
from ffswap.engines._net import Net
from ffswap.engines.fp16_reference import Fp16Reference
from ffswap.engines.precision import to_mixed_fp16
from ffswap.errors import ModelError, OptionError
from tests.engines.small_nets import (
    ADAIN,
    EPS,
    IMAGE,
    ROW,
    adain,
    adain_feed,
    adain_net,
    by_name,
    casts,
    floats,
    in_fp32,
    ints,
    kinds,
    net,
    node,
    pairs,
    reasons,
    relative_error,
    row_net,
)

EMBEDDED = sorted((Path(ffswap.__file__).parent / "models" / "embedded").glob("*.onnx"))


def evaluate_fp16(model, feeds, **options):
    """One run."""
    return Fp16Reference(model, **options).run(feeds)


def test_all_is_sorted():
    assert precision.__all__ == sorted(precision.__all__)


def test_it_keeps_the_chain_of_a_normalisation_and_nothing_else():
    mixed = to_mixed_fp16(adain_net())
    assert reasons(mixed) == dict.fromkeys(ADAIN, "normalisation")
    found = kinds(mixed.model)
    assert found["a"] == found["b"] == found["w1"] == TensorProto.FLOAT16
    assert [found[name] for name in "mdsvgri"] == [TensorProto.FLOAT] * 7


def test_it_keeps_epsilon():
    weights = {one.name: one for one in to_mixed_fp16(adain_net()).model.graph.initializer}
    assert weights["eps"].data_type == TensorProto.FLOAT
    assert numpy_helper.to_array(weights["eps"]) == np.float32(1e-8)


def test_it_casts_at_the_borders_of_an_island_only():
    mixed = to_mixed_fp16(adain_net())
    # x and y, and one into and one out of the normalisation
    assert mixed.casts == len(casts(mixed.model)) == 4
    assert pairs(mixed.model) == []


def test_it_computes_what_float32_computes():
    model, feeds = adain_net(), adain_feed()
    want = in_fp32(model, feeds)["y"]
    # FP16 has 11 bits: 5e-4 for each rounding, and here are four of them in a row.
    assert relative_error(evaluate_fp16(to_mixed_fp16(model).model, feeds)["y"], want) < 1e-3


def test_without_islands_the_same_net_is_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_islands, "normalisation", lambda _: set())
    model, feeds = adain_net(), adain_feed()
    want = in_fp32(model, feeds)["y"]
    assert relative_error(evaluate_fp16(to_mixed_fp16(model).model, feeds)["y"], want) > 0.5


def test_inputs_and_outputs_stay_as_they_are():
    model = adain_net()
    before = model.SerializeToString()
    mixed = to_mixed_fp16(model).model
    assert model.SerializeToString() == before
    assert list(mixed.graph.input) == list(model.graph.input)  # names, types, symbolic sizes
    assert list(mixed.graph.output) == list(model.graph.output)
    assert list(mixed.opset_import) == list(model.opset_import)
    assert mixed.ir_version == model.ir_version


def test_half_io_changes_types_and_needs_no_cast_at_the_border():
    mixed = to_mixed_fp16(adain_net(), half_io=True)
    for value in (mixed.model.graph.input[0], mixed.model.graph.output[0]):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT16
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert mixed.casts == 2
    got = evaluate_fp16(mixed.model, adain_feed())["y"]
    assert got.dtype == np.float16
    assert relative_error(got, in_fp32(adain_net(), adain_feed())["y"]) < 2e-3


def test_half_io_refuses_values_that_fp16_cannot_hold():
    model = row_net(node("add: Add x x -> y"))
    feeds = {"x": np.full((1, 4), 2e4, np.float32)}
    with pytest.raises(OptionError, match=r"'y' holds values up to 4e\+04") as caught:
        to_mixed_fp16(model, [feeds], half_io=True)
    assert caught.value.hint == "keep inputs and outputs in float32"


def test_a_tensor_with_readers_of_both_types_gets_one_cast():
    model = net(
        [
            node("conv: Conv x k -> a"),
            *adain("a", "n", "first_"),
            *adain("a", "o", "second_"),
            node("skip: Relu a -> c"),
            node("sum: Sum n o c -> y"),
        ],
        IMAGE,
        {"y": ["N", 4, 8, 8]},
        {"k": np.ones((4, 4, 1, 1), np.float32), **EPS},
    )
    mixed = to_mixed_fp16(model)
    assert Counter(one.input[0] for one in casts(mixed.model))["a"] == 1
    assert mixed.casts == 5  # x, a, n, o and the way out
    assert pairs(mixed.model) == []


def test_a_weight_with_readers_of_both_types_is_there_twice():
    model = row_net(node("one: Add x w -> a"), node("two: Mul a w -> y"), w=floats(1, 2, 3, 4))
    mixed = to_mixed_fp16(model, keep=["two"]).model
    assert {one.name: one.data_type for one in mixed.graph.initializer} == {
        "w": TensorProto.FLOAT16,
        "w_fp32": TensorProto.FLOAT,
    }
    assert by_name(mixed, "two").input[1] == "w_fp32"


def test_nodes_may_come_in_any_order_and_without_names():
    model = adain_net()
    nodes = [onnx.NodeProto.FromString(one.SerializeToString()) for one in model.graph.node]
    for one in nodes:
        one.name = ""
    shuffled = net(nodes[::-1], {"x": ["N", 3, 16, 16]}, {"y": ["N", 3, 16, 16]})
    shuffled.graph.initializer.extend(model.graph.initializer)
    mixed = to_mixed_fp16(shuffled)
    assert len(mixed.islands) == len(ADAIN)
    assert len({one.name for one in mixed.model.graph.node}) == len(mixed.model.graph.node)
    want = in_fp32(model, adain_feed())["y"]
    assert relative_error(evaluate_fp16(mixed.model, adain_feed())["y"], want) < 1e-3


def test_scales_of_resize_stay_float32():
    model = net(
        [node("conv: Conv x k -> a"), node("up: Resize a _ scales -> y", mode="nearest")],
        IMAGE,
        {"y": ["N", 4, 16, 16]},
        {"k": np.ones((4, 4, 1, 1), np.float32), "scales": floats(1, 1, 2, 2)},
    )
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    assert kinds(mixed.model)["scales"] == TensorProto.FLOAT
    assert kinds(mixed.model)["a"] == TensorProto.FLOAT16


def test_the_way_of_integers_is_left_alone():
    nodes = [
        node("shape: Shape x -> s"),
        node("rows: Gather s first -> r"),
        node("join: Concat r rest -> target", axis=0),
        node("conv: Conv x k -> a"),
        node("flat: Reshape a target -> f"),
        node("best: ArgMax f -> where", axis=1, keepdims=0),
    ]
    model = net(
        nodes,
        IMAGE,
        {"where": ["N"], "f": ["N", 256]},
        {"first": ints(0), "rest": ints(256), "k": np.ones((4, 4, 1, 1), np.float32)},
        kinds={"where": TensorProto.INT64},
    )
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    for name in ("shape", "rows", "join", "best"):
        assert by_name(mixed.model, name) == next(one for one in nodes if one.name == name) or (
            name == "best" and by_name(mixed.model, name).input[0] == "f_fp16"
        )
    assert mixed.casts == 2


def test_a_decision_reads_float32_where_there_is_float32():
    model = net(
        [node("best: ArgMax x -> where", axis=1, keepdims=0)],
        ROW,
        {"where": ["N"]},
        kinds={"where": TensorProto.INT64},
    )
    assert to_mixed_fp16(model).casts == 0


def test_casts_from_flags_become_fp16():
    model = row_net(
        node("test: Greater x zero -> b"),
        node("flag: Cast b -> f", to=TensorProto.FLOAT),
        node("mul: Gemm f w -> y"),
        zero=floats(0.0),
        w=np.eye(4, dtype=np.float32),
    )
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    assert by_name(mixed.model, "flag").attribute[0].i == TensorProto.FLOAT16


def test_values_between_islands_are_handed_on_in_float32():
    model = net(
        [
            node("conv: Conv x k -> a"),
            node("square: Mul a a -> b"),
            node("flat: Reshape b shape -> c"),
            node("turn: Transpose c -> d", perm=[0, 2, 1]),
            node("root: Sqrt d -> y"),
        ],
        IMAGE,
        {"y": ["N", 64, 4]},
        {"k": np.ones((4, 4, 1, 1), np.float32), "shape": ints(0, 4, 64)},
    )
    mixed = to_mixed_fp16(model, keep=["square", "root"])
    assert [one.input[0] for one in casts(mixed.model)] == ["x", "a"]
    assert reasons(mixed) == {"square": "asked", "root": "asked"}


def test_branches_stay_in_float32_and_read_float32():
    def branch(name: str, kind: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["N", 4])
        return helper.make_graph([node(f"{name}: {kind} a w -> {name}_out")], name, [], [out])

    model = row_net(
        node("relu: Mul x w -> a"),
        node(
            "choose: If flag -> b",
            then_branch=branch("yes", "Add"),
            else_branch=branch("no", "Sub"),
        ),
        node("last: Mul b w -> y"),
        w=floats(1, 2, 3, 4),
        flag=np.array(True),
    )
    mixed = to_mixed_fp16(model)
    assert reasons(mixed) == {"choose": "operator"}
    feeds = {"x": floats(1, 2, 3, 4)[None]}
    assert evaluate_fp16(mixed.model, feeds)["y"].tolist() == in_fp32(model, feeds)["y"].tolist()


def test_constants_and_casts_of_weights_do_no_harm():
    value = numpy_helper.from_array(floats(1, 2, 3, 4))
    model = row_net(
        node("c: Constant -> c", value=value),
        node("e: Constant -> e", value_float=0.5),
        node("wide: Cast h -> w", to=TensorProto.FLOAT),
        node("add: Add x c -> a"),
        node("mul: Mul a e -> b"),
        node("mix: Gemm b w -> y"),
        h=np.eye(4, dtype=np.float16),
    )
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    assert mixed.casts == 2  # x and y: constants are weights
    got = evaluate_fp16(mixed.model, {"x": floats(1, 1, 1, 1)[None]})["y"]
    assert got.tolist() == [[1, 1.5, 2, 2.5]]


def test_weights_that_may_be_overridden_keep_their_type():
    model = net(
        [node("add: Add x w -> y")], {**ROW, "w": [4]}, {"y": ["N", 4]}, {"w": floats(1, 2, 3, 4)}
    )
    mixed = to_mixed_fp16(model, half_io=True).model
    assert [one.type.tensor_type.elem_type for one in mixed.graph.input] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
    ]
    got = evaluate_fp16(mixed, {"x": floats(0, 1, 0, 1)[None]})["y"]
    assert got.tolist() == [[1, 3, 3, 5]]


def test_types_that_come_from_attributes_stay_float32():
    one = numpy_helper.from_array(floats(1.0).reshape(1))
    nodes = [
        node("shape: Shape x -> s"),
        node("fill: ConstantOfShape s -> f", value=one),
        node("narrow: Cast z -> n", to=TensorProto.FLOAT),
        node("a: Add x f -> a"),
        node("b: Add a n -> y"),
    ]
    double = TensorProto.DOUBLE
    model = net(nodes, {**ROW, "z": [4]}, {"y": ["N", 4]}, kinds={"z": double})
    mixed = to_mixed_fp16(model)
    found = kinds(mixed.model)
    assert found["f"] == found["n"] == TensorProto.FLOAT
    assert found["a"] == TensorProto.FLOAT16
    feeds: dict[str, NDArray[Any]] = {"x": floats(1, 2, 3, 4)[None], "z": np.ones(4)}
    assert evaluate_fp16(mixed.model, feeds)["y"].tolist() == [[3, 4, 5, 6]]


def test_operators_say_types_where_inference_fails(monkeypatch: pytest.MonkeyPatch):
    want = to_mixed_fp16(adain_net())

    def fail(*_: Any, **__: Any) -> None:
        raise onnx.shape_inference.InferenceError

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    got = to_mixed_fp16(adain_net())
    assert (got.islands, got.casts) == (want.islands, want.casts)
    assert got.model.SerializeToString() == want.model.SerializeToString()


def test_outputs_may_be_read_inside_and_be_weights():
    model = net(
        [node("one: Add x w -> a"), node("two: Relu a -> b"), node("three: Sqrt b -> c")],
        ROW,
        {"a": ["N", 4], "c": ["N", 4], "w": [4]},
        {"w": floats(1, 2, 3, 4)},
    )
    for half in (False, True):
        mixed = to_mixed_fp16(model, keep=["two"], half_io=half).model
        got = evaluate_fp16(mixed, {"x": floats(0, 0, 1, 1)[None]})
        assert list(got) == ["a", "c", "w"]
        assert {one.dtype for one in got.values()} == {np.dtype("f2" if half else "f4")}
        assert got["a"].tolist() == [[1, 2, 4, 5]]
        assert got["w"].tolist() == [1, 2, 3, 4]


def test_types_are_found_without_the_values_of_large_weights():
    model = row_net(node("mix: MatMul x w -> a"), node("relu: Relu a -> y"))
    model.graph.initializer.add(name="w", dims=[4, 1 << 40], data_type=TensorProto.FLOAT)
    assert Net(model).is_float("y")


def test_a_circle_is_refused():
    model = row_net(node("one: Add x b -> a"), node("two: Add x a -> b"), node("y: Relu b -> y"))
    with pytest.raises(ModelError, match="'one' and others read one another in a circle"):
        to_mixed_fp16(model)


def test_a_tensor_that_nothing_makes_is_refused():
    with pytest.raises(ModelError, match="'add' reads 'z', which nothing makes"):
        to_mixed_fp16(row_net(node("add: Add x z -> y")))


def test_an_opset_without_such_casts_is_refused():
    with pytest.raises(ModelError, match="opset 5; allowed: 6 or newer"):
        to_mixed_fp16(net([node("relu: Relu x -> y")], ROW, {"y": ["N", 4]}, opset=5))


def test_a_faulty_source_is_the_fault_of_the_source():
    model = row_net(node("relu: Relu x -> y", colour=3))
    with pytest.raises(ModelError, match=r"(?s)not valid ONNX.*colour"):
        to_mixed_fp16(model)


@pytest.mark.parametrize("file", EMBEDDED, ids=lambda file: file.stem)
def test_the_embedded_nets_bear_fp16(file: Path):
    model = onnx.load(file)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    rng = np.random.default_rng(0)
    feeds = {"image": rng.random([1, *(one.dim_value for one in dims[1:])], dtype=np.float32)}
    mixed = to_mixed_fp16(model, [feeds])
    assert mixed.islands == ()
    want, got = in_fp32(model, feeds), evaluate_fp16(mixed.model, feeds)
    # Noise is no face: scores near zero are the worst of it, places are off by 1e-3 at most.
    assert max(relative_error(got[name], want[name]) for name in want) < 1e-2


def built(model: onnx.ModelProto, folder: Path) -> dict[str, Any]:
    """What TensorRT for RTX makes of it, in a process of its own; see `rtx_build`."""
    file = folder / "net.onnx"
    file.write_bytes(model.SerializeToString())
    command = [sys.executable, str(Path(__file__).with_name("rtx_build.py")), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["bytes"] > 0, found["errors"]
    return found


@pytest.mark.parametrize(("half_io", "kind"), [(False, "FLOAT"), (True, "HALF")])
def test_tensorrt_builds_it_and_does_not_warn_of_normalisation(
    half_io: bool, kind: str, tmp_path: Path
):
    pytest.importorskip("tensorrt_rtx_bindings")
    found = built(to_mixed_fp16(adain_net(), half_io=half_io).model, tmp_path)
    assert found["outputs"] == {"y": f"DataType.{kind}"}
    assert not [text for text in found["warnings"] if "layernorm" in text.lower()]


def test_tensorrt_warns_of_the_same_net_without_islands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("tensorrt_rtx_bindings")
    monkeypatch.setattr(_islands, "normalisation", lambda _: set())
    monkeypatch.setattr(_islands._Finder, "_weights", lambda *_: None)
    found = built(to_mixed_fp16(adain_net()).model, tmp_path)
    assert [text for text in found["warnings"] if "Detected layernorm nodes in FP16" in text]
