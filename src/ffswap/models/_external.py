"""Weights that an ONNX file keeps in other files: found, read, and never outside of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from ..errors import ModelError
from ..onnx_nodes import subgraphs
from ._proto import size_of

__all__ = ["all_tensors", "fetch"]

# Types of which a value takes whole bytes, and as many in every version of the onnx package.
_WHOLE_BYTES = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BOOL,
    onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32,
    onnx.TensorProto.UINT64,
}  # fmt: skip


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors with values: of the graph, and of the functions that it may call."""
    yield from _tensors(model.graph)
    for function in model.functions:
        yield from _tensors_of(function.node)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Those of a graph: initialisers, attributes, those of bodies."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of(graph.node)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for item in node.attribute:
            yield from (item.t, *item.tensors)
            for sparse in (item.sparse_tensor, *item.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for body in subgraphs(node):
            yield from _tensors(body)


def fetch(tensor: onnx.TensorProto, file: Path, budget: dict[Path, int]) -> None:
    """Read the values of a tensor from the file that holds them.

    Args:
        tensor: that gets them.
        file: that names it.
        budget: bytes that may still be read of each file of weights; a net reads each of them once.

    Raises:
        ModelError: the file of weights is missing, too short, or lies outside the model's folder.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data):  # others may read the other one
        raise ModelError(
            f"is damaged: it says twice where the weights of {tensor.name!r} are", file=file
        )
    source = _locate(entries.get("location", ""), tensor.name, file)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError as error:
        raise ModelError(
            f"is damaged: where the weights of {tensor.name!r} are", file=file
        ) from error
    exact = tensor.data_type in _WHOLE_BYTES
    needed = size_of(tensor) if exact else length
    if min(offset, length, needed) < 0 or length not in (0, needed):
        raise ModelError(
            f"is damaged: {length} bytes of weights at {offset} for {tensor.name!r} "
            f"{tuple(tensor.dims)}; needed: {needed}",
            file=file,
        )
    try:
        with source.open("rb") as data:
            there = os.fstat(data.fileno()).st_size
            if there < offset + needed:
                raise ModelError(
                    f"its weights in {source.name!r} are cut short: {there} bytes, and "
                    f"{tensor.name!r} ends at {offset + needed}",
                    file=file, hint=f"fetch {source.name} again",
                )  # fmt: skip
            if budget.setdefault(source, there) < needed:
                raise ModelError(
                    f"its tensors take more than the {there} bytes of {source.name!r}", file=file
                )
            budget[source] -= needed
            data.seek(offset)
            tensor.raw_data = data.read(needed if exact or length else -1)
    except FileNotFoundError as error:
        raise ModelError(
            f"its weights are in {source.name!r}, and there is no such file", file=file,
            hint=f"put {source.name} into {os.fspath(source.parent)}",
        ) from error  # fmt: skip
    except OSError as error:
        raise ModelError(
            f"its weights in {source.name!r} could not be read ({error.strerror or error})",
            file=file,
        ) from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _locate(location: str, tensor: str, file: Path) -> Path:
    """The file that a model names for weights, if it is in the model's folder."""
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    outside = (
        not location
        or PurePosixPath(location).is_absolute()
        or bool(PureWindowsPath(location).anchor)
        or ".." in parts
    )
    source = file.parent / location
    if source.exists() and not source.is_file():  # a pipe would wait
        outside = True
    # Download caches hold links, model and weights side by side at both ends of them.
    homes = (file.parent.resolve(), file.resolve().parent)
    if outside or not any(source.resolve().is_relative_to(home) for home in homes):
        raise ModelError(
            f"the weights of {tensor!r} are in {location!r}; allowed: a file in the model's folder",
            file=file,
        )
    return source
