"""Models and tables of strangers: nothing is read outside of their folder, unpacked without end, or waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ffswap.engines.recipe import load_recipe
from ffswap.errors import FfswapError, ModelError, OptionError
from ffswap.files import LARGEST_TABLE, PendingFile, read_table
from ffswap.locks import open_to_others
from ffswap.models._proto import LARGEST_FILE
from ffswap.models._store_files import hash_beside
from ffswap.models.catalog import load_catalog
from ffswap.models.download import Limits, download
from ffswap.models.onnx_files import load_onnx, parse_onnx, save_onnx
from ffswap.models.store import ModelStore
from ffswap.pipeline import engine_graph
from tests.fuzz.mutators import mutate
from tests.models.graphs import graph, node, weights
from tests.models.model_server import Server
from tests.models.store_models import detector

# The tests beside this one have: weights and catalogue entries with ../, absolute or Windows' names,
# links that lead out of the folder, wrong digests, redirects, web pages in place of models.


def _split(folder: Path) -> tuple[Path, onnx.ModelProto]:
    """A net whose weights are in a second file, and what its first one says."""
    net = graph(
        [node("Conv", "x kernel", "y")], {"x": ["N", 3, 4, 4]}, {"y": ["N", 32, 2, 2]},
        {"kernel": weights(32, 3, 3, 3)},
    )  # fmt: skip
    path, _ = save_onnx(net, folder / "net.onnx", limit_bytes=0)
    return path, onnx.load(path, load_external_data=False)


def test_weights_that_are_named_twice_are_refused(tmp_path: Path) -> None:
    path, light = _split(tmp_path)
    light.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    path.write_bytes(light.SerializeToString())
    with pytest.raises(ModelError, match="says twice where the weights of 'kernel' are"):
        load_onnx(path)


def test_tensors_cannot_read_one_file_of_weights_over_and_over(tmp_path: Path) -> None:
    path, light = _split(tmp_path)
    for number in range(1000):
        again = light.graph.initializer.add()
        again.CopyFrom(light.graph.initializer[0])
        again.name = f"k{number}"
    path.write_bytes(light.SerializeToString())
    with pytest.raises(ModelError, match=r"take more than the 3456 bytes of 'net\.onnx\.data'"):
        load_onnx(path)


@pytest.mark.parametrize("dims", [[-32, 3, 3, 3], [1 << 40, 3, 3, 3]])
def test_absurd_shapes_of_weights_are_refused(tmp_path: Path, dims: list[int]) -> None:
    path, light = _split(tmp_path)
    tensor = light.graph.initializer[0]
    tensor.dims[:] = dims
    del tensor.external_data[2:]
    path.write_bytes(light.SerializeToString())
    with pytest.raises(ModelError, match=r"is damaged|are cut short"):
        load_onnx(path)


def test_weights_of_functions_and_sparse_attributes_cannot_lead_outside(tmp_path: Path) -> None:
    def outside(name: str) -> TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")
        return tensor

    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "models"
    folder.mkdir()
    whole = _split(folder)[1]
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside("t"))
    with_function, with_sparse = onnx.ModelProto(), onnx.ModelProto()
    with_function.CopyFrom(whole)
    with_function.functions.add(name="f", domain="own").node.append(constant)
    with_sparse.CopyFrom(whole)
    item = with_sparse.graph.node[0].attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    item.sparse_tensor.values.CopyFrom(outside("v"))
    for model in (with_function, with_sparse):
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=r"in '\.\./secret'; allowed: a file in the model's"):
            load_onnx(folder / "net.onnx")
        with pytest.raises(ModelError, match="are in another file"):
            parse_onnx(model.SerializeToString(), "net")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    path, _ = _split(tmp_path)
    (tmp_path / "net.onnx.data").unlink()
    for name in ("net.onnx.data", "net.hash", "a.toml", "finder.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ModelError, match="allowed: a file in the model's folder"):
        load_onnx(path)
    assert hash_beside(path) is None
    with pytest.raises(OptionError, match="it is a pipe or a device"):
        load_recipe(tmp_path / "a.toml")
    with pytest.raises(ModelError, match="is a pipe or a device"):
        load_catalog(tmp_path / "a.toml")
    assert ModelStore(tmp_path).status(detector()).status == "damaged"


def test_tables_have_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with path.open("wb") as file:
        file.truncate(LARGEST_TABLE + 1)
    with pytest.raises(OptionError, match=f"it is larger than {LARGEST_TABLE} bytes"):
        load_recipe(path)
    with pytest.raises(ModelError, match=f"it is larger than {LARGEST_TABLE} bytes"):
        load_catalog(path)
    with path.open("wb") as file:
        file.truncate(LARGEST_TABLE)
    assert len(read_table(path)) == LARGEST_TABLE


def test_a_model_of_more_bytes_than_protobuf_reads_is_not_even_copied(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    store = ModelStore(tmp_path / "store")
    with pytest.raises(ModelError, match=f"is {LARGEST_FILE + 1} bytes long; allowed: at most"):
        store.add(detector(), path)
    assert not store.folder.exists()


def test_a_download_without_an_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ffswap.models.download.LARGEST_FILE", 5000)
    server = Server()
    server.files["/large.onnx"] = bytes(5001)
    try:
        with pytest.raises(FfswapError, match="is 5001 bytes long; allowed: at most 5000"):
            download(server.url("/large.onnx"), tmp_path / "part", limits=Limits(tries=1))
    finally:
        server.stop()
    assert (tmp_path / "part").stat().st_size <= 5000


def test_samples_that_unpack_to_very_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000), np.float32))
    assert engine_graph._read_samples(path)["x"].shape == (1000, 1000)
    monkeypatch.setattr(engine_graph, "_LARGEST_SAMPLES", 1_000_000)
    with pytest.raises(ModelError, match="unpacks to 4000128 bytes; allowed: at most 1000000"):
        engine_graph._read_samples(path)


def test_samples_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.array([{"a": 1}], object))
    with pytest.raises(ModelError, match="is no NumPy archive of arrays"):
        engine_graph._read_samples(path)


def test_damaged_samples_are_arrays_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.ones((2, 3), np.float32), y=np.zeros(4, np.int64))
    sound, rng, read = path.read_bytes(), Random(20), 0
    for _ in range(400):
        path.write_bytes(mutate(rng, sound)[1] or b"\0")
        try:
            read += len(engine_graph._read_samples(path))
        except ModelError:
            continue
    assert read


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_files_have_the_rights_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for private, mode in ((False, 0o640), (True, 0o600)):
            pending = PendingFile(tmp_path / f"{private}", overwrite=False, private=private)
            pending.commit()
            assert stat.S_IMODE(pending.path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="links of another kind")
def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "precious")
    pending = PendingFile(tmp_path / "out", overwrite=True)
    pending.temporary.write_text("new")
    pending.commit()
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "out").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_a_folder_that_everybody_may_write_to_is_told_of(tmp_path: Path) -> None:
    assert open_to_others(tmp_path / "none") is None
    assert open_to_others(tmp_path) is None
    tmp_path.chmod(0o1777)
    assert open_to_others(tmp_path) == f"everybody may write to {tmp_path}"
    tmp_path.chmod(0o700)
