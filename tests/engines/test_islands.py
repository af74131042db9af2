"""What stays in float32 in a net of FP16, and for which reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from ffswap.engines import _range
from ffswap.engines._net import Net
from ffswap.engines.fp16_reference import Fp16Reference
from ffswap.engines.precision import to_mixed_fp16
from ffswap.errors import EngineError, OptionError
from tests.engines.small_nets import (
    ADAIN,
    EPS,
    IMAGE,
    ROW,
    adain_feed,
    adain_net,
    by_name,
    floats,
    in_fp32,
    ints,
    kinds,
    net,
    node,
    reasons,
    relative_error,
    row_net,
)

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


def evaluate_fp16(model, feeds, **options):
    """One run."""
    return Fp16Reference(model, **options).run(feeds)


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


def test_models_too_large_for_memory_go_through_a_file():
    feeds = adain_feed()
    (got,) = _range.runs(adain_net(), [feeds], in_memory_bytes=0)
    np.testing.assert_array_equal(got["y"], in_fp32(adain_net(), feeds)["y"])
