"""A batch of any size for a net that was exported for one row."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from ...errors import InternalError, ModelError
from ...onnx_nodes import attribute
from .._proto import (
    default_opset,
    free_name,
    inferred,
    node_label,
    read_inside,
    small_constants,
    without_weights,
)
from ..graph import BATCH, check_dimensions, inputs_of
from .follow import follow
from .step import ONE_ROW, Place, Step

__all__ = ["free_batch"]

# Rows with which the shapes are worked out once more at the end: not 1, and no size of a colour or
# point by which another axis could be taken for it.
_TRIAL_ROWS = 7

# Ways through a net with several places for the batch: some seconds of the largest known nets.
_ATTEMPTS = 100

# Values. What is computed from shapes is small; larger results stay in the graph.
_LARGEST_FOLDED = 4096

# StyleGAN and the restorers made of it compute the weights of these from the picture.
_CONVOLUTIONS = {"Conv", "ConvTranspose", "DeformConv"}

# Operators with which exporters compute shapes, sizes and places.
_FOLDED = frozenset(
    [
        "Add",
        "Cast",
        "Ceil",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Greater",
        "Identity",
        "Less",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Pow",
        "Range",
        "ReduceProd",
        "Reshape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)


def free_batch(model: onnx.ModelProto, *, unbatched: Collection[str] = ()) -> onnx.ModelProto:
    """Make the batch free: the first axis of inputs and outputs becomes `BATCH`.

    The batch is followed through the graph; shapes and sizes that hold the single row of the export
    are mended. What would certainly mix rows is refused; `prove_rows` finds the rest.

    Args:
        model: as `clean` gives it, with a batch of 1 or a free one and nothing else free; it is not
            changed.
        unbatched: names of inputs whose first axis is not the batch.

    Returns:
        A copy. What it computed from the shape of a batch is now what it computes for one row.

    Raises:
        ModelError: another dimension is free, an input has several rows, or a node (named) mixes
            rows or needs something of its own for each.
    """
    check_dimensions(model, unbatched=unbatched)
    graph = _Graph(model, unbatched)
    graph.fold()
    graph.follow()
    return graph.result()


class _Choices:
    """A path through a tree of choices, and the next one."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._sizes: list[int] = []

    def choose(self, places: list[Place]) -> Place:
        """One of the places: the first, unless that was tried before."""
        depth = len(self._sizes)
        self._sizes.append(len(places))
        if depth == len(self._path):
            self._path.append(0)
        return places[self._path[depth]]

    def another(self) -> bool:
        """Go back to the last choice with something left; False: there is none."""
        while self._path and self._path[-1] + 1 >= self._sizes[len(self._path) - 1]:
            self._path.pop()
        self._sizes.clear()
        if self._path:
            self._path[-1] += 1
        return bool(self._path)


class _Graph:
    """The graph while it changes; the weights are the model's own until the end."""

    def __init__(self, model: onnx.ModelProto, unbatched: Collection[str]) -> None:
        self.bare = without_weights(model)
        self.opset = default_opset(model) or 0
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.added: dict[str, onnx.TensorProto] = {}
        self.constants = small_constants(model.graph.initializer)
        self.dims: dict[str, tuple[int, ...]] = {}
        infos = inputs_of(model)
        if unknown := set(unbatched) - {info.name for info in infos}:
            raise ModelError(f"there is no input {min(unknown)!r}")
        self.batched = [info.name for info in infos if info.name not in unbatched]
        for info in infos:
            if info.name in self.batched and info.shape[:1] not in ((1,), (-1,)):
                raise ModelError(
                    f"input {info} has no batch of one row in front",
                    hint="if it holds no rows, say so in the model's recipe: "
                    f'[models.NAME] unbatched = ["{info.name}"]',
                )
        self.taken = {name for node in self.bare.graph.node for name in (*node.input, *node.output)}
        self.taken |= self.weights.keys()
        for value in self.bare.graph.output:  # what the file says of them may be for one row
            value.type.tensor_type.ClearField("shape")

    def set_rows(self, rows: int | str) -> None:
        """Give all inputs this batch."""
        for value in self.bare.graph.input:
            if value.name in self.batched:
                _set_dim(value.type.tensor_type.shape.dim[0], rows)

    def infer(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors of which everything is known."""
        found = inferred(self.bare, (*self.weights.values(), *self.added.values()))
        return {
            name: tuple(int(dim) for dim in dims)
            for name, (_, dims) in found.items()
            if all(isinstance(dim, int) for dim in dims)
        }

    def fold(self) -> None:
        """Replace what is computed from shapes by its value for one row."""
        self.set_rows(1)
        folded = True
        while folded:  # a shape that becomes known may let others be known
            self.dims = self.infer()
            folded = False
            kept = []
            for node in self.bare.graph.node:
                if (values := self._values(node)) is None:
                    kept.append(node)
                    continue
                folded = True
                for name, value in zip(node.output, values, strict=True):
                    self._add(name, value)
            _replace_nodes(self.bare.graph, kept)

    def _add(self, name: str, value: NDArray[Any]) -> None:
        self.constants[name] = value
        self.dims[name] = value.shape
        self.added[name] = onnx.numpy_helper.from_array(value, name)

    def _new_constant(self, value: NDArray[Any]) -> str:
        name = free_name("rows_shape", self.taken)
        self.taken.add(name)
        self._add(name, value)
        return name

    def _values(self, node: onnx.NodeProto) -> list[NDArray[Any]] | None:
        """What a node gives, if it gives the same for any row and it is small."""
        outputs = {value.name for value in self.bare.graph.output}
        if node.domain or outputs.intersection(node.output):
            return None
        if node.op_type in ("Shape", "Size") and node.input[0] in self.dims:
            dims = self.dims[node.input[0]]
            if node.op_type == "Size":
                return [np.array(math.prod(dims), np.int64)]
            start, end = attribute(node, "start", 0), attribute(node, "end", len(dims))
            return [np.array(dims[start:end], np.int64)]
        if node.op_type not in _FOLDED or any(n and n not in self.constants for n in node.input):
            return None
        if any(math.prod(self.dims.get(n, (2**31,))) > _LARGEST_FOLDED for n in node.output):
            return None
        return _evaluated(node, self.constants, self.bare.opset_import)

    def follow(self) -> None:
        """Follow the batch from the inputs to the outputs.

        After a change of shape it may be in several places. The likeliest is taken; where that leads
        to a refusal, the last choice is made anew.
        """
        self._refuse_own_weights()
        choices, start = _Choices(), self.bare
        furthest, reason = -1, None
        for _ in range(_ATTEMPTS):
            self.bare, self.reached = onnx.ModelProto(), 0
            self.bare.CopyFrom(start)
            try:
                return self._attempt(choices)
            except ModelError as error:
                if self.reached > furthest:
                    furthest, reason = self.reached, error
            if not choices.another():
                break
        raise reason or InternalError("the batch was never followed")

    def _attempt(self, choices: _Choices) -> None:
        places = dict.fromkeys(self.batched, Place(0))
        for index, node in enumerate(self.bare.graph.node):
            self.reached = index
            if places.keys().isdisjoint((*node.input, *read_inside(node))):
                continue
            step = Step(
                node, self.opset, self.dims, places, self.constants, self._new_constant,
                choices.choose,
            )  # fmt: skip
            place = follow(step)
            places.update({name: place for name in node.output if name})
        self._check_outputs(places)

    def _refuse_own_weights(self) -> None:
        """Refuse what no change of shapes can mend, before the steps towards it are looked at."""
        computed = set(self.batched)
        for node in self.bare.graph.node:
            if computed.isdisjoint((*node.input, *read_inside(node))):
                continue
            computed.update(node.output)
            if node.op_type in _CONVOLUTIONS and not computed.isdisjoint(node.input[1:2]):
                raise ModelError(
                    f"its batch cannot be made free: {node_label(node)} has weights that are computed "
                    "from the inputs, so every row would need weights of its own",
                    hint=ONE_ROW,
                )

    def _check_outputs(self, places: dict[str, Place]) -> None:
        makers = {name: node for node in self.bare.graph.node for name in node.output}
        for value in self.bare.graph.output:
            place = places.get(value.name)
            if place == Place(0):
                continue
            maker = f", made by {node_label(makers[value.name])}," if value.name in makers else ""
            where = (
                "is the same for every row" if place is None
                else f"has the rows along axis {place.axis}, in {place.span} parts"
            )  # fmt: skip
            raise ModelError(
                f"its batch cannot be made free: the output {value.name!r}{maker} {where}",
                hint=ONE_ROW,
            )

    def result(self) -> onnx.ModelProto:
        """The graph with a free batch, after its shapes were worked out for several rows."""
        self.set_rows(_TRIAL_ROWS)
        found = self.infer()
        for value in self.bare.graph.output:
            row = self.dims[value.name]
            want = (_TRIAL_ROWS, *row[1:])
            if found.get(value.name, want) != want:
                raise ModelError(
                    f"its batch cannot be made free: with {_TRIAL_ROWS} rows the output "
                    f"{value.name!r} has the shape {found[value.name]}, not {want}"
                )
            shape = value.type.tensor_type.shape
            _set_dim(shape.dim.add(), BATCH)
            for size in row[1:]:
                _set_dim(shape.dim.add(), size)
        self.set_rows(BATCH)
        read = {name for node in self.bare.graph.node for name in (*node.input, *read_inside(node))}
        read |= {value.name for value in self.bare.graph.output}
        for tensor in (*self.weights.values(), *self.added.values()):
            if tensor.name in read:
                self.bare.graph.initializer.add().CopyFrom(tensor)
        return self.bare


def _set_dim(dim: onnx.TensorShapeProto.Dimension, size: int | str) -> None:
    if isinstance(size, str):
        dim.dim_param = size
    else:
        dim.dim_value = size


def _replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    other = onnx.GraphProto()
    other.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(other.node)


def _evaluated(
    node: onnx.NodeProto,
    constants: dict[str, NDArray[Any]],
    opsets: Iterable[onnx.OperatorSetIdProto],
) -> list[NDArray[Any]]:
    names = [name for name in dict.fromkeys(node.input) if name]
    infos = [onnx.ValueInfoProto(name=name) for name in (*names, *node.output)]
    graph = onnx.helper.make_graph([node], "one", infos[: len(names)], infos[len(names) :])
    model = onnx.helper.make_model(graph, opset_imports=list(opsets))
    values = ReferenceEvaluator(model).run(None, {name: constants[name] for name in names})
    return [np.asarray(value) for value in values]
