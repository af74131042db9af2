"""Files against the catalogue: replicas fit, others are refused by input or output, the matrix is found."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ffswap.errors import ModelError
from ffswap.models import ModelSpec, embedded_bytes, get, load_catalog, names
from ffswap.models.cleaning import clean
from ffswap.models.interface import check_interface, find_matrix, fitting
from ffswap.models.ports import EMBEDDING
from tools.replicas import FAMILIES, make

# Models of which another's replica has the interface.
SAME = {
    "xseg_2": "xseg_1",
    "xseg_3": "xseg_1",
    "bisenet_resnet_34": "bisenet_resnet_18",
    "crossface_ghost": "crossface_simswap",
    "crossface_hififace": "crossface_simswap",
    "ghost_2_256": "ghost_1_256",
    "ghost_3_256": "ghost_1_256",
    "hyperswap_1b_256": "hyperswap_1a_256",
    "hyperswap_1c_256": "hyperswap_1a_256",
    "inswapper_128_fp16": "inswapper_128",
    "simswap_unofficial_512": "simswap_256",
    "restoreformer_plus_plus": "gfpgan_1.4",
    **{f"gfpgan_1.{one}": "gfpgan_1.4" for one in (2, 3)},
    **{f"gpen_bfr_{side}": "gfpgan_1.4" for side in (256, 512, 1024, 2048)},
}

Change = Callable[[onnx.ModelProto], None]


@functools.cache
def made(family: str) -> bytes:
    return bytes(make(family).SerializeToString())


def replica(name: str) -> onnx.ModelProto:
    """A fresh replica of a model of the catalogue."""
    return onnx.load_from_string(made(SAME.get(name, name)))


def port(model: onnx.ModelProto, name: str) -> Any:
    graph = model.graph
    return next(one for one in (*graph.input, *graph.output) if one.name == name)


def dims(model: onnx.ModelProto, name: str) -> Any:
    return port(model, name).type.tensor_type.shape.dim


def small(name: str) -> ModelSpec:
    """The model of the catalogue with pictures as small as its replica's."""
    spec, model = get(name), replica(name)

    def shrunk(image: Any) -> Any:
        sizes = [one.dim_value for one in dims(model, image.name)]
        if not sizes[2]:  # free
            return image
        height, width = sizes[1:3] if image.layout == "nhwc" else sizes[2:4]
        return replace(image, size=(width, height))

    if spec.image is not None:
        spec = replace(spec, image=shrunk(spec.image))
    if spec.source is not None and spec.source.image is not None:
        spec = replace(spec, source=replace(spec.source, image=shrunk(spec.source.image)))
    return spec


@pytest.mark.conformance("interface")
@pytest.mark.parametrize("name", names(embedded=False))
def test_a_replica_fits_its_entry(name: str):
    check_interface(replica(name), small(name))


def test_every_replica_stands_for_an_entry():
    assert set(FAMILIES) == {SAME.get(name, name) for name in names(embedded=False)}


@pytest.mark.conformance("interface")
@pytest.mark.parametrize("name", names(embedded=True))
def test_the_embedded_nets_fit_their_entries(name: str):
    model = onnx.load_from_string(embedded_bytes(get(name)))
    assert fitting(model, load_catalog().models.values()) == [name]


@pytest.mark.parametrize(
    ("family", "fit"),
    [
        ("yoloface_8n", ["yoloface_8n"]),
        ("fan_68_5", ["fan_68_5"]),
        ("arcface_w600k_r50", ["arcface_w600k_r50"]),
    ],
)
def test_a_replica_of_full_size_fits_the_entry_as_it_is(family: str, fit: list[str]):
    assert fitting(make(family, "full"), load_catalog().models.values()) == fit


# By replica: the models that its file cannot be told from, by sort of net.
ALIKE = {
    "xseg_1": {"xseg_1", "xseg_2", "xseg_3"},
    "retinaface_10g": {"retinaface_10g", "scrfd_2.5g"},  # any size fits its free one
    "scrfd_2.5g": {"scrfd_2.5g"},
    "inswapper_128": {"inswapper_128", "inswapper_128_fp16"},
    "uniface_256": {"uniface_256"},
    "codeformer": {"codeformer"},
    "yunet_2023_mar": {"yunet_2023_mar"},
    "hyperswap_1a_256": {  # its mask may be one output more
        *(f"hyperswap_1{one}_256" for one in "abc"),
        *("ghost_1_256", "ghost_2_256", "ghost_3_256", "simswap_256", "simswap_unofficial_512"),
        "hififace_unofficial_256",
    },
    "bisenet_resnet_18": {"bisenet_resnet_18", "bisenet_resnet_34"},
}


@pytest.mark.parametrize("family", ALIKE)
def test_a_file_fits_no_model_of_another_interface(family: str):
    specs = [small(name) for name in names(embedded=False)]
    assert set(fitting(replica(family), specs)) == ALIKE[family]


def test_a_wrong_file_is_told_what_it_fits():
    specs = [small(name) for name in names(embedded=False)]
    with pytest.raises(ModelError, match=r"^is not inswapper_128: there is no input 'target'") as c:
        check_interface(replica("yunet_2023_mar"), small("inswapper_128"), among=specs)
    assert c.value.hint == "this file fits: yunet_2023_mar"
    with pytest.raises(ModelError) as c:
        check_interface(replica("yunet_2023_mar"), small("inswapper_128"))
    assert c.value.hint is None


def rename(old: str, new: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        port(model, old).name = new

    return change


def both(*changes: Change) -> Change:
    """All of them, the last first: names are those of before."""

    def change(model: onnx.ModelProto) -> None:
        for one in reversed(changes):
            one(model)

    return change


def size(name: str, axis: int, value: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        dims(model, name)[axis].dim_value = value

    return change


def dtype(name: str, kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        port(model, name).type.tensor_type.elem_type = kind

    return change


def shorter(name: str) -> Change:
    """One axis fewer."""

    def change(model: onnx.ModelProto) -> None:
        del dims(model, name)[-1]

    return change


def more_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1, 2]))


def fewer_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[-1]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("uniface_256", both(rename("target", "img"), rename("source", "id")),
         r"no input 'target', float32 \(batch, 3, 64, 64\); the inputs are: id: float32 "
         r"\(1, 3, 64, 64\); img: float32 \(1, 3, 64, 64\)"),
        ("inswapper_128", both(rename("source", "id"), size("source", 1, 256)),
         r"no input 'source', float32 \(batch, 512\)"),
        ("inswapper_128", size("source", 1, 256), r"input source: float32 \(1, 256\) is not float32 "
         r"\(batch, 512\)"),
        ("inswapper_128", size("target", 2, 48), r"the input target: float32 \(1, 3, 48, 32\) is not"),
        ("inswapper_128", size("target", 0, 4), r"the input target: float32 \(4, 3, 32, 32\) is not"),
        ("inswapper_128", dtype("target", TensorProto.FLOAT16), "the input target: float16 .* is not"),
        ("inswapper_128", size("output", 1, 4), r"the output output: float32 \(1, 4, 32, 32\) is not "
         r"float32 \(batch, 3, 32, 32\), as output 1 has to be"),
        ("inswapper_128", dtype("output", TensorProto.FLOAT16), "the output output: float16"),
        ("inswapper_128", more_inputs, r"input extra: float32 \(1, 2\) is one too many; wanted: "
         "target, source"),
        ("uniface_256", shorter("source"), r"the input source: float32 \(1, 3, 64\) is not"),
        ("scrfd_2.5g", fewer_outputs, "9 outputs are wanted; there are 8: score_8: float32"),
        ("scrfd_2.5g", size("bbox_16", 0, 8), r"output bbox_16: float32 \(8, 4\) is not float32 "
         r"\(32, 4\) or \(batch, 32, 4\), as output 5"),
        ("yunet_2023_mar", size("kps_8", 2, 8), r"kps_8: float32 \(1, 64, 8\) is not .*output 10"),
        ("yoloface_8n", size("output", 1, 5), r"\(1, 5, 84\) is not float32 \(batch, 20, 84\)"),
        ("2dfan4", size("landmarks", 1, 98), r"landmarks: float32 \(1, 98, 3\) is not float32 "
         r"\(batch, 68, 2 or more\)"),
        ("2dfan4", size("heatmaps", 2, 64), r"heatmaps: .* is not float32 \(batch, 68, 16, 16\)"),
        ("peppa_wutz", size("output", 1, 136), r"is not float32 \(batch, 204\) or \(batch, 68, 3\)"),
        ("fan_68_5", size("input", 1, 68), r"input: float32 \(1, 68, 2\) is not float32 \(batch, 5, 2"),
        ("crossface_ghost", both(rename("input", "x"), size("extra", 1, 512), more_inputs),
         r"no input 'input', float32 \(batch, 512\)"),
        ("arcface_w600k_r50", size("output", 1, 128), r"\(1, 128\) is not float32 \(batch, 512\)"),
        ("xseg_1", size("output", 3, 3), r"\(1, 64, 64, 3\) is not float32 \(batch, 64, 64, 1\)"),
        ("bisenet_resnet_18", size("output", 1, 11), r"is not float32 \(batch, 14 or more, 64, 64\)"),
        ("codeformer", both(rename("weight", "w"), size("weight", 0, 2)), r"there is no input 'weight', float32 or float64 or float16 \(1\) or \(\)"),
        ("codeformer", size("weight", 0, 2), r"the input weight: float64 \(2\) is not"),
        ("codeformer", dtype("weight", TensorProto.INT64), r"the input weight: int64 \(1\) is not"),
    ],
)  # fmt: skip
def test_what_differs_is_named(name: str, change: Change, message: str):
    model = replica(name)
    change(model)
    with pytest.raises(ModelError, match=message):
        check_interface(model, small(name))


@pytest.mark.parametrize(
    "name", ["inswapper_128", "xseg_1", "yunet_2023_mar", "2dfan4", "codeformer"]
)
def test_free_dimensions_and_more_outputs_fit(name: str):
    model, spec = replica(name), small(name)
    for value in (*model.graph.input, *model.graph.output):
        if value.name != "weight":
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    check_interface(model, spec)
    for value in (*model.graph.input, *model.graph.output):
        for axis in range(2, len(value.type.tensor_type.shape.dim)):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.INT64, [7]))
    check_interface(model, spec)


def test_a_constant_may_be_a_scalar_of_another_precision():
    model = replica("codeformer")
    del dims(model, "weight")[:]
    port(model, "weight").type.tensor_type.elem_type = TensorProto.FLOAT
    check_interface(model, small("codeformer"))


def test_an_output_that_the_file_does_not_describe_fits():
    model = replica("hyperswap_1a_256")
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    check_interface(model, small("hyperswap_1a_256"))


def test_named_outputs_may_come_in_any_order():
    model = replica("hyperswap_1a_256")
    first, second = model.graph.output
    swapped = [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in (second, first)]
    del model.graph.output[:]
    model.graph.output.extend(swapped)
    check_interface(model, small("hyperswap_1a_256"))


def numbered(model: onnx.ModelProto) -> None:
    """Names as PyTorch's exporter gives them where nobody asks for others."""
    for number, value in enumerate(model.graph.input, 1):
        value.name = f"input.{number}"
    for number, value in enumerate(model.graph.output):
        value.name = str(446 + 3 * number)


@pytest.mark.conformance("names")
@pytest.mark.parametrize("name", sorted({*names(embedded=False)} - {"uniface_256"}))
def test_names_do_not_matter_where_shapes_tell_what_is_meant(name: str):
    model, spec = replica(name), small(name)
    own = [value.name for value in model.graph.input]
    numbered(model)
    found = check_interface(model, spec)
    assert not found.own
    assert found.inputs == {one: f"input.{k}" for k, one in enumerate(own, 1)}
    given = [str(446 + 3 * k) for k in range(len(found.outputs))]
    assert list(found.outputs.values()) == given
    assert list(found.outputs) == (list(spec.outputs) or given)


def test_a_file_with_the_names_of_the_catalogue_is_said_to_have_them():
    assert check_interface(replica("hyperswap_1a_256"), small("hyperswap_1a_256")).own
    assert check_interface(replica("scrfd_2.5g"), small("scrfd_2.5g")).own


def test_tables_by_stride_are_read_by_kind():
    model, spec = replica("scrfd_2.5g"), small("scrfd_2.5g")
    by_kind = [one.name for one in model.graph.output]
    mixed = [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(mixed[k] for k in (0, 3, 6, 1, 4, 7, 2, 5, 8))
    found = check_interface(model, spec)
    assert list(found.outputs) == list(found.outputs.values()) == by_kind
    assert not found.own
    # Where shapes are alike it is the order that counts, and it is the wrong one.
    yunet = replica("yunet_2023_mar")
    yunet.graph.output.append(yunet.graph.output.pop(0))
    with pytest.raises(ModelError, match=r"cls_16: .* as output 1 has to be"):
        check_interface(yunet, small("yunet_2023_mar"))


def test_weights_that_are_listed_as_inputs_are_none():
    model = replica("inswapper_128")
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    check_interface(model, small("inswapper_128"))


def test_an_entry_that_names_too_many_outputs_is_refused():
    spec = replace(small("yoloface_8n"), outputs=("output", "more"))
    with pytest.raises(ModelError, match="names 2 outputs; allowed for the family yolo_face: 1"):
        check_interface(replica("yoloface_8n"), spec)


# -- the matrix of a projected source ---------------------------------------------------------


def take_matrix(model: onnx.ModelProto) -> Any:
    """Take the matrix out of the replica, whose last initialiser it is."""
    return model.graph.initializer.pop()


def put(model: onnx.ModelProto, tensor: onnx.TensorProto, place: int) -> None:
    tensors = list(model.graph.initializer)
    tensors.insert(place, tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


def square(name: str, value: float, kind: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full((EMBEDDING, EMBEDDING), value, kind), name)


def read_by_a_node(model: onnx.ModelProto, name: str) -> None:
    model.graph.node.append(helper.make_node("Identity", [name], [f"{name}_read"]))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_the_matrix_is_found_wherever_it_is(place: int, kind: Any):
    model = replica("inswapper_128")
    wanted = numpy_helper.to_array(take_matrix(model)).astype(kind)
    put(model, numpy_helper.from_array(wanted, "anything"), place)
    put(model, square("weights", 1.0), len(model.graph.initializer))  # last, and read by a node
    read_by_a_node(model, "weights")
    found = find_matrix(model, get("inswapper_128"))
    assert (found.shape, found.dtype) == ((EMBEDDING, EMBEDDING), np.dtype(np.float32))
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    check_interface(model, small("inswapper_128"))


def test_without_the_matrix_the_file_is_refused():
    model = replica("inswapper_128")
    take_matrix(model)
    with pytest.raises(ModelError, match="no matrix of 512 x 512 float32 or float16 that no node"):
        check_interface(model, small("inswapper_128"))
    model.graph.initializer.append(square("style", 1.0))
    read_by_a_node(model, "style")
    with pytest.raises(ModelError, match=r"no matrix of .*; 'style': read by nodes, so weights"):
        find_matrix(model, get("inswapper_128"))


def test_a_matrix_that_only_a_body_reads_is_a_weight():
    model = replica("inswapper_128")
    name = model.graph.initializer[-1].name
    body = helper.make_graph(
        [helper.make_node("Identity", [name], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model.graph.node.append(
        helper.make_node("If", ["condition"], ["y"], then_branch=body, else_branch=body)
    )
    with pytest.raises(ModelError, match=f"'{name}': read by nodes"):
        find_matrix(model, get("inswapper_128"))


def test_two_matrices_are_not_chosen_from():
    model = replica("inswapper_128")
    put(model, square("other", 1.0, np.float16), 0)
    with pytest.raises(
        ModelError, match=r"there are 2 matrices .* no node reads: 'other', 'buff2fs'"
    ):
        find_matrix(model, get("inswapper_128"))


def test_other_squares_and_types_do_not_count():
    model = replica("inswapper_128")
    put(model, numpy_helper.from_array(np.ones((256, 256), np.float32), "less"), 0)
    put(model, square("whole", 1, np.int64), 0)
    assert find_matrix(model, get("inswapper_128")).std() > 0


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_matrix_without_sense_is_refused(value: float):
    model = replica("inswapper_128")
    take_matrix(model)
    model.graph.initializer.append(square("emap", value))
    with pytest.raises(
        ModelError, match="matrix 'emap' is all zeros or has values that are no num"
    ):
        find_matrix(model, get("inswapper_128"))


def test_a_clean_graph_has_lost_the_matrix():
    """Why it is read from the file as it is."""
    with pytest.raises(ModelError, match="no matrix"):
        find_matrix(clean(replica("inswapper_128")), get("inswapper_128"))
