"""The evaluator for FP16 agrees with NumPy's own float16, overflow included."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ffswap.engines import fp16_reference
from ffswap.engines.fp16_reference import Fp16Reference
from ffswap.engines.precision import to_mixed_fp16
from ffswap.errors import InternalError, ModelError
from tests.engines.small_nets import adain, floats, net, node

HALF = TensorProto.FLOAT16


def evaluate_fp16(model, feeds, **options):
    """One run."""
    return Fp16Reference(model, **options).run(feeds)


def in_numpy(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs by ONNX's reference, which computes float16 in float16."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of overflow, which is looked for
        results: Any = ReferenceEvaluator(model).run(None, dict(feeds))
    return list(results)


def half_net(
    *nodes: onnx.NodeProto, shape: tuple[int, ...] = (2, 4), **weights: NDArray[Any]
) -> onnx.ModelProto:
    """A net from x to y, both float16 and of the same shape."""
    return net(nodes, {"x": shape}, {"y": shape}, weights, kinds={"x": HALF, "y": HALF})


def numbers(*shape: int, scale: float = 1.0) -> NDArray[np.float16]:
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float16)


def test_all_is_sorted():
    assert fp16_reference.__all__ == ["Fp16Reference"]


def test_every_node_rounds_to_the_bit():
    model = half_net(
        node("a: Mul x w -> a"),
        node("b: Add a x -> b"),
        node("c: Sub b w -> c"),
        node("d: Div c w -> d"),
        node("e: Relu d -> y"),
        w=numbers(4, scale=3),
    )
    x = numbers(2, 4, scale=100)
    got = evaluate_fp16(model, {"x": x})["y"]
    (want,) = in_numpy(model, {"x": x})
    assert got.dtype == want.dtype == np.float16
    np.testing.assert_array_equal(got, want)
    w = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float32)
    unrounded = np.maximum((x.astype(np.float32) * (w + 1) - w) / w, 0).astype(np.float16)
    assert (got != unrounded).any()  # so that rounding at the end alone would be seen


@pytest.mark.parametrize("scale", [1.0, 600.0])
def test_a_normalisation_without_islands_overflows_as_in_numpy(scale: float):
    shape = (1, 2, 4, 4)
    model = half_net(
        *adain("x", "y"),
        shape=shape,
        eps=np.array(1e-8, np.float16),
        one=np.array(1, np.float16),
    )
    model.graph.output.extend(
        helper.make_tensor_value_info(name, HALF, dims)
        for name, dims in (("s", shape), ("v", (1, 2, 1, 1)))
    )
    x = numbers(*shape, scale=scale)
    x[0, 0, 0, 0] = scale
    got = evaluate_fp16(model, {"x": x})
    want = dict(zip(("y", "s", "v"), in_numpy(model, {"x": x}), strict=True))
    for name in want:
        # One unit in the last place for each of the five roundings between x and y.
        np.testing.assert_allclose(got[name], want[name], rtol=5e-3, atol=1e-3)
    assert np.isinf(got["v"]).any() == (scale == 600.0)
    assert (got["y"][0, 0] == 0).all() == (scale == 600.0)


def test_zero_times_overflow_is_not_a_number():
    model = half_net(
        node("a: Mul x x -> a"),
        node("b: Mul a zero -> y"),
        zero=np.array(0, np.float16),
    )
    x = np.array([[1, 600, -600, 200]] * 2, np.float16)
    got = evaluate_fp16(model, {"x": x})["y"]
    np.testing.assert_array_equal(got, in_numpy(model, {"x": x})[0])
    assert np.isnan(got[0]).tolist() == [False, True, True, False]


def test_it_agrees_on_convolutions():
    rng = np.random.default_rng(3)
    weights = {
        "k": rng.normal(size=(6, 4, 3, 3)).astype(np.float32) / 6,
        "b": rng.normal(size=6).astype(np.float32),
        "m": rng.normal(size=(96, 5)).astype(np.float32) / 10,
        "flat": np.array([-1, 96]),
        "scales": floats(1, 1, 0.5, 0.5),
    }
    nodes = [
        node("conv: Conv x k b -> a", pads=[1] * 4),
        node("act: LeakyRelu a -> c", alpha=0.2),
        node("down: Resize c _ scales -> d", mode="nearest"),
        node("flat: Reshape d flat -> e"),
        node("mix: MatMul e m -> f"),
        node("end: Tanh f -> y"),
    ]
    model = net(nodes, {"x": [2, 4, 8, 8]}, {"y": [2, 5]}, weights)
    mixed = to_mixed_fp16(model).model
    x = rng.normal(size=(2, 4, 8, 8)).astype(np.float32)
    got = evaluate_fp16(mixed, {"x": x})["y"]
    assert got.dtype == np.float32
    # NumPy sums products of float16 in another order: a few units in the last place of 1.
    np.testing.assert_allclose(got, in_numpy(mixed, {"x": x})[0], atol=4e-3)


def test_weights_and_constants_of_fp16_are_read():
    held = numpy_helper.from_array(np.array([0.1], np.float16))
    model = half_net(
        node("fill: ConstantOfShape shape -> a", value=held),
        node("turn: Cast i -> b", to=HALF),
        node("c: Add x a -> c"),
        node("d: Add c b -> y"),
        shape_=np.array([4]),
        i=np.array([1, 2, 3, 4]),
    )
    model.graph.node[0].input[0] = "shape_"
    x = numbers(2, 4)
    np.testing.assert_array_equal(evaluate_fp16(model, {"x": x})["y"], in_numpy(model, {"x": x})[0])


def test_float_inputs_may_come_in_the_other_type():
    model = half_net(node("a: Add x x -> y"))
    x = np.array([[0.1, 1e6, 3, 4]] * 2, np.float32)
    got = evaluate_fp16(model, {"x": x})["y"]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, x.astype(np.float16) * np.float16(2))


@pytest.mark.parametrize("feeds", [{}, {"z": 1}, {"x": 1, "z": 1}])
def test_wrong_inputs_are_refused(feeds: dict[str, int]):
    model = half_net(node("a: Add x x -> y"))
    given = {name: numbers(2, 4) for name in feeds}
    with pytest.raises(InternalError, match=r"the net takes \['x'\], not \["):
        evaluate_fp16(model, given)


def test_fp16_inside_of_a_branch_is_refused():
    def branch(name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, HALF, [2, 4])
        return helper.make_graph([node(f"n_{name}: Relu x -> {name}")], name, [], [out])

    model = half_net(
        node("choose: If flag -> y", then_branch=branch("t"), else_branch=branch("e")),
        flag=np.array(True),
    )
    with pytest.raises(ModelError, match="'x' is FP16 inside of node 'choose'"):
        evaluate_fp16(model, {"x": numbers(2, 4)})
