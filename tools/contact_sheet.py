"""Draws what a swap did on one picture: frames before and after, and the changed region enlarged.

┌──────────┬────────┬────────┬────────┐
│ portrait │ frames of the target     │
│          ├────────┼────────┼────────┤
│          │ the same of the result   │
│          ├────────┼────────┼────────┤
│          │ changed region, before   │
│          ├────────┼────────┼────────┤
│          │ changed region, after    │
└──────────┴────────┴────────┴────────┘
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["changed_region", "contact_sheet", "main"]

CELL_PX = 320  # width of a cell
GAP_PX = 8
LABEL_PX = 16
BACKGROUND, INK = (24, 24, 24), (235, 235, 235)

# An encoder changes every pixel a little. A region counts as changed where the blurred difference
# is above this many of 255 levels and above this part of its own peak. Chosen by looking, 2026-11.
CHANGE_LEVELS = 6
CHANGE_OF_PEAK = 0.35
ZOOM_MARGIN = 1.7  # side of the crop by the longer side of the changed region

Box = tuple[int, int, int, int]


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def _count(path: Path) -> int:
    return sum(1 for _ in _frames(path))


def _pairs(target: Path, result: Path, columns: int) -> list[tuple[int, Image.Image, Image.Image]]:
    """Evenly spaced frames of both clips: index, before, after. Holds only these in memory."""
    count = min(_count(target), _count(result))
    if count == 0:
        raise ValueError(f"no common frames: {target}, {result}")
    wanted = set(np.linspace(0, count - 1, min(columns, count)).round().astype(int).tolist())
    found = []
    for index, (before, after) in enumerate(zip_longest(_frames(target), _frames(result))):
        if index >= count:
            break
        if index in wanted:
            found.append((index, before.to_image(), after.to_image()))
    return found


def changed_region(before: Image.Image, after: Image.Image) -> Box | None:
    """Square box (left, top, right, bottom) around what differs, with a margin; None if nothing does.

    The box keeps its size at the picture's rim, where it is moved inwards.
    """
    levels = np.abs(np.asarray(before, np.int16) - np.asarray(after, np.int16)).max(axis=2)
    radius = max(1, min(before.size) // 90)
    soft = Image.fromarray(levels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    values = np.asarray(soft)
    threshold = max(CHANGE_LEVELS, CHANGE_OF_PEAK * float(values.max()))
    rows, columns = np.nonzero(values >= threshold)
    if len(rows) == 0:
        return None
    left, right = int(columns.min()), int(columns.max()) + 1
    top, bottom = int(rows.min()), int(rows.max()) + 1
    side = min(round(ZOOM_MARGIN * max(right - left, bottom - top)), *before.size)
    left = min(max((left + right - side) // 2, 0), before.width - side)
    top = min(max((top + bottom - side) // 2, 0), before.height - side)
    return left, top, left + side, top + side


def _middle(image: Image.Image) -> Box:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side


def _cells(index: int, before: Image.Image, after: Image.Image) -> list[tuple[str, Image.Image]]:
    """One column of the sheet, top to bottom: label and picture."""
    box = changed_region(before, after)
    zoom = (CELL_PX, CELL_PX)
    note = "" if box else " (no change)"
    box = box or _middle(before)
    small = (CELL_PX, max(1, round(CELL_PX * before.height / before.width)))
    return [
        (f"target, frame {index}", before.resize(small, Image.Resampling.LANCZOS)),
        (f"result, frame {index}{note}", after.resize(small, Image.Resampling.LANCZOS)),
        ("target, enlarged", before.crop(box).resize(zoom, Image.Resampling.BICUBIC)),
        ("result, enlarged", after.crop(box).resize(zoom, Image.Resampling.BICUBIC)),
    ]


def contact_sheet(source: Path, target: Path, result: Path, output: Path, columns: int = 6) -> None:
    """Draw the sheet.

    Args:
        source: the portrait.
        target: the clip before.
        result: the clip after, with the same frames from its start.
        output: picture file to write.
        columns: how many frames are shown, 1 or more.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}; allowed: 1 or more")
    table = [_cells(*pair) for pair in _pairs(target, result, columns)]
    with Image.open(source) as opened:
        portrait = opened.convert("RGB")
    portrait.thumbnail((CELL_PX, 2 * CELL_PX), Image.Resampling.LANCZOS)
    heights = [picture.height + LABEL_PX + GAP_PX for _, picture in table[0]]
    width = GAP_PX + (len(table) + 1) * (CELL_PX + GAP_PX)
    sheet = Image.new("RGB", (width, GAP_PX + sum(heights)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, cells in enumerate([[("source", portrait)], *table]):
        left, top = GAP_PX + column * (CELL_PX + GAP_PX), GAP_PX
        for (label, picture), height in zip(cells, heights, strict=False):
            draw.text((left, top), label, fill=INK)
            sheet.paste(picture, (left, top + LABEL_PX))
            top += height
    sheet.save(output)


def main() -> int:
    """Draw a sheet from the shell."""
    parser = argparse.ArgumentParser(description="Draw frames before and after a swap.")
    for name in ("source", "target", "result", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--columns", type=int, default=6)
    contact_sheet(**vars(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
