"""Pasting: nothing changes outside the mask, an unchanged crop changes nothing, colours arrive."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import Colour, PixelFormat, Plane
from ffswap.geometry import affine
from ffswap.geometry.crop_masks import box_mask
from ffswap.geometry.similarity import similarity
from ffswap.ops import cpu
from ffswap.ops.paste import paste_crop
from tests.known_answers import TEMPLATES, face_points, smooth_planes

SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0)}
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
HEIGHT, WIDTH = 361, 479  # odd: the last chroma samples stand for one luma sample

F64 = NDArray[np.float64]
Planes = tuple[Plane, Plane, Plane]


def form(subsampling: str, depth: int) -> PixelFormat:
    return PixelFormat(f"yuv{subsampling}p{depth}", depth, *SUBSAMPLINGS[subsampling])


def plain(height: int, width: int, value: int) -> Planes:
    """4:4:4 of 8 bits, every sample of this value."""
    y, cb, cr = (np.full((height, width), value, np.uint8) for _ in range(3))
    return y, cb, cr


def copied(planes: Planes) -> Planes:
    y, cb, cr = (plane.copy() for plane in planes)
    return y, cb, cr


def inner(planes: Planes) -> Planes:
    """Without the outermost two samples."""
    y, cb, cr = (plane[2:-2, 2:-2] for plane in planes)
    return y, cb, cr


def matrix_of(place: tuple[float, float, float, float], template: str, size: int) -> F64:
    points = face_points(*place, template=template)
    return np.asarray(similarity(points[None], TEMPLATES[template], size)[0], np.float64)


def largest_change(one: Planes, two: Planes) -> list[int]:
    return [int(np.abs(a.astype(int) - b).max()) for a, b in zip(one, two, strict=True)]


def exact_mask(matrix: F64, side: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where a crop of ones reaches: less than a pixel beyond its outermost centres."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    at = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(((at > -1) & (at < side)).all(-1))


PLACES = [
    # x, y of the crop's middle, its side in luma pixels, degrees
    (240, 180, 200, 0), (240, 180, 200, 33), (230, 170, 60, -80), (250, 190, 330, 171),
    (10, 20, 150, 10), (470, 350, 180, 190), (240, 2, 200, 0), (2, 180, 260, -12),
]  # fmt: skip


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("depth", [8, 10])
def test_a_crop_that_comes_back_unchanged_changes_no_sample_by_more_than_one(
    depth, subsampling, full_range
):
    """The crop is rounded to code values once and the blend once: half a value each.

    A crop that shrinks the frame to less than half cannot hold the kink where the frame's edge is
    repeated: within a crop's pixel of the edge one more value is allowed.
    """
    fmt, colour = form(subsampling, depth), Colour(full_range=full_range)
    planes = smooth_planes(fmt, colour, HEIGHT, WIDTH)
    sizes = [("arcface_128", 128), ("ffhq_512", 512), ("arcface_112_v1", 256), ("mtcnn_512", 256)]
    for place in PLACES:
        for template, size in sizes:
            matrix = matrix_of(place, template, size)
            crop = cpu.crop_rgb(planes, fmt, colour, matrix, size)
            out = copied(planes)
            paste_crop(out, fmt, colour, crop, box_mask(size, 0.3, (0, 0, 0, 0)), matrix)
            assert max(largest_change(inner(out), inner(planes))) <= 1, (place, template, size)
            kink = place[2] >= 2 * size
            assert max(largest_change(out, planes)) <= 1 + kink, (place, template, size)


@pytest.mark.parametrize("standard", WEIGHTS)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_a_plain_colour_arrives_in_every_format(depth, subsampling, standard):
    kr, kb = WEIGHTS[standard]
    fmt = form(subsampling, depth)
    rgb = np.array([0.8, 0.3, 0.15])
    for full_range in (False, True):
        colour = Colour(kr=kr, kb=kb, full_range=full_range)
        planes = smooth_planes(fmt, colour, 120, 160)
        matrix = matrix_of((80, 60, 80, 20), "arcface_128", 64)
        crop = np.broadcast_to(rgb[:, None, None], (3, 64, 64)).astype(np.float32)
        paste_crop(planes, fmt, colour, crop, np.ones((64, 64), np.float32), matrix)
        y = rgb @ [kr, 1 - kr - kb, kb]
        cb, cr = (rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))
        (y0, y_span), (c0, c_span) = colour.luma_scale(depth), colour.chroma_scale(depth)
        want = [y0 + y_span * y, c0 + c_span * cb, c0 + c_span * cr]
        middles = [planes[0][60, 80]]
        middles += [plane[60 >> fmt.log2_chroma_h, 80 >> fmt.log2_chroma_w] for plane in planes[1:]]
        # Half a code value, and float32 on the scale of the codes.
        assert np.abs(np.array(middles, float) - want).max() <= 0.5 + 1e-6 * (1 << depth)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("depth", [8, 10, 16])
def test_where_the_mask_is_zero_every_sample_keeps_its_value(depth, subsampling):
    fmt, colour = form(subsampling, depth), Colour()
    rng = np.random.default_rng(depth)
    shapes = [(121, 163), *[fmt.chroma_shape(121, 163)] * 2]
    y, cb, cr = (rng.integers(0, 1 << depth, shape).astype(fmt.dtype) for shape in shapes)
    planes = (y, cb, cr)
    crop = rng.random((3, 64, 64), np.float32)
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 10:50] = 1
    on_chroma = affine.invert(cpu.chroma_matrix(fmt))
    for place in [(80, 60, 90, 25), (0, 0, 50, 0), (160, 118, 40, -60), (80, 60, 20, 5)]:
        out = copied(planes)
        matrix = matrix_of(place, "arcface_128", 64)
        paste_crop(out, fmt, colour, crop, mask, matrix)
        # The reach of the mask, less than a crop's pixel (or the block it is averaged over) wide.
        shift = np.array([[1, 0, -10.0], [0, 1, -20.0]])
        for k in range(3):
            to_crop = matrix if k == 0 else affine.compose(matrix, on_chroma)
            block = max(1.0, 1 / affine.scale_of(affine.invert(to_crop)))
            yy, xx = np.mgrid[0 : shapes[k][0], 0 : shapes[k][1]]
            at = np.stack([xx, yy], -1) @ to_crop[:, :2].T + to_crop[:, 2] + shift[:, 2]
            inside = ((at > -2 * block) & (at < np.array([40, 20]) - 1 + 2 * block)).all(-1)
            assert np.array_equal(out[k][~inside], planes[k][~inside])
        if place[0] == 80:
            assert (out[0] != planes[0]).sum() > 20


def test_a_mask_of_ones_reaches_as_far_as_the_crop():
    fmt, colour = form("444", 8), Colour(full_range=True)
    planes = plain(90, 120, 128)
    matrix = matrix_of((60, 45, 50, 30), "arcface_128", 50)
    paste_crop(
        planes, fmt, colour, np.ones((3, 50, 50), np.float32), np.ones((50, 50), np.float32), matrix
    )
    changed = planes[0] != 128
    reach = exact_mask(matrix, 50, (90, 120))
    assert not (changed & ~reach).any()
    assert (changed | ~reach).mean() > 0.98


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.8, 1.0])
def test_opacity_and_mask_multiply_and_the_blend_is_rounded(opacity):
    fmt, colour = form("444", 8), Colour(full_range=True)
    planes = plain(60, 60, 40)
    matrix = np.array([[1.0, 0, -10], [0, 1, -10]])
    mask = np.full((32, 32), 0.6, np.float32)
    grey = np.full((3, 32, 32), 0.75, np.float32)
    paste_crop(planes, fmt, colour, grey, mask, matrix, opacity)
    want = np.full((60, 60), 40)
    want[10:42, 10:42] = round(40 + opacity * 0.6 * (0.75 * 255 - 40))
    assert np.array_equal(planes[0], want)


def test_a_crop_of_the_same_scale_arrives_pixel_by_pixel():
    fmt, colour = form("444", 16), Colour(full_range=True)
    y, cb, cr = (np.full((40, 50), 1 << 15, np.uint16) for _ in range(3))
    luma = np.random.default_rng(2).random((24, 24), np.float32)
    matrix = np.array([[1.0, 0, -7], [0, 1, -5]])
    crop, ones = np.stack([luma] * 3), np.ones((24, 24), np.float32)
    paste_crop((y, cb, cr), fmt, colour, crop, ones, matrix)
    assert np.abs(y[5:29, 7:31] - luma.astype(np.float64) * 65535).max() < 0.6
    assert (cb == 1 << 15).all()
    assert (cr == 1 << 15).all()


@pytest.mark.parametrize("size", [128, 512])
def test_what_is_pasted_lies_where_opencv_would_put_it(size):
    """The published way, on luma: warp mask and crop by the inverse matrix, blend."""
    fmt, colour = form("444", 8), Colour(full_range=True)
    planes = smooth_planes(fmt, colour, HEIGHT, WIDTH)
    matrix = matrix_of((235, 175, size * 0.9, 25), "arcface_128", size)
    y, x = np.mgrid[0:size, 0:size] / size
    grey = (0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y)).astype(np.float32)
    mask = box_mask(size, 0.3, (0, 0, 0, 0))
    back = cv2.invertAffineTransform(matrix)
    weight = cv2.warpAffine(mask, back, (WIDTH, HEIGHT))
    over = cv2.warpAffine(grey * 255, back, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    want = planes[0] * (1 - weight) + over * weight
    paste_crop(planes, fmt, colour, np.stack([grey] * 3), mask, matrix)
    # Rounding is half a value; OpenCV's 1/32 of a pixel differs with the origin of the region.
    assert (
        np.abs(planes[0] - want).max() < 0.5 + 255 * 0.3 * 9 / size / 32 * 2 + 255 / 32 / size * 40
    )


def test_stripes_that_shrink_below_a_pixel_average_out():
    fmt, colour = form("444", 8), Colour(full_range=True)
    planes = plain(100, 100, 128)
    stripes = np.zeros((3, 512, 512), np.float32)
    stripes[:, :, ::2] = 1
    matrix = matrix_of((50, 50, 60, 0), "arcface_128", 512)
    paste_crop(planes, fmt, colour, stripes, np.ones((512, 512), np.float32), matrix)
    assert np.abs(planes[0][25:75, 25:75].astype(int) - 127.5).max() <= 1


@pytest.mark.parametrize("place", [(-400, 50, 60, 0), (50, 900, 60, 45), (-60, 50, 60, 0)])
def test_a_crop_outside_the_frame_changes_nothing(place):
    fmt, colour = form("420", 8), Colour()
    planes = smooth_planes(fmt, colour, 90, 100)
    out = copied(planes)
    white: Any = np.ones((3, 64, 64), np.float32)
    matrix = matrix_of(place, "arcface_128", 64)
    paste_crop(out, fmt, colour, white, np.ones((64, 64), np.float32), matrix)
    assert largest_change(out, planes) == [0, 0, 0]


def test_rows_of_a_padded_plane_are_written_in_place():
    fmt, colour = form("420", 8), Colour()
    held = [
        np.zeros((90, 128), np.uint8),
        np.zeros((45, 64), np.uint8),
        np.zeros((45, 64), np.uint8),
    ]
    planes = (held[0][:, :100], held[1][:, :50], held[2][:, :50])
    white = np.ones((3, 64, 64), np.float32)
    matrix = matrix_of((90, 45, 60, 0), "arcface_128", 64)
    paste_crop(planes, fmt, colour, white, np.ones((64, 64), np.float32), matrix)
    assert held[0][45, 90] == 235
    assert (held[0][:, 100:] == 0).all()
    assert (held[1][:, 50:] == 0).all()
