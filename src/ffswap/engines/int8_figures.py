"""What was measured while an INT8 net was made; it is kept in the manifest of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from ._layers import LeftReason
from .observe import Method
from .quantise import WeightScales

__all__ = ["Int8Figures", "LeftLayer", "MethodFigures", "SweepFigures"]


@dataclass(frozen=True, kw_only=True)
class MethodFigures:
    """How good ranges of one kind are with all layers in INT8.

    Attributes:
        method: how ranges were read out of histograms.
        error: norm of the difference by the norm, over the rows of the sweep, of the worst output.
    """

    method: Method
    error: float


@dataclass(frozen=True, kw_only=True)
class SweepFigures:
    """What INT8 costs in some layers alone, all others in FP32.

    Attributes:
        layers: that were INT8: one, or neighbours in a net with many.
        error: as in `MethodFigures`.
        share: of the multiplications of all convolutions.
    """

    layers: tuple[str, ...]
    error: float
    share: float


@dataclass(frozen=True, kw_only=True)
class LeftLayer:
    """A convolution that was never to be INT8.

    Attributes:
        node: its name.
        reason: why; see `Left`.
    """

    node: str
    reason: LeftReason


@dataclass(frozen=True, kw_only=True)
class Int8Figures:
    """How an INT8 net was made.

    Attributes:
        calibration: digest of the calibration rows.
        calibrated: rows that ranges were taken from.
        held: rows that were held out, to choose and to judge by.
        method: that gave the ranges.
        methods: those that were tried.
        weights: scales of kernels.
        layers: names of the layers that are INT8.
        returned: layers that INT8 suits and that went back to FP16, costliest first.
        share: of the multiplications of all convolutions that are INT8, 0 to 1.
        left: convolutions that INT8 does not suit.
        sweep: what layers cost, costliest for their share first.
    """

    calibration: str
    calibrated: int
    held: int
    method: Method
    methods: tuple[MethodFigures, ...]
    weights: WeightScales
    layers: tuple[str, ...]
    returned: tuple[str, ...]
    share: float
    left: tuple[LeftLayer, ...]
    sweep: tuple[SweepFigures, ...]
