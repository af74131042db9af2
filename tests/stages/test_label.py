"""The visible label: where it stands, when it is seen, and that it touches nothing else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ffswap.carriers import Colour, Frames
from ffswap.media import Lettering
from ffswap.options import LabelOptions, Position
from ffswap.stages.label import Label
from tests.stages.face_scenes import FORMATS, copy_of, frames_of

HEIGHT, WIDTH = 180, 320
TEXT = "AI-made"


def grey(level: int, count: int = 1, size: tuple[int, int] = (HEIGHT, WIDTH), **more) -> Frames:
    return frames_of([np.full((*size, 3), level, np.uint8)] * count, **more)


def labelled(frames: Frames, **options) -> tuple[Frames, Label]:
    out = replace(copy_of(frames), pixel_aspect=frames.pixel_aspect)
    label = Label(Lettering(TEXT), LabelOptions(text=TEXT, **options))
    label.paint(out, label.plan(out))
    return out, label


def box(changed) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what has changed."""
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return rows[0], rows[-1], columns[0], columns[-1]


def off(before: Frames, after: Frames, i: int = 0, plane: int = 0):
    return before.planes[i][plane] != after.planes[i][plane]


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "yuv444p16le"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_it_is_legible_on_any_ground_and_touches_nothing_else(name, level):
    frames = grey(level, fmt=FORMATS[name])
    out, _ = labelled(frames, size=8.0)
    top, bottom, left, right = box(off(frames, out))
    assert (bottom, right) < (HEIGHT, WIDTH)
    assert (top, left) > (HEIGHT // 2, WIDTH // 2)
    depth = frames.format.depth
    offset, span = frames.colour.luma_scale(depth)
    inside = out.planes[0][0][top : bottom + 1, left : right + 1].astype(float)
    assert inside.max() == pytest.approx(offset + span, abs=1), "white letters"
    assert inside.min() == pytest.approx(offset, abs=1), "in a black outline"
    # Chroma changes at most where luma is covered, to the grain of its plane.
    steps = 1 << frames.format.log2_chroma_h
    for plane in (1, 2):
        assert (np.abs(out.planes[0][plane].astype(int) - (1 << depth - 1)) <= 1).all()
        if (chroma := off(frames, out, plane=plane)).any():
            assert box(chroma)[0] * steps >= top - steps


def test_its_letters_have_the_height_that_was_asked_for():
    frames = grey(128, size=(1080, 1920))
    out = copy_of(frames)
    label = Label(Lettering("HI"), LabelOptions(text="HI", size=5.0))
    label.paint(out, label.plan(out))
    plane = out.planes[0][0]
    white = np.flatnonzero((plane > 200).any(1))
    assert white[-1] - white[0] + 1 == pytest.approx(0.05 * 1080, abs=3)


@pytest.mark.parametrize(
    ("position", "rows", "columns"),
    [
        ("top-left", (0, 1), (0, 2)), ("top", (0, 1), (1, 1)), ("top-right", (0, 1), (2, 2)),
        ("bottom-left", (1, 1), (0, 2)), ("bottom-right", (1, 1), (2, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_it_stands_where_it_was_asked_for_in_the_picture_as_shown(
    position, rows, columns, rotation
):
    size = (HEIGHT, WIDTH) if rotation in (0, 180) else (WIDTH, HEIGHT)
    frames = grey(128, size=size, rotation=rotation)
    out, _ = labelled(frames, position=position)
    shown = np.rot90(off(frames, out), rotation // 90)
    top, bottom, left, right = box(shown)
    assert shown.shape == (HEIGHT, WIDTH)
    assert (bottom < HEIGHT / 2) == (rows[0] == 0)
    assert right - left > 2 * (bottom - top), "it is read from left to right"
    if columns[0] == 0:
        assert left == pytest.approx(0.05 * WIDTH, abs=2)
    elif columns[0] == 2:
        assert WIDTH - 1 - right == pytest.approx(0.05 * WIDTH, abs=2)
    else:
        assert (left + right) / 2 == pytest.approx(WIDTH / 2, abs=3)
    upright, _ = labelled(grey(128, size=(HEIGHT, WIDTH)), position=position)
    turned = np.rot90(out.planes[0][0], rotation // 90)
    difference = turned.astype(int) - upright.planes[0][0]
    assert (difference == 0).mean() > 0.999, "the same letters, turned"


def test_wide_pixels_are_allowed_for():
    frames = grey(128)
    square, _ = labelled(frames)
    wide, _ = labelled(replace(frames, pixel_aspect=2.0))
    a, b = box(off(frames, square)), box(off(frames, wide))
    assert b[3] - b[2] == pytest.approx((a[3] - a[2]) / 2, abs=3)
    assert b[1] - b[0] == a[1] - a[0]


@pytest.mark.parametrize(
    ("start", "end", "seen"),
    [
        (None, None, [0, 1, 2, 3, 4, 5]),
        (Position(frame=2), None, [2, 3, 4, 5]),
        (None, Position(frame=2), [0, 1]),
        (Position(seconds=Fraction(1, 25)), Position(seconds=Fraction(4, 25)), [1, 2, 3]),
    ],
)
def test_it_is_seen_when_it_was_asked_for(start, end, seen):
    label = Label(Lettering(TEXT), LabelOptions(text=TEXT, start=start, end=end))
    found = []
    # The clip begins at 10 s: times count from its first frame.
    for first in (0, 3):
        frames = grey(128, 3, first=250 + first)
        out = copy_of(frames)
        label.paint(out, label.plan(out))
        found += [first + i for i in range(3) if off(frames, out, i).any()]
    assert found == seen


def test_white_of_hdr_is_the_white_of_graphics():
    frames = grey(0, fmt=FORMATS["yuv420p10le"])
    hdr = replace(frames, colour=Colour(transfer="smpte2084"))
    out, _ = labelled(hdr, size=10.0)
    assert out.planes[0][0].max() == pytest.approx(64 + 0.58 * 876, abs=1)


def test_what_would_be_wider_than_the_frame_is_drawn_smaller_and_said():
    text = "a label that goes on and on and on and does not end for a while"
    label = Label(Lettering(text), LabelOptions(text=text, size=10.0))
    frames = grey(128)
    out = copy_of(frames)
    label.paint(out, label.plan(out))
    _, _, left, right = box(off(frames, out))
    assert 0.8 * WIDTH < right - left < 0.95 * WIDTH
    assert "it would be wider than the frame" in label.notes[0]


def test_odd_sizes_are_no_problem():
    frames = grey(128, size=(61, 97))
    out, _ = labelled(frames, size=25.0)
    assert off(frames, out).any()
