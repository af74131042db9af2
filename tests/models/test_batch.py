"""The batch: made free where it is fixed at 1, refused where rows would mix, proven by example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import ffswap.models.batch
from ffswap.errors import InternalError, ModelError
from ffswap.models import embedded_bytes, get, names
from ffswap.models.batch import drawn_feeds, free_batch, prove_rows
from ffswap.models.cleaning import clean
from ffswap.models.graph import BATCH, fixed_batch, inputs_of, outputs_of
from ffswap.models.onnx_files import parse_onnx
from tests.models.graphs import Dims, graph, kinds, node, run, value, weights


def integers(*values: int) -> NDArray[np.int64]:
    """A shape, axes or the like."""
    return np.array(values, np.int64)


def detector() -> onnx.ModelProto:
    """A head with distances as distributions: YOLO's."""
    nodes = [
        node("Conv", "image k1", "f1", strides=[2, 2], pads=[1] * 4),
        node("Conv", "f1 k2", "f2", strides=[2, 2], pads=[1] * 4),
        node("Reshape", "f1 s1", "r1"),
        node("Reshape", "f2 s2", "r2"),
        node("Concat", "r1 r2", "all", axis=2),
        node("Reshape", "all s3", "parts"),
        node("Transpose", "parts", "bins", perm=[0, 2, 1, 3]),
        node("Softmax", "bins", "likely", axis=1),
        node("Conv", "likely steps", "mean"),
        node("Reshape", "mean s4", "distances"),
        node("Slice", "distances zero two axis", "near"),
        node("Sub", "anchors near", "boxes"),
        node("Concat", "boxes distances", "y", axis=1),
    ]
    numbers = {
        "k1": weights(16, 3, 3, 3), "k2": weights(16, 16, 3, 3, seed=1) / 9,
        "s1": integers(1, 16, 64), "s2": integers(1, 16, 16), "s3": integers(1, 4, 4, 80),
        "s4": integers(1, 4, 80), "steps": np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1),
        "zero": integers(0), "two": integers(2), "axis": integers(1),
        "anchors": weights(1, 2, 80, seed=2),
    }  # fmt: skip
    return graph(nodes, {"image": [1, 3, 16, 16]}, {"y": [1, 6, 80]}, numbers)


def landmarks() -> onnx.ModelProto:
    """The greatest value of each heatmap and where it is: FAN's."""
    nodes = [
        node("Conv", "image k", "heat"),
        node("Reshape", "heat flat", "line"),
        node("ArgMax", "line", "at", axis=2, keepdims=1),
        node("Mod", "at width", "x"),
        node("Div", "at width", "row"),
        node("Cast", "x", "xf", to=TensorProto.FLOAT),
        node("Cast", "row", "yf", to=TensorProto.FLOAT),
        node("ReduceMax", "line", "score", axes=[2], keepdims=1),
        node("Concat", "xf yf score", "points", axis=2),
    ]
    numbers = {"k": weights(5, 3, 1, 1), "flat": integers(1, 5, 64), "width": integers(8)}
    outputs: dict[str, Dims] = {"points": [1, 5, 3], "heat": [1, 5, 8, 8]}
    return graph(nodes, {"image": [1, 3, 8, 8]}, outputs, numbers)


def recogniser() -> onnx.ModelProto:
    """Convolution, slope per channel, flattened, to a vector of length 1: ArcFace's."""
    nodes = [
        node("Conv", "image k", "c"),
        node("PRelu", "c slope", "p"),
        node("BatchNormalization", "p scale bias mean var", "b"),
        node("Flatten", "b", "f", axis=1),
        node("Gemm", "f w offset", "g", transB=1),
        node("ReduceL2", "g", "length", axes=[1], keepdims=1),
        node("Div", "g length", "y"),
    ]
    numbers = {
        "k": weights(4, 3, 1, 1), "slope": weights(4, 1, 1), "scale": weights(4),
        "bias": weights(4, seed=1), "mean": weights(4, seed=2), "var": weights(4, seed=3) ** 2,
        "w": weights(8, 256), "offset": weights(8),
    }  # fmt: skip
    return graph(nodes, {"image": [1, 3, 8, 8]}, {"y": [1, 8]}, numbers)


def swapper() -> onnx.ModelProto:
    """Normalised features, scaled and moved by what a layer makes of the identity: inswapper's."""
    nodes = [
        node("Pad", "target edges", "padded", mode="reflect"),
        node("Conv", "padded k", "c"),
        node("ReduceMean", "c", "mean", axes=[2, 3], keepdims=1),
        node("Sub", "c mean", "centred"),
        node("Gemm", "source w", "style", transB=1),
        node("Unsqueeze", "style two", "s3"),
        node("Unsqueeze", "s3 three", "s4"),
        node("Slice", "s4 zero half one", "gain"),
        node("Slice", "s4 half all one", "move"),
        node("Mul", "centred gain", "scaled"),
        node("Add", "scaled move", "added"),
        node("Resize", "added _ _ size", "up", mode="linear"),
        node("Tanh", "up", "output"),
    ]
    numbers = {
        "edges": integers(0, 0, 1, 1, 0, 0, 1, 1), "k": weights(4, 3, 3, 3), "w": weights(8, 16),
        "two": integers(2), "three": integers(3), "zero": integers(0), "half": integers(4),
        "one": integers(1), "all": integers(2**63 - 1), "size": integers(1, 4, 12, 20),
    }  # fmt: skip
    inputs: dict[str, Dims] = {"target": [1, 3, 8, 8], "source": [1, 16]}
    return graph(nodes, inputs, {"output": [1, 4, 12, 20]}, numbers)


def attention() -> onnx.ModelProto:
    """Multi-head attention with the sequence first, as PyTorch exports it: CodeFormer's.

    8 places, 12 values each, 3 heads of 4; the batch is the second axis and later part of it.
    """
    nodes = [
        node("Reshape", "image places", "lines"),
        node("Transpose", "lines", "sequence", perm=[2, 0, 1]),
        node("Expand", "table spread", "position"),
        node("Add", "sequence position", "with"),
        node("MatMul", "with wq", "q"),
        node("MatMul", "with wk", "k"),
        node("Reshape", "q heads", "q3"),
        node("Reshape", "k heads", "k3"),
        node("Transpose", "q3", "qh", perm=[1, 0, 2]),
        node("Transpose", "k3", "kh", perm=[1, 2, 0]),
        node("MatMul", "qh kh", "alike"),
        node("Softmax", "alike", "share", axis=-1),
        node("Transpose", "k3", "vh", perm=[1, 0, 2]),
        node("MatMul", "share vh", "mixed"),
        node("Transpose", "mixed", "back", perm=[1, 0, 2]),
        node("Reshape", "back rows", "flat"),
        node("Gemm", "flat wo", "out"),
        node("Reshape", "out apart", "again"),
        node("LayerNormalization", "again gain", "normal", axis=-1),
        node("Transpose", "normal", "t", perm=[1, 2, 0]),
        node("Reshape", "t picture", "y"),
    ]
    numbers = {
        "places": integers(1, 12, 8), "table": weights(8, 1, 12), "spread": integers(8, 1, 12),
        "wq": weights(12, 12), "wk": weights(12, 12, seed=1), "heads": integers(8, 3, 4),
        "rows": integers(8, 12), "wo": weights(12, 12, seed=2), "apart": integers(8, 1, 12),
        "gain": weights(12), "picture": integers(1, 12, 2, 4),
    }  # fmt: skip
    return graph(nodes, {"image": [1, 12, 2, 4]}, {"y": [1, 12, 2, 4]}, numbers)


def computed_shapes() -> onnx.ModelProto:
    """Shapes that are computed from shapes, as exporters with free axes leave them."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "n"),
        node("Gather", "shape second", "channels"),
        node("Unsqueeze", "n zero", "n1"),
        node("Concat", "n1 minus", "flat", axis=0),
        node("Reshape", "x flat", "line"),
        node("MatMul", "line w", "m"),
        node("Unsqueeze", "channels zero", "c1"),
        node("Concat", "n1 c1 minus", "parts", axis=0),
        node("Reshape", "m parts", "y"),
    ]
    numbers = {
        "first": np.array(0), "second": np.array(1), "zero": integers(0), "minus": integers(-1),
        "w": weights(12, 8),
    }  # fmt: skip
    return graph(nodes, {"x": ["rows", 4, 3]}, {"y": ["rows", 4, 2]}, numbers)


def gathered() -> onnx.ModelProto:
    """A table looked up by the greatest value, codes of one place each, sorting, an equation."""
    nodes = [
        node("Flatten", "x", "f", axis=0),
        node("Reshape", "f parts", "r"),
        node("ArgMax", "r", "code", axis=2, keepdims=0),
        node("Gather", "table code", "looked", axis=0),
        node("Unsqueeze", "code end", "column"),
        node("Equal", "column classes", "is"),
        node("Cast", "is", "hot", to=TensorProto.FLOAT),
        node("Einsum", "hot looked", "e", equation="nab,nac->nbc"),
        node("TopK", "r k", "best which", axis=2),
        node("GatherElements", "r which", "taken", axis=2),
        node("Tile", "taken twice", "tiled"),
        node("Split", "tiled", "part other", axis=2),
        node("Squeeze", "part end", "flat"),
        node("ReduceSum", "other end", "sum", keepdims=0),
        node("Concat", "flat sum", "y", axis=1),
    ]
    numbers = {
        "parts": integers(1, 2, 6), "table": weights(6, 5), "classes": integers(*range(6)), "k": integers(1), "twice": integers(1, 1, 2),
        "end": integers(2),
    }  # fmt: skip
    outputs: dict[str, Dims] = {"y": [1, 4], "e": [1, 6, 5]}
    return graph(nodes, {"x": [1, 3, 4]}, outputs, numbers, opset=17)


FAMILIES = [detector, landmarks, recogniser, swapper, attention, computed_shapes, gathered]


def test_all_is_sorted():
    assert ffswap.models.batch.__all__ == sorted(ffswap.models.batch.__all__)


@pytest.mark.parametrize("make", FAMILIES)
def test_a_fixed_batch_becomes_free(make: Any):
    model = clean(make())
    before = model.SerializeToString()
    freed = free_batch(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(freed)
    for info in (*inputs_of(freed), *outputs_of(freed)):
        assert info.batched
    for got, want in zip(outputs_of(freed), outputs_of(model), strict=True):
        assert (got.name, got.shape[1:]) == (want.name, want.shape[1:])
    assert (freed.opset_import, freed.ir_version) == (model.opset_import, model.ir_version)
    proof = prove_rows(freed, run, original=model)
    assert max(proof.difference.values()) < 1e-5
    assert min(proof.spread.values()) > 1e-3
    # A runtime that is told the batch must come to the same shapes.
    feeds = drawn_feeds(freed, 5)
    for name, array in run(fixed_batch(freed, 5), feeds).items():
        np.testing.assert_allclose(array, run(freed, feeds)[name], atol=1e-6)


@pytest.mark.parametrize("name", names(embedded=True))
def test_embedded_nets_keep_rows_apart(name: str):
    model = clean(parse_onnx(embedded_bytes(get(name)), name))
    freed = free_batch(model)
    assert kinds(freed) == kinds(model)
    proof = prove_rows(freed, run, original=model)
    assert max(proof.difference.values()) < 1e-5
    assert min(proof.spread.values()) > 1e-2


def test_what_is_computed_from_shapes_is_folded():
    assert kinds(free_batch(clean(computed_shapes()))) == ["Reshape", "MatMul", "Reshape"]


def one(
    nodes: list[onnx.NodeProto], outputs: Mapping[str, Dims], numbers: Mapping[str, Any] | None = None,
    *, x: Dims = (1, 4, 6),
) -> onnx.ModelProto:  # fmt: skip
    """A cleaned graph whose nodes have the names of their outputs."""
    for item in nodes:
        item.name = item.output[0]
    return clean(graph(nodes, {"x": x}, outputs, numbers))


def modulated() -> onnx.ModelProto:
    """A convolution whose kernel is scaled by a style: StyleGAN's."""
    nodes = [
        node("ReduceMean", "x", "style", axes=[2, 3], keepdims=1),
        node("Mul", "kernel style", "scaled"),
        node("Conv", "x scaled", "y"),
    ]
    return one(nodes, {"y": [1, 4, 6, 6]}, {"kernel": weights(4, 3, 1, 1)}, x=(1, 3, 6, 6))


@pytest.mark.parametrize(
    ("nodes", "y", "numbers", "message"),
    [
        ([node("ReduceMean", "x", "y", axes=[0], keepdims=1)], [1, 4, 6], {},
         r"node 'y' \(ReduceMean\) takes the rows together"),
        ([node("ReduceMean", "x", "m"), node("Mul", "x m", "y")], [1, 4, 6], {},
         r"node 'm' \(ReduceMean\) takes the rows together"),
        ([node("Softmax", "x", "y", axis=0)], [1, 4, 6], {}, "compares the rows"),
        ([node("Gather", "x zero", "y", axis=0)], [1, 4, 6], {"zero": integers(0)},
         "picks some rows and leaves others"),
        ([node("Slice", "x zero one zero", "y")], [1, 4, 6], {"zero": integers(0), "one": integers(1)},
         "takes some rows and leaves others"),
        ([node("Squeeze", "x", "s"), node("Softmax", "s", "y")], [4, 6], {},
         r"node 's' \(Squeeze\) takes the axis of the rows away"),
        ([node("Concat", "x token", "y", axis=1)], [1, 5, 6], {"token": weights(1, 1, 6)},
         "joins what belongs to a row and what belongs to none"),
        ([node("Concat", "x x", "y", axis=0)], [2, 4, 6], {}, "behind each other along the rows"),
        ([node("Expand", "x shape", "y")], [3, 4, 6], {"shape": integers(3, 4, 6)}, "repeats the rows"),
        ([node("Tile", "x two", "y")], [2, 4, 6], {"two": integers(2, 1, 1)},
         "has the rows along axis 0, in 2 parts"),
        ([node("Transpose", "x", "y", perm=[1, 0, 2])], [4, 1, 6], {},
         r"made by node 'y' \(Transpose\), has the rows along axis 1"),
        ([node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t flat", "y")], [24, 1],
         {"flat": integers(-1, 1)}, r"output 'y', made by node 'y' \(Reshape\), has the rows"),
        ([node("Transpose", "x", "t", perm=[1, 2, 0]), node("MatMul", "t w", "y")], [4, 6, 3],
         {"w": weights(1, 3)}, "adds the rows up"),
        ([node("Transpose", "x", "t", perm=[2, 1, 0]), node("Add", "x t", "y")], [6, 4, 6], {},
         "rows of its inputs along different axes"),
        ([node("Add", "x table", "y")], [5, 4, 6], {"table": weights(5, 1, 1)},
         "lays 'table', which has a fixed size there, along the rows"),
        ([node("Add", "table table", "y")], [4, 6], {"table": weights(4, 6)},
         "output 'y', made by node 'y' .* is the same for every row"),
        ([node("RandomNormalLike", "x", "r"), node("Add", "x r", "y")], [1, 4, 6], {},
         "draws random numbers"),
        ([node("NonZero", "x", "i"), node("Cast", "i", "y", to=1)], [3, "found"], {},
         r"node 'i' \(NonZero\) gives as many results as"),
        ([node("CumSum", "x zero", "y")], [1, 4, 6], {"zero": np.array(0)}, "sorts, sums or picks"),
        ([node("Pad", "x pads", "y")], [2, 4, 6], {"pads": integers(1, 0, 0, 0, 0, 0)}, "pads the rows"),
        ([node("Einsum", "x", "y", equation="nab->ab")], [4, 6], {}, "adds the rows up"),
        ([node("Resize", "x _ scales", "y")], [2, 4, 6], {"scales": np.array([2, 1, 1], np.float32)},
         "resizes along the rows"),
    ],
)  # fmt: skip
def test_what_would_mix_rows_is_refused(
    nodes: list[onnx.NodeProto], y: Dims, numbers: Mapping[str, Any], message: str
):
    with pytest.raises(ModelError, match=message) as caught:
        free_batch(one(nodes, {"y": y}, numbers))
    assert str(caught.value).startswith("its batch cannot be made free: ")
    assert caught.value.hint == "this net can only be run with one row at a time"


def test_weights_for_each_row_are_refused():
    with pytest.raises(ModelError, match=r"node 'y' \(Conv\) has weights that are computed from"):
        free_batch(modulated())


def test_a_body_that_decides_for_all_rows_is_refused():
    body = [
        helper.make_graph([node(kind, "x", "b")], kind, [], [value("b", [1, 4, 6])])
        for kind in ("Relu", "Neg")
    ]
    nodes = [node("If", "yes", "y", then_branch=body[0], else_branch=body[1])]
    with pytest.raises(ModelError, match=r"node 'y' \(If\) decides for all rows at once"):
        free_batch(one(nodes, {"y": [1, 4, 6]}, {"yes": np.array(True)}))


def test_inputs_that_are_no_rows_are_told():
    nodes = [node("Cast", "weight", "w", to=TensorProto.FLOAT), node("Mul", "x w", "y")]
    model = graph(nodes, {"x": [1, 4], "weight": [1]}, {"y": [1, 4]})
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(ModelError, match="rows of its inputs along different axes"):
        free_batch(clean(model))
    freed = free_batch(clean(model), unbatched=["weight"])
    assert [info.batched for info in inputs_of(freed)] == [True, False]
    prove_rows(freed, run, original=model)
    with pytest.raises(ModelError, match="there is no input 'size'"):
        free_batch(clean(model), unbatched=["size"])


@pytest.mark.parametrize("dims", [[2, 4], []])
def test_inputs_of_several_rows_are_refused(dims: list[int]):
    model = clean(graph([node("Relu", "x", "y")], {"x": dims}, {"y": dims}))
    with pytest.raises(ModelError, match="no batch of one row in front") as caught:
        free_batch(model)
    assert 'unbatched = ["x"]' in (caught.value.hint or "")


def test_other_free_dimensions_are_refused():
    model = clean(graph([node("Relu", "x", "y")], {"x": [1, "width"]}, {"y": [1, "width"]}))
    with pytest.raises(ModelError, match="dimension 1 of the input x"):
        free_batch(model)


def test_shapes_that_contradict_each_other_name_the_node():
    nodes = [node("Relu", "x", "r"), node("MatMul", "r w", "y")]
    model = one(nodes, {"y": [1, 4, 3]}, {"w": weights(6, 3)})
    model.graph.initializer[0].dims[:] = [3, 6]
    with pytest.raises(ModelError, match=r"contradict each other.*MatMul, node name: y"):
        free_batch(model)


def freed_by_hand(
    nodes: list[onnx.NodeProto], numbers: Mapping[str, Any], y: Dims
) -> onnx.ModelProto:
    """A graph with a free batch that nobody has looked at."""
    return one(nodes, {"y": y}, numbers, x=(BATCH, 4, 6))


def test_only_the_proof_finds_rows_that_are_mixed():
    # Adding up a running sum over all values: the shapes are those of an innocent net.
    nodes = [
        node("Relu", "x", "r"),
        node("Reshape", "r flat", "f"),
        node("CumSum", "f zero", "sums"),
        node("Reshape", "sums shape", "back"),
        node("Tanh", "back", "t"),
        node("Add", "t x", "y"),
    ]
    numbers = {"flat": integers(-1), "zero": np.array(0), "shape": integers(-1, 4, 6)}
    model = freed_by_hand(nodes, numbers, [BATCH, 4, 6])
    with pytest.raises(ModelError, match=r"not independent.*'y' differs.*node 'sums' \(CumSum\)"):
        prove_rows(model, run)


def test_the_proof_finds_what_the_outputs_hide():
    # Classes: the same for all rows, whatever happens before.
    nodes = [
        node("Mul", "x small", "s"),
        node("ReduceMean", "s", "mean", axes=[0], keepdims=1),
        node("Add", "s mean", "a"),
        node("Add", "a towards", "b"),
        node("ArgMax", "b", "class", axis=2, keepdims=0),
        node("Cast", "class", "y", to=TensorProto.FLOAT),
    ]
    numbers = {"small": np.float32(0.1), "towards": np.arange(6, dtype=np.float32)}
    model = freed_by_hand(nodes, numbers, [BATCH, 4])
    with pytest.raises(ModelError, match=r"not independent: it begins at node 'mean'"):
        prove_rows(model, run)
    del model.graph.node[1]
    model.graph.node[1].input[1] = "s"
    assert prove_rows(model, run).spread == {"y": 0.0}


def test_the_proof_names_the_node_of_a_wrong_shape():
    nodes = [
        node("Relu", "x", "r"),
        node("Reshape", "r flat", "f"),
        node("Neg", "f", "n"),
        node("Reshape", "n one", "y"),
    ]
    numbers = {"flat": integers(-1, 24), "one": integers(1, -1)}
    model = freed_by_hand(nodes, numbers, [1, "values"])
    with pytest.raises(ModelError, match=r"'y' has the shape \(1, 72\), not \(3, 24\)"):
        prove_rows(model, run)


def test_an_output_of_several_rows_for_one_is_refused():
    model = freed_by_hand([node("Reshape", "x four", "y")], {"four": integers(-1, 6)}, ["all", 6])
    with pytest.raises(ModelError, match=r"'y' has the shape \(12, 6\).* alone they have \(4, 6\)"):
        prove_rows(model, run)


def test_the_proof_names_the_node_that_cannot_be_run():
    nodes = [
        node("Relu", "x", "r"),
        node("Neg", "r", "n"),
        node("Reshape", "n fixed", "f"),
        node("Abs", "f", "y"),
    ]
    model = freed_by_hand(nodes, {"fixed": integers(1, 24)}, ["rows", 24])
    with pytest.raises(
        ModelError, match=r"cannot be run with 3 rows.*node 'f' \(Reshape\)"
    ) as caught:
        prove_rows(model, run)
    assert caught.value.__cause__ is not None


def test_the_proof_compares_with_the_original():
    model = clean(recogniser())
    freed = free_batch(model)
    assert prove_rows(freed, run, batch=2, original=model).rows == 2
    scale = next(t for t in freed.graph.initializer if t.name == "scale")
    scale.raw_data = (np.frombuffer(scale.raw_data, np.float32) * np.float32(1.01)).tobytes()
    prove_rows(freed, run)  # rows of the same wrong net
    with pytest.raises(ModelError, match="begins at node 'BatchNormalization_2'"):
        prove_rows(freed, run, original=model)


def test_the_proof_needs_rows_to_compare():
    model = free_batch(clean(recogniser()))
    with pytest.raises(InternalError, match=r"a proof with \[1\] rows"):
        prove_rows(model, run, batch=1)
    feeds = drawn_feeds(model, 4, seed=9)
    assert prove_rows(model, run, feeds=feeds).rows == 4


def test_values_that_are_no_numbers_are_compared_too():
    nodes = [node("Sqrt", "x", "root"), node("ReduceMax", "x", "top", keepdims=1)]
    model = freed_by_hand([*nodes, node("Mul", "root top", "y")], {}, [BATCH, 4, 6])
    with pytest.raises(ModelError, match=r"node 'top' \(ReduceMax\)"):
        prove_rows(model, run)
    model.graph.node[2].input[1] = "x"
    assert np.isnan(run(model, drawn_feeds(model, 3))["y"]).any()
    prove_rows(model, run)


def test_drawn_feeds_are_the_same_again_and_in_range():
    nodes = [node("Add", "x a", "y")]
    model = graph(
        nodes,
        {"x": [BATCH, 3, 50], "a": [1], "n": [BATCH, 9]},
        {"y": [BATCH, 3, 50]},
        integers=["n"],
    )
    feeds = drawn_feeds(model, 3, seed=1, ranges={"a": (5, 6)})
    assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
        "x": ((3, 3, 50), "float32"), "a": ((1,), "float32"), "n": ((3, 9), "int64"),
    }  # fmt: skip
    assert 5 <= feeds["a"][0] <= 6
    assert set(np.unique(feeds["n"])) == {0, 1}
    assert -1 <= feeds["x"].min() < feeds["x"].max() <= 1
    means = feeds["x"].mean(axis=(1, 2))
    assert np.ptp(means) > 0.1  # unlike rows of plain noise
    more = drawn_feeds(model, 5, seed=1)
    np.testing.assert_array_equal(more["x"][:3], feeds["x"])
    assert (drawn_feeds(model, 3, seed=2)["x"] != feeds["x"]).all()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "width"
    with pytest.raises(ModelError, match="has a free dimension"):
        drawn_feeds(model, 3)
