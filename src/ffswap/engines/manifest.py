"""What is known about an engine: the manifest that lies beside its plan."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any, Literal

from ..errors import EngineError, InternalError, OptionError
from ._plain import from_plain, to_plain
from .key import SCHEMA, EngineKey, GpuTarget, require

__all__ = [
    "EngineKey",
    "GateFigures",
    "GateLimits",
    "GpuTarget",
    "Island",
    "Manifest",
    "OutputFigures",
    "schema_of",
]

# Hexadecimal digits of a plan's digest in its name: it only tells plans of one key apart.
_PLAN_DIGEST = 8

_SHA256 = re.compile("[0-9a-f]{64}")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """How far an engine's results may be from the net's own in FP32.

    Attributes:
        relative_l2: norm of the difference by the norm, of any output; more than 0, at most 1.
        psnr_db: least peak signal-to-noise ratio of an output that is a picture, 0 to 200 decibels.
        row: how far a row in a batch may be from the same row alone, as `relative_l2`.
    """

    # FP16 storage alone costs a swapper of 349 GFLOP 0.004; TensorRT 8.6 came out at 0.025 and 38 dB
    # on an H100 (November 2026), presumably because its kernels add up in FP16. A value that overflows, or a mean that is lost, is far
    # beyond these limits.
    relative_l2: float = 0.05
    psnr_db: float = 35.0
    row: float = 0.02

    def __post_init__(self) -> None:
        for name in ("relative_l2", "row"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise OptionError(f"{name} is {value!r}; allowed: more than 0, at most 1")
        if not 0 <= self.psnr_db <= 200:
            raise OptionError(f"psnr_db is {self.psnr_db!r}; allowed: 0 to 200 (decibels)")


@dataclass(frozen=True, kw_only=True)
class OutputFigures:
    """How near one output came to the net's own in FP32.

    Attributes:
        output: name in the graph.
        relative_l2: norm of the difference by the norm, of the worst sample.
        psnr_db: of the worst sample, decibels; None: the output is no picture.
        worst: largest absolute difference of a value.
        peak: largest magnitude of a value in FP32.
        row_error: largest difference of a row in a batch from the row alone, as `relative_l2`;
            None: not measured.
    """

    output: str
    relative_l2: float
    psnr_db: float | None
    worst: float
    peak: float
    row_error: float | None

    def __post_init__(self) -> None:
        # Outputs that are not finite have no figures: the gate refuses them.
        for name in ("relative_l2", "psnr_db", "worst", "peak", "row_error"):
            value = getattr(self, name)
            require(value is None or math.isfinite(value), f"{name} of {self.output}", value)


@dataclass(frozen=True, kw_only=True)
class GateFigures:
    """What the gate measured.

    Attributes:
        where: what was compared: the engine itself, or an evaluation of its graph where it could
            not run.
        samples: rows that were compared with FP32.
        outputs: one for each output.
        repeatable: the same input gave the same output.
        passed: all limits were kept.
    """

    where: Literal["engine", "reference"]
    samples: int
    outputs: tuple[OutputFigures, ...]
    repeatable: bool
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Island:
    """A node that was kept in FP32.

    Attributes:
        node: name in the graph.
        operator: of the node.
        reason: why.
        value: the number behind the reason, if there is one; one that is not finite is read back
            as None.
    """

    node: str
    operator: str
    reason: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known about an engine, written beside its plan.

    Attributes:
        key: of the engine.
        plan_sha256: of the plan, 64 hexadecimal digits.
        plan_bytes: its size, 1 or more.
        built: when, in UTC, such as ``2026-01-31T12:00:00Z``.
        build_seconds: from when the net was handed over until the plan was written; see
            `BuildResult.seconds`.
        ffswap: version that built it.
        source: name of the ONNX file, without its folder.
        licence: of the model, if it is known.
        islands: nodes that were kept in FP32.
        constrained: layers that the build had to hold in FP32, where types are weak.
        gate: what was measured; None: the engine was not checked.
        limits: that the gate set.
        warnings: of the build.
    """

    key: EngineKey
    plan_sha256: str
    plan_bytes: int
    built: str
    build_seconds: float
    ffswap: str
    source: str
    licence: str | None
    islands: tuple[Island, ...]
    constrained: tuple[str, ...]
    gate: GateFigures | None
    limits: GateLimits
    warnings: tuple[str, ...]

    def __post_init__(self) -> None:
        require(_SHA256.fullmatch(self.plan_sha256) is not None, "plan_sha256", self.plan_sha256)
        require(self.plan_bytes > 0, "plan_bytes", self.plan_bytes)
        require(_UTC.fullmatch(self.built) is not None, "built", self.built)
        require(self.source == PureWindowsPath(self.source).name, "source", self.source)

    @property
    def plan(self) -> str:
        """Name of the plan's file: another plan of the same key has another name.

        So a manifest and the plan that it means cannot be mixed up while an engine is replaced.
        """
        return f"{self.key.stem}-{self.plan_sha256[:_PLAN_DIGEST]}.plan"

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return {"plan": self.plan, **to_plain(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """The inverse of `as_dict`.

        Raises:
            EngineError: it is of another schema, or a field is unknown, missing or not allowed.
        """
        schema = schema_of(data)
        if schema not in (None, SCHEMA):
            raise EngineError(f"it has schema {schema!r}, this ffswap reads {SCHEMA}")
        if not isinstance(data, dict):
            raise EngineError("it is not a table")
        fields = {name: value for name, value in data.items() if name != "plan"}
        try:
            found: Manifest = from_plain(cls, fields, "the manifest")
        except (InternalError, OptionError) as error:  # a value that no manifest of ours has
            raise EngineError(error.message) from error
        if data.get("plan") != found.plan:
            raise EngineError(f"the plan is called {data.get('plan')!r}, not {found.plan!r}")
        return found


def schema_of(data: Any) -> Any:
    """The schema that a manifest says it has, or None."""
    key = data.get("key") if isinstance(data, Mapping) else None
    return key.get("schema") if isinstance(key, Mapping) else None
