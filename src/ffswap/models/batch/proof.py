"""Proof by example that a batch gives what its rows give one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import InternalError, ModelError
from .._proto import copy_fields, node_label, read_inside
from ..graph import inputs_of
from .step import ONE_ROW

__all__ = ["RowProof", "Run", "drawn_feeds", "prove_rows"]

Arrays = Mapping[str, NDArray[Any]]

# Runs a model: an array for every input, an array for every output. It raises a RuntimeError or a
# ValueError, as errors of engines are, if it cannot.
Run = Callable[[onnx.ModelProto, Arrays], Arrays]

# Of an output's greatest value. A float32 operation errs by 6e-8; runtimes add in another order
# when the batch grows, which after a hundred layers is 1e-6 to 1e-5. Rows that are mixed
# differ by 1e-2 and more, since the drawn rows have little in common.
_NOISE = 1e-4

# Rows whose answers differ by less than this, in the same parts, say little: classes are the same
# number, and scores are lost beside the pixels of boxes. Then what they are made of is compared, too.
_ALIKE = 100 * _NOISE

# Steps back from an output whose rows are alike to something in which they differ: a choice of the
# greatest, a Softmax, a cut, a Sigmoid and the layer before.
_STEPS_BACK = 6

# Least part of its range that a drawn row takes up.
_LEAST_CONTRAST = 0.3


@dataclass(frozen=True, kw_only=True)
class RowProof:
    """What a comparison of a batch with its rows found; it is proof only where the rows differ.

    Attributes:
        rows: of the batch.
        difference: by output, the greatest between batch and single rows, in parts of the output's
            greatest value.
        spread: by output, the greatest between two rows, in the same parts; 0 means that the rows
            gave one answer, so that nothing was proven.
    """

    rows: int
    difference: Mapping[str, float]
    spread: Mapping[str, float]


def drawn_feeds(
    model: onnx.ModelProto,
    rows: int,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Inputs to try a net with, always the same for the same seed.

    Each row has a brightness and a contrast of its own, as pictures have, so that means over rows
    show. Row i does not depend on how many rows there are.

    Args:
        model: with a free batch, or none.
        rows: of inputs with a free batch.
        seed: 0 or more.
        ranges: by name of an input of floats, least and greatest value; else -1 to 1. Integers and
            truth values are 0 or 1.

    Returns:
        An array for every input, by name.

    Raises:
        ModelError: another dimension than the batch is free.
    """
    feeds = {}
    for index, info in enumerate(inputs_of(model)):
        shape = info.shape[1:] if info.batched else info.shape
        if -1 in shape:
            raise ModelError(f"input {info} has a free dimension; allowed: only the batch")
        low, high = (ranges or {}).get(info.name, (-1.0, 1.0))
        drawn: list[NDArray[Any]] = []
        for row in range(rows if info.batched else 1):
            dice = np.random.default_rng([seed, index, row])
            if info.dtype.kind != "f":
                drawn.append(dice.integers(0, 2, shape))
                continue
            contrast = dice.uniform(_LEAST_CONTRAST, 1)
            start = dice.uniform(0, 1 - contrast)
            drawn.append(low + (high - low) * (start + contrast * dice.random(shape)))
        feeds[info.name] = (np.stack(drawn) if info.batched else np.asarray(drawn[0])).astype(
            info.dtype
        )
    return feeds


def prove_rows(
    model: onnx.ModelProto,
    run: Run,
    *,
    batch: int = 3,
    seed: int = 0,
    feeds: Arrays | None = None,
    original: onnx.ModelProto | None = None,
) -> RowProof:
    """Compare what a net gives for a batch with what it gives for the rows one by one.

    Args:
        model: with a free batch.
        run: runs a model; it is called with the same object again, so it may keep what it made of
            the last.
        batch: rows.
        seed: of the drawn inputs.
        feeds: inputs to use in place of drawn ones, with 2 rows or more.
        original: the net before the batch was made free; it gets the single rows, which proves the
            mending, too.

    Raises:
        ModelError: the batch gives something else, another shape, or cannot be run; with the node
            at which it begins.
    """
    feeds = drawn_feeds(model, batch, seed) if feeds is None else feeds
    trial = _Trial(model, original or model, run, feeds)
    try:
        together, alone = trial.results(model, trial.reference)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"cannot be run with {trial.rows} rows: {trial.place()}: {error}", hint=ONE_ROW
        ) from error
    difference, spread = {}, {}
    for name, got in together.items():
        rows = [answer[name] for answer in alone]
        want = (trial.rows, *rows[0].shape[1:])
        if got.shape != want or any(row.shape != (1, *want[1:]) for row in rows):
            raise ModelError(
                f"with {trial.rows} rows its output {name!r} has the shape {got.shape}, not {want}; "
                f"alone they have {rows[0].shape}: {trial.place()}",
                hint=ONE_ROW,
            )
        difference[name] = _apart(got, np.concatenate(rows))
        if difference[name] > _allowed(got):
            raise ModelError(
                f"its rows are not independent: with {trial.rows} rows its output {name!r} differs by "
                f"{difference[name]:.1e} of its greatest value from what they give alone: "
                f"{trial.place()}",
                hint=ONE_ROW,
            )
        spread[name] = max(_apart(row, rows[0]) for row in rows)
    alike = [name for name, apart in spread.items() if apart <= _ALIKE]
    if alike and (place := trial.place_before(alike)):
        raise ModelError(f"its rows are not independent: {place}", hint=ONE_ROW)
    return RowProof(rows=trial.rows, difference=difference, spread=spread)


def _allowed(array: NDArray[Any]) -> float:
    return _NOISE if array.dtype.kind == "f" else 0.0


def _apart(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Greatest difference, in parts of the greatest value; not-a-number is equal to itself alone."""
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if not (np.isfinite(a) & np.isfinite(b))[~same].all():
        return float("inf")
    peak = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return float(np.abs(a[~same] - b[~same]).max() / peak) if peak else float("inf")


class _Trial:
    """One batch, its rows, and the search for the node at which they part."""

    def __init__(
        self, model: onnx.ModelProto, reference: onnx.ModelProto, run: Run, feeds: Arrays
    ) -> None:
        self.model, self.reference, self.run, self.feeds = model, reference, run, feeds
        self.batched = [info.name for info in inputs_of(model) if info.batched]
        sizes = {len(feeds[name]) for name in self.batched}
        if len(sizes) != 1 or min(sizes) < 2:
            raise InternalError(f"a proof with {sorted(sizes)} rows; allowed: 2 or more, all alike")
        (self.rows,) = sizes

    def results(
        self, model: onnx.ModelProto, reference: onnx.ModelProto
    ) -> tuple[Arrays, list[Arrays]]:
        """What the batch gives, and what each row gives."""
        alone = []
        for row in range(self.rows):
            one = {n: a[row : row + 1] if n in self.batched else a for n, a in self.feeds.items()}
            alone.append(self.run(reference, one))
        return self.run(model, self.feeds), alone

    def place(self, end: int | None = None) -> str:
        """The node that gets what the rows have alone, and gives something else.

        Half of the nodes are cut off again and again, and everything that the others would read is
        compared. So it takes few runs, and no more memory than the net itself.

        Args:
            end: number of nodes behind which something is known to be wrong; None: all.
        """
        nodes = self.model.graph.node
        good, bad = 0, len(nodes) if end is None else end
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._parted(_live(self.model, middle)) is None:
                good = middle
            else:
                bad = middle
        return f"it begins at {node_label(nodes[bad - 1])}"

    def place_before(self, outputs: Collection[str]) -> str | None:
        """The same for what outputs do not show because they are alike for all rows; None: nothing."""
        makers = {n: (i, node) for i, node in enumerate(self.model.graph.node) for n in node.output}
        names = set(outputs)
        for _ in range(_STEPS_BACK):
            names |= {n for name in names & makers.keys() for n in makers[name][1].input}
            names &= makers.keys()
        found = self._parted(sorted(names, key=lambda name: makers[name][0]))
        return None if found is None else self.place(makers[found][0] + 1)

    def _parted(self, names: Iterable[str]) -> str | None:
        """The first of these tensors in which batch and rows differ."""
        there = {name for node in self.reference.graph.node for name in node.output}
        names = [name for name in names if name in there]
        if not names:
            return None
        try:
            together, alone = self.results(
                _showing(self.model, names), _showing(self.reference, names)
            )
        except (RuntimeError, ValueError):
            return names[0]
        for name in names:
            if not _agree(together[name], [answer[name] for answer in alone]):
                return name
        return None


def _agree(got: NDArray[Any], rows: list[NDArray[Any]]) -> bool:
    """Whether a tensor inside is made of the rows' tensors, wherever the batch is in it."""
    one, limit = rows[0].shape, _allowed(got)
    if got.shape == one:  # belongs to no row
        return all(_apart(got, row) <= limit for row in rows)
    axes = [axis for axis in range(len(one)) if got.shape[axis : axis + 1] != one[axis : axis + 1]]
    if (
        len(got.shape) != len(one)
        or len(axes) != 1
        or got.shape[axes[0]] != len(rows) * one[axes[0]]
    ):
        return False
    (axis,) = axes
    for outer in range(1, one[axis] + 1):
        if one[axis] % outer == 0:
            shape = (*one[:axis], outer, one[axis] // outer, *one[axis + 1 :])
            laid = np.concatenate([row.reshape(shape) for row in rows], axis=axis + 1)
            if _apart(got, laid.reshape(got.shape)) <= limit:
                return True
    return False


def _live(model: onnx.ModelProto, count: int) -> list[str]:
    """What the first nodes make and the others, or the caller, read."""
    nodes = model.graph.node
    made = [name for node in nodes[:count] for name in node.output if name]
    read = {name for node in nodes[count:] for name in (*node.input, *read_inside(node))}
    read |= {value.name for value in model.graph.output}
    return [name for name in made if name in read]


def _showing(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The part of a model that makes these tensors, with them as outputs."""
    needed, kept = set(names), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed |= {*node.input, *read_inside(node)}
            kept.append(node)
    part = onnx.ModelProto()
    copy_fields(model, part, but={"graph"})
    copy_fields(model.graph, part.graph, but={"initializer", "node", "output", "value_info"})
    part.graph.node.extend(reversed(kept))
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    for tensor in model.graph.initializer:
        if tensor.name in needed:
            part.graph.initializer.add().CopyFrom(tensor)
    return part
