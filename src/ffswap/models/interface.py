"""Whether an ONNX file is what a model of the catalogue says, and the matrix that some keep in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import onnx

from ..carriers import F32
from ..errors import ModelError
from ..files import PathLike
from ._proto import walk
from .graph import TensorInfo, inputs_of, outputs_of
from .spec import ModelSpec

__all__ = ["BARE_INPUT", "EMBEDDING", "check_interface", "find_matrix", "fitting"]

EMBEDDING = 512
"""Numbers of an embedding, of every recogniser of the family arcface."""

BARE_INPUT = "input"
"""Name of the input of nets that take no picture: points, or an embedding."""

_POINTS = 68  # of every landmarker but the mesh (300-W's numbering)
_STRIDES = (8, 16, 32)  # pixels, of every detector that does not come with ffswap
_ANY = 10**9  # no dimension is as large

# A dimension: a number, the batch, or a range of numbers. Whatever is wanted, a file may leave it free.
_BATCH = -1
_Dim: TypeAlias = int | range
_Shape: TypeAlias = tuple[_Dim, ...]


@dataclass(frozen=True, kw_only=True)
class _Port:
    """An input or output that is wanted.

    Attributes:
        name: or None: any.
        shapes: of which it must have one.
        dtypes: of which it must have one.
    """

    name: str | None
    shapes: tuple[_Shape, ...]
    dtypes: tuple[str, ...] = ("float32",)

    def fits(self, info: TensorInfo) -> bool:
        return str(info.dtype) in self.dtypes and any(
            _is(info.shape, shape) for shape in self.shapes
        )

    def __str__(self) -> str:
        shapes = " or ".join(f"({', '.join(map(_said, shape))})" for shape in self.shapes)
        return f"{' or '.join(self.dtypes)} {shapes}"


def _is(given: Sequence[int], wanted: _Shape) -> bool:
    return len(given) == len(wanted) and all(
        size < 0 or (size == 1 if want == _BATCH else size == want or _within(size, want))
        for size, want in zip(given, wanted, strict=True)
    )


def _within(size: int, wanted: _Dim) -> bool:
    return isinstance(wanted, range) and size in wanted


def _said(dim: _Dim) -> str:
    if isinstance(dim, range):
        return f"{dim.start} or more"
    return "batch" if dim == _BATCH else str(dim)


def _row(*dims: _Dim) -> tuple[_Shape, ...]:
    return ((_BATCH, *dims),)


def _cells(spec: ModelSpec, stride: int) -> int:
    width, height = spec.picture.size
    return (width // stride) * (height // stride)


def _plane(spec: ModelSpec, by: int = 1) -> tuple[int, int]:
    """(height, width) of the picture, divided."""
    width, height = spec.picture.size
    return height // by, width // by


def _blazeface(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    cells = _cells(spec, 4)
    return [_row(cells, 16), _row(cells, 1)]


def _blazepalm(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    anchors = 2 * _cells(spec, 8) + 6 * _cells(spec, 16)
    return [_row(anchors, 18), _row(anchors, 1)]


def _face_mesh(_: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(3 * 468), _row(1)]


def _hand_points(_: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(3 * 21), _row(1), _row(1), _row(3 * 21)]


def _scrfd(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    # Published without a batch axis; other exports have one.
    rows = [(2 * _cells(spec, stride), values) for values in (1, 4, 10) for stride in _STRIDES]
    return [(row, *_row(*row)) for row in rows]


def _yolo_face(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(20, sum(_cells(spec, stride) for stride in _STRIDES))]


def _yunet(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(_cells(spec, stride), values) for values in (1, 1, 4, 10) for stride in _STRIDES]


def _fan_heatmap(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(_POINTS, range(2, _ANY)), _row(_POINTS, *_plane(spec, 4))]


def _peppa_wutz(_: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(3 * _POINTS) + _row(_POINTS, 3)]


def _fan_points(_: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(_POINTS, 2)]


def _embedding(_: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(EMBEDDING)]


def _generator(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(3, *_plane(spec))]


def _xseg(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    last = spec.picture.layout == "nhwc"
    return [_row(*_plane(spec), 1) if last else _row(1, *_plane(spec))]


def _bisenet(spec: ModelSpec) -> list[tuple[_Shape, ...]]:
    return [_row(range(1 + max(spec.classes.values()), _ANY), *_plane(spec))]


_OUTPUTS: Mapping[str, Callable[[ModelSpec], list[tuple[_Shape, ...]]]] = MappingProxyType(
    {
        "arcface": _embedding,
        "bisenet": _bisenet,
        "blazeface": _blazeface,
        "blazepalm": _blazepalm,
        "crossface": _embedding,
        "face_mesh": _face_mesh,
        "fan_heatmap": _fan_heatmap,
        "fan_points": _fan_points,
        "generator": _generator,
        "hand_points": _hand_points,
        "peppa_wutz": _peppa_wutz,
        "restorer": _generator,
        "scrfd": _scrfd,
        "xseg": _xseg,
        "yolo_face": _yolo_face,
        "yunet": _yunet,
    }
)
"""By family: the shapes of the outputs that its code reads, in its order."""


def _wanted_inputs(spec: ModelSpec) -> list[_Port]:
    ports = []
    if spec.image is not None:
        ports.append(_Port(name=spec.image.name, shapes=(spec.image.shape,)))
    elif spec.family == "fan_points":
        ports.append(_Port(name=BARE_INPUT, shapes=_row(5, 2)))
    else:
        ports.append(_Port(name=BARE_INPUT, shapes=_row(EMBEDDING)))
    if spec.source is not None:
        image = spec.source.image
        shapes = _row(EMBEDDING) if image is None else (image.shape,)
        ports.append(_Port(name=spec.source.name, shapes=shapes))
    floats = ("float32", "float64", "float16")
    ports += [_Port(name=name, shapes=((1,), ()), dtypes=floats) for name in spec.constants]
    return ports


def _wanted_outputs(spec: ModelSpec) -> list[_Port]:
    shapes = _OUTPUTS[spec.family](spec)
    if spec.outputs and len(spec.outputs) != len(shapes):
        raise ModelError(
            f"the catalogue names {len(spec.outputs)} outputs; allowed for the family {spec.family}: "
            f"{len(shapes)}, or none for the graph's own order"
        )
    names: Sequence[str | None] = spec.outputs or [None] * len(shapes)
    return [_Port(name=name, shapes=shape) for name, shape in zip(names, shapes, strict=True)]


def check_interface(
    model: onnx.ModelProto,
    spec: ModelSpec,
    *,
    among: Iterable[ModelSpec] = (),
    file: PathLike | None = None,
) -> None:
    """Refuse a file that cannot be the model that the catalogue names.

    The batch may be free or 1, and any other dimension may be free. A file may have more outputs
    than are read, but no more inputs.

    Args:
        model: as it was read: `clean` would take the matrix of a projected source away.
        spec: what it should be.
        among: models of the catalogue that the file may be instead, for the hint.
        file: that it was read from, for messages.

    Raises:
        ModelError: an input or output is missing, one too many, or of another type or shape; or the
            matrix is not there. The message says what was given and what is wanted.
    """
    try:
        _check_inputs(inputs_of(model), spec)
        _check_outputs(_outputs(model), spec)
        if spec.source is not None and spec.source.projected:
            find_matrix(model, spec)
    except ModelError as error:
        others = fitting(model, among)
        hint = f"this file fits: {', '.join(others)}" if others else error.hint
        raise ModelError(f"is not {spec.name}: {error.message}", hint=hint, file=file) from error


def fitting(model: onnx.ModelProto, specs: Iterable[ModelSpec]) -> list[str]:
    """Names of the models whose interface the file has, sorted."""
    return sorted(spec.name for spec in specs if _fits(model, spec))


def _fits(model: onnx.ModelProto, spec: ModelSpec) -> bool:
    try:
        check_interface(model, spec)
    except ModelError:
        return False
    return True


def _outputs(model: onnx.ModelProto) -> dict[str, TensorInfo | None]:
    """What comes out, in the graph's order; None for an output whose shape the file does not say."""
    found: dict[str, TensorInfo | None] = {}
    for value in model.graph.output:
        kind = value.type.tensor_type
        if kind.elem_type and not kind.HasField("shape"):
            found[value.name] = None
            continue
        only = onnx.ModelProto()
        only.graph.output.append(value)
        (found[value.name],) = outputs_of(only)
    return found


def _check_inputs(given: Sequence[TensorInfo], spec: ModelSpec) -> None:
    there = {info.name: info for info in given}
    listed = "; ".join(map(str, given)) or "none"
    for port in _wanted_inputs(spec):
        info = there.pop(str(port.name), None)
        if info is None:
            raise ModelError(f"there is no input {port.name!r}, {port}; the inputs are: {listed}")
        if not port.fits(info):
            raise ModelError(f"the input {info} is not {port}")
    if there:
        wanted = ", ".join(str(port.name) for port in _wanted_inputs(spec))
        raise ModelError(
            f"the input {next(iter(there.values()))} is one too many; wanted: {wanted}"
        )


def _check_outputs(given: Mapping[str, TensorInfo | None], spec: ModelSpec) -> None:
    listed = "; ".join(str(info or name) for name, info in given.items()) or "none"
    wanted = _wanted_outputs(spec)
    if len(given) < len(wanted):
        raise ModelError(f"{len(wanted)} outputs are wanted; there are {len(given)}: {listed}")
    for number, (port, place) in enumerate(zip(wanted, given, strict=False), 1):
        name = port.name or place
        if name not in given:
            raise ModelError(f"there is no output {name!r}, {port}; the outputs are: {listed}")
        info = given[name]
        if info is not None and not port.fits(info):
            raise ModelError(f"the output {info} is not {port}, as output {number} has to be")


def find_matrix(model: onnx.ModelProto, spec: ModelSpec) -> F32:
    """The matrix by which the caller of a projected source multiplies the embedding.

    It is found by what it is, a square one of the embedding's size that no node reads, and not by
    its place or name, since tools that rewrite ONNX files change both.

    Args:
        model: as it was read: `clean` would take the matrix away.
        spec: of a swapper whose source is projected.

    Returns:
        (d, d) float32, of the d numbers of an embedding.

    Raises:
        ModelError: there is none, there are several, or its values are not finite.
    """
    square = [
        tensor
        for tensor in model.graph.initializer
        if tuple(tensor.dims) == (EMBEDDING, EMBEDDING)
        and tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    ]
    read = {name for node in walk(model.graph) for name in node.input}
    free = [tensor for tensor in square if tensor.name not in read]
    size = f"{EMBEDDING} x {EMBEDDING}"
    if not free:
        weights = ", ".join(repr(tensor.name) for tensor in square)
        reason = f"; {weights}: read by nodes, so weights of the net" if weights else ""
        raise ModelError(
            f"there is no matrix of {size} float32 or float16 that no node reads, by which the "
            f"embedding for {spec.name} is multiplied{reason}",
            hint="a tool that takes out what no node reads has taken it: use the file as published",
        )
    if len(free) > 1:
        names = ", ".join(repr(tensor.name) for tensor in free)
        raise ModelError(
            f"there are {len(free)} matrices of {size} that no node reads: {names}; allowed: one, "
            f"by which the embedding for {spec.name} is multiplied"
        )
    (tensor,) = free
    matrix: F32 = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    if not math.isfinite(np.abs(matrix).sum(dtype=np.float64)) or not matrix.any():
        raise ModelError(
            f"the matrix {tensor.name!r} is all zeros or has values that are no numbers"
        )
    return matrix
