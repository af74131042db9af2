"""The demo: swaps a portrait into a clip with the installed command, then draws a contact sheet.

Run it with ``make demo``. It runs what a user types, in a process of its own, and prints it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.contact_sheet import contact_sheet
from tools.material import MaterialError, material

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
SHEET = "contact-sheet.png"


def _shown(path: Path) -> str:
    """The path from here, if it is below here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def main() -> int:
    """Run the command, draw the sheet beside the output, say where both are."""
    parser = argparse.ArgumentParser(description="Swap a portrait into a clip and draw the result.")
    parser.add_argument("--source", type=Path, help="portrait; default: astronaut.png")
    parser.add_argument("--target", type=Path, help="clip; default: single_face.mp4")
    parser.add_argument("--output", type=Path, default=ROOT / "demo" / "out.mp4")
    args = parser.parse_args()
    try:
        source: Path = args.source or material("astronaut.png")
        target: Path = args.target or material("single_face.mp4")
    except MaterialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    output: Path = args.output
    output.parent.mkdir(parents=True, exist_ok=True)

    words = ["swap", _shown(source), _shown(target), _shown(output), "--overwrite"]
    print(f"$ {shlex.join(['ffswap', *words])}", flush=True)
    ffswap = Path(sysconfig.get_path("scripts")) / "ffswap"
    code = subprocess.run([ffswap, *words]).returncode
    if code != 0:
        print(f"error: ffswap ended with exit code {code}", file=sys.stderr)
        return code
    contact_sheet(source, target, output, output.parent / SHEET)
    print(f"video:         {_shown(output)}\ncontact sheet: {_shown(output.parent / SHEET)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
