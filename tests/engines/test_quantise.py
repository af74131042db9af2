"""Pairs of Q and DQ: at which layers, with what scales, and that builders and ONNX Runtime take them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from ffswap.engines._layers import find_layers
from ffswap.engines._net import Net
from ffswap.engines._range import runs
from ffswap.engines.opset import at_least_opset
from ffswap.engines.precision import to_mixed_fp16
from ffswap.engines.quantise import kernel_scales, quantise, rounded, scale_of
from ffswap.errors import InternalError, ModelError
from tests.engines.fitted_net import faces, fitted_net
from tools.replicas import FAMILIES, make

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for `runs`, which may change it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def output(model: onnx.ModelProto, feeds, **options) -> np.ndarray:
    return next(runs(copied(model), [feeds], **options))["output"]


def whole(model: onnx.ModelProto, largest: float = 4.0, **options) -> onnx.ModelProto:
    """All layers in INT8, with one range for all."""
    layers, _ = find_layers(Net(model))
    tensors = [one.tensor for one in layers]
    tensors += [one.residual.tensor for one in layers if one.residual]
    return quantise(model, layers, dict.fromkeys(tensors, scale_of(np.array(largest))), **options)


def chain(*nodes, channels: int = 16) -> onnx.ModelProto:
    """Convolutions a, b and c around what is between b's input and a: ``("Relu", {})`` and so on."""
    random = np.random.default_rng(0)
    shapes = {"a": (channels, 3, 3, 3), "b": (channels, channels, 3, 3), "c": (3, channels, 3, 3)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, shape).astype("f4"), f"{name}_w")
        for name, shape in shapes.items()
    ]
    made = [helper.make_node("Conv", ["x", "a_w"], ["a"], name="a", pads=[1] * 4)]
    tensor = "a"
    for index, (kind, inputs, options) in enumerate(nodes):
        made.append(
            helper.make_node(kind, [tensor, *inputs], [f"m{index}"], name=f"m{index}", **options)
        )
        tensor = f"m{index}"
    made.append(helper.make_node("Conv", [tensor, "b_w"], ["b"], name="b", pads=[1] * 4))
    made.append(helper.make_node("Conv", ["b", "c_w"], ["output"], name="c", pads=[1] * 4))
    weights += [
        numpy_helper.from_array(np.array([1, 1, 2, 2], "f4"), "scales"),
        numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "widths"),
        numpy_helper.from_array(np.array(0.5, "f4"), "half"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 3, "H", "W"])
    graph = helper.make_graph(made, "chain", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reasons(model: onnx.ModelProto, leave=()) -> dict[str, str]:
    layers, left = find_layers(Net(model), leave)
    return {one.node: "int8" for one in layers} | {one.node: one.reason for one in left}


RESIZE = ("Resize", ["", "scales"], {"mode": "linear"})
PAD = ("Pad", ["widths"], {"mode": "reflect"})


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("Relu", [], {})], "int8"),
        ([PAD], "int8"),
        ([RESIZE], "resize"),
        ([RESIZE, PAD], "resize"),
        ([RESIZE, ("Relu", [], {}), PAD], "resize"),
        ([RESIZE, ("Mul", ["half"], {})], "int8"),
    ],
)
def test_a_convolution_fed_by_a_resize_is_left_through_all_that_moves_values(nodes, reason):
    assert reasons(chain(*nodes)) == {"a": "first", "b": reason, "c": "last"}


@pytest.mark.parametrize(("nodes", "fenced"), [([RESIZE], True), ([PAD], True), ([], False)])
def test_a_fence_lets_a_resize_be_and_changes_no_result(nodes, fenced):
    model = chain(*nodes)
    feeds = {"x": np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32)}
    (layer,), _ = find_layers(Net(model), fences=True)
    assert (layer.node, layer.fenced) == ("b", fenced)
    scales = {layer.tensor: scale_of(np.array(2.0))}
    bare, whole = (
        quantise(model, [replace(layer, fenced=one)], scales) for one in (False, layer.fenced)
    )
    made = {name: node for node in whole.graph.node for name in node.output}
    (conv,) = (node for node in whole.graph.node if node.name == "b")
    rounding = made[made[conv.input[0]].input[0]]
    assert rounding.op_type == "QuantizeLinear"
    assert (made[rounding.input[0]].op_type == "Mul") is fenced
    got, want = (output(one, feeds, optimise=False) for one in (whole, bare))
    np.testing.assert_array_equal(got, want)


def test_few_channels_groups_and_what_a_recipe_names_are_left():
    assert reasons(chain(channels=8))["b"] == "channels"
    assert reasons(chain(), leave=["b"])["b"] == "asked"
    grouped = chain()
    grouped.graph.node[1].attribute.append(helper.make_attribute("group", 2))
    assert reasons(grouped)["b"] == "grouped"


def test_what_is_added_to_a_convolution_is_rounded_and_its_own_output_is_not():
    model = fitted_net()
    layers, left = find_layers(Net(model))
    assert {one.node: one.reason for one in left} == {"first": "first", "last": "last"}
    residuals = {one.node: one.residual.tensor for one in layers if one.residual}
    assert residuals == {"summed": "act_2"}  # not "first", which is left, and reads no such sum
    net = whole(model)
    (add,) = (node for node in net.graph.node if node.name == "sum")
    assert list(add.input) == ["summed", "act_2_dq"]
    # The pair that the convolution reads already serves the sum, too.
    made = Counter(name for node in net.graph.node for name in node.output)
    assert made["act_2_dq"] == 1
    assert not any(
        "_b" in name
        for node in net.graph.node
        for name in node.input[:1]
        if "Quant" in node.op_type
    )


def test_of_two_convolutions_that_are_added_the_first_ones_output_is_rounded():
    model = chain()
    model.graph.node.insert(
        2, helper.make_node("Conv", ["a", "b_w"], ["d"], name="d", pads=[1] * 4)
    )
    model.graph.node.insert(3, helper.make_node("Add", ["b", "d"], ["sum"], name="sum"))
    model.graph.node[4].input[0] = "sum"
    layers, _ = find_layers(Net(model))
    assert {one.node: one.residual and one.residual.tensor for one in layers} == {
        "b": None,
        "d": "b",
    }


@pytest.mark.parametrize("largest", [1e-9, 1e-4, 0.013, 1.0, 127.0, 3000.0])
def test_scales_are_exact_in_fp16_and_cut_nothing_off(largest):
    scale = scale_of(np.array(largest))
    assert scale == np.float32(np.float16(scale))
    assert largest / 127 <= scale <= max(largest / 127 * 1.01, 2.0**-20)


def test_kernels_have_a_scale_for_each_channel_or_one():
    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    kernel[2] *= 100
    each, one = kernel_scales(kernel, "channel"), kernel_scales(kernel, "tensor")
    assert (each.shape, one.shape) == ((4,), ())
    assert one == each[2] > 20 * each[0]
    for scales in (each, one):
        near = np.abs(rounded(kernel, scales) - kernel).reshape(4, -1).max(axis=1)
        assert (near <= scales / 2 * 1.001).all()


@pytest.mark.parametrize("weights", ["channel", "tensor"])
def test_it_is_what_onnx_runtime_quantises_to(tmp_path: Path, weights):
    """The library's own quantiser, told the same rules, gives the same net."""
    model = chain(("Relu", [], {}))
    feeds = {"x": np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32)}
    watched = copied(model)
    watched.graph.output.append(helper.make_tensor_value_info("m0", TensorProto.FLOAT, None))
    (seen,) = (found["m0"] for found in runs(watched, [feeds]))

    class Rows(quantization.CalibrationDataReader):  # type: ignore[misc]
        rows = iter([feeds])

        def get_next(self):
            return next(self.rows, None)

    kinds = [node.op_type for node in model.graph.node]
    quantization.quantize_static(
        copied(model), tmp_path / "q.onnx", Rows(), quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
        per_channel=weights == "channel", op_types_to_quantize=["Conv"], nodes_to_exclude=["a", "c"],
        extra_options={
            "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
            "AddQDQPairToWeight": True, "OpTypesToExcludeOutputQuantization": kinds,
            "QDQOpTypePerChannelSupportToAxis": {"Conv": 0},
        },
    )  # fmt: skip
    theirs = onnx.load(tmp_path / "q.onnx")
    layers, _ = find_layers(Net(model))
    largest = np.abs(seen).max()
    ours = quantise(model, layers, {"m0": scale_of(largest)}, weights=weights)
    count = [Counter(n.op_type for n in one.graph.node) for one in (ours, theirs)]
    assert count[0] == count[1]
    exact, got, want = (output(one, feeds, optimise=False) for one in (model, ours, theirs))
    error = np.abs(want - exact).max()
    assert error > 1e-4
    # Our scales are rounded up to FP16, by 1 part in 1024 at most; so some values fall on another step.
    assert np.abs(got - want).max() < error
    assert np.linalg.norm(got - want) < 0.5 * np.linalg.norm(want - exact)


@pytest.mark.parametrize("opset", [11, 12])
def test_an_older_opset_is_raised_and_the_net_stays_the_same(opset):
    model = make("arcface_w600k_r50")
    assert model.opset_import[0].version == 11
    raised = at_least_opset(model, 13)
    assert {one.domain: one.version for one in raised.opset_import}[""] == 13
    assert at_least_opset(raised, opset) is raised
    (name,) = (one.name for one in model.graph.input)
    feeds = {name: np.random.default_rng(0).uniform(-1, 1, (1, 3, 32, 32)).astype("f4")}
    got, want = (next(iter(next(runs(copied(one), [feeds])).values())) for one in (raised, model))
    np.testing.assert_array_equal(got, want)


def test_a_net_that_cannot_be_raised_is_refused():
    model = chain()
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 11))
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="has opset 11 and cannot be brought to 13"):
        at_least_opset(model, 13)


def test_a_layer_of_another_net_is_a_fault_of_ours():
    layers, _ = find_layers(Net(chain()))
    with pytest.raises(InternalError, match="there is no layer 'b'"):
        quantise(chain(("Relu", [], {})), layers, {"a": scale_of(np.array(1.0))})
    old = chain()
    old.opset_import[0].version = 11
    with pytest.raises(InternalError, match="opset 11"):
        quantise(old, layers, {})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_nets_is_quantised_to_valid_onnx(family):
    model = at_least_opset(make(family), 13)
    layers, left = find_layers(Net(model))
    convolutions = [node for node in Net(model).nodes if node.op_type == "Conv"]
    assert len(layers) + len(left) == len(convolutions)
    net = whole(model)
    onnx.checker.check_model(net, full_check=True)
    onnx.checker.check_model(at_least_opset(net, 19), full_check=True)
    pairs = Counter(node.op_type for node in net.graph.node)
    assert pairs["QuantizeLinear"] == pairs["DequantizeLinear"] >= len(layers)
    zeros = {node.input[2] for node in net.graph.node if node.op_type == "QuantizeLinear"}
    for one in net.graph.initializer:
        if one.name in zeros:
            assert one.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(one).any()


def test_fp16_around_int8_has_no_cast_between_a_pair_and_its_layer():
    net = at_least_opset(whole(fitted_net()), 19)
    feeds = [{name: rows[:1] for name, rows in faces(1).items()}]
    mixed = to_mixed_fp16(net, feeds)
    nodes = {name: node for node in mixed.model.graph.node for name in node.output}
    for node in mixed.model.graph.node:
        if node.op_type == "Conv" and node.name not in ("first", "last"):
            for name in node.input[:2]:
                assert nodes[name].op_type == "DequantizeLinear"
                assert nodes[nodes[name].input[0]].op_type == "QuantizeLinear"
    assert not any(one.operator.endswith("tizeLinear") for one in mixed.islands)


@needs_rtx
@pytest.mark.parametrize("weights", ["channel", "tensor"])
def test_tensorrt_for_rtx_builds_it(tmp_path: Path, weights):
    sizes = {}
    model = fitted_net(batch="N")
    feeds = [{name: rows[:1] for name, rows in faces(1).items()}]
    for kind, net in (("fp16", model), ("int8", at_least_opset(whole(model, weights=weights), 19))):
        path = tmp_path / f"{kind}.onnx"
        onnx.save(to_mixed_fp16(net, feeds).model, path)
        command = [sys.executable, "-m", "tests.engines.rtx_build", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert found["bytes"], found["errors"]
        assert found["outputs"] == {"output": "DataType.FLOAT"}
        sizes[kind] = found["bytes"]
    assert sizes["int8"] != sizes["fp16"]
