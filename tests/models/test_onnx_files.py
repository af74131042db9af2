"""ONNX files: what is read, what is refused and how, what is written, what a fingerprint tells apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ffswap.models.onnx_files
from ffswap.errors import InputMissingError, ModelError, OutputWriteError
from ffswap.models import embedded_bytes, get
from ffswap.models.onnx_files import fingerprint, load_onnx, parse_onnx, save_onnx
from tests.models.graphs import graph, node, run, weights

IMAGE = weights(2, 3, 4, 4)


def net() -> onnx.ModelProto:
    """A convolution with 3.5 kB of weights."""
    return graph(
        [node("Conv", "x kernel bias", "y")],
        {"x": ["N", 3, 4, 4]},
        {"y": ["N", 32, 2, 2]},
        {"kernel": weights(32, 3, 3, 3), "bias": weights(32, seed=1)},
    )


def split(tmp_path: Path) -> Path:
    """The net as a file of weights and a file of the rest."""
    save_onnx(net(), tmp_path / "net.onnx", limit_bytes=0)
    return tmp_path / "net.onnx"


def relocate(path: Path, **entries: str) -> None:
    """Change what the model file says of where its weights are."""
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())


def test_all_is_sorted():
    names = ffswap.models.onnx_files.__all__
    assert names == sorted(names)


def test_it_loads_what_was_saved(tmp_path: Path):
    path = tmp_path / "net.onnx"
    assert save_onnx(net(), path) == (path,)
    assert load_onnx(path) == net()
    assert load_onnx(str(path)) == net()
    assert list(tmp_path.iterdir()) == [path]


def test_many_weights_go_into_a_file_of_their_own(tmp_path: Path):
    path = tmp_path / "net.onnx"
    files = save_onnx(net(), path, limit_bytes=1000)
    assert files == (path, tmp_path / "net.onnx.data")
    assert files[1].stat().st_size == 4 * 32 * 3 * 3 * 3
    assert path.stat().st_size < 1000
    loaded = load_onnx(path)
    np.testing.assert_array_equal(run(loaded, {"x": IMAGE})["y"], run(net(), {"x": IMAGE})["y"])
    theirs = onnx.load(path)  # ONNX's own reader
    np.testing.assert_array_equal(run(theirs, {"x": IMAGE})["y"], run(net(), {"x": IMAGE})["y"])
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_weights_start_at_whole_pages(tmp_path: Path):
    model = net()
    model.graph.initializer.append(numpy_helper.from_array(weights(500, seed=2), "other"))
    save_onnx(model, tmp_path / "net.onnx", limit_bytes=0)
    light = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    starts = [
        int(entry.value)
        for tensor in light.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert starts == [0, 4096]
    loaded = load_onnx(tmp_path / "net.onnx")
    assert [numpy_helper.to_array(t).sum() for t in loaded.graph.initializer] == [
        numpy_helper.to_array(t).sum() for t in model.graph.initializer
    ]


def test_saving_replaces_and_never_shows_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = split(tmp_path)
    other = net()
    other.producer_name = "someone else"
    save_onnx(other, path, limit_bytes=0)
    assert load_onnx(path).producer_name == "someone else"

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ffswap.models.onnx_files, "_raw", lambda tensor: bytes(len(tensor.name)))
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputWriteError):
        save_onnx(net(), path, limit_bytes=0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx.data"]


def test_a_missing_folder_is_said(tmp_path: Path):
    with pytest.raises(OutputWriteError, match="there is no folder"):
        save_onnx(net(), tmp_path / "nowhere" / "net.onnx")


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.random.default_rng(0).bytes(4000), "is not ONNX"),
        (zipped(), "a zip archive, or a PyTorch checkpoint"),
        (b"<!DOCTYPE html><html><title>404</title></html>", "a web page"),
        (b"\n  <HTML>sign in</HTML>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS"),
        (b"\x18\x00\x00\x00TFL3" + bytes(40), "a TensorFlow Lite model"),
        (net().SerializeToString()[:-100], "begins like ONNX, but is damaged or cut short"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
        (b"\x08\x08", "holds no graph"),
        (b"\x12\x03abc", "holds no graph"),
    ],
)
def test_what_is_not_onnx_is_named(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        load_onnx(path)
    assert caught.value.file == str(path)
    assert caught.value.hint == "give an ONNX file"
    with pytest.raises(ModelError, match=message):
        parse_onnx(data, "net")


def no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].domain = "com.example"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_nodes, "a graph without nodes"),
        (no_outputs, "a graph without outputs"),
        (foreign_opset, "does not say which version of the ONNX operators"),
    ],
)
def test_a_graph_that_computes_nothing_is_refused(
    harm: Callable[[onnx.ModelProto], None], message: str
):
    model = net()
    harm(model)
    with pytest.raises(ModelError, match=message):
        parse_onnx(model.SerializeToString(), "net")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path):
    with pytest.raises(InputMissingError, match="no such file"):
        load_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputMissingError, match="give an ONNX file"):
        load_onnx(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="is empty; give an ONNX file"):
        load_onnx(tmp_path / "empty.onnx")


def test_a_file_beyond_the_limit_of_protobuf_is_refused(tmp_path: Path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as data:
        data.truncate(2**31)  # takes no room
    with pytest.raises(ModelError, match="allowed: at most 2147483647") as caught:
        load_onnx(path)
    assert "external data" in (caught.value.hint or "")


def test_a_missing_file_of_weights_is_named(tmp_path: Path):
    path = split(tmp_path)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"'net\.onnx\.data', and there is no such file") as caught:
        load_onnx(path)
    assert caught.value.file == str(path)
    assert caught.value.hint == f"put net.onnx.data into {tmp_path}"


def test_a_short_file_of_weights_is_named(tmp_path: Path):
    path = split(tmp_path)
    data = tmp_path / "net.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"'net\.onnx\.data' are cut short: 3455 .*'kernel'.*3456"):
        load_onnx(path)


@pytest.mark.parametrize(
    "location", ["../net.onnx.data", "/etc/passwd", "a/../../x", "C:\\weights", "..\\x", ""]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str):
    (tmp_path / "net.onnx.data").write_bytes(bytes(10_000))
    (tmp_path / "models").mkdir()
    path = split(tmp_path / "models")
    relocate(path, location=location)
    with pytest.raises(ModelError, match="allowed: a file in the model's folder"):
        load_onnx(path)


def test_links_are_followed_only_where_models_live(tmp_path: Path):
    # As download caches lay files out: names in one folder, contents in another.
    for name in ("blobs", "names", "elsewhere"):
        (tmp_path / name).mkdir()
    path = split(tmp_path / "blobs")
    link = tmp_path / "names" / "net.onnx"
    link.symlink_to(path)
    (tmp_path / "names" / "net.onnx.data").symlink_to(tmp_path / "blobs" / "net.onnx.data")
    assert fingerprint(load_onnx(link)) == fingerprint(net())
    (tmp_path / "blobs" / "net.onnx.data").rename(tmp_path / "elsewhere" / "secret")
    (tmp_path / "blobs" / "net.onnx.data").symlink_to(tmp_path / "elsewhere" / "secret")
    with pytest.raises(ModelError, match="allowed: a file in the model's folder"):
        load_onnx(path)


@pytest.mark.parametrize("entries", [{"offset": "x"}, {"length": "-1"}, {"length": "100"}])
def test_a_damaged_note_of_where_weights_are_is_refused(tmp_path: Path, entries: dict[str, str]):
    path = split(tmp_path)
    relocate(path, **entries)
    with pytest.raises(ModelError, match=r"is damaged.*'kernel'"):
        load_onnx(path)


def test_weights_without_a_length_are_read(tmp_path: Path):
    model = net()
    model.graph.initializer[1].CopyFrom(
        helper.make_tensor("bias", TensorProto.BFLOAT16, [3], b"abcdef", raw=True)
    )
    bias = model.graph.initializer[1]
    bias.ClearField("raw_data")
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="bias")
    (tmp_path / "bias").write_bytes(b"abcdef")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert load_onnx(tmp_path / "net.onnx").graph.initializer[1].raw_data == b"abcdef"
    (tmp_path / "bias").write_bytes(bytes(200))
    bias.data_type, bias.dims[:] = TensorProto.FLOAT, [32]
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert len(load_onnx(tmp_path / "net.onnx").graph.initializer[1].raw_data) == 4 * 32


def test_a_model_from_memory_must_be_whole(tmp_path: Path):
    with pytest.raises(ModelError, match="'kernel' are in another file"):
        parse_onnx(split(tmp_path).read_bytes(), "net")
    spec = get("face_landmark")
    assert parse_onnx(embedded_bytes(spec), spec.name).graph.node


def test_a_fingerprint_ignores_how_a_model_is_stored(tmp_path: Path):
    known = fingerprint(net())
    assert len(known) == 64
    assert fingerprint(load_onnx(split(tmp_path))) == known
    typed = net()
    kernel = typed.graph.initializer[0]
    values = numpy_helper.to_array(kernel)
    kernel.CopyFrom(helper.make_tensor("kernel", TensorProto.FLOAT, values.shape, values.ravel()))
    assert kernel.float_data
    assert fingerprint(typed) == known
    other = net()
    other.graph.initializer.reverse()
    other.doc_string = other.graph.doc_string = other.graph.node[0].doc_string = "noise"
    other.graph.name, other.producer_name, other.producer_version = "a", "b", "1"
    other.metadata_props.add(key="made", value="today")
    other.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    assert fingerprint(other) == known


def weight(model: onnx.ModelProto) -> None:
    kernel = model.graph.initializer[0]
    kernel.raw_data = kernel.raw_data[:-1] + b"\x00"


def weight_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].dims[:] = [1, 32]


def weight_name(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].name = "k"
    model.graph.node[0].input[1] = "k"


def node_name(model: onnx.ModelProto) -> None:
    model.graph.node[0].name = "first"


def node_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("strides", [1, 1]))


def version(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 16


def input_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(
    "change", [weight, weight_shape, weight_name, node_name, node_attribute, version, input_shape]
)
def test_a_fingerprint_shows_what_counts(change: Callable[[onnx.ModelProto], None]):
    model = net()
    change(model)
    assert fingerprint(model) != fingerprint(net())


def test_a_fingerprint_looks_into_constants_and_bodies():
    def made(number: float) -> onnx.ModelProto:
        constant = numpy_helper.from_array(np.full(3, number, np.float32))
        body = [
            helper.make_graph(
                [node("Constant", "", "c", value=constant)], "b", [],
                [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])],
            )
            for _ in range(2)
        ]  # fmt: skip
        return graph(
            [node("If", "yes", "y", then_branch=body[0], else_branch=body[1])],
            {}, {"y": [3]}, {"yes": np.array(True)},
        )  # fmt: skip

    assert fingerprint(made(1)) == fingerprint(made(1))
    assert fingerprint(made(1)) != fingerprint(made(2))
