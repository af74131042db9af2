"""ffswap: puts the face of a photo into a video and leaves everything else as it was.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import (
        CancelledError,
        DeviceError,
        DownloadError,
        EncoderError,
        EngineError,
        FfswapError,
        InputError,
        InputMissingError,
        Int8Error,
        InternalError,
        MachineError,
        MediaError,
        ModelError,
        NoFaceError,
        OptionError,
        OutputError,
        OutputExistsError,
        OutputFormatError,
        OutputWriteError,
        QualityError,
        SigningError,
        UserError,
    )
    from .options import (
        BuildOptions,
        CalibrateOptions,
        CredentialOptions,
        DetectOptions,
        EncodeOptions,
        FaceChoice,
        LabelOptions,
        LabelPosition,
        LimitOptions,
        MaskKind,
        MeshSwapOptions,
        ModelOptions,
        Person,
        Position,
        Precision,
        SwapOptions,
        TrackOptions,
        Unfinished,
    )
    from .pipeline import swap, swap_many
    from .pipeline.inspect import Inspection, inspect
    from .pipeline.many import FileResult, Job, ManyReport, ManyWatch
    from .pipeline.plan import MachineSurvey, survey
    from .pipeline.report import ProgressCallback, ProgressEvent, SwapReport

__all__ = [
    "BuildOptions",
    "CalibrateOptions",
    "CancelledError",
    "CredentialOptions",
    "DetectOptions",
    "DeviceError",
    "DownloadError",
    "EncodeOptions",
    "EncoderError",
    "EngineError",
    "FaceChoice",
    "FfswapError",
    "FileResult",
    "InputError",
    "InputMissingError",
    "Inspection",
    "Int8Error",
    "InternalError",
    "Job",
    "LabelOptions",
    "LabelPosition",
    "LimitOptions",
    "MachineError",
    "MachineSurvey",
    "ManyReport",
    "ManyWatch",
    "MaskKind",
    "MediaError",
    "MeshSwapOptions",
    "ModelError",
    "ModelOptions",
    "NoFaceError",
    "OptionError",
    "OutputError",
    "OutputExistsError",
    "OutputFormatError",
    "OutputWriteError",
    "Person",
    "Position",
    "Precision",
    "ProgressCallback",
    "ProgressEvent",
    "QualityError",
    "SigningError",
    "SwapOptions",
    "SwapReport",
    "TrackOptions",
    "Unfinished",
    "UserError",
    "__version__",
    "inspect",
    "survey",
    "swap",
    "swap_many",
]

_HOMES = {
    "FaceChoice": ".options",
    "FileResult": ".pipeline.many",
    "Inspection": ".pipeline.inspect",
    "Job": ".pipeline.many",
    "LabelPosition": ".options",
    "MachineSurvey": ".pipeline.plan",
    "ManyReport": ".pipeline.many",
    "ManyWatch": ".pipeline.many",
    "MaskKind": ".options",
    "Person": ".options",
    "Position": ".options",
    "Precision": ".options",
    "ProgressCallback": ".pipeline.report",
    "ProgressEvent": ".pipeline.report",
    "SwapReport": ".pipeline.report",
    "Unfinished": ".options",
    "inspect": ".pipeline.inspect",
    "survey": ".pipeline.plan",
    "swap": ".pipeline",
    "swap_many": ".pipeline",
}


def _home(name: str) -> str:
    """The module that a public name lives in."""
    if name.endswith("Error"):
        return ".errors"
    return ".options" if name.endswith("Options") else _HOMES[name]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_home(name), __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
