"""The one mapping of what went wrong to an exit code and to one or two lines of text."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer

from ..errors import (
    CancelledError,
    FfswapError,
    InputError,
    Int8Error,
    InternalError,
    MachineError,
    OptionError,
    OutputError,
    OutputWriteError,
    UserError,
)
from .messages import note, result_json

__all__ = [
    "DEBUG_VARIABLE",
    "STOPPED_HINT",
    "ExitCode",
    "StoppedError",
    "as_typed",
    "described",
    "guard",
]

DEBUG_VARIABLE = "FFSWAP_DEBUG"
STOPPED_HINT = "to start again, give the same command"

# The class of all usage errors is not exported, but its best-known child is.
_UsageError: Any = typer.BadParameter.__base__
_BUG_HINT = (
    "this is a fault of ffswap; please report it with what the same command prints under "
    f"{DEBUG_VARIABLE}=1, and with the output of `ffswap doctor`"
)

# What the options of the library are called on the command line, where it is not just "--" before them.
_TYPED = {
    "swapper": "--model",
    "restorer": "--restore",
    "certificate": "--sign-cert",
    "key": "--sign-key",
    "timestamp_url": "--sign-tsa",
}
# Those that the command line has not: they can only be wrong in a program.
_NOT_TYPED = frozenset({"occluder", "parser", "mask_blur", "mask_padding", "shape", "folder"})


class ExitCode(IntEnum):
    """Exit codes are part of the interface: documented, and never given a new meaning.

    A run that a signal stopped ends with 128 and the signal's number: 130 for Ctrl-C, 143 for
    SIGTERM, 129 for a closed terminal.
    """

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    MACHINE = 5
    CUT_SHORT = 6
    SOME_FAILED = 7
    SYNTHETIC = 10
    INVALID = 11
    GATE = 12
    INTERRUPTED = 130


class StoppedError(CancelledError):
    """A run that a signal stopped.

    Args:
        message: what became of the output.
        exit_code: 128 and the signal's number.
        hint: how to go on.
    """

    def __init__(self, message: str, *, exit_code: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


_FAMILIES: tuple[tuple[type[FfswapError], ExitCode], ...] = (
    (OptionError, ExitCode.USAGE),
    (InputError, ExitCode.INPUT),
    (OutputError, ExitCode.OUTPUT),
    (Int8Error, ExitCode.GATE),
    (MachineError, ExitCode.MACHINE),
    (CancelledError, ExitCode.INTERRUPTED),
    (UserError, ExitCode.USAGE),
)


def guard(call: Callable[[], Any], *, as_json: bool) -> int:
    """Make a call and turn whatever comes out of it into an exit code.

    Args:
        call: returns an exit code or None; may raise anything.
        as_json: also describe a failure by one JSON object on stdout.
    """
    try:
        return int(call() or ExitCode.OK)
    except _UsageError as error:
        return _usage(error, as_json)
    except OptionError as error:
        return _fail(error, as_typed(error), ExitCode.USAGE, as_json)
    except FfswapError as error:
        return _fail(error, error, _exit_code(error), as_json)
    except MemoryError as error:
        no_memory = MachineError("the memory of this machine is not enough")
        return _fail(error, no_memory, ExitCode.MACHINE, as_json)
    except (KeyboardInterrupt, typer.Abort) as error:
        stopped = CancelledError("stopped", hint=STOPPED_HINT)
        return _fail(error, stopped, ExitCode.INTERRUPTED, as_json)
    except Exception as error:  # noqa: BLE001  the last line: a user gets a sentence, not a trace
        bug = InternalError(f"{type(error).__name__}: {error}")
        return _fail(error, bug, ExitCode.INTERNAL, as_json)


def _usage(error: Any, as_json: bool) -> int:
    message = " ".join(error.format_message().split())
    command = "ffswap" if error.ctx is None else error.ctx.command_path
    shown = OptionError(message, hint=f"`{command} --help` lists what is allowed")
    return _fail(error, shown, ExitCode.USAGE, as_json)


def as_typed(error: FfswapError) -> FfswapError:
    """The error with the option, if it is of one, called as the user typed it."""
    name = error.option if isinstance(error, OptionError) else None
    if name is None or name in _NOT_TYPED or not error.message.startswith(name):
        return error
    typed = _TYPED.get(name, f"--{name.replace('_', '-')}")
    message = typed + error.message.removeprefix(name)
    return OptionError(
        message, hint=error.hint, file=error.file, stage=error.stage, frame=error.frame
    )


def _exit_code(error: FfswapError) -> int:
    if isinstance(error, StoppedError):
        return error.exit_code
    found = (code for family, code in _FAMILIES if isinstance(error, family))
    return next(found, ExitCode.INTERNAL)


def _hint(error: FfswapError) -> str | None:
    return error.hint or (_BUG_HINT if _exit_code(error) == ExitCode.INTERNAL else None)


def described(error: FfswapError) -> dict[str, Any]:
    """An error for JSON."""
    # Only names of the public tree: a program may look them up.
    tree = (one for one in type(error).__mro__ if one.__module__ == FfswapError.__module__)
    return {
        "type": next(tree).__name__,
        "message": error.message,
        "hint": _hint(error),
        "exit_code": int(_exit_code(error)),
        "file": error.file,
    }


def _fail(error: BaseException, shown: FfswapError, code: int, as_json: bool) -> int:
    """Tell of a failure.

    Args:
        error: what was raised; its trace is printed when the user asked for it.
        shown: what the user is told.
        code: the exit code.
        as_json: also on stdout.
    """
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    hint = _hint(shown)
    note("error", str(shown))
    if hint is not None:
        note("hint", hint)
    if as_json:
        # A stdout that cannot be written has been told of already, or the exit code tells.
        with contextlib.suppress(OutputWriteError):
            result_json({"error": described(shown)})
    return int(code)
