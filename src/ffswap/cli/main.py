"""The program `ffswap`: its commands, and the one place where a run of it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .._version import __version__
from ..errors import CancelledError, OutputWriteError
from . import build_engine, calibrate, doctor, engines, inspect, models, swap
from .errors import DEBUG_VARIABLE, STOPPED_HINT, guard
from .groups import show_help
from .messages import result

__all__ = ["app", "main"]


class _Program(TyperGroup):
    """A group whose every failure, usage errors and Ctrl-C included, goes through `guard`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # typer would end with 130 and not say a word
            raise CancelledError("stopped", hint=STOPPED_HINT) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        def call() -> Any:
            # Without standalone mode errors are raised, and the exit code of `--help` is returned.
            return super(_Program, self).main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )

        if not standalone_mode:
            return call()
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        code = guard(call, as_json="--json" in options)
        with contextlib.suppress(OutputWriteError):
            result()  # what typer has printed is written out while a failure is still ours
        sys.exit(code)


# Plain help: it is read in pipes and logs too, and rich would take longer to load than to read.
app = typer.Typer(
    name="ffswap",
    cls=_Program,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 fault of ffswap, 2 usage, 3 input, 4 output, 5 machine, "
    "6 the target was cut short, 7 some of several files failed, 10 synthetic and 11 invalid credentials (inspect), 130 Ctrl-C, 143 SIGTERM. "
    f"{DEBUG_VARIABLE}=1 prints the trace of an error.",
)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"ffswap {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  its callback has done the work
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Put the face of a photo into a video, and leave everything else as it was."""
    show_help(context)


app.command("swap", cls=swap.SwapCommand, short_help="put the face of a photo into a video")(
    swap.command
)
app.command("build-engine", short_help="build TensorRT engines and check them")(
    build_engine.command
)
app.command("calibrate", short_help="collect real inputs of nets, for INT8 engines")(
    calibrate.command
)
app.command("inspect", short_help="show how a file says it was made")(inspect.command)
app.add_typer(engines.app)
app.add_typer(models.app)
app.command("doctor", short_help="show what this machine has and what a swap would use")(
    doctor.command
)


def main() -> None:
    """Run the program with the arguments of this process, and end it."""
    # A stream that the caller has closed is None: what would go there goes nowhere.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # Pillow reports some damage to its log and in the error that it raises; one of the two is enough.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding cannot write is shown with escapes.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # SVT-AV1 prints a page about itself on stderr unless its own variable asks for errors only (1).
    os.environ.setdefault("SVT_LOG", "1")
    # For processes that look which libraries load; the package does it for this one.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    app(prog_name="ffswap")
