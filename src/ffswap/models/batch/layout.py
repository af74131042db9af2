"""Where the batch is after operators that move, cut and join; what fixes a single row is mended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .step import Place, Step

__all__ = [
    "concat",
    "expand",
    "flatten",
    "gather",
    "pad",
    "reshape",
    "resize",
    "sliced",
    "split",
    "squeeze",
    "tile",
    "transpose",
    "unsqueeze",
]

# End of a slice that takes everything, in what exporters write: 2**31 - 1 or 2**63 - 1.
_WHOLE = 2**31 - 1


def transpose(step: Step) -> Place:
    rank = len(step.dims(0))
    order = list(step.attribute("perm", range(rank - 1, -1, -1)))
    return replace(step.data, axis=order.index(step.data.axis))


def _candidates(step: Step, dims: Sequence[int], target: Sequence[int]) -> list[Place]:
    """Where the batch may be after a change of shape.

    The order of the values in memory stays, so the rows stay the same number of values apart.
    """
    place = step.data
    apart = place.inner * math.prod(dims[place.axis + 1 :])
    found = []
    for axis in range(len(target)):
        behind, within = math.prod(target[axis + 1 :]), math.prod(target[axis:])
        if not behind or not within:
            step.refuse("changes the shape of a tensor without values")
        if apart % behind == 0 and within % apart == 0:
            found.append(Place(axis, within // apart, apart // behind))
    return found


def _likely(
    place: Place,
    dims: Sequence[int],
    target: Sequence[int],
    shape: Sequence[int],
    found: list[Place],
) -> list[Place]:
    """The places in the order of their likelihood; several may lay out the values alike."""
    for kept in (p for p in found if p.axis == place.axis):
        if kept.span == 1 or (kept == place and shape[kept.axis] == 0):
            return [kept]

    def unlikely(p: Place) -> tuple[bool, bool, bool, int, int]:
        merged_before = p.inner == place.inner and target[p.axis + 1 :] == dims[place.axis + 1 :]
        return (p.span > 1, shape[p.axis] != -1, not merged_before, p.outer, p.axis)

    return sorted(found, key=unlikely)


def reshape(step: Step) -> Place:
    step.only_first("has a shape that is computed from what is in the picture")
    shape = step.integers(1, "shape")
    dims, target = step.dims(0), step.out()
    found = _candidates(step, dims, target)
    if not found or shape is None:
        step.refuse("cuts the tensor across the rows")
    copies = not step.attribute("allowzero", 0)
    asked = [entry if copies or entry else target[axis] for axis, entry in enumerate(shape)]
    place = step.choose(_likely(step.data, dims, target, asked, found))
    wanted, here = list(asked), place.axis == step.data.axis
    if not (asked[place.axis] == -1 or (here and asked[place.axis] == 0)):
        if here and copies and place.span == step.data.span:
            wanted[place.axis] = 0
        else:
            wanted = list(target)
            wanted[place.axis] = -1
    if not here and step.data.axis < len(wanted) and wanted[step.data.axis] == 0:
        wanted[step.data.axis] = target[step.data.axis]  # a zero would copy the batch
    if wanted != shape:
        step.set_constant(1, np.array(wanted, np.int64))
    return place


def flatten(step: Step) -> Place:
    axis = step.attribute("axis", 1)
    axis += len(step.dims(0)) if axis < 0 else 0
    if axis == 0 and step.data == Place(0) and len(step.dims(0)) > 0:
        # One row gives (1, values) either way.
        for item in [item for item in step.node.attribute if item.name == "axis"]:
            step.node.attribute.remove(item)
        axis = 1
    wanted = 0 if step.data.axis < axis else 1
    for place in _candidates(step, step.dims(0), step.out()):
        if place.axis == wanted:
            return place
    step.refuse("cuts the tensor across the rows")


def squeeze(step: Step) -> Place:
    dims = step.dims(0)
    axes = step.integers(1, "axes")
    if axes is None:
        axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    gone = {axis % len(dims) for axis in axes}
    if step.data.axis in gone:
        step.refuse("takes the axis of the rows away")
    return replace(step.data, axis=step.data.axis - sum(axis < step.data.axis for axis in gone))


def unsqueeze(step: Step) -> Place:
    rank = len(step.out())
    new = {axis % rank for axis in step.integers(1, "axes") or ()}
    old = [axis for axis in range(rank) if axis not in new]
    return replace(step.data, axis=old[step.data.axis])


def concat(step: Step) -> Place:
    axis = step.attribute("axis") % len(step.out())
    places = {step.place(index) for index in range(len(step.node.input))}
    if len(places) > 1:
        step.refuse("joins what belongs to a row and what belongs to none, or to another axis")
    if step.data.axis == axis:
        step.refuse("puts its inputs behind each other along the rows")
    return step.data


def split(step: Step) -> Place:
    if (
        step.data.axis == step.attribute("axis", 0) % len(step.dims(0))
        and len(step.node.output) > 1
    ):
        step.refuse("splits the rows")
    return step.data


def sliced(step: Step) -> Place:
    starts, ends = step.integers(1, "starts") or [], step.integers(2, "ends") or []
    rank = len(step.dims(0))
    axes = step.integers(3, "axes") or list(range(len(starts)))
    steps = step.integers(4, "steps") or [1] * len(starts)
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        if axis % rank == step.data.axis and (start != 0 or end < _WHOLE or stride != 1):
            step.refuse("takes some rows and leaves others")
    return step.data


def gather(step: Step) -> Place:
    axis = step.attribute("axis", 0) % len(step.dims(0))
    data, indices = step.place(0), step.place(1)
    if data and indices:
        step.refuse("picks from rows by what belongs to rows")
    if indices:  # from a table
        return replace(indices, axis=axis + indices.axis)
    if step.data.axis == axis:
        step.refuse("picks some rows and leaves others")
    behind = len(step.dims(1)) - 1 if step.data.axis > axis else 0
    return replace(step.data, axis=step.data.axis + behind)


def expand(step: Step) -> Place:
    shape = step.integers(1, "shape") or []
    rank = len(step.out())
    place = replace(step.data, axis=step.data.axis + rank - len(step.dims(0)))
    axis = place.axis - (rank - len(shape))
    if axis >= 0 and shape[axis] != 1:
        if shape[axis] != place.span:
            step.refuse("repeats the rows")
        shape[axis] = 1  # leaves the axis as it is
        step.set_constant(1, np.array(shape, np.int64))
    return place


def tile(step: Step) -> Place:
    repeats = step.integers(1, "repeats") or []
    return replace(step.data, outer=step.data.outer * repeats[step.data.axis])


def pad(step: Step) -> Place:
    step.only_first()
    pads, rank = step.integers(1, "pads") or [], len(step.dims(0))
    axes = step.integers(3, "axes") or list(range(rank))
    by_axis = {axis % rank: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if any(by_axis.get(step.data.axis, (0, 0))):
        step.refuse("pads the rows")
    return step.data


def resize(step: Step) -> Place:
    """A size that holds the number of rows becomes a factor."""
    dims, target, place = step.dims(0), step.out(), step.data
    step.only_first("has a size that is computed from what is in the picture")
    if dims[place.axis] != target[place.axis]:
        step.refuse("resizes along the rows")
    if step.name(3) and not step.attribute("axes"):
        if step.attribute("keep_aspect_ratio_policy", b"stretch") != b"stretch":
            step.refuse("gives a size that includes the rows and keeps proportions")
        scales = [_factor(old, new) for old, new in zip(dims, target, strict=True)]
        step.set_constant(2, np.array(scales, np.float32))
        del step.node.input[3:]
    return place


def _factor(old: int, new: int) -> float:
    """The factor whose product with the old size, rounded down, is the new one."""
    factor = np.float32(new / old)
    while int(np.float32(old) * factor) < new:
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)
