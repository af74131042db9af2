"""The program: `ffswap`, or `python -m ffswap`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process, and end it.

    It is loaded here, so that a Ctrl-C in the meantime ends as quietly as a later one.
    """
    try:
        from .cli.main import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
