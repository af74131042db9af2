"""Where the batch is after operators that compute."""

from __future__ import annotations

from dataclasses import replace

from .step import Place, Step

__all__ = [
    "aligned",
    "along",
    "einsum",
    "gemm",
    "grid_sample",
    "matmul",
    "mean_variance",
    "normalised",
    "reduced",
    "rows_first",
]

# Softmax and its like treat one axis since this opset, and all from one axis on before.
_ONE_AXIS = 13
_OLD_FROM_AXIS = {"Softmax", "LogSoftmax", "Hardmax"}
_FROM_AXIS = {"LayerNormalization", "RMSNormalization"}


def aligned(step: Step) -> Place:
    """Value by value, with broadcasting; also what is known to leave the shape alone, or not known."""
    rank = len(step.out())
    found: Place | None = None
    for index, name in enumerate(step.node.input):
        if place := step.place(index):
            place = replace(place, axis=place.axis + rank - len(step.dims(index)))
            if found not in (None, place):
                step.refuse(f"has the rows of its inputs along different axes ({name!r})")
            found = place
    if found is None:
        step.refuse("has no input that holds rows")
    for index, name in enumerate(step.node.input):
        if not name or step.place(index):
            continue
        dims = step.dims(index)
        axis = found.axis - (rank - len(dims))
        if 0 <= axis < len(dims) and dims[axis] != 1:
            step.refuse(f"lays {name!r}, which has a fixed size there, along the rows")
    return found


def rows_first(step: Step) -> Place:
    """Convolution, pooling and the like: the first axis is the batch, parameters are shared."""
    step.only_first()
    if step.attribute("training_mode", 0):
        step.refuse("is in training mode and averages over the rows")
    if step.data.axis:
        step.refuse(f"treats axis {step.data.axis}, along which the rows are, as part of one row")
    return step.data


def grid_sample(step: Step) -> Place:
    if step.place(0) != step.place(1) or step.data.axis:
        step.refuse("samples rows by a grid that is not of the same rows")
    return step.data


def gemm(step: Step) -> Place:
    sides: list[Place | None] = []
    for index, flag in ((0, "transA"), (1, "transB")):
        place = step.place(index)
        if place and step.attribute(flag, 0):
            place = replace(place, axis=1 - place.axis)
        if place and place.axis != index:
            step.refuse("adds the rows up")
        sides.append(place)
    if all(sides):
        step.refuse("multiplies rows with each other")
    found = sides[0] or sides[1]
    if found is None:
        step.refuse("adds rows to a product that belongs to none")
    return _check_addend(step, 2, found)


def _check_addend(step: Step, index: int, found: Place) -> Place:
    if not step.name(index):
        return found
    dims, place = step.dims(index), step.place(index)
    axis = found.axis - (2 - len(dims))
    fits = place == replace(found, axis=axis) if place else axis < 0 or dims[axis] == 1
    if not fits:
        step.refuse(f"lays {step.name(index)!r} along the rows")
    return found


def matmul(step: Step) -> Place:
    rank = len(step.out())
    left, right = step.place(0), step.place(1)
    a, b = len(step.dims(0)), len(step.dims(1))
    if (left and left.axis == a - 1) or (right and right.axis == max(b - 2, 0)):
        step.refuse("adds the rows up")
    # Axes counted from the end, as broadcasting does; a vector has one axis less in the result.
    ends = []
    if left:
        ends.append(replace(left, axis=left.axis - a + (1 if b == 1 else 0)))
    if right:
        ends.append(
            replace(right, axis=right.axis - b + (1 if a == 1 and right.axis < b - 1 else 0))
        )
    if len(ends) == 2 and (ends[0] != ends[1] or ends[0].axis >= -2):
        step.refuse("multiplies rows with each other")
    found = ends[0]
    other = 1 if left else 0
    dims = step.dims(other)
    stacked = found.axis < -2 and len(ends) == 1 and len(dims) >= -found.axis
    if stacked and dims[found.axis] != 1:
        step.refuse(f"lays {step.name(other)!r}, which has a fixed size there, along the rows")
    return replace(found, axis=rank + found.axis)


def einsum(step: Step) -> Place:
    equation = step.attribute("equation").decode().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    labels = terms.split(",")
    if "." in equation or not arrow:
        step.refuse("is an equation without the names of all axes")
    places = {
        (labels[index][place.axis], place.outer, place.inner)
        for index in range(len(labels))
        if (place := step.place(index))
    }
    (label, outer, inner), *rest = sorted(places)
    everywhere = all(
        bool(step.place(index)) == (label in names) for index, names in enumerate(labels)
    )
    if rest or not everywhere or label not in result:
        step.refuse("adds the rows up, or multiplies them with each other")
    return Place(result.index(label), outer, inner)


def normalised(step: Step) -> Place:
    """Softmax and the like, which compare the values along one axis, or from one axis on."""
    kind, rank = step.node.op_type, len(step.dims(0))
    from_there = kind in _FROM_AXIS or (step.opset < _ONE_AXIS and kind in _OLD_FROM_AXIS)
    default = 1 if step.opset < _ONE_AXIS and kind in _OLD_FROM_AXIS else -1
    axis = step.attribute("axis", default) % rank
    step.only_first()
    if step.data.axis == axis or (from_there and step.data.axis > axis):
        step.refuse("compares the rows with each other")
    return step.data


def along(step: Step) -> Place:
    """TopK, CumSum and the like: along one axis, whose size alone changes."""
    default = {"TopK": -1, "GatherElements": 0, "ScatterElements": 0, "Scatter": 0}
    axes = step.integers(1, "axis") if step.node.op_type == "CumSum" else None
    axis = axes[0] if axes else step.attribute("axis", default.get(step.node.op_type, -1))
    if step.data.axis == axis % len(step.dims(0)):
        step.refuse("sorts, sums or picks among the rows")
    if step.node.op_type in ("TopK", "CumSum"):
        step.only_first()
    elif any(step.place(index) != step.data for index in range(len(step.node.input))):
        step.refuse("picks from one row by what belongs to another, or to none")
    return step.data


def reduced(step: Step) -> Place:
    """Means, sums, greatest values and their indices."""
    rank = len(step.dims(0))
    if step.node.op_type in ("ArgMax", "ArgMin"):
        axes: list[int] | None = [step.attribute("axis", 0)]
    else:
        axes = step.integers(1, "axes")
    if not axes:
        axes = [] if step.attribute("noop_with_empty_axes", 0) else list(range(rank))
    gone = {axis % rank for axis in axes}
    if step.data.axis in gone:
        step.refuse("takes the rows together into one value")
    if step.attribute("keepdims", 1):
        return step.data
    return replace(step.data, axis=step.data.axis - sum(axis < step.data.axis for axis in gone))


def mean_variance(step: Step) -> Place:
    if step.data.axis in [axis % len(step.dims(0)) for axis in step.attribute("axes", [0, 2, 3])]:
        step.refuse("takes the mean over the rows")
    return step.data
