"""Reading pixels through matrices and maps, against slow NumPy references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import Colour, PixelFormat, Plane
from ffswap.geometry import affine
from ffswap.ops import cpu

FORMATS = {
    "yuv420p": PixelFormat("yuv420p", 8, 1, 1),
    "yuv422p": PixelFormat("yuv422p", 8, 1, 0),
    "yuv444p": PixelFormat("yuv444p", 8, 0, 0),
    "yuv420p10le": PixelFormat("yuv420p10le", 10, 1, 1),
    "yuv444p16le": PixelFormat("yuv444p16le", 16, 0, 0),
}
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}

SUBPIXEL = 1 / 32
"""OpenCV's bilinear reading rounds coordinates to this, pixels."""


def bilinear(plane: Any, x: Any, y: Any) -> NDArray[np.float64]:
    """The plane read at float places, its edge repeated: the reference."""
    x, y = np.clip(x, 0, plane.shape[1] - 1), np.clip(y, 0, plane.shape[0] - 1)
    x0, y0 = (np.minimum(v.astype(int), n - 2) for v, n in ((x, plane.shape[1]), (y, len(plane))))
    fx, fy = x - x0, y - y0
    p = plane.astype(np.float64)
    top = p[y0, x0] * (1 - fx) + p[y0, x0 + 1] * fx
    low = p[y0 + 1, x0] * (1 - fx) + p[y0 + 1, x0 + 1] * fx
    return np.asarray(top * (1 - fy) + low * fy)


def smooth_plane(height: int, width: int, dtype: Any, waves: float = 3.0) -> Plane:
    """Waves of a few dozen pixels, over the middle of the range."""
    y, x = np.mgrid[0:height, 0:width]
    top = np.iinfo(dtype).max
    value = 0.5 + 0.2 * np.sin(x * waves / 50) + 0.2 * np.cos(y * waves / 60)
    return np.asarray((value * top).astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_shrink_is_the_mean_of_blocks(factor, dtype):
    plane = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (23, 31)).astype(dtype)
    h, w = 23 // factor, 31 // factor
    blocks = plane[: h * factor, : w * factor].reshape(h, factor, w, factor).astype(np.float64)
    got = cpu.shrink(plane, factor)
    assert got.shape == (h, w)
    assert got.dtype == dtype
    assert np.abs(got - blocks.mean((1, 3))).max() <= 0.51


def test_resize_keeps_means_and_places():
    plane = smooth_plane(40, 60, np.uint8).astype(np.float32)
    small = cpu.resize(plane, 30, 20)
    assert np.abs(small - plane.reshape(20, 2, 30, 2).mean((1, 3))).max() < 1e-3
    large = cpu.resize(plane, 120, 80)
    y, x = (np.mgrid[0:80, 0:120] + 0.5) / 2 - 0.5
    assert np.abs(large - bilinear(plane, x, y)).max() < 1e-2
    constant = cpu.resize(np.full((7, 5), 3.5, np.float32), 9, 4)
    assert constant.shape == (4, 9)
    assert np.abs(constant - 3.5).max() < 1e-6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shrinks", [0.4, 1.0, 1.7, 2.0, 2.9, 3.0, 4.5, 7.0, 10.0])
def test_sample_plane_reads_the_right_places(shrinks, dtype):
    """A smooth plane through a turned matrix: what the place holds, within 1.5 % of the range."""
    height, width, out = 333, 417, 32
    plane = smooth_plane(height, width, dtype, waves=2.0)
    matrix = affine.crop_matrix(213.3, 160.8, out * shrinks, 0.5, out)
    got = cpu.sample_plane(plane, matrix, (out, out), None)
    assert got.dtype == dtype
    grid = np.stack(np.meshgrid(np.arange(out), np.arange(out)), -1).astype(np.float64)
    at = affine.apply(affine.invert(matrix), grid)
    inside = ((at > shrinks) & (at < np.array([width, height]) - 1 - shrinks)).all(-1)
    assert inside.mean() > 0.75
    want = bilinear(plane, at[..., 0], at[..., 1])
    assert np.abs(got - want)[inside].max() < 0.015 * np.iinfo(dtype).max


@pytest.mark.parametrize("factor", range(1, 11))
def test_sample_plane_of_a_ramp_has_no_offset(factor):
    """A ramp of 50 code values per pixel shows offsets of hundredths of a pixel."""
    plane = np.repeat((np.arange(1000, dtype=np.int64) * 50).astype(np.uint16)[None], 301, 0)
    out = 24
    matrix = affine.crop_matrix(371.25, 150.0, out * factor, 0.0, out)
    got = cpu.sample_plane(plane, matrix, (out, out), None).astype(np.float64) / 50
    at = affine.apply(affine.invert(matrix), np.stack([np.arange(out), np.full(out, 12)], -1))
    assert np.abs(got[12] - at[:, 0]).max() < 0.03 * factor + SUBPIXEL
    turned = cpu.sample_plane(
        np.ascontiguousarray(plane.T), matrix[::-1][:, [1, 0, 2]], (out, out), None
    )
    assert np.abs(turned.T.astype(np.float64) / 50 - got).max() < 0.02


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
@pytest.mark.parametrize("width", [97, 98, 99, 100, 101])
def test_sample_plane_loses_no_column_at_the_edge(width, factor):
    """Of a ramp beyond its end the last value is read, however many columns make a block."""
    plane = np.repeat((np.arange(width) * 300).astype(np.uint16)[None], 301, 0)
    out = 24
    matrix = affine.crop_matrix(width - 1.0, 150.0, out * factor, 0.0, out)
    got = cpu.sample_plane(plane, matrix, (out, out), None)
    assert (got[:, 12 + 2 :] == (width - 1) * 300).all()
    at = affine.apply(affine.invert(matrix), np.stack([np.arange(out), np.full(out, 12)], -1))
    inside = at[:, 0] < width - 1
    # The kink at the edge is rounded off within a block.
    assert np.abs(got[12][inside] / 300 - at[inside, 0]).max() < 0.27 * factor


def test_sample_plane_does_not_alias():
    """Stripes finer than the result's pixels average out; 7 of 8 pixels are enough for that."""
    plane = np.zeros((400, 400), np.uint8)
    plane[:, ::2] = 200
    matrix = affine.crop_matrix(199.5, 199.5, 400, 0.0, 50)
    got = cpu.sample_plane(plane, matrix, (50, 50), None)
    assert np.abs(got.astype(int) - 100).max() <= 15
    noise = np.random.default_rng(1).integers(0, 256, (400, 400), dtype=np.uint8)
    got = cpu.sample_plane(noise, matrix, (50, 50), None)
    # Means of at least 7 x 7 pixels.
    assert got.std() < noise.std() / 6


@pytest.mark.parametrize("shrinks", [1, 4])
def test_sample_plane_outside(shrinks):
    plane = np.full((80, 80), 100, np.uint8)
    matrix = affine.crop_matrix(0, 39.5, 40 * shrinks, 0.0, 40)
    padded = cpu.sample_plane(plane, matrix, (40, 40), 16)
    assert (padded[15:25, :18] == 16).all()
    assert (padded[15:25, 22:-1] == 100).all()
    repeated = cpu.sample_plane(plane, matrix, (40, 40), None)
    assert (repeated == 100).all()


@pytest.mark.parametrize("shrinks", [0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 9)])
def test_sample_plane_of_tiny_planes_and_far_places(shape, shrinks):
    plane = np.full(shape, 77, np.uint8)
    for centre in (0.0, 2.0, 500.0, -500.0):
        matrix = affine.crop_matrix(centre, 1.0, 16 * shrinks, 0.3, 16)
        assert (cpu.sample_plane(plane, matrix, (16, 16), None) == 77).all()


def codes(rgb: tuple[float, float, float], fmt: PixelFormat, colour: Colour) -> list[int]:
    """Code values of one colour: the textbook's formulas."""
    r, g, b = rgb
    y = colour.kr * r + (1 - colour.kr - colour.kb) * g + colour.kb * b
    parts = (y, (b - y) / (2 * (1 - colour.kb)), (r - y) / (2 * (1 - colour.kr)))
    unit = 1 << (fmt.depth - 8)
    top = (1 << fmt.depth) - 1
    if colour.full_range:
        scales = [(0, top), (128 * unit, top), (128 * unit, top)]
    else:
        scales = [(16 * unit, 219 * unit), (128 * unit, 224 * unit), (128 * unit, 224 * unit)]
    return [round(offset + span * p) for p, (offset, span) in zip(parts, scales, strict=True)]


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("standard", sorted(WEIGHTS))
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_constant_frame_gives_its_colour(name, standard, full_range):
    """Within a quantised chroma step's share of red, green and blue, at 8 bit about 1/100."""
    fmt = FORMATS[name]
    colour = Colour(*WEIGHTS[standard], full_range=full_range)
    height, width = 37, 51
    for rgb in ((0.8, 0.55, 0.4), (0.1, 0.2, 0.7), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (1, 1, 1)):
        value = codes(rgb, fmt, colour)
        shapes = ((height, width), *[fmt.chroma_shape(height, width)] * 2)
        y, cb, cr = (np.full(s, v, fmt.dtype) for s, v in zip(shapes, value, strict=True))
        for shrinks in (0.7, 3.3):
            matrix = affine.crop_matrix(25, 18, 24 * shrinks, 0.4, 24)
            got = cpu.crop_rgb((y, cb, cr), fmt, colour, matrix, 24)
            assert got.shape == (3, 24, 24)
            assert got.dtype == np.float32
            off = np.abs(got - np.array(rgb)[:, None, None])
            assert off.max() < (1.6 if fmt.depth == 8 else 0.5) / 255


@pytest.mark.parametrize("factor", range(2, 25))
def test_a_whole_factor_gives_the_means_of_blocks(factor):
    """Noise tells them from every other reading, which would be off by dozens."""
    plane = np.random.default_rng(factor).integers(0, 256, (5 * factor, 8 * factor), np.uint8)
    scale = 8 / (8 * factor)
    matrix = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    got = cpu.sample_plane(plane, matrix, (8, 5), None)
    blocks = plane.reshape(5, factor, 8, factor).astype(np.float64).mean((1, 3))
    assert np.abs(got - blocks).max() <= 1


def test_a_crop_may_be_wider_than_high():
    fmt, colour = FORMATS["yuv420p"], Colour()
    planes = tuple(smooth_plane(*s, np.uint8) for s in ((80, 90), (40, 45), (40, 45)))
    matrix = affine.crop_matrix(40, 40, 50, 0.3, 24)
    square = cpu.crop_rgb(planes, fmt, colour, matrix, 24)  # type: ignore[arg-type]
    wide = cpu.crop_rgb(planes, fmt, colour, matrix, (24, 10))  # type: ignore[arg-type]
    assert wide.shape == (3, 10, 24)
    assert np.abs(wide - square[:, :10]).max() < 0.01


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_outside_is_black_or_the_edge(name):
    fmt, colour = FORMATS[name], Colour()
    value = codes((0.8, 0.55, 0.4), fmt, colour)
    shapes = ((40, 40), *[fmt.chroma_shape(40, 40)] * 2)
    y, cb, cr = (np.full(s, v, fmt.dtype) for s, v in zip(shapes, value, strict=True))
    matrix = affine.crop_matrix(-20, 20, 40, 0, 20)
    edge = cpu.crop_rgb((y, cb, cr), fmt, colour, matrix, 20)
    black = cpu.crop_rgb((y, cb, cr), fmt, colour, matrix, 20, pad_black=True)
    assert np.abs(edge - edge[:, 10:11, 19:]).max() < 0.01
    assert black[:, :, :17].max() < 0.004


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("shrinks", [1.0, 2.0, 5.0])
def test_ramps_lie_in_the_right_place_in_luma_and_chroma(name, axis, shrinks):
    """0.1 pixel, where chroma is sited left and midway between rows.

    The turned crop reads many phases; at 8 bit, rounding to code values (2.4 to a pixel) twice
    still leaves 0.2 pixels. A siting that is wrong shows as 0.5.
    """
    fmt, colour = FORMATS[name], Colour(full_range=True)
    side, out, limit = 64, 8, 0.25 if fmt.depth == 8 else 0.1
    top, centre = (1 << fmt.depth) - 1, 1 << (fmt.depth - 1)
    place = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)[..., axis]
    ch, cw = fmt.chroma_shape(side, side)
    columns, rows = np.meshgrid(np.arange(cw), np.arange(ch))
    sx, sy = 1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h
    chroma_place = (columns * sx, rows * sy + (sy - 1) / 2)[axis]
    slope = 0.6 / side
    matrix = affine.crop_matrix(31.4, 30.7, out * shrinks, 0.3, out)
    grid = np.stack(np.meshgrid(np.arange(out), np.arange(out)), -1).astype(np.float64)
    want = affine.apply(affine.invert(matrix), grid)[..., axis]

    neutral = np.full((ch, cw), centre, fmt.dtype)
    ramp = np.round(top * (0.2 + slope * place)).astype(fmt.dtype)
    grey = cpu.crop_rgb((ramp, neutral, neutral), fmt, colour, matrix, out)
    assert abs(((grey[1] - 0.2) / slope - want).mean()) < limit

    flat = np.full((side, side), round(top * 0.5), fmt.dtype)
    level = flat[0, 0] / top
    ramp = np.round(centre + top * slope * (chroma_place - 32)).astype(fmt.dtype)
    red = cpu.crop_rgb((flat, neutral, ramp), fmt, colour, matrix, out)[0]
    assert abs(((red - level) / (2 * (1 - colour.kr)) / slope + 32 - want).mean()) < limit
    blue = cpu.crop_rgb((flat, ramp, neutral), fmt, colour, matrix, out)[2]
    middle = (blue > 0.01) & (blue < 0.99)
    off = (blue - level) / (2 * (1 - colour.kb)) / slope + 32 - want
    assert middle.mean() > 0.7
    assert abs(off[middle].mean()) < limit


def test_chroma_matrix_by_hand():
    # Luma column 0 and luma row 0.5 are the first chroma sample of 4:2:0.
    to = cpu.chroma_matrix(FORMATS["yuv420p"])
    assert affine.apply(to, np.array([[0, 0.5], [4, 2.5]])).tolist() == [[0, 0], [2, 1]]
    to = cpu.chroma_matrix(FORMATS["yuv422p"])
    assert affine.apply(to, np.array([[0, 0], [4, 3]])).tolist() == [[0, 0], [2, 3]]
    assert (cpu.chroma_matrix(FORMATS["yuv444p"]) == np.eye(2, 3)).all()


@pytest.mark.parametrize("standard", sorted(WEIGHTS))
def test_rgb_to_ycc_against_the_matrix(standard):
    kr, kb = WEIGHTS[standard]
    rgb = np.random.default_rng(3).random((5, 7, 3), np.float32)
    luma = np.array([kr, 1 - kr - kb, kb])
    matrix = np.stack(
        [
            luma,
            (np.array([0, 0, 1]) - luma) / (2 * (1 - kb)),
            (np.array([1, 0, 0]) - luma) / (2 * (1 - kr)),
        ]
    )
    got = cpu.rgb_to_ycc(rgb, kr, kb)
    assert got.dtype == np.float32
    assert np.abs(got - rgb @ matrix.T).max() < 1e-6
    assert cpu.rgb_to_ycc(np.array([[0, 0, 1.0]], np.float32), kr, kb)[0, 1] == pytest.approx(0.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_read_at_against_bilinear(channels):
    rng = np.random.default_rng(7)
    plane = rng.random((30, 40, channels)).astype(np.float32)
    plane = plane[..., 0] if channels == 1 else plane
    x, y = (rng.uniform(-5, n + 5, (50, 60)).astype(np.float32) for n in (40, 30))
    x, y = (np.round(v * 32) / np.float32(32) for v in (x, y))
    got = cpu.read_at(plane, x, y, repeat_edge=True)
    for k in range(channels):
        one = (plane, got) if channels == 1 else (plane[..., k], got[..., k])
        assert np.abs(one[1] - bilinear(one[0], x, y)).max() < 1e-4
    dark = cpu.read_at(plane, x, y)
    far = (x < -1) | (y < -1) | (x > 40) | (y > 30)
    assert far.any()
    assert (dark[far] == 0).all()
    inside = (x >= 0) & (y >= 0) & (x <= 39) & (y <= 29)
    assert np.abs(dark - got)[inside].max() < 1e-5


def test_read_at_keeps_the_type_and_cubic_is_sharper():
    plane = np.zeros((9, 9), np.uint16)
    plane[4, 4] = 60000
    x, y = np.full((1, 2), 4.0, np.float32), np.full((1, 2), 4.0, np.float32)
    assert cpu.read_at(plane, x, y).dtype == np.uint16
    assert cpu.read_at(plane, x, y)[0, 0] == 60000
    x += np.float32(0.5)
    linear, cubic = (
        cpu.read_at(plane.astype(np.float32), x, y, cubic=c)[0, 0] for c in (False, True)
    )
    assert linear == pytest.approx(30000)
    assert cubic > 1.1 * linear
