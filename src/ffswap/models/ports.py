"""What inputs and outputs a model of the catalogue has: types and shapes, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from ..errors import ModelError
from .graph import TensorInfo
from .spec import ModelSpec

__all__ = ["BARE_INPUT", "EMBEDDING", "Port", "wanted_inputs", "wanted_outputs"]

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
class Port:
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
        """Whether a tensor of a file has its type and shape."""
        return str(info.dtype) in self.dtypes and any(
            _is(info.shape, shape) for shape in self.shapes
        )

    @property
    def shape_in_words(self) -> str:
        """The first of the shapes, N for the batch."""
        return f"({', '.join(map(_said, self.shapes[0])).replace('batch', 'N')})"

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


def wanted_inputs(spec: ModelSpec) -> list[Port]:
    """In the catalogue's order: the picture or what stands in its place, the source, constants."""
    ports = []
    if spec.image is not None:
        ports.append(Port(name=spec.image.name, shapes=(spec.image.shape,)))
    elif spec.family == "fan_points":
        ports.append(Port(name=BARE_INPUT, shapes=_row(5, 2)))
    else:
        ports.append(Port(name=BARE_INPUT, shapes=_row(EMBEDDING)))
    if spec.source is not None:
        image = spec.source.image
        shapes = _row(EMBEDDING) if image is None else (image.shape,)
        ports.append(Port(name=spec.source.name, shapes=shapes))
    floats = ("float32", "float64", "float16")
    ports += [Port(name=name, shapes=((1,), ()), dtypes=floats) for name in spec.constants]
    return ports


def wanted_outputs(spec: ModelSpec) -> list[Port]:
    """In the order in which the family reads them; names are those of the catalogue, if it has any.

    Raises:
        ModelError: the catalogue names another number of outputs than the family reads.
    """
    shapes = _OUTPUTS[spec.family](spec)
    if spec.outputs and len(spec.outputs) != len(shapes):
        raise ModelError(
            f"the catalogue names {len(spec.outputs)} outputs; allowed for the family {spec.family}: "
            f"{len(shapes)}, or none for the graph's own order"
        )
    names: Sequence[str | None] = spec.outputs or [None] * len(shapes)
    return [Port(name=name, shapes=shape) for name, shape in zip(names, shapes, strict=True)]
