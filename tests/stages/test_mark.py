"""The mark: where it is put, how much it changes, and that it is found only where it is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from ffswap.carriers import Colour, Frames, PixelFormat, Plane
from ffswap.geometry import mark as of_mark
from ffswap.geometry.mark import BAND, DECOYS, PEAK, SIDE, chance, mark_pattern, mark_scores
from ffswap.ops import cpu
from ffswap.stages.mark import FaceMarker, MarkReader
from tests import known_answers as known

SIZE = 240
FORMATS = {
    "yuv420p": PixelFormat("yuv420p", 8, 1, 1),
    "yuv422p10le": PixelFormat("yuv422p10le", 10, 1, 0),
    "yuv444p16le": PixelFormat("yuv444p16le", 16, 0, 0),
}


def skin(fmt: PixelFormat, seed: int, offset: float = 0.0) -> tuple[Plane, Plane, Plane]:
    """Planes of smooth noise, as faces have it: strong where it is wide."""
    rng = np.random.default_rng(seed)
    shapes = [(SIZE, SIZE), *[fmt.chroma_shape(SIZE, SIZE)] * 2]
    planes = []
    for shape, sigma in zip(shapes, (1.5, 3.0, 3.0), strict=True):
        noise = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), sigma)
        values = (110 + offset + 4 * noise / noise.std()) * (1 << fmt.depth - 8)
        planes.append(np.round(values).astype(fmt.dtype))
    one, two, three = planes
    return one, two, three


def frames_of(planes: list[Any], fmt: PixelFormat) -> Frames:
    return Frames(
        planes=planes, format=fmt, colour=Colour(), pts=np.arange(len(planes)),
        time_base=Fraction(1, 25),
    )  # fmt: skip


HERE = known.face_points(120, 115, 110, 8)


def painted(fmt: PixelFormat, by: float = 8.0, points=HERE):
    """Planes before and after a painter, planes with the mark, and where was painted."""
    before, after = skin(fmt, 1), skin(fmt, 2, by)
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(inside, (120, 115), 70, 1, -1)
    for old, new in zip(before, after, strict=True):
        rows, columns = SIZE // old.shape[0], SIZE // old.shape[1]
        np.copyto(new, old, where=inside[::rows, ::columns] == 0)
    marked = tuple(plane.copy() for plane in before)
    frames, marker = frames_of([marked], fmt), FaceMarker()
    unpainted = marker.before(frames, known.faces_at((0, points)))
    for plane, new in zip(marked, after, strict=True):
        plane[...] = new
    marker.mark(frames, unpainted)
    return before, after, marked


@pytest.mark.parametrize("name", FORMATS)
def test_only_painted_chroma_changes_and_by_one_value_on_average_at_most(name):
    fmt = FORMATS[name]
    before, after, marked = painted(fmt)
    np.testing.assert_array_equal(after[0], marked[0])
    rows, columns = 1 << fmt.log2_chroma_h, 1 << fmt.log2_chroma_w
    touched = (before[0] != after[0])[::rows, ::columns]
    touched |= (before[1] != after[1]) | (before[2] != after[2])
    step = 1 << fmt.depth - 8
    for one, two in zip(after[1:], marked[1:], strict=True):
        off = np.abs(one.astype(int) - two)
        assert not off[~touched].any()
        assert 0.3 * step < off[touched].mean() <= step
        assert off.max() <= PEAK * 1.2 * step


def test_what_is_painted_without_a_change_to_speak_of_is_not_marked():
    fmt = FORMATS["yuv420p"]
    planes = skin(fmt, 1)
    frames, marker = frames_of([planes], fmt), FaceMarker()
    unpainted = marker.before(frames, known.faces_at((0, HERE)))
    rng = np.random.default_rng(0)
    for plane in planes:
        plane += rng.integers(0, 2, plane.shape).astype(np.uint8)
    rounded = [plane.copy() for plane in planes]
    marker.mark(frames, unpainted)
    for one, two in zip(rounded, planes, strict=True):
        np.testing.assert_array_equal(one, two)


def test_code_values_stay_in_range():
    fmt = FORMATS["yuv422p10le"]
    planes = tuple(np.zeros(shape, np.uint16) for shape in ((SIZE, SIZE), *[(SIZE, SIZE // 2)] * 2))
    frames, marker = frames_of([planes], fmt), FaceMarker()
    unpainted = marker.before(frames, known.faces_at((0, HERE)))
    for plane in planes:
        plane[...] = 1023
    marker.mark(frames, unpainted)
    assert all(plane.max() == 1023 for plane in planes)
    assert any((plane < 1023).any() for plane in planes[1:])


def test_faces_outside_the_frame_and_muddled_ones_are_left_out():
    fmt = FORMATS["yuv420p"]
    frames = frames_of([skin(fmt, 1), skin(fmt, 1)], fmt)
    faces = known.faces_at((0, HERE + 2000), (1, np.zeros((5, 2), np.float32)))
    assert FaceMarker().before(frames, faces) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_marked_face_is_found_and_an_unmarked_one_is_not(name):
    fmt = FORMATS[name]
    before, after, marked = painted(fmt)
    found = {}
    for what, planes in {"before": before, "after": after, "marked": marked}.items():
        reader = MarkReader()
        reader.look(frames_of([planes], fmt), known.faces_at((0, HERE)))
        found[what] = reader.chance()
    assert found["marked"] < 1e-4
    assert min(found["before"], found["after"]) > 1e-3


def test_it_is_found_when_the_picture_is_turned_scaled_and_the_points_are_a_little_off():
    fmt = FORMATS["yuv444p16le"]
    _, _, marked = painted(fmt)
    matrix = cv2.getRotationMatrix2D((120, 115), 35, 0.8)
    turned = tuple(cv2.warpAffine(plane, matrix, (SIZE, SIZE)) for plane in marked)
    points = HERE @ matrix[:, :2].T + matrix[:, 2]
    points += (points - points.mean(0)) * 0.03 + (2.0, -1.5)
    reader = MarkReader()
    reader.look(frames_of([turned], fmt), known.faces_at((0, points)))
    assert reader.chance() < 1e-4


def test_one_marked_person_among_others_is_found():
    fmt = FORMATS["yuv420p"]
    _, _, marked = painted(fmt)
    reader = MarkReader()
    for track in range(6):
        planes = marked if track == 3 else skin(fmt, 10 + track)
        faces = replace(known.faces_at((0, HERE)), track=np.array([track]))
        reader.look(frames_of([planes], fmt), faces)
    assert (reader.faces, reader.chance() < 1e-4) == (6, True)


def test_without_faces_or_colour_nothing_is_claimed():
    assert MarkReader().chance() == 1.0
    fmt = FORMATS["yuv420p"]
    grey = tuple(np.full_like(plane, 128) for plane in skin(fmt, 1))
    reader = MarkReader()
    reader.look(frames_of([grey], fmt), known.faces_at((0, HERE)))
    assert (reader.faces, reader.chance()) == (1, 1.0)


def test_the_pattern_is_the_same_everywhere_and_lies_in_its_band():
    pattern = mark_pattern()
    assert pattern.shape == (SIDE, SIDE, 2)
    np.testing.assert_allclose(np.abs(pattern).mean((0, 1)), 1, atol=0.02)
    assert np.abs(pattern).max() <= PEAK
    power = np.abs(np.fft.fft2(pattern, axes=(0, 1))) ** 2
    cycles = np.fft.fftfreq(SIDE) * SIDE
    distance = np.hypot(cycles[:, None], cycles)
    in_band = (distance >= BAND[0]) & (distance <= BAND[1])
    assert power[in_band].sum() > 0.6 * power.sum()
    # Videos that were marked must be found by every later version.
    want = [
        -0.07,
        0.04,
        0.39,
        -0.28,
        1.43,
        0.1,
        0,
        -3,
        -2.2,
        -1.72,
        -0.07,
        0.01,
        -0.15,
        -2.32,
        2.15,
        -3,
    ]
    np.testing.assert_allclose(pattern[::16, ::16, 0].ravel(), want, atol=0.006)


def test_chance_is_that_of_many_looks():
    """Decoys on noise reach a score as often as `chance` says, or less."""
    rng = np.random.default_rng(3)
    best = np.concatenate(
        [mark_scores(rng.normal(size=(SIDE, SIDE, 2)).astype(np.float32))[1:] for _ in range(12)]
    )
    assert len(best) == 12 * DECOYS
    for score in (3.0, 3.5, 4.0):
        assert (best > score).mean() <= chance(score) + 0.01
    assert chance(0.0) == 1.0
    assert chance(6.0, 5) == pytest.approx(5 * chance(6.0))


def test_patterns_of_other_keys_have_nothing_in_common():
    one, two = (mark_pattern(key).ravel() for key in (of_mark.KEY, "another"))
    # Some 1,000 independent coefficients: 0.1 is three standard deviations.
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1


def test_rounding_into_a_plane_is_that_of_numpy():
    rng = np.random.default_rng(0)
    for dtype, top in ((np.uint8, 255), (np.uint16, 1023)):
        plane = rng.integers(0, top + 1, (20, 30)).astype(dtype)
        change = rng.normal(0, 3, plane.shape).astype(np.float32)
        want = np.clip(np.rint(plane + change), 0, top)
        old = plane.copy()
        cpu.add_rounded(plane, change, top)
        np.testing.assert_array_equal(plane, want)
        off = np.abs(want - old)
        np.testing.assert_array_equal(cpu.largest_difference([old, plane], [plane, plane]), off)
        assert cpu.magnitude_sum(change) == pytest.approx(np.abs(change).sum(), rel=1e-5)
