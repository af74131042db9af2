"""What commands that only have commands of their own do."""

from __future__ import annotations

import sys

import typer

from .errors import ExitCode

__all__ = ["show_help"]


def show_help(context: typer.Context) -> None:
    """Where no command was named, print the help on stderr: nothing was done."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr, flush=True)
        raise typer.Exit(ExitCode.USAGE)
