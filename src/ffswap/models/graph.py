"""What a graph takes and gives: types, shapes, free dimensions, versions of its operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..errors import InternalError, ModelError
from ._proto import DEFAULT_DOMAINS, copied, default_opset, walk

__all__ = [
    "BATCH",
    "TensorInfo",
    "check_dimensions",
    "check_opset",
    "custom_operators",
    "fixed_batch",
    "free_dimensions",
    "inputs_of",
    "opset",
    "outputs_of",
    "set_shapes",
]

# Name of the batch's free dimension in every graph that ffswap has prepared.
BATCH = "N"


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output of a graph.

    Attributes:
        name: in the graph.
        dtype: of one value.
        shape: -1 where a dimension is free.
        names: one per axis: the name of a free dimension, "" if it has none or is not free.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def batched(self) -> bool:
        """Whether the first axis is the free batch of a prepared graph."""
        return self.names[:1] == (BATCH,)

    def __str__(self) -> str:
        dims = (
            name or ("?" if dim < 0 else str(dim))
            for dim, name in zip(self.shape, self.names, strict=True)
        )
        return f"{self.name}: {self.dtype} ({', '.join(dims)})"


def _info(value: onnx.ValueInfoProto, what: str) -> TensorInfo:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        raise ModelError(f"{what} {value.name!r} is not a tensor; allowed: tensors of numbers")
    if kind.elem_type == onnx.TensorProto.STRING:
        raise ModelError(f"{what} {value.name!r} is text; allowed: tensors of numbers")
    if not kind.HasField("shape"):
        raise ModelError(
            f"{what} {value.name!r} has no shape", hint=_how(value.name, "3, 640, 640")
        )
    dims = kind.shape.dim
    return TensorInfo(
        name=value.name,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type),
        shape=tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims),
        names=tuple("" if d.HasField("dim_value") else d.dim_param for d in dims),
    )


def _how(name: str, shape: str) -> str:
    return (
        f"give the shape of one row in the model's recipe: [models.NAME.shapes] {name} = [{shape}]"
    )


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def inputs_of(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """What has to be fed, in the graph's order; weights that are listed as inputs are left out.

    Raises:
        ModelError: an input is not a tensor of numbers, or has no shape.
    """
    return tuple(_info(value, "input") for value in _inputs(model))


def outputs_of(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """What comes out, in the graph's order.

    Raises:
        ModelError: an output is not a tensor of numbers, or has no shape.
    """
    return tuple(_info(value, "output") for value in model.graph.output)


def free_dimensions(
    model: onnx.ModelProto, *, unbatched: Collection[str] = ()
) -> tuple[tuple[TensorInfo, int], ...]:
    """Inputs and axes that are free, but for the batch.

    Args:
        model: that is asked.
        unbatched: names of inputs whose first axis is not the batch.

    Raises:
        ModelError: an input is not a tensor of numbers, or has no shape.
    """
    return tuple(
        (info, axis)
        for info in inputs_of(model)
        for axis, dim in enumerate(info.shape)
        if dim < 0 and (axis or info.name in unbatched)
    )


def check_dimensions(model: onnx.ModelProto, *, unbatched: Collection[str] = ()) -> None:
    """Refuse a graph in which another dimension than the batch is free.

    Args:
        model: that is checked.
        unbatched: names of inputs whose first axis is not the batch.

    Raises:
        ModelError: one is free, with how to give it.
    """
    for info, axis in free_dimensions(model, unbatched=unbatched):
        row = info.shape if info.name in unbatched else info.shape[1:]
        example = ", ".join(str(dim) if dim > 0 else "640" for dim in row)
        raise ModelError(
            f"dimension {axis} of the input {info} is free; allowed: only the batch",
            hint=_how(info.name, example),
        )


def set_shapes(
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    *,
    unbatched: Collection[str] = (),
) -> onnx.ModelProto:
    """Give sizes to free dimensions other than the batch.

    A free dimension that has a name gets the same size wherever the name stands.

    Args:
        model: it is not changed.
        shapes: by name of the input the shape of one row, without the batch: ``(3, 640, 640)``.
        unbatched: names of inputs whose first axis is not the batch: their shapes are whole.

    Returns:
        A copy; inferred shapes inside are dropped.

    Raises:
        ModelError: no such input, another number of dimensions, a size that is less than 1 or is
            not the one that the graph has fixed, or one name with two sizes.
    """
    changed = copied(model)
    values = {value.name: value for value in _inputs(changed)}
    sizes: dict[str, int] = {}
    for name, row in shapes.items():
        if name not in values:
            raise ModelError(f"there is no input {name!r}; there are {sorted(values)}")
        _set_row(values[name], row, first=0 if name in unbatched else 1, sizes=sizes)
    for value in (*changed.graph.input, *changed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return changed


def _set_row(
    value: onnx.ValueInfoProto, row: Sequence[int], *, first: int, sizes: dict[str, int]
) -> None:
    if not value.type.tensor_type.HasField("shape"):
        for _ in range(first + len(row)):
            value.type.tensor_type.shape.dim.add()
    info, given = _info(value, "input"), tuple(row)
    dims = list(value.type.tensor_type.shape.dim)[first:]
    fits = len(dims) == len(given) and all(
        size >= 1 and dim.dim_value in (0, size) for dim, size in zip(dims, given, strict=True)
    )
    if not fits:
        raise ModelError(f"input {info} cannot have rows of shape {given}")
    for dim, size in zip(dims, given, strict=True):
        if dim.dim_param and sizes.setdefault(dim.dim_param, size) != size:
            raise ModelError(
                f"the free dimension {dim.dim_param!r} is to be {sizes[dim.dim_param]} and {size}; "
                "allowed: one size, since it is one dimension"
            )
        dim.dim_value = size


def fixed_batch(model: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    """A copy with this many rows in place of the free batch.

    Args:
        model: prepared by `free_batch`; it is not changed.
        rows: 1 or more.
    """
    if rows < 1:
        raise InternalError(f"a batch of {rows} rows; allowed: 1 or more")
    changed = copied(model)
    for value in (*changed.graph.input, *changed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value = rows
    return changed


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators.

    Raises:
        ModelError: the model does not say.
    """
    version = default_opset(model)
    if version is None:
        raise ModelError("does not say which version of the ONNX operators it uses")
    return version


def check_opset(model: onnx.ModelProto, max_opset: int | None, runtime: str) -> None:
    """Refuse a model that is too new for a runtime.

    Args:
        model: that is checked.
        max_opset: the newest version that the runtime reads; None: not known, so all are let pass.
        runtime: name and version, for messages.

    Raises:
        ModelError: it is too new.
    """
    version = opset(model)
    if max_opset is not None and version > max_opset:
        raise ModelError(
            f"is ONNX of opset {version}; {runtime} reads up to {max_opset}",
            hint=f"export the model again with opset {max_opset}, or install a newer runtime",
        )


def custom_operators(model: onnx.ModelProto) -> tuple[str, ...]:
    """Operators that are not of the ONNX standard nor defined in the model, as ``domain.Operator``, sorted."""
    own = {(function.domain, function.name) for function in model.functions}
    standard = {*DEFAULT_DOMAINS, "ai.onnx.ml"}
    used = {(node.domain, node.op_type) for node in walk(model.graph)}
    return tuple(
        sorted(f"{domain}.{kind}" for domain, kind in used - own if domain not in standard)
    )
