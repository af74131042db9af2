"""Writes replicas: ``python -m tools.replicas OUT [FAMILY...] [--full]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .families import FAMILIES, Size, make
from .report import report

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Write the files and print a table of them.

    Args:
        arguments: of the command line; None: those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.replicas",
        description="Write ONNX files with random weights and the graphs of published nets.",
    )
    parser.add_argument("out", type=Path, help="folder, made if it is missing")
    parser.add_argument("family", nargs="*", help=f"default: all of {', '.join(FAMILIES)}")
    parser.add_argument(
        "--full", action="store_true", help="published sizes; default: all that have them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    args = parser.parse_args(arguments)
    size: Size = "full" if args.full else "small"
    names = args.family or [name for name, one in FAMILIES.items() if one.full or not args.full]
    for name in names:
        if name not in FAMILIES:
            parser.error(f"family is {name!r}; allowed: {', '.join(FAMILIES)}")
        if args.full and not FAMILIES[name].full:
            allowed = ", ".join(one for one, family in FAMILIES.items() if family.full)
            parser.error(f"{name} has no full size; allowed with --full: {allowed}")
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{'file':30} {'parameters':>12} {'GFLOP':>9} {'MB':>8} {'nodes':>6} {'opset':>5}")
    for name in names:
        model = make(name, size, seed=args.seed)
        path = args.out / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        found = report(model)
        print(
            f"{path.name:30} {found.parameters:12,} {found.gflop:9.3f} "
            f"{path.stat().st_size / 1e6:8.2f} {found.nodes:6} {FAMILIES[name].opset:5}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
