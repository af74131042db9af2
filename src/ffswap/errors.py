"""Every error that ffswap raises on purpose. A leaf: it imports nothing of the package.

    FfswapError
    ├── UserError                    what was asked for cannot be done; asking differently helps
    │   ├── OptionError              (ValueError)         an option's value
    │   ├── InputError               the source picture or the target
    │   │   ├── InputMissingError    (FileNotFoundError)  no such file
    │   │   ├── MediaError           (ValueError)         not media, damaged, no video stream
    │   │   ├── ModelError           (ValueError)         not ONNX, damaged, a graph that cannot be used
    │   │   └── NoFaceError          (ValueError)         no face in the source picture
    │   └── OutputError
    │       ├── OutputExistsError    (FileExistsError)    would overwrite
    │       ├── OutputFormatError    (ValueError)         the container cannot hold it
    │       ├── OutputWriteError     (OSError)            folder missing, no right, disk full
    │       └── SigningError         (ValueError)         it cannot be signed as asked
    ├── MachineError                 (RuntimeError)       this machine cannot do it
    │   ├── DeviceError                                   the device asked for is not here
    │   ├── EncoderError                                  the encoder asked for does not work here
    │   ├── EngineError                                   an engine cannot be built, loaded or run here
    │   │   └── QualityError                              it was built, but its results are not good enough
    │   │       └── Int8Error                             nor can any INT8 engine of the net be
    │   └── DownloadError                                 a file cannot be fetched from here
    ├── CancelledError                                         stopped by the caller
    └── InternalError                (RuntimeError)       our fault: please report it

The command line maps each branch to an exit code (see the table in README.md).
"""

from __future__ import annotations

import os

__all__ = [
    "CancelledError",
    "DeviceError",
    "DownloadError",
    "EncoderError",
    "EngineError",
    "FfswapError",
    "InputError",
    "InputMissingError",
    "Int8Error",
    "InternalError",
    "MachineError",
    "MediaError",
    "ModelError",
    "NoFaceError",
    "OptionError",
    "OutputError",
    "OutputExistsError",
    "OutputFormatError",
    "OutputWriteError",
    "QualityError",
    "SigningError",
    "UserError",
]


class FfswapError(Exception):
    """The root of the tree.

    Args:
        message: what was given and what is allowed, one sentence, no full stop needed.
        hint: what to do about it, if there is something to do.
        file: the file that it is about.
        stage: the part of the pipeline that found it (``"decode"``, ``"swap"``, ...).
        frame: index in the stream of the frame that it is about.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | os.PathLike[str] | None = None,
        stage: str | None = None,
        frame: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = None if file is None else os.fspath(file)
        self.stage = stage
        self.frame = frame

    def __str__(self) -> str:
        where = [] if self.stage is None else [f"stage {self.stage}"]
        if self.frame is not None:
            where.append(f"frame {self.frame}")
        prefix = "" if self.file is None else f"{self.file}: "
        return prefix + self.message + (f" ({', '.join(where)})" if where else "")


class UserError(FfswapError):
    """What was asked for cannot be done; asking differently helps."""


class OptionError(UserError, ValueError):
    """An option has a value that is not allowed.

    Attributes:
        option: the name of the option with which the message begins, as ``NAME is VALUE; allowed:``,
            so that a program can say what its user calls it; None: the message begins otherwise.
    """

    option: str | None = None

    @classmethod
    def of(cls, option: str, message: str, *, hint: str | None = None) -> OptionError:
        """The error of an option with whose name the message begins."""
        error = cls(message, hint=hint)
        error.option = option
        return error


class InputError(UserError):
    """The source picture or the target cannot be used."""


class InputMissingError(InputError, FileNotFoundError):
    """There is no file of that name, or it is a folder."""


class MediaError(InputError, ValueError):
    """The file is not media, is damaged beyond use, or has no video stream."""


class ModelError(InputError, ValueError):
    """The file is not ONNX, is damaged, or holds a graph that cannot be used as asked."""


class NoFaceError(InputError, ValueError):
    """No face was found in the source picture."""


class OutputError(UserError):
    """The output cannot be written as asked."""


class OutputExistsError(OutputError, FileExistsError):
    """The output exists and overwriting was not asked for."""


class OutputFormatError(OutputError, ValueError):
    """The output's container is unknown or cannot hold what would go into it."""


class OutputWriteError(OutputError, OSError):
    """The output's folder is missing, may not be written to, or is full."""


class SigningError(OutputError, ValueError):
    """The output's content credentials cannot be signed: the certificate, its key or a server."""


class MachineError(FfswapError, RuntimeError):
    """This machine cannot do what was asked."""


class DeviceError(MachineError):
    """The device asked for is not here or does not work."""


class EncoderError(MachineError):
    """The encoder asked for does not work on this machine."""


class EngineError(MachineError):
    """An engine cannot be built, loaded or run on this machine."""


class QualityError(EngineError):
    """An engine was built, but its results differ too much from the net's own."""


class Int8Error(QualityError):
    """No INT8 engine of a net keeps the limits of the gate; FP16 engines are left as they are."""


class DownloadError(MachineError):
    """A file cannot be fetched from its addresses, or nothing may be fetched."""


class CancelledError(FfswapError):
    """The caller stopped the run; the output was not written."""


class InternalError(FfswapError, RuntimeError):
    """A promise of our own was broken: please report it."""
