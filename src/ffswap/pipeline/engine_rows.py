"""The rows of calibration sets that an INT8 engine is made and judged with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.calibration import CalibrationRows, merge_rows, read_set
from ..engines.gate import Arrays, Group, Recogniser
from ..engines.recipe import ModelRecipe
from ..errors import ModelError, OptionError
from ..files import PendingFile, write_error
from ..models.graph import TensorInfo, inputs_of
from .engine_graph import Prepared, draw_samples

__all__ = ["Int8Request", "TrialRows", "int8_request", "trial_rows"]

# The fewest rows: a quarter is held out, and of fewer than 8 the worst says little.
_LEAST_ROWS = 32
_HELD_SHARE = 4  # one row of so many is held out
# The most that are used, spread over the groups: the CPU computes each several times.
_MOST_HELD, _MOST_CALIBRATED = 32, 128


@dataclass(frozen=True, kw_only=True)
class Int8Request:
    """What is asked for besides the recipe where an engine is to be INT8.

    Attributes:
        sets: folders of calibration sets.
        report: HTML file that appears when an engine is built, or cannot be; or None.
        recogniser: looks at outputs that are pictures; or None.
    """

    sets: tuple[Path, ...]
    report: PendingFile | None
    recogniser: Recogniser | None

    def write(self, text: Callable[[], str]) -> None:
        """Let the report appear, if one was asked for.

        Raises:
            OutputWriteError: it cannot be written.
        """
        if self.report is None:
            return
        try:
            self.report.temporary.write_text(text(), encoding="utf-8")
        except OSError as error:
            raise write_error(error, self.report.path) from error
        self.report.commit()

    def rows(self, model: str, onnx_sha256: str) -> CalibrationRows:
        """All rows for a net.

        Args:
            model: its name.
            onnx_sha256: fingerprint of its file as it was read.

        Raises:
            InputMissingError: a set is not there.
            ModelError: one is damaged, for another net, or all have too few rows.
        """
        found = []
        for folder in self.sets:
            one = read_set(folder, model)
            if one.onnx_sha256 != onnx_sha256:
                raise ModelError(
                    f"was made for another file of {model} ({one.onnx_sha256[:12]}, here is "
                    f"{onnx_sha256[:12]})",
                    file=folder, hint="make a calibration set with this file",
                )  # fmt: skip
            found.append(one)
        rows = merge_rows(found)
        if len(rows) < _LEAST_ROWS:
            raise ModelError(
                f"has {len(rows)} rows for {model}; allowed: {_LEAST_ROWS} or more",
                file=self.sets[0], hint="collect more faces, and of more people",
            )  # fmt: skip
        return rows


@contextmanager
def int8_request(
    chosen: Sequence[ModelRecipe],
    sets: Sequence[Path],
    report: Path | None,
    recogniser: Recogniser | None,
) -> Iterator[Int8Request | None]:
    """What is asked for, for the models that are to be INT8; None: there are none.

    Raises:
        OptionError: sets, report and models do not go together.
        OutputExistsError: there is a report already.
        OutputWriteError: it cannot be written there.
    """
    models = [one.name for one in chosen if one.precision == "int8"]
    if models and not sets:
        raise OptionError(
            f"INT8 of {', '.join(models)} needs real inputs, and no calibration set was given",
            hint="--calibrate SET",
        )
    if not models and (sets or report):
        given = "--calibrate" if sets else "--report"
        raise OptionError(f"{given} is for INT8, which was not asked for", hint="--int8")
    if report is not None and len(models) > 1:
        raise OptionError(
            f"--report {report} is about one model, and {len(models)} are to be INT8: "
            f"{', '.join(models)}",
            hint="name one of them",
        )
    if not models:
        yield None
        return
    file = None if report is None else PendingFile(report, overwrite=False)
    try:
        yield Int8Request(sets=tuple(sets), report=file, recogniser=recogniser)
    finally:
        if file is not None:
            file.discard()


@dataclass(frozen=True, kw_only=True)
class TrialRows:
    """Rows of a net's inputs.

    Attributes:
        calibrated: rows that ranges are taken from.
        held: rows that are held out; the same inputs.
        constant: inputs without rows.
        groups: of the held rows.
        digest: of all rows.
        notes: what the user should know of them.
    """

    calibrated: Arrays
    held: Arrays
    constant: Arrays
    groups: tuple[Group, ...]
    digest: str
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Held rows."""
        return len(next(iter(self.held.values())))

    def feeds(self, rows: int) -> dict[str, NDArray[Any]]:
        """Held rows, repeated until there are at least so many."""
        times = -(-max(rows, self.count) // self.count)
        return {n: np.concatenate([a] * times) for n, a in self.held.items()} | dict(self.constant)

    def singly(self, arrays: Arrays, rows: Sequence[int] | None = None) -> list[Arrays]:
        """Rows one by one, with the inputs that have none.

        Args:
            arrays: `calibrated` or `held`.
            rows: their indices; None: all.
        """
        count = len(next(iter(arrays.values())))
        return [
            {name: array[row : row + 1] for name, array in arrays.items()} | dict(self.constant)
            for row in (range(count) if rows is None else rows)
        ]


def trial_rows(rows: CalibrationRows, recipe: ModelRecipe, prepared: Prepared) -> TrialRows:
    """Split rows, spread over all groups, into those to calibrate with and those held out.

    Raises:
        ModelError: they do not fit the net.
    """
    inputs = inputs_of(prepared.graph)
    known = {} if prepared.names is None else prepared.names.inputs
    called = {own: name for name, own in known.items()}
    given = {
        one.name: _fitting(rows, one, called.get(one.name, one.name))
        for one in inputs
        if _has_rows(one, recipe)
    }
    drawn = draw_samples(replace(recipe, samples=None), prepared.graph, 1)
    calibrated, held = _split(rows)
    return TrialRows(
        calibrated={name: array[calibrated] for name, array in given.items()},
        held={name: array[held] for name, array in given.items()},
        constant={one.name: drawn[one.name] for one in inputs if one.name not in given},
        groups=_groups(rows, held),
        digest=rows.digest,
        notes=_notes(rows),
    )


def _has_rows(info: TensorInfo, recipe: ModelRecipe) -> bool:
    """Whether an input has a row for each face; a batch that is fixed at 1 is a batch."""
    return info.batched or (info.shape[:1] == (1,) and info.name not in recipe.unbatched)


def _fitting(rows: CalibrationRows, info: TensorInfo, known: str) -> NDArray[Any]:
    """The rows of an input, under its own name or under the one that the catalogue has for it."""
    array = rows.inputs.get(info.name, rows.inputs.get(known))
    if array is None or array.shape[1:] != info.shape[1:]:
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        wanted = ", ".join(map(str, ("N", *info.shape[1:])))
        raise ModelError(
            f"the calibration set of {rows.model} holds {found} for the input {info.name}; "
            f"allowed: {info.dtype} ({wanted})"
        )
    return array.astype(info.dtype, copy=False)


def _notes(rows: CalibrationRows) -> tuple[str, ...]:
    found = []
    if len(np.unique(rows.person)) == 1:
        found.append(
            "the calibration set shows one person only: ranges and gate say little about others"
        )
    for kind, names, index in (
        ("skin tone", rows.skin, rows.group_skin),
        ("pose", rows.pose, rows.group_pose),
    ):
        missing = [name for place, name in enumerate(names) if not (index == place).any()]
        if missing:
            found.append(f"the calibration set has no rows of the {kind} {', '.join(missing)}")
    return tuple(found)


def _split(rows: CalibrationRows) -> tuple[list[int], list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for row in range(len(rows)):
        groups.setdefault((int(rows.group_skin[row]), int(rows.group_pose[row])), []).append(row)
    calibrated, held = [], []
    for _, members in sorted(groups.items()):
        # Of two or three rows one is held out, too: groups are what is judged.
        own = members[1::_HELD_SHARE]
        held.append(own)
        calibrated.append([row for row in members if row not in own])
    return _in_turn(calibrated, _MOST_CALIBRATED), _in_turn(held, _MOST_HELD)


def _in_turn(groups: Sequence[Sequence[int]], most: int) -> list[int]:
    """Up to so many rows, one of each group after the other; ascending."""
    rounds = range(max(map(len, groups)))
    taken = [group[turn] for turn in rounds for group in groups if turn < len(group)]
    return sorted(taken[:most])


def _groups(rows: CalibrationRows, held: Sequence[int]) -> tuple[Group, ...]:
    """The groups of the held rows; those without any are left out."""
    skin = [
        Group(kind="skin", name=name, rows=_members(rows.group_skin[held], place))
        for place, name in enumerate(rows.skin)
    ]
    pose = [
        Group(kind="pose", name=name, rows=_members(rows.group_pose[held], place))
        for place, name in enumerate(rows.pose)
    ]
    return tuple(one for one in (*skin, *pose) if one.rows)


def _members(index: NDArray[np.int64], place: int) -> tuple[int, ...]:
    return tuple(np.flatnonzero(index == place).tolist())
