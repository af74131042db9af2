"""ONNX files: read with all checks, written completely or not at all, and told apart by content."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from ..errors import InternalError, ModelError
from ..files import PathLike, PendingFile, check_input, write_error
from ..onnx_nodes import subgraphs
from ._external import all_tensors, fetch
from ._proto import LARGEST_FILE, copy_fields, default_opset, size_of

__all__ = [
    "ALLOWED",
    "Graph",
    "fingerprint",
    "load_onnx",
    "parse_onnx",
    "read_onnx",
    "save_onnx",
]

Graph = onnx.ModelProto
"""A whole model; for those who only hand it on."""

ALLOWED = "an ONNX file"

# Bytes of weights above which they go into a file of their own: what is left of protobuf's limit
# is for the graph, of which the largest known take 2 MB.
_WEIGHTS_LIMIT = LARGEST_FILE - 2**26

# Bytes: smaller tensors stay in the model file, where shape inference looks for shapes and axes.
_LEAST_EXTERNAL = 1024

# Bytes: so that weights can be mapped into memory, as the ONNX standard advises.
_ALIGNMENT = 4096

# What is given in place of an ONNX file, by its first bytes: (offset, bytes, what it is).
_LOOKS = (
    (0, b"PK\x03\x04", "a zip archive, or a PyTorch checkpoint"),
    (0, b"version https://git-lfs", "a pointer of Git LFS; the file itself was not fetched"),
    (0, b"\x80\x02", "a Python pickle, such as a PyTorch checkpoint"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"ftrt", "a TensorRT engine"),
    (0, b"ptrt", "a TensorRT engine"),
    (0, b"\x89HDF", "an HDF5 file, such as a Keras model"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (4, b"ftyp", "a video"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in ONNX Runtime's own format"),
)

# What decides nothing of what a net computes.
_NOISE = {
    "model": {
        "graph", "doc_string", "domain", "metadata_props", "model_version", "producer_name",
        "producer_version",
    },
    "graph": {
        "doc_string", "initializer", "input", "metadata_props", "name", "node", "output",
        "value_info",
    },
    "node": {"attribute", "doc_string", "metadata_props"},
    "attribute": {"doc_string", "g", "graphs", "t", "tensors"},
    "value": {"doc_string", "metadata_props"},
}  # fmt: skip


def load_onnx(path: PathLike) -> onnx.ModelProto:
    """Read an ONNX file with all its weights, those in other files too.

    Raises:
        InputMissingError: no such file, or it is a folder.
        ModelError: it is not ONNX, damaged, cut short or without a graph; or a file of weights is
            missing, too short, or lies outside the model's folder.
    """
    file = check_input(path, ALLOWED, ModelError)
    model = _parse(read_onnx(file), file)
    budget: dict[Path, int] = {}
    for tensor in all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            fetch(tensor, file, budget)
    return model


def read_onnx(path: Path, name: str | None = None) -> bytes:
    """The content of a file that may be an ONNX file.

    Args:
        path: of the file.
        name: for messages; None: the path.

    Raises:
        ModelError: it cannot be read, or is too large.
    """
    shown = name or path
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ModelError(
                f"is {size} bytes long; allowed: at most {LARGEST_FILE}", file=shown,
                hint="save it with its weights in a second file (external data)",
            )  # fmt: skip
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror or error})", file=shown) from error


def parse_onnx(data: bytes, name: str) -> onnx.ModelProto:
    """Read an ONNX model from memory, such as an embedded net.

    Args:
        data: the whole file.
        name: for messages.

    Raises:
        ModelError: it is not ONNX, damaged, cut short or without a graph, or has weights elsewhere.
    """
    model = _parse(data, name)
    for tensor in all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                f"the weights of {tensor.name!r} are in another file; allowed: all in one",
                file=name,
            )
    return model


def _parse(data: bytes, file: str | os.PathLike[str]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(_what_it_is(data), file=file, hint=f"give {ALLOWED}") from error
    if not model.graph.node and not model.graph.output:  # garbage, too, may be a message
        raise ModelError(_what_it_is(data, "holds no graph"), file=file, hint=f"give {ALLOWED}")
    if not model.graph.node:
        raise ModelError("holds a graph without nodes", file=file)
    if not model.graph.output:
        raise ModelError("holds a graph without outputs", file=file)
    if default_opset(model) is None:
        raise ModelError("does not say which version of the ONNX operators it uses", file=file)
    return model


def _what_it_is(data: bytes, otherwise: str = "is not ONNX") -> str:
    for offset, start, what in _LOOKS:
        if data.startswith(start, offset):
            return f"is not ONNX; it looks like {what}"
    if data[:512].lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
        return "is not ONNX; it looks like a web page, as saved when a download fails"
    # ONNX files begin with the field of the format's version, a small number.
    if data[:1] == b"\x08" and otherwise == "is not ONNX":
        return "begins like ONNX, but is damaged or cut short"
    return otherwise


def save_onnx(
    model: onnx.ModelProto, path: Path, *, limit_bytes: int = _WEIGHTS_LIMIT
) -> tuple[Path, ...]:
    """Write a model; nobody ever sees half of it.

    What is there is replaced. Weights that are too many for one file go into ``<name>.data`` beside
    it, which is complete before the model appears.

    Args:
        model: with all its weights; it is not changed.
        path: of the model file.
        limit_bytes: of weights in the model file.

    Returns:
        The files, the model file first.

    Raises:
        OutputFormatError: the path is a folder, a pipe or a device.
        OutputWriteError: the folder is missing or may not be written to, or the disk is full.
    """
    if sum(size_of(tensor) for tensor in model.graph.initializer) <= limit_bytes:
        _write(path, [model.SerializeToString()])
        return (path,)
    weights = path.with_name(path.name + ".data")
    light = onnx.ModelProto()
    copy_fields(model, light, but={"graph"})
    copy_fields(model.graph, light.graph, but={"initializer"})
    large, end = [], 0
    for tensor in model.graph.initializer:
        entry = light.graph.initializer.add()
        if size_of(tensor) < _LEAST_EXTERNAL:
            entry.CopyFrom(tensor)
            continue
        entry.name, entry.data_type = tensor.name, tensor.data_type
        entry.dims.extend(tensor.dims)
        entry.data_location = onnx.TensorProto.EXTERNAL
        length = len(_raw(tensor))
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        for key, value in (("location", weights.name), ("offset", start), ("length", length)):
            entry.external_data.add(key=key, value=str(value))
        large.append((start - end, tensor))
        end = start + length
    # An older model must not be seen with these weights.
    path.unlink(missing_ok=True)
    _write(weights, (part for gap, t in large for part in (bytes(gap), _raw(t))))
    _write(path, [light.SerializeToString()])
    return (path, weights)


def _write(path: Path, parts: Iterable[bytes]) -> None:
    pending = PendingFile(path, overwrite=True)
    try:
        try:
            with pending.temporary.open("wb") as data:
                for part in parts:
                    data.write(part)
        except OSError as error:
            raise write_error(error, path) from error
        pending.commit()
    finally:
        pending.discard()


def _raw(tensor: onnx.TensorProto) -> bytes:
    """Values of a tensor, little-endian, row by row, however they are stored."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise InternalError(f"the weights of {tensor.name!r} are not loaded")
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    if tensor.data_type == onnx.TensorProto.STRING:
        return b"".join(len(s).to_bytes(8, "little") + s for s in tensor.string_data)
    values = onnx.numpy_helper.to_array(tensor)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def fingerprint(model: onnx.ModelProto) -> str:
    """Name a net by all that decides what it computes and how an engine of it is laid out.

    Names of nodes and tensors count, since engines carry them. Where and how weights are stored,
    the order of the initialisers, comments, the producer and inferred shapes do not.

    Args:
        model: with all its weights, of any size.

    Returns:
        A sha256, 64 lower-case hexadecimal digits.
    """
    digest = hashlib.sha256()
    bare = onnx.ModelProto()
    copy_fields(model, bare, but=_NOISE["model"])
    _add(digest, bare)
    _add_graph(digest, model.graph)
    return digest.hexdigest()


def _add(digest: Any, part: Any) -> None:
    """Add bytes or a message, with its length before it, so that no two sequences look alike."""
    data = part if isinstance(part, bytes) else part.SerializeToString(deterministic=True)
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _add_tensor(digest: Any, tensor: onnx.TensorProto) -> None:
    _add(digest, onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    _add(digest, _raw(tensor) if math.prod(tensor.dims) else b"")


def _add_graph(digest: Any, graph: onnx.GraphProto) -> None:
    bare = onnx.GraphProto()
    copy_fields(graph, bare, but=_NOISE["graph"])
    for source, target in ((graph.input, bare.input), (graph.output, bare.output)):
        for value in source:
            copy_fields(value, target.add(), but=_NOISE["value"])
    _add(digest, bare)
    for node in graph.node:
        _add_node(digest, node)
    for tensor in sorted(graph.initializer, key=lambda t: t.name):
        _add_tensor(digest, tensor)


def _add_node(digest: Any, node: onnx.NodeProto) -> None:
    bare = onnx.NodeProto()
    copy_fields(node, bare, but=_NOISE["node"])
    tensors: list[onnx.TensorProto] = []
    for item in node.attribute:
        copy_fields(item, bare.attribute.add(), but=_NOISE["attribute"])
        tensors += [item.t] if item.type == onnx.AttributeProto.TENSOR else item.tensors
    _add(digest, bare)
    for tensor in tensors:
        _add_tensor(digest, tensor)
    for body in subgraphs(node):
        _add_graph(digest, body)
