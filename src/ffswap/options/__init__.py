"""What can be asked for: frozen, keyword-only, checked on construction. A leaf besides errors."""

from __future__ import annotations

from .build import BuildOptions, Precision
from .calibrate import CalibrateOptions
from .disclosure import CredentialOptions, LabelOptions, LabelPosition
from .encode import EncodeOptions
from .limits import LimitOptions
from .position import Position
from .swap import (
    DetectOptions,
    FaceChoice,
    MaskKind,
    MeshSwapOptions,
    ModelOptions,
    Person,
    SwapOptions,
    TrackOptions,
    Unfinished,
)

__all__ = [
    "BuildOptions",
    "CalibrateOptions",
    "CredentialOptions",
    "DetectOptions",
    "EncodeOptions",
    "FaceChoice",
    "LabelOptions",
    "LabelPosition",
    "LimitOptions",
    "MaskKind",
    "MeshSwapOptions",
    "ModelOptions",
    "Person",
    "Position",
    "Precision",
    "SwapOptions",
    "TrackOptions",
    "Unfinished",
]
