"""INT8 nets of one model: made from calibration rows, with as few layers back in FP16 as the gate allows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ..engines.calibration import CalibrationRows
from ..engines.fp16_reference import Fp16Reference
from ..engines.gate import Arrays, Recogniser, broken_limits, measure
from ..engines.int8 import Int8Choice, Int8Search
from ..engines.int8_figures import Int8Figures, LeftLayer, MethodFigures, SweepFigures
from ..engines.manifest import GateFigures
from ..engines.observe import METHODS
from ..engines.opset import at_least_opset
from ..engines.precision import check_names, to_mixed_fp16
from ..engines.quantise import WeightScales
from ..engines.recipe import ModelRecipe
from ..engines.trt_api import TrtApi
from ..errors import Int8Error, QualityError
from .engine_attempts import Attempt
from .engine_graph import Prepared
from .engine_rows import TrialRows
from .int8_report import Int8Report, PictureRow, pick_rows, render

__all__ = ["Int8Trial", "calibration_key"]

# Goes up whenever the same rows could give another INT8 net: engines of before are built again.
_VERSION = 1
_SWEEP_ROWS = 4  # of the held rows, for methods and sweep
_RANGE_ROWS = 4  # for the search of values that leave the range of FP16
# What results on the CPU must be better by than what is asked of the engine, which rounds
# everything between its INT8 layers to FP16 as well.
_SPARE_DB = 1.0
# Of the multiplications; a tenth at twice the speed saves 5 %, which conversions cost again.
_LEAST_SHARE = 0.1
# The opset whose QuantizeLinear takes FP16, for builders that take types from the graph.
_HALF_OPSET = 19
# Engines that are built before INT8 is given up, each with this part of the layers less.
_BUILDS, _STEP = 3, 0.2
_NAMED = 5  # layers in a message

_HINT = (
    "FP16 engines stay as they are; more rows of a group help where it has few, and other limits "
    "are set in a recipe ([models.NAME.gate_int8])"
)


def calibration_key(rows: CalibrationRows, recipe: ModelRecipe, api: TrtApi) -> str:
    """Everything about INT8 that changes an engine, for its key: 64 hexadecimal digits."""
    asked = [
        recipe.int8_ranges, _weights(recipe, api), recipe.int8_fences, sorted(recipe.keep_fp16),
        _VERSION,
    ]  # fmt: skip
    return hashlib.sha256(f"{rows.digest} {json.dumps(asked)}".encode()).hexdigest()


def _weights(recipe: ModelRecipe, api: TrtApi) -> WeightScales:
    """Scales of kernels: the recipe's, or what is quicker.

    TensorRT for RTX writes float32 behind a convolution with a scale for each channel, and rounds
    it in a kernel of its own; with one scale the rounding is part of the convolution. TensorRT is
    tuned for a scale for each channel.
    """
    if recipe.int8_weights is not None:
        return recipe.int8_weights
    return "tensor" if api.product == "tensorrt_rtx" else "channel"


class Int8Trial:
    """Makes the INT8 nets of one model, and keeps what was found.

    Args:
        recipe: of the model.
        prepared: the net in FP32.
        api: TensorRT that builds.
        rows: that it is made and judged with.
        recogniser: looks at outputs that are pictures; or None.
        cores: for the CPU.
        check: is called before each run on the CPU, and may raise.
        tell: is called when a phase begins.

    Attributes:
        rows: as given.
        figures: how the last INT8 net was made; None: none was.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        prepared: Prepared,
        api: TrtApi,
        rows: TrialRows,
        *,
        recogniser: Recogniser | None,
        cores: int,
        check: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._recipe, self._prepared, self._api, self.rows = recipe, prepared, api, rows
        self._recogniser, self._cores, self._check, self._tell = recogniser, cores, check, tell
        self.figures: Int8Figures | None = None
        self._wanted: Arrays = {}
        self._seen: dict[int, Arrays] = {}  # INT8 outputs by held row: of the engine, once it ran

    @property
    def judging(self) -> dict[str, Any]:
        """What `compare` has to know besides the rows."""
        return {
            "unbatched": frozenset(self.rows.constant),
            "groups": self.rows.groups,
            "recogniser": self._recogniser,
            "watch": self._watch,
        }

    def attempts(self, wanted: Arrays) -> Iterator[Attempt]:
        """INT8 nets, the quickest that should be good enough first.

        Args:
            wanted: FP32 outputs of the held rows.

        Raises:
            Int8Error: none is good enough on the CPU.
            ModelError: INT8 suits no layer of the net.
            OptionError: the recipe names a node that is not there.
        """
        self._wanted = wanted
        recipe, rows = self._recipe, self.rows
        leave = (*recipe.keep_fp32, *recipe.keep_fp16)
        check_names(self._prepared.graph, leave)
        with Int8Search(
            self._prepared.graph, weights=_weights(recipe, self._api), leave=leave,
            fences=recipe.int8_fences, threads=self._cores, check=self._check,
        ) as search:  # fmt: skip
            self._tell("looking at the values of the calibration set")
            search.observe(rows.singly(rows.calibrated))
            self._tell("choosing INT8 ranges")
            few = _spread(rows.count)
            pairs = list(zip(rows.singly(rows.held, few), map(self._answer, few), strict=True))
            ranges = recipe.int8_ranges
            methods = search.try_methods(pairs, METHODS if ranges is None else (ranges,))
            self._tell("finding what INT8 costs in each layer")
            sweep = search.sweep(pairs)
            self._tell("finding the layers that go back to FP16")
            describe = _Describing(search, self, methods, sweep)
            returned = self._fewest(search, sweep, describe)
            step = max(1, round(_STEP * len(sweep)))
            for build in range(_BUILDS):
                if returned + build * step >= len(sweep):
                    break
                choice = search.without(sweep, returned + build * step)
                self.figures = describe(choice)
                yield self._attempt(search, choice, again=build > 0)

    def refused(self, error: QualityError) -> Int8Error:
        """The error where no engine that was built is good enough."""
        layers = () if self.figures is None else self.figures.returned
        return Int8Error(f"{error.message}; back in FP16 were {_named(layers)}", hint=_HINT)

    def report(self, fault: str | None, gate: GateFigures | None) -> str:
        """The report as HTML; see `Int8Report`.

        Args:
            fault: why no engine was installed, or None.
            gate: what was measured of the engine, or None.
        """
        groups = self.rows.groups
        chosen = pick_rows(self._wanted, self._seen, groups)
        rows = tuple(
            PictureRow(
                groups=tuple(f"{one.kind} {one.name}" for one in groups if row in one.rows),
                fp32=self._answer(row),
                fp16=self._half.run(feed),
                int8=self._seen[row],
            )
            for row, feed in zip(chosen, self.rows.singly(self.rows.held, chosen), strict=True)
        )
        return render(
            Int8Report(
                model=self._recipe.name, runtime=self._api.name, fault=fault, gate=gate,
                limits=self._recipe.gate_int8, int8=self.figures, notes=self.rows.notes, rows=rows,
            )
        )  # fmt: skip

    @cached_property
    def _half(self) -> Fp16Reference:
        """The net in FP16, on the CPU."""
        feeds = self.rows.singly(self.rows.calibrated)[:_RANGE_ROWS]
        keep = self._recipe.keep_fp32
        mixed = to_mixed_fp16(self._prepared.graph, feeds, keep=keep, threads=self._cores)
        return Fp16Reference(mixed.model, threads=self._cores)

    def _watch(self, run: int, outputs: Arrays) -> None:
        """Keep what came out for a held row; see `compare`."""
        if run < self.rows.count:
            self._seen[run] = {name: array[:1].copy() for name, array in outputs.items()}

    def _answer(self, row: int) -> Arrays:
        return {name: rows[row : row + 1] for name, rows in self._wanted.items()}

    def _judge(self, search: Int8Search, choice: Int8Choice) -> list[str]:
        """What is not good enough on the CPU, in sentences."""
        limits = self._recipe.gate_int8
        runs = 0

        def candidate(feeds: Arrays) -> Arrays:
            nonlocal runs
            outputs = search.run(feeds, choice.layers)
            self._watch(runs, outputs)
            runs += 1
            return outputs

        figures = measure(
            candidate, self._wanted, self.rows.feeds(1), (1,), where="reference",
            unbatched=frozenset(self.rows.constant), groups=self.rows.groups,
            recogniser=self._recogniser,
        )  # fmt: skip
        spare = replace(limits, psnr_db=min(200.0, limits.psnr_db + _SPARE_DB))
        return broken_limits(figures, spare)

    def _fewest(
        self, search: Int8Search, sweep: Sequence[SweepFigures], describe: _Describing
    ) -> int:
        """How many groups of a sweep have to go back to FP16."""
        every = search.without(sweep, 0)
        self.figures = describe(every)
        if every.share < _LEAST_SHARE:
            raise Int8Error(
                f"INT8 suits {every.share:.1%} of the work of {self._recipe.name}, which makes it "
                f"no faster; allowed: {_LEAST_SHARE:.0%} or more",
                hint="build it with --fp16",
            )
        broken = self._judge(search, every)
        if not broken:
            return 0
        low, high = 0, 0  # groups back in FP16: not enough, and the most that leave enough in INT8
        while search.without(sweep, high + 1).share >= _LEAST_SHARE:
            high += 1
        last = search.without(sweep, high)
        if high:
            self.figures = describe(last)
            broken = self._judge(search, last)
        if broken:
            raise Int8Error(
                f"no INT8 engine of {self._recipe.name} is good enough: {'; '.join(broken)}; back "
                f"in FP16 were {_named(last.returned)}",
                hint=_HINT,
            )
        while high - low > 1:
            middle = (low + high) // 2
            if self._judge(search, search.without(sweep, middle)):
                low = middle
            else:
                high = middle
        return high

    def _attempt(self, search: Int8Search, choice: Int8Choice, *, again: bool) -> Attempt:
        """What a builder reads: types in the graph, or leave to choose FP16."""
        recipe, graph, cores = self._recipe, search.build(choice), self._cores
        feeds = self.rows.singly(self.rows.calibrated)[:_RANGE_ROWS]
        if self._api.strong_typing:
            mixed = to_mixed_fp16(
                at_least_opset(graph, _HALF_OPSET), feeds, keep=recipe.keep_fp32,
                half_io=recipe.half_io, threads=cores,
            )  # fmt: skip
            return Attempt(graph=mixed.model, islands=mixed.islands, int8=self.figures)
        attempt = Attempt(graph=graph, constrain=recipe.keep_fp32, int8=self.figures)
        if again:  # it may be FP16 that is not good enough
            islands = to_mixed_fp16(
                self._prepared.graph, feeds, keep=recipe.keep_fp32, threads=cores
            ).islands
            names = tuple(one.node for one in islands if one.node not in choice.layers)
            attempt = replace(attempt, islands=islands, constrain=names)
        if recipe.half_io:  # casts at its inputs and outputs are all that changes
            keep = [node.name for node in graph.graph.node]
            mixed = to_mixed_fp16(graph, feeds, keep=keep, half_io=True, threads=cores)
            attempt = replace(attempt, graph=mixed.model)
        return attempt


class _Describing:
    """Says how an INT8 net was made."""

    def __init__(
        self,
        search: Int8Search,
        trial: Int8Trial,
        methods: tuple[MethodFigures, ...],
        sweep: tuple[SweepFigures, ...],
    ) -> None:
        self._search, self._rows, self._methods, self._sweep = search, trial.rows, methods, sweep

    def __call__(self, choice: Int8Choice) -> Int8Figures:
        return Int8Figures(
            calibration=self._rows.digest,
            calibrated=len(next(iter(self._rows.calibrated.values()))),
            held=self._rows.count,
            method=min(self._methods, key=lambda one: one.error).method,
            methods=self._methods,
            weights=self._search.weights,
            layers=choice.layers,
            returned=choice.returned,
            share=choice.share,
            left=tuple(LeftLayer(node=one.node, reason=one.reason) for one in self._search.left),
            sweep=self._sweep,
        )


def _spread(count: int) -> list[int]:
    """A few rows at equal distances."""
    return sorted({round(k * (count - 1) / (_SWEEP_ROWS - 1)) for k in range(_SWEEP_ROWS)})


def _named(layers: Sequence[str]) -> str:
    if len(layers) > _NAMED:
        return f"{', '.join(layers[:_NAMED])} and {len(layers) - _NAMED} more"
    return ", ".join(layers) or "no layers"
