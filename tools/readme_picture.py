"""Make the README's opening picture out of the two public-domain portraits.

``python -m tools.readme_picture`` writes docs/images/swap.png: in each row the photo, the target, and
the target with the photo's face.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

import ffswap
from tools.material import material

__all__ = ["main"]

PORTRAITS = ("astronaut.png", "grace_hopper.jpg")
SIDE_PX = 400
FOCUS = {"astronaut.png": (140, 0, 400, 260), "grace_hopper.jpg": (76, 20, 436, 380)}
"""The part of each portrait that is shown: left, top, right, bottom, pixels."""

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "swap.png"


def _tile(picture: Path, portrait: str) -> Image.Image:
    with Image.open(picture) as image:
        shown = image.convert("RGB").crop(FOCUS[portrait])
    tile: Image.Image = shown.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return tile


def main() -> int:
    """Swap each into the other and lay the pictures out."""
    sheet = Image.new("RGB", (3 * SIDE_PX + 16, 2 * SIDE_PX + 8), "white")
    with tempfile.TemporaryDirectory() as folder:
        for row, (source, target) in enumerate((PORTRAITS, PORTRAITS[::-1])):
            result = Path(folder) / f"{row}.png"
            ffswap.swap(material(source), material(target), result)
            shown = ((material(source), source), (material(target), target), (result, target))
            for column, (picture, portrait) in enumerate(shown):
                place = (column * (SIDE_PX + 8), row * (SIDE_PX + 8))
                sheet.paste(_tile(picture, portrait), place)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(OUTPUT, optimize=True)
    print(OUTPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
