"""Graphs: what they take and give, shapes, versions; and what cleaning leaves of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ffswap.models.cleaning
import ffswap.models.graph
from ffswap.errors import InternalError, ModelError
from ffswap.models import embedded_bytes, get, names
from ffswap.models.cleaning import clean
from ffswap.models.graph import (
    BATCH,
    check_dimensions,
    check_opset,
    custom_operators,
    fixed_batch,
    free_dimensions,
    inputs_of,
    opset,
    outputs_of,
    set_shapes,
)
from ffswap.models.onnx_files import parse_onnx
from tests.models.graphs import graph, kinds, node, run, value, weights


def free_net() -> onnx.ModelProto:
    """A convolution over pictures of any size; the weights are listed as an input, too."""
    model = graph(
        [node("Conv", "image kernel", "y", name="conv")],
        {"image": ["N", 3, "height", "width"], "kernel": [4, 3, 1, 1]},
        {"y": ["N", 4, "height", "width"]},
        {"kernel": weights(4, 3, 1, 1)},
    )
    return model


def test_all_is_sorted():
    for module in (ffswap.models.graph, ffswap.models.cleaning):
        assert module.__all__ == sorted(module.__all__)


def test_it_tells_inputs_and_outputs():
    (image,) = inputs_of(free_net())
    assert (image.name, image.dtype, image.shape) == (
        "image",
        np.dtype(np.float32),
        (-1, 3, -1, -1),
    )
    assert image.names == (BATCH, "", "height", "width")
    assert image.batched
    assert str(image) == "image: float32 (N, 3, height, width)"
    (y,) = outputs_of(free_net())
    assert (y.name, y.shape) == ("y", (-1, 4, -1, -1))


def test_what_is_no_tensor_of_numbers_is_refused():
    model = free_net()
    model.graph.input[0].CopyFrom(value("image", [1], TensorProto.STRING))
    with pytest.raises(ModelError, match="input 'image' is text"):
        inputs_of(model)
    kind = helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, [1])
    model.graph.input[0].CopyFrom(kind)
    with pytest.raises(ModelError, match="input 'image' is not a tensor"):
        inputs_of(model)


def test_free_dimensions_are_named_with_what_to_do():
    model = free_net()
    assert [(info.name, axis) for info, axis in free_dimensions(model)] == [
        ("image", 2), ("image", 3),
    ]  # fmt: skip
    with pytest.raises(ModelError, match=r"dimension 2 of the input image: .* is free") as caught:
        check_dimensions(model)
    assert "[models.NAME.shapes] image = [3, 640, 640]" in (caught.value.hint or "")
    check_dimensions(set_shapes(model, {"image": (3, 8, 6)}))
    with pytest.raises(ModelError, match="dimension 0"):
        check_dimensions(set_shapes(model, {"image": (3, 8, 6)}), unbatched=["image"])


def test_it_sets_shapes_wherever_their_name_stands():
    model = free_net()
    changed = set_shapes(model, {"image": (3, 8, 6)})
    assert inputs_of(changed)[0].shape == (-1, 3, 8, 6)
    assert outputs_of(changed)[0].shape == (-1, 4, 8, 6)
    assert model == free_net()
    feeds = {"image": weights(2, 3, 8, 6)}
    np.testing.assert_array_equal(run(changed, feeds)["y"], run(model, feeds)["y"])
    whole = set_shapes(model, {"image": (2, 3, 8, 6)}, unbatched=["image"])
    assert inputs_of(whole)[0].shape == (2, 3, 8, 6)


def test_it_gives_a_shape_to_an_input_that_has_none():
    model = free_net()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="input 'image' has no shape"):
        inputs_of(model)
    assert inputs_of(set_shapes(model, {"image": (3, 8, 6)}))[0].shape == (-1, 3, 8, 6)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"picture": (3, 8, 8)}, r"no input 'picture'; there are \['image'\]"),
        ({"kernel": (3, 1, 1)}, "no input 'kernel'"),
        ({"image": (8, 8)}, r"cannot have rows of shape \(8, 8\)"),
        ({"image": (1, 8, 8)}, r"cannot have rows of shape \(1, 8, 8\)"),
        ({"image": (3, 0, 8)}, r"cannot have rows of shape \(3, 0, 8\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, ...]], message: str):
    with pytest.raises(ModelError, match=message):
        set_shapes(free_net(), shapes)


def test_one_name_has_one_size():
    square = free_net()
    for axis in (2, 3):
        square.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    assert inputs_of(set_shapes(square, {"image": (3, 8, 8)}))[0].shape == (-1, 3, 8, 8)
    with pytest.raises(ModelError, match="'side' is to be 8 and 6"):
        set_shapes(square, {"image": (3, 8, 6)})


def test_it_fixes_the_batch():
    model = free_net()
    fixed = fixed_batch(model, 4)
    assert inputs_of(fixed)[0].shape == (4, 3, -1, -1)
    assert outputs_of(fixed)[0].shape[0] == 4
    assert inputs_of(model)[0].batched
    with pytest.raises(InternalError, match="a batch of 0 rows"):
        fixed_batch(model, 0)


def test_it_compares_versions_of_operators():
    model = free_net()
    assert opset(model) == 17
    check_opset(model, 17, "TensorRT 8.6.1")
    check_opset(model, None, "TensorRT 10.3")
    with pytest.raises(ModelError, match=r"opset 17; TensorRT 8\.6\.1 reads up to 16") as caught:
        check_opset(model, 16, "TensorRT 8.6.1")
    assert "opset 16" in (caught.value.hint or "")
    del model.opset_import[:]
    with pytest.raises(ModelError, match="does not say"):
        opset(model)


def test_it_lists_operators_of_others():
    assert custom_operators(free_net()) == ()
    model = free_net()
    model.graph.node[0].domain = "com.microsoft"
    assert custom_operators(model) == ("com.microsoft.Conv",)


@pytest.mark.parametrize("name", names(embedded=True))
def test_embedded_nets_have_plain_weights_and_give_the_same(name: str):
    model = parse_onnx(embedded_bytes(get(name)), name)
    before = model.SerializeToString()
    cleaned = clean(model)
    assert model.SerializeToString() == before
    assert "Cast" in kinds(model)
    assert not {"Cast", "Constant", "Identity"} & set(kinds(cleaned))
    stored = {tensor.name: tensor.data_type for tensor in cleaned.graph.initializer}
    layers = [n for n in cleaned.graph.node if n.op_type in ("Conv", "Gemm")]
    assert {stored[n.input[1]] for n in layers} == {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 not in stored.values()
    assert len({n.name for n in cleaned.graph.node} - {""}) == len(cleaned.graph.node)
    assert (cleaned.opset_import, cleaned.ir_version) == (model.opset_import, model.ir_version)
    onnx.checker.check_model(cleaned, full_check=True)
    side = inputs_of(model)[0].shape[-1]
    feeds = {"image": np.random.default_rng(0).random((2, 3, side, side), np.float32)}
    want, got = run(model, feeds), run(cleaned, feeds)
    assert got.keys() == want.keys()
    for output in want:
        np.testing.assert_array_equal(got[output], want[output])


X = {"x": weights(2, 4)}


def same(model: onnx.ModelProto) -> onnx.ModelProto:
    """The cleaned model, after a look at what it computes."""
    cleaned = clean(model)
    onnx.checker.check_model(cleaned)
    want, got = run(model, X), run(cleaned, X)
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])
    return cleaned


def test_constants_become_initialisers():
    nodes = [
        node("Constant", "", "a", value=numpy_helper.from_array(weights(4))),
        node("Constant", "", "b", value_float=2.0),
        node("Constant", "", "axes", value_ints=[0]),
        node("Add", "x a", "s"),
        node("Mul", "s b", "m"),
        node("Unsqueeze", "m axes", "y"),
    ]
    cleaned = same(graph(nodes, {"x": [2, 4]}, {"y": [1, 2, 4]}))
    assert kinds(cleaned) == ["Add", "Mul", "Unsqueeze"]
    assert {t.name for t in cleaned.graph.initializer} == {"a", "b", "axes"}


def test_weights_are_stored_once():
    nodes = [
        node("Identity", "half", "other"),
        node("Cast", "half", "a", to=TensorProto.FLOAT),
        node("Cast", "other", "b", to=TensorProto.FLOAT),
        node("Add", "x a", "s"),
        node("Mul", "s b", "y"),
    ]
    half = weights(4).astype(np.float16)
    cleaned = same(graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}, {"half": half, "unused": weights(9)}))
    assert kinds(cleaned) == ["Add", "Mul"]
    (tensor,) = cleaned.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), half.astype(np.float32))


def test_what_gives_what_it_gets_is_taken_out():
    nodes = [
        node("Identity", "x", "i"),
        node("Relu", "i", "r"),
        node("Dropout", "r ratio off", "d"),
        node("Neg", "r", "n"),
        node("Identity", "d", "e"),
        node("Identity", "e", "y"),
        node("Identity", "x", "z"),
        node("Add", "n d", "w"),
        node("Sqrt", "x", "dead"),
    ]
    numbers = {"ratio": np.float32(0.5), "off": np.array(False)}
    outputs: dict[str, list[str | int]] = {name: [2, 4] for name in "yzw"}
    cleaned = same(graph(nodes, {"x": [2, 4]}, outputs, numbers))
    # An input that is an output, too, needs something between them.
    assert kinds(cleaned) == ["Relu", "Neg", "Identity", "Add"]
    assert [n.output[0] for n in cleaned.graph.node] == ["y", "n", "z", "w"]
    assert not cleaned.graph.initializer


@pytest.mark.parametrize(
    ("dropout", "version", "gone"),
    [
        (node("Dropout", "r _ on", "y"), 17, False),
        (node("Dropout", "r _ unknown", "y"), 17, False),
        (node("Dropout", "r", "y"), 17, True),
        (node("Dropout", "r", "y mask"), 17, True),
        (node("Dropout", "r", "y", ratio=0.5), 11, True),
        (node("Dropout", "r", "y", is_test=1), 6, True),
        (node("Dropout", "r", "y", is_test=0), 6, False),
    ],
)
def test_dropout_goes_only_where_it_does_nothing(dropout: onnx.NodeProto, version: int, gone: bool):
    nodes = [node("Relu", "x", "r"), node("Neg", "r", "y")]
    model = graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}, {"on": np.array(True)})
    model.graph.node[1].CopyFrom(dropout)
    model.graph.input.append(value("unknown", [], TensorProto.BOOL))
    model.opset_import[0].version = version
    assert kinds(clean(model)) == (["Relu"] if gone else ["Relu", "Dropout"])


def test_a_mask_that_is_read_keeps_its_dropout():
    nodes = [node("Dropout", "x", "d mask"), node("Where", "mask d x", "y")]
    assert kinds(same(graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}))) == ["Dropout", "Where"]


def test_initialisers_are_no_inputs():
    cleaned = clean(free_net())
    assert [v.name for v in cleaned.graph.input] == ["image"]
    assert [t.name for t in cleaned.graph.initializer] == ["kernel"]


def test_bodies_keep_what_they_read_from_outside():
    then = helper.make_graph([node("Add", "r w", "t")], "then", [], [value("t", [2, 4])])
    other = helper.make_graph([node("Mul", "r h", "o")], "else", [], [value("o", [2, 4])])
    nodes = [
        node("Relu", "x", "q"),
        node("Identity", "q", "r"),
        node("Identity", "stored", "w"),
        node("Cast", "half", "h", to=TensorProto.FLOAT),
        node("Cast", "half", "h2", to=TensorProto.FLOAT),
        node("If", "yes", "b", then_branch=then, else_branch=other),
        node("Add", "b h2", "y"),
    ]
    numbers = {
        "yes": np.array(True), "stored": weights(4), "half": weights(4, seed=1).astype(np.float16),
    }  # fmt: skip
    for decision in (True, False):
        numbers["yes"] = np.array(decision)
        cleaned = same(graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}, numbers))
        assert kinds(cleaned) == ["Relu", "Identity", "If", "Add"]
        assert {t.name for t in cleaned.graph.initializer} == {"yes", "w", "h"}


def test_names_are_kept_where_they_are_unique():
    nodes = [
        node("Relu", "x", "a", name="act"),
        node("Neg", "a", "b", name="act"),
        node("Relu", "b", "c"),
        node("Abs", "c", "y", name="Relu_2"),
    ]
    cleaned = clean(graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}))  # runtimes refuse the original
    assert [n.name for n in cleaned.graph.node] == ["act", "Neg_1", "Relu_2_1", "Relu_2"]


def unknown_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def out_of_order(model: onnx.ModelProto) -> None:
    model.graph.node.reverse()


def twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "a"


def no_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "z"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (unknown_input, r"node 'one' \(Relu\) reads 'nowhere', which nothing before it makes"),
        (out_of_order, r"node 'two' \(Neg\) reads 'a'"),
        (twice, r"node 'two' \(Neg\) writes 'a', which is there already"),
        (no_output, "nothing makes the output 'z'"),
    ],
)
def test_broken_graphs_are_refused(harm: Callable[[onnx.ModelProto], None], message: str):
    nodes = [node("Relu", "x", "a", name="one"), node("Neg", "a", "y", name="two")]
    model = graph(nodes, {"x": [2, 4]}, {"y": [2, 4]})
    harm(model)
    with pytest.raises(ModelError, match=message):
        clean(model)


def test_conversions_that_depend_on_the_machine_stay():
    nodes = [
        node("Cast", "large", "i", to=TensorProto.INT32),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Add", "x f", "y"),
    ]
    model = graph(nodes, {"x": [2, 4]}, {"y": [2, 4]}, {"large": np.array([1e20], np.float32)})
    assert Counter(kinds(clean(model))) == {"Cast": 2, "Add": 1}
