"""The gate: an engine is compared with the net's own FP32 results before anybody may use it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import QualityError
from .manifest import GateFigures, GateLimits, OutputFigures

__all__ = ["REFERENCE_ROWS", "Arrays", "Runner", "check_limits", "measure", "reference_rows"]

Arrays = Mapping[str, NDArray[Any]]
Runner = Callable[[Arrays], Arrays]

# Rows that the FP32 net computes on the CPU: a large generator takes seconds for each.
REFERENCE_ROWS = 4


def reference_rows(
    reference: Runner, samples: Arrays, *, unbatched: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """What an engine is compared with: the first rows of samples, each alone.

    Args:
        reference: the net in FP32.
        samples: rows for every input.
        unbatched: inputs that are one value for all rows.

    Returns:
        Up to `REFERENCE_ROWS` rows of every output.

    Raises:
        QualityError: an output holds NaN or Inf.
    """
    counts = (len(array) for name, array in samples.items() if name not in unbatched)
    return _alone(reference, samples, min([REFERENCE_ROWS, *counts]), 1, unbatched)


def measure(
    candidate: Runner,
    wanted: Arrays,
    samples: Arrays,
    batches: Sequence[int],
    *,
    where: Literal["engine", "reference"],
    unbatched: Collection[str] = (),
) -> GateFigures:
    """Run a candidate on samples and compare it with the FP32 net.

    Args:
        candidate: takes a batch and returns its outputs.
        wanted: what `reference_rows` gave for these samples.
        samples: at least ``max(batches)`` rows for every input.
        batches: sizes that the candidate is run with; the smallest is what rows are compared with.
        where: what the candidate is: the engine itself, or an evaluation of its graph.
        unbatched: inputs that are one value for all rows.

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
            pairs = zip(_rows(array, batch), single[name], strict=False)
            errors[name] = max([errors[name], *(_relative(got, want) for got, want in pairs)])
    repeated = candidate(_feeds(samples, slice(batches[-1]), 1, unbatched))
    return GateFigures(
        where=where,
        samples=count,
        outputs=tuple(
            _figures(name, single[name][:count], wanted[name], errors[name]) for name in single
        ),
        repeatable=all(np.array_equal(repeated[name], outputs[name]) for name in outputs),
        passed=False,
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
    broken = []
    for one in figures.outputs:
        if not one.relative_l2 <= limits.relative_l2:
            broken.append(
                f"{one.output} differs by {one.relative_l2:.3g} of its size from FP32, allowed "
                f"{limits.relative_l2:g} (worst value {one.worst:.3g}, peak {one.peak:.3g})"
            )
        if one.psnr_db is not None and not one.psnr_db >= limits.psnr_db:
            broken.append(
                f"{one.output} has {one.psnr_db:.1f} dB against FP32, asked for {limits.psnr_db:g} "
                f"(worst value {one.worst:.3g}, peak {one.peak:.3g})"
            )
        if one.row_error is not None and not one.row_error <= limits.row:
            broken.append(
                f"{one.output}: a row in a batch differs by {one.row_error:.3g} from the row alone, "
                f"allowed {limits.row:g}"
            )
    if not figures.repeatable:
        broken.append("the same input gives different outputs")
    if broken:
        raise QualityError(
            f"the engine of {model} is not good enough: {'; '.join(broken)}",
            hint="build it with --fp32, hold nodes in FP32 in a recipe (keep_fp32), or set other "
            "limits there ([models.NAME.gate])",
        )
    return GateFigures(
        where=figures.where,
        samples=figures.samples,
        outputs=figures.outputs,
        repeatable=figures.repeatable,
        passed=True,
    )


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


def _is_image(shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape are pictures: three planes, or three values for each pixel."""
    return len(shape) == 4 and 3 in (shape[1], shape[3]) and min(shape[1:]) == 3


def _figures(name: str, got: NDArray[Any], want: NDArray[Any], row_error: float) -> OutputFigures:
    pairs = list(zip(got, want, strict=True))
    psnr = None
    if _is_image(want.shape):
        psnr = min(_psnr(one, other) for one, other in pairs)
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    return OutputFigures(
        output=name,
        relative_l2=max(_relative(one, other) for one, other in pairs),
        psnr_db=psnr,
        worst=float(difference.max(initial=0)),
        peak=float(np.abs(want.astype(np.float64)).max(initial=0)),
        row_error=row_error,
    )


# What an exact copy counts as: more than any precision gives, and a number that JSON knows.
_EXACT_DB = 200.0


def _psnr(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in decibels; the peak is the picture's own range."""
    error = np.mean((got.astype(np.float64) - want.astype(np.float64)) ** 2)
    span = float(want.max() - want.min())
    if not error:
        return _EXACT_DB
    return min(_EXACT_DB, 10 * math.log10(span**2 / error)) if span else 0.0
