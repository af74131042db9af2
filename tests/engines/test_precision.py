"""FP16 in the graph: what stays in float32, where casts stand, and that the numbers are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import ffswap
from ffswap.engines import _islands, _range, precision
from ffswap.engines._net import Net
from ffswap.engines.fp16_reference import Fp16Reference
from ffswap.engines.precision import Mixed, to_mixed_fp16
from ffswap.errors import EngineError, ModelError, OptionError
from tests.engines.small_nets import (
    ADAIN,
    EPS,
    adain,
    adain_feed,
    adain_net,
    floats,
    ints,
    net,
    node,
    relative_error,
)

EMBEDDED = sorted((Path(ffswap.__file__).parent / "models" / "embedded").glob("*.onnx"))
ROW: dict[str, list[int | str]] = {"x": ["N", 4]}
IMAGE: dict[str, list[int | str]] = {"x": ["N", 4, 8, 8]}


def evaluate_fp16(model, feeds, **options):
    """One run."""
    return Fp16Reference(model, **options).run(feeds)


def in_fp32(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What ONNX Runtime makes of a net as it is."""
    return next(_range.runs(model, [feeds]))


def reasons(mixed: Mixed) -> dict[str, str]:
    return {island.node: island.reason for island in mixed.islands}


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every weight and of every tensor that inference knows."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {one.name: one.type.tensor_type.elem_type for one in values}
    return found | {one.name: one.data_type for one in graph.initializer}


def casts(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [one for one in model.graph.node if one.op_type == "Cast"]


def pairs(model: onnx.ModelProto) -> list[str]:
    """Casts that read from casts."""
    made = {one.output[0] for one in casts(model)}
    return [one.name for one in casts(model) if one.input[0] in made]


def by_name(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(one for one in model.graph.node if one.name == name)
    return found


def row_net(*nodes: onnx.NodeProto, **weights: NDArray[Any]) -> onnx.ModelProto:
    """A net from x (N, 4) to y (N, 4)."""
    return net(nodes, ROW, {"y": ["N", 4]}, weights)


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


LAYER_NORM = [
    node("mean: ReduceMean a -> m", axes=[1], keepdims=1),
    node("centre: Sub a m -> d"),
    node("square: Pow d two -> s"),
    node("variance: ReduceMean s -> v", axes=[1], keepdims=1),
    node("guard: Add v eps -> g"),
    node("root: Sqrt g -> r"),
    node("apply: Div d r -> n"),
]
TWICE_CENTRED = [  # var() of PyTorch, taken apart, with a mean and a difference of its own
    node("mean: ReduceMean a -> m", axes=[1], keepdims=1),
    node("centre: Sub a m -> d"),
    node("mean2: ReduceMean a -> m2", axes=[1], keepdims=1),
    node("centre2: Sub a m2 -> d2"),
    node("square: Mul d2 d2 -> s"),
    node("sum: ReduceSum s axes -> t", keepdims=1),
    node("unbias: Div t three -> v"),
    node("root: Sqrt v -> r"),
    node("guard: Add r eps -> g"),
    node("apply: Div d g -> n"),
]
MEAN_OF_SQUARES = [
    node("mean: ReduceMean a -> m", axes=[1], keepdims=1),
    node("square: Mul a a -> s"),
    node("squares: ReduceMean s -> q", axes=[1], keepdims=1),
    node("square2: Mul m m -> p"),
    node("variance: Sub q p -> v"),
    node("floor: Clip v eps -> g"),
    node("root: Pow g minus_half -> r"),
    node("centre: Sub a m -> d"),
    node("apply: Mul d r -> n"),
]
LENGTH = [
    node("length: ReduceL2 a -> l", axes=[1], keepdims=1),
    node("floor: Clip l eps -> c"),
    node("grow: Expand c four -> e"),
    node("apply: Div a e -> n"),
]
ROOT_ALONE = [node("size: Abs a -> s"), node("root: Sqrt s -> n")]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (LAYER_NORM, "mean centre square variance guard root apply"),
        (TWICE_CENTRED, "mean centre mean2 centre2 square sum unbias root guard apply"),
        (MEAN_OF_SQUARES, "mean square squares square2 variance floor root centre apply"),
        (LENGTH, "length floor grow apply"),
        (ROOT_ALONE, ""),
    ],
)
def test_it_finds_the_ways_in_which_normalisation_is_written(
    chain: list[onnx.NodeProto], expected: str
):
    model = row_net(
        node("before: Gemm x w -> a"),
        *chain,
        node("after: Gemm n w -> y"),
        w=np.eye(4, dtype=np.float32),
        two=floats(2.0),
        three=floats(3.0),
        eps=floats(1e-5),
        minus_half=floats(-0.5),
        axes=ints(1),
        four=ints(1, 4),
    )
    names = {name for name, reason in reasons(to_mixed_fp16(model)).items()}
    assert names == set(expected.split())


def test_it_finds_demodulation_of_weights():
    weights = {"w": np.ones((1, 4, 4, 1, 1), np.float32), "axes": ints(2, 3, 4), **EPS}
    nodes = [
        node("modulate: Mul w style -> m"),
        node("square: Mul m m -> s"),
        node("sum: ReduceSum s axes -> t", keepdims=1),
        node("guard: Add t eps -> g"),
        node("root: Sqrt g -> r"),
        node("apply: Div m r -> y"),
    ]
    model = net(nodes, {"style": ["N", 1, 4, 1, 1]}, {"y": ["N", 4, 4, 1, 1]}, weights)
    assert set(reasons(to_mixed_fp16(model))) == {"square", "sum", "guard", "root", "apply"}


def test_operators_that_normalise_are_islands():
    model = net(
        [node("conv: Conv x k -> a"), node("norm: InstanceNormalization a s b -> y")],
        IMAGE,
        {"y": ["N", 4, 8, 8]},
        {"k": np.ones((4, 4, 1, 1), np.float32), "s": np.ones(4, "f4"), "b": np.zeros(4, "f4")},
    )
    assert reasons(to_mixed_fp16(model)) == {"norm": "normalisation"}


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


def decoder() -> onnx.ModelProto:
    """The place of the largest of 4 x 4096 values, as a count from 0.5 on, and the value."""
    nodes = [
        node("gain: Mul x gain_w -> h"),
        node("best: ArgMax h -> i", axis=2, keepdims=1),
        node("place: Cast i -> f", to=TensorProto.FLOAT),
        node("half: Add f point_five -> c"),
        node("value: ReduceMax h -> v", axes=[2], keepdims=1),
        node("both: Concat c v -> y", axis=2),
    ]
    weights = {"point_five": floats(0.5), "gain_w": floats(1.0)}
    return net(nodes, {"x": ["N", 4, 4096]}, {"y": ["N", 4, 2]}, weights)


def test_counts_stay_exact():
    x = np.zeros((1, 4, 4096), np.float32)
    x[0, range(4), [4095, 2049, 3001, 7]] = 1
    mixed = to_mixed_fp16(decoder())
    assert reasons(mixed) == {"place": "range", "half": "range", "both": "range"}
    got = evaluate_fp16(mixed.model, {"x": x})["y"]
    assert got[0, :, 0].tolist() == [4095.5, 2049.5, 3001.5, 7.5]


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


def test_places_in_a_picture_are_computed_in_float32():
    model = row_net(
        node("head: Gemm x w -> d"),
        node("anchor: Sub anchors d -> p"),
        node("stride: Mul p strides -> y"),
        w=np.eye(4, dtype=np.float32),
        anchors=floats(79.5, 60.5, 33.5, 12.5),
        strides=floats(8, 8, 8, 8),
    )
    feeds = {"x": np.full((1, 4), 0.3, np.float32)}
    mixed = to_mixed_fp16(model, [feeds])
    assert reasons(mixed) == {"anchor": "range", "stride": "range"}
    assert [island.value for island in mixed.islands] == pytest.approx([79.2, 633.6])
    want = in_fp32(model, feeds)["y"]
    # 0.3 is off by 1e-4 in FP16, that times 8; the whole in FP16 would be off by up to 0.25.
    np.testing.assert_allclose(evaluate_fp16(mixed.model, feeds)["y"], want, atol=1e-3)


def test_values_beyond_fp16_make_islands_of_producer_and_readers():
    model = row_net(
        node("up: Mul x large -> a"),
        node("root: Sqrt a -> b"),
        node("relu: Relu b -> c"),
        node("mix: Gemm c w -> y"),
        large=floats(2e4),
        w=np.eye(4, dtype=np.float32),
    )
    feeds = {"x": np.full((1, 4), 2, np.float32)}
    assert to_mixed_fp16(model).islands == ()
    mixed = to_mixed_fp16(model, [{"x": feeds["x"] / 4}, feeds])
    assert reasons(mixed) == {"up": "range", "root": "range"}
    assert {island.value for island in mixed.islands} == {4e4}
    got = evaluate_fp16(mixed.model, feeds)["y"]
    assert relative_error(got, in_fp32(model, feeds)["y"]) < 1e-3


def test_peaks_are_the_largest_magnitudes_of_all_runs():
    model = net(
        [
            node("negate: Neg x -> a"),
            node("rows: Slice a end end -> none"),
            node("sum: ReduceSum x -> s", keepdims=0),
            node("add: Add a s -> y"),
        ],
        ROW,
        {"y": ["N", 4]},
        {"end": ints(9)},
    )
    feeds = [{"x": floats(1, 2, 3, -4)[None]}, {"x": floats(1, 5, -1, 0)[None]}]
    found = _range.peaks(Net(model), feeds)
    # A tensor without values and one without dimensions are among them.
    assert found == {"x": 5, "a": 5, "none": 0, "s": 5, "y": 6}


def test_looking_at_a_net_does_not_change_what_it_computes():
    feeds, model = adain_feed(), adain_net()
    watched, _ = _range._watched(Net(model))
    want = in_fp32(model, feeds)["y"]
    np.testing.assert_allclose(in_fp32(watched, feeds)["y"], want, rtol=1e-4, atol=1e-5)
    found = _range.peaks(Net(model), [feeds])
    assert set(found) == {"x", *"amdsvgri", "n", "b", "y"}
    assert found["s"] > 65504  # what the normalisation is an island for


def test_a_net_that_is_not_finite_itself_is_refused():
    model = row_net(node("log: Log x -> a"), node("exp: Relu a -> y"))
    with pytest.raises(EngineError, match="not finite; 'a' is the first"):
        to_mixed_fp16(model, [{"x": np.full((1, 4), -1, np.float32)}])


def test_masks_of_infinity_are_allowed():
    model = row_net(
        node("test: Greater x zero -> b"),
        node("mask: Where b x never -> m"),
        node("soft: Softmax m -> y"),
        zero=floats(0.0),
        never=np.array(-np.inf, np.float32),
    )
    mixed = to_mixed_fp16(model, [{"x": floats(1, -1, 2, -2)[None]}])
    assert reasons(mixed) == {"mask": "weights", "soft": "range"}


def test_feeds_that_do_not_fit_are_an_error():
    with pytest.raises(EngineError, match="ONNX Runtime cannot run the net"):
        to_mixed_fp16(adain_net(), [{"x": np.zeros((1, 4, 16, 16), np.float32)}])


@pytest.mark.parametrize(
    ("values", "value"),
    [
        (floats(4e4, 1, 1, 1), 4e4),
        (floats(-4e4, 1, 1, 1), 4e4),
        (floats(1e-8), 1e-8),
        (floats(0, 1e-8, 2e-8, 0), 1e-8),
        (floats(1e-8, 1, 1, 1), None),  # small beside a normal one
        (floats(3e4, 0, 0, 0), None),
        (floats(0), None),
    ],
)
def test_weights_that_fp16_cannot_hold_make_islands(
    values: NDArray[np.float32], value: float | None
):
    model = row_net(node("relu: Relu x -> a"), node("add: Add a w -> y"), w=values)
    islands = to_mixed_fp16(model).islands
    assert [(one.node, one.operator, one.reason) for one in islands] == (
        [] if value is None else [("add", "Add", "weights")]
    )
    assert all(one.value == pytest.approx(value) for one in islands)


def test_what_an_epsilon_guards_is_an_island_too():
    model = row_net(
        node("relu: Relu x -> a"),
        node("guard: Add a eps -> b"),
        node("apply: Div a b -> c"),
        node("mix: Gemm c w -> y"),
        eps=floats(1e-8),
        w=np.eye(4, dtype=np.float32),
    )
    mixed = to_mixed_fp16(model)
    assert reasons(mixed) == {"guard": "weights", "apply": "weights"}
    zeros = np.zeros((1, 4), np.float32)
    assert np.isfinite(evaluate_fp16(mixed.model, {"x": zeros})["y"]).all()


def test_open_bounds_of_clip_are_no_island():
    model = row_net(
        node("clip: Clip x low high -> a"),
        node("mix: Gemm a w -> y"),
        low=floats(0.0),
        high=np.array(np.finfo(np.float32).max),
        w=np.eye(4, dtype=np.float32),
    )
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    got = evaluate_fp16(mixed.model, {"x": floats(-1, 0, 5, 3e4)[None]})["y"]
    assert got.tolist() == [[0, 0, 5, 30000]]


def test_batch_normalisation_is_scale_and_shift_in_fp16():
    rng = np.random.default_rng(0)
    statistics = {
        "s": rng.uniform(0.5, 2, 4).astype(np.float32),
        "b": rng.normal(size=4).astype(np.float32),
        "mean": floats(1e5, 1, 2, 1),
        "var": floats(1e10, 1e-8, 4, 1),
    }
    model = net(
        [
            node("norm: BatchNormalization x s b mean var -> a", epsilon=1e-12),
            node("conv: Conv a k -> y"),
        ],
        IMAGE,
        {"y": ["N", 4, 8, 8]},
        {"k": np.eye(4, dtype=np.float32)[..., None, None], **statistics},
    )
    x = rng.normal(size=(2, 4, 8, 8)).astype(np.float32)
    x[:, 1] = 1  # its scale is above 5000
    mixed = to_mixed_fp16(model)
    assert mixed.islands == ()
    assert by_name(mixed.model, "norm").input[1:] == [
        f"norm_{part}" for part in ("scale", "shift", "mean", "variance")
    ]
    channels = [0, 2, 3]  # what the second one cancels is beyond any 11 bits
    want = in_fp32(model, {"x": x})["y"][:, channels]
    assert relative_error(evaluate_fp16(mixed.model, {"x": x})["y"][:, channels], want) < 1e-3


def test_batch_normalisation_beyond_fp16_is_an_island():
    ones = np.ones(4, np.float32)
    model = net(
        [node("norm: BatchNormalization x s b mean var -> y")],
        IMAGE,
        {"y": ["N", 4, 8, 8]},
        {"s": ones * 400, "b": ones, "mean": ones, "var": ones * 0},
    )
    (island,) = to_mixed_fp16(model).islands
    assert (island.node, island.reason) == ("norm", "weights")
    assert island.value == pytest.approx(400 / np.sqrt(1e-5))


def test_recipes_can_ask_for_islands():
    mixed = to_mixed_fp16(adain_net(), keep=["conv2", "root"])
    assert reasons(mixed) == {**dict.fromkeys(ADAIN, "normalisation"), "conv2": "asked"}
    assert kinds(mixed.model)["w2"] == TensorProto.FLOAT


def test_unknown_names_are_refused_with_close_ones():
    with pytest.raises(OptionError, match=r"no node 'conv3' to keep.*; close: conv2, conv1"):
        to_mixed_fp16(adain_net(), keep=["conv3"])
    with pytest.raises(OptionError, match=r"no node 'zzz' to keep in float32$"):
        to_mixed_fp16(adain_net(), keep=["zzz"])


def test_operators_that_know_no_fp16_are_islands():
    model = net(
        [node("own: Own x -> a", domain="com.example"), node("relu: Relu a -> y")],
        ROW,
        {"y": ["N", 4]},
        domains={"com.example": 1},
    )
    # Nothing says what the operator makes, so its reader stays in float32, too.
    assert reasons(to_mixed_fp16(model)) == {"own": "operator", "relu": "operator"}


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


def test_sample_positions_and_what_makes_them_stay_in_float32():
    nodes = [
        node("conv: Conv x k -> a"),
        node("flow: Conv x k2 -> f"),
        node("last: Transpose f -> t", perm=[0, 2, 3, 1]),
        node("places: Add t base -> g"),
        node("warp: GridSample a g -> w"),
        node("end: Conv w k -> y"),
    ]
    weights = {
        "k": np.ones((4, 4, 1, 1), np.float32),
        "k2": np.ones((2, 4, 1, 1), np.float32),
        "base": np.zeros((1, 8, 8, 2), np.float32),
    }
    mixed = to_mixed_fp16(net(nodes, IMAGE, {"y": ["N", 4, 8, 8]}, weights))
    assert reasons(mixed) == {"last": "range", "places": "range", "warp": "operator"}


def test_small_biases_are_no_reason_for_an_island():
    model = row_net(
        node("mix: Gemm x w b -> y"), w=np.eye(4, dtype=np.float32), b=floats(1e-6, 0, 0, 0)
    )
    assert to_mixed_fp16(model).islands == ()


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


def test_models_too_large_for_memory_go_through_a_file():
    feeds = adain_feed()
    (got,) = _range.runs(adain_net(), [feeds], in_memory_bytes=0)
    np.testing.assert_array_equal(got["y"], in_fp32(adain_net(), feeds)["y"])


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
