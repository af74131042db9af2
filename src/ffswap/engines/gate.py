"""The gate: an engine is compared with the net's own FP32 results before anybody may use it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import QualityError
from .manifest import GateFigures, GateLimits, GroupFigures, GroupKind, OutputFigures
from .similarity import decibels, is_image, psnr, ssim

__all__ = [
    "REFERENCE_ROWS",
    "Arrays",
    "Group",
    "Recogniser",
    "Runner",
    "broken_limits",
    "check_limits",
    "measure",
    "reference_rows",
]

Arrays = Mapping[str, NDArray[Any]]
Runner = Callable[[Arrays], Arrays]
Recogniser = Callable[[NDArray[Any]], NDArray[Any]]
"""Takes rows of an output that is a picture and gives an embedding for each, of any norm but 0."""

# Rows that the FP32 net computes on the CPU: a large generator takes seconds for each.
REFERENCE_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of samples that are judged together.

    Attributes:
        kind: of the group.
        name: of the group.
        rows: their indices, ascending.
    """

    kind: GroupKind
    name: str
    rows: tuple[int, ...]


def reference_rows(
    reference: Runner,
    samples: Arrays,
    *,
    unbatched: Collection[str] = (),
    rows: int = REFERENCE_ROWS,
) -> dict[str, NDArray[Any]]:
    """What an engine is compared with: the first rows of samples, each alone.

    Args:
        reference: the net in FP32.
        samples: rows for every input.
        unbatched: inputs that are one value for all rows.
        rows: the most that are computed.

    Returns:
        Up to `rows` rows of every output.

    Raises:
        QualityError: an output holds NaN or Inf.
    """
    counts = (len(array) for name, array in samples.items() if name not in unbatched)
    return _alone(reference, samples, min([rows, *counts]), 1, unbatched)


def measure(
    candidate: Runner,
    wanted: Arrays,
    samples: Arrays,
    batches: Sequence[int],
    *,
    where: Literal["engine", "reference"],
    unbatched: Collection[str] = (),
    groups: Sequence[Group] = (),
    recogniser: Recogniser | None = None,
) -> GateFigures:
    """Run a candidate on samples and compare it with the FP32 net.

    Args:
        candidate: takes a batch and returns its outputs.
        wanted: what `reference_rows` gave for these samples.
        samples: at least ``max(batches)`` rows for every input.
        batches: sizes that the candidate is run with; the smallest is what rows are compared with.
        where: what the candidate is: the engine itself, or an evaluation of its graph.
        unbatched: inputs that are one value for all rows.
        groups: of the rows that `reference_rows` gave.
        recogniser: looks at outputs that are pictures.

    Raises:
        QualityError: an output holds NaN or Inf.
    """
    count = min(len(rows) for rows in wanted.values())
    single = _alone(candidate, samples, max(batches[-1], count), batches[0], unbatched)
    errors = dict.fromkeys(single, 0.0)
    for batch in batches:
        outputs = candidate(_feeds(samples, slice(batch), 1, unbatched))
        _refuse_infinite(outputs, f"batch {batch}")
        for name, array in outputs.items():
            each = zip(_rows(array, batch), single[name], strict=False)
            errors[name] = max([errors[name], *(_relative(got, want) for got, want in each)])
    repeated = candidate(_feeds(samples, slice(batches[-1]), 1, unbatched))
    pairs = {name: list(zip(single[name][:count], wanted[name], strict=True)) for name in single}
    return GateFigures(
        where=where,
        samples=count,
        outputs=tuple(_figures(name, pairs[name], errors[name]) for name in single),
        repeatable=all(np.array_equal(repeated[name], outputs[name]) for name in outputs),
        passed=False,
        groups=tuple(figures for name in single for figures in _groups(name, pairs[name], groups)),
        identity=None if recogniser is None else _identity(recogniser, single, wanted, count),
    )


def _feeds(
    samples: Arrays, rows: slice, repeats: int, unbatched: Collection[str]
) -> dict[str, NDArray[Any]]:
    return {
        name: array if name in unbatched else np.repeat(array[rows], repeats, axis=0)
        for name, array in samples.items()
    }


def _alone(
    run: Runner, samples: Arrays, count: int, repeats: int, unbatched: Collection[str]
) -> dict[str, NDArray[Any]]:
    """The first rows one by one; where there is no batch of one, each is repeated."""
    answers = []
    for row in range(count):
        outputs = run(_feeds(samples, slice(row, row + 1), repeats, unbatched))
        _refuse_infinite(outputs, f"sample {row}")
        answers.append({name: _rows(array, repeats)[:1] for name, array in outputs.items()})
    return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}


def check_limits(figures: GateFigures, limits: GateLimits, model: str) -> GateFigures:
    """The figures, marked as passed.

    Raises:
        QualityError: a limit is broken; the message names output, figure and limit.
    """
    if broken := broken_limits(figures, limits):
        raise QualityError(
            f"the engine of {model} is not good enough: {'; '.join(broken)}",
            hint="build it with --fp32, hold nodes in FP32 in a recipe (keep_fp32), or set other "
            "limits there ([models.NAME.gate])",
        )
    return replace(figures, passed=True)


def broken_limits(figures: GateFigures, limits: GateLimits) -> list[str]:
    """A sentence for each limit that is broken, with output, group, figure and limit."""
    broken = [text for one in figures.outputs for text in _broken(one, limits)]
    for group in figures.groups:
        if limits.spread_db is not None and not group.below_db <= limits.spread_db:
            broken.append(
                f"{group.output} of the group {group.kind} {group.name!r} has {group.mean_db:.1f} dB "
                f"in the mean of {group.rows} rows, {group.below_db:.1f} dB below the mean of all, "
                f"allowed {limits.spread_db:g}"
            )
    distance = figures.identity
    if limits.identity is not None and distance is not None and not distance <= limits.identity:
        broken.append(
            f"a face is {distance:.3g} from the same face in FP32, allowed {limits.identity:g}"
        )
    if not figures.repeatable:
        broken.append("the same input gives different outputs")
    return broken


def _broken(one: OutputFigures, limits: GateLimits) -> list[str]:
    """What is wrong with one output."""
    broken = []
    extremes = f"(worst value {one.worst:.3g}, peak {one.peak:.3g})"
    if not one.relative_l2 <= limits.relative_l2:
        broken.append(
            f"{one.output} differs by {one.relative_l2:.3g} of its size from FP32, allowed "
            f"{limits.relative_l2:g} {extremes}"
        )
    if one.psnr_db is not None and not one.psnr_db >= limits.psnr_db:
        broken.append(
            f"{one.output} has {one.psnr_db:.1f} dB against FP32, asked for {limits.psnr_db:g} "
            f"{extremes}"
        )
    if limits.ssim is not None and one.ssim is not None and not one.ssim >= limits.ssim:
        broken.append(
            f"{one.output} has a structural similarity of {one.ssim:.3f} with FP32, asked for "
            f"{limits.ssim:g}"
        )
    if one.row_error is not None and not one.row_error <= limits.row:
        broken.append(
            f"{one.output}: a row in a batch differs by {one.row_error:.3g} from the row alone, "
            f"allowed {limits.row:g}"
        )
    return broken


def _rows(array: NDArray[Any], batch: int) -> NDArray[Any]:
    """Rows along the first axis; what has none of its own is one row."""
    return array if array.shape[:1] == (batch,) else array[np.newaxis]


def _refuse_infinite(outputs: Arrays, what: str) -> None:
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            share = 1 - float(np.isfinite(array).mean())
            raise QualityError(
                f"{name} holds values that are not finite ({share:.1%} of them, {what})",
                hint="build it with --fp32, or hold the nodes before it in FP32 in a recipe "
                "(keep_fp32)",
            )


def _relative(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Norm of the difference by the norm; for whole numbers the share of different ones."""
    if want.dtype.kind in "iub":
        return float((got != want).mean())
    difference = np.linalg.norm(got.astype(np.float64) - want.astype(np.float64))
    size = np.linalg.norm(want.astype(np.float64))
    return float(difference / size) if size else float(difference)


_Pairs = Sequence[tuple[NDArray[Any], NDArray[Any]]]
"""Of each row what the candidate gives, and what is wanted."""


def _figures(name: str, pairs: _Pairs, row_error: float) -> OutputFigures:
    got, want = (np.stack(side).astype(np.float64) for side in zip(*pairs, strict=True))
    image = is_image(want.shape)
    likeness = [ssim(one, other) for one, other in pairs] if image else []
    return OutputFigures(
        output=name,
        relative_l2=max(_relative(one, other) for one, other in pairs),
        psnr_db=min(psnr(one, other) for one, other in pairs) if image else None,
        worst=float(np.abs(got - want).max(initial=0)),
        peak=float(np.abs(want).max(initial=0)),
        row_error=row_error,
        ssim=min((one for one in likeness if one is not None), default=None),
    )


def _groups(name: str, pairs: _Pairs, groups: Sequence[Group]) -> list[GroupFigures]:
    """How near an output came for each group."""
    if not groups:
        return []
    image = is_image((len(pairs), *pairs[0][1].shape))
    each = [psnr(one, other) if image else decibels(_relative(one, other)) for one, other in pairs]
    whole = float(np.mean(each))
    found = []
    for group in groups:
        own = [each[row] for row in group.rows]
        mean = float(np.mean(own))
        found.append(
            GroupFigures(
                kind=group.kind, name=group.name, output=name, rows=len(own), mean_db=mean,
                worst_db=min(own), below_db=whole - mean,
            )
        )  # fmt: skip
    return found


def _identity(recogniser: Recogniser, got: Arrays, want: Arrays, count: int) -> float | None:
    """Largest distance of a face from the same face in FP32; None: no output is a picture."""
    distances = []
    for name, pictures in want.items():
        if is_image(pictures.shape):
            pairs = [recogniser(one).astype(np.float64) for one in (got[name][:count], pictures)]
            unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in pairs]
            distances.append(float((1 - (unit[0] * unit[1]).sum(axis=1)).max()))
    return max(distances, default=None)
