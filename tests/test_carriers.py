"""Frames and Faces: shapes are checked when they are made, and times are exact."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour, Faces, Frames, PixelFormat
from ffswap.errors import InternalError

YUV420 = PixelFormat("yuv420p", 8, 1, 1)
TEN = PixelFormat("yuv422p10le", 10, 1, 0)


def frames(n: int = 2, height: int = 5, width: int = 7, fmt: PixelFormat = YUV420) -> Frames:
    """Black, odd in both directions."""
    chroma = fmt.chroma_shape(height, width)
    planes = [
        (np.zeros((height, width), fmt.dtype), np.zeros(chroma, fmt.dtype), np.zeros(chroma, fmt.dtype))
        for _ in range(n)
    ]  # fmt: skip
    return Frames(planes, fmt, Colour(), np.arange(n, dtype=np.int64) * 1001, Fraction(1, 30000))


def faces(n: int, first: int = 0) -> Faces:
    """n rows, one per frame."""
    return Faces(
        frame=np.arange(first, first + n, dtype=np.int64),
        track=np.arange(n, dtype=np.int64) % 2,
        score=np.linspace(0, 1, n, dtype=np.float32),
        box=np.zeros((n, 4), np.float32),
        points=np.zeros((n, 5, 2), np.float32),
        mesh=np.zeros((n, 468, 3), np.float32),
        fresh=np.zeros(n, np.bool_),
    )


def test_chroma_is_rounded_up():
    assert YUV420.chroma_shape(5, 7) == (3, 4)
    assert YUV420.chroma_shape(4, 8) == (2, 4)
    assert TEN.chroma_shape(5, 7) == (5, 4)
    assert PixelFormat("yuv444p", 8, 0, 0).chroma_shape(5, 7) == (5, 7)


def test_the_type_of_a_sample():
    assert YUV420.dtype == np.uint8
    assert TEN.dtype == PixelFormat("yuv444p16le", 16, 0, 0).dtype == np.uint16


@pytest.mark.parametrize(
    ("full", "depth", "luma", "chroma"),
    [
        (False, 8, (16, 219), (128, 224)),
        (False, 10, (64, 876), (512, 896)),
        (False, 16, (4096, 56064), (32768, 57344)),
        (True, 8, (0, 255), (128, 255)),
        (True, 10, (0, 1023), (512, 1023)),
    ],
)
def test_scales_of_code_values(full, depth, luma, chroma):
    colour = Colour(full_range=full)
    assert colour.luma_scale(depth) == luma
    assert colour.chroma_scale(depth) == chroma


def test_frames_know_their_size_and_times():
    some = frames(n=3)
    assert (len(some), some.height, some.width) == (3, 5, 7)
    assert some.seconds(2) == pytest.approx(2002 / 30000, abs=1e-15)
    assert repr(some) == "Frames(3 x 7x5 yuv420p, index 0, pts 0..2002 x 1/30000)"


def test_times_far_into_a_clip_are_exact():
    some = replace(frames(n=1), pts=np.array([2**40 + 1], np.int64), time_base=Fraction(1, 90000))
    assert some.seconds(0) == float(Fraction(2**40 + 1, 90000))


def swapped(some: Frames, k: int, plane: Any) -> list[Any]:
    parts: list[Any] = list(some.planes[0])
    parts[k] = plane
    return [tuple(parts), *some.planes[1:]]


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {"planes": []},
        lambda _: {"pts": np.zeros(3, np.int64)},
        lambda _: {"pts": np.zeros((2, 1), np.int64)},
        lambda _: {"rotation": 45},
        lambda _: {"rotation": -90},
        lambda _: {"rotation": 360},
        lambda f: {"planes": swapped(f, 1, np.zeros((2, 3), np.uint8))},
        lambda f: {"planes": swapped(f, 2, np.zeros((3, 4), np.uint16))},
        lambda f: {"planes": swapped(f, 2, np.zeros((3, 3), np.uint8))},
        lambda f: {"planes": [f.planes[0], frames(1, 6, 8).planes[0]]},
        lambda _: {"format": TEN},
    ],
)
def test_frames_that_do_not_fit_are_refused(change):
    some = frames()
    with pytest.raises(InternalError):
        replace(some, **change(some))


def test_padded_rows_are_allowed_and_planes_stay_the_same_arrays():
    wide = np.zeros((5, 32), np.uint8)
    chroma = np.zeros((3, 16), np.uint8)
    some = Frames(
        [(wide[:, :7], chroma[:, :4], chroma[:, 4:8])], YUV420, Colour(), np.zeros(1, np.int64),
        Fraction(1, 25),
    )  # fmt: skip
    some.planes[0][0][2, 3] = 9
    assert wide[2, 3] == 9


@pytest.mark.parametrize("name", ["track", "score", "box", "points", "mesh", "fresh"])
def test_faces_that_do_not_fit_are_refused(name):
    good = faces(3)
    with pytest.raises(InternalError, match=f"Faces.{name}"):
        replace(good, **{name: getattr(good, name)[:2]})


def test_faces_select_and_join_rows():
    some = faces(5)
    assert some.rows(some.track == 1).frame.tolist() == [1, 3]
    assert some.rows(np.array([4, 0])).frame.tolist() == [4, 0]
    both = Faces.concatenate([some, Faces.empty(), faces(2, first=7)])
    assert both.frame.tolist() == [0, 1, 2, 3, 4, 7, 8]
    assert both.mesh is not None
    assert both.mesh.shape == (7, 468, 3)
    assert both.landmarks is None
    assert repr(some) == "Faces(5 faces, tracks [0, 1])"


def test_no_faces():
    assert len(Faces.empty()) == len(Faces.concatenate([])) == 0
    assert Faces.concatenate([Faces.empty()]).points.shape == (0, 5, 2)
    assert repr(Faces.empty()) == "Faces(0 faces, tracks [])"
