"""What painting keeps of the target, where it moves things, and how the target is read."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32, Colour, Faces, Frames
from ffswap.geometry import face_mesh as fm
from ffswap.geometry.roi import face_points, mesh_box
from ffswap.options import MeshSwapOptions
from ffswap.stages.mesh_swap import MeshSource, MeshSwapper, Paint
from ffswap.stages.mesh_swap.light import in_frame, unroll
from ffswap.stages.mesh_swap.render import _codes, _raster, paint_face
from tests.stages.face_scenes import FORMATS, copy_of, frames_of, head, meshes_in, scene

SIZE = (181, 241)


@pytest.fixture(scope="module")
def target(nets) -> tuple[NDArray[np.uint8], F32]:
    """The astronaut in a frame of odd size, and its mesh."""
    rgb = scene(*SIZE, ("astronaut", 30.0, 8.0, 165.0))
    return rgb, meshes_in(nets, rgb)[0]


def plan(source: MeshSource, frames: Frames, mesh: F32, **options: float | bool) -> Paint:
    """What would be painted over one face of the first frame."""
    faces = Faces(
        frame=np.zeros(1, np.int64), track=np.zeros(1, np.int64), score=np.ones(1, np.float32),
        box=mesh_box(mesh)[None], points=face_points(mesh)[None].astype(np.float32),
        mesh=mesh[None], fresh=np.ones(1, np.bool_),
    )  # fmt: skip
    ((paint,),) = MeshSwapper(source, MeshSwapOptions(**options)).plan(frames, faces)  # type: ignore[arg-type]
    return paint


def test_eyes_and_the_open_mouth_stay(target, hopper):
    rgb, mesh = target
    frames = frames_of([rgb], FORMATS["yuv444p"])
    out = copy_of(frames)
    paint_face(hopper, out, 0, plan(hopper, frames, mesh, shape=0.0))
    y, before = out.planes[0][0].astype(int), frames.planes[0][0].astype(int)
    for ring in (fm.RIGHT_EYE, fm.LEFT_EYE, fm.INNER_MOUTH):
        x0, y0 = mesh[list(ring), :2].mean(0).round().astype(int)
        assert np.abs(y - before)[y0 - 1 : y0 + 2, x0 - 2 : x0 + 3].max() <= 8
    x0, y0 = mesh[4, :2].round().astype(int)
    assert np.abs(y - before)[y0 - 12 : y0 + 12, x0 - 12 : x0 + 12].max() > 20


@pytest.mark.parametrize("name", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize("shift", [(4, 0), (0, -4)])
def test_a_change_of_shape_moves_what_is_there(target, hopper, name, shift):
    """Nothing is painted (no opacity); all vertices move by whole chroma pixels."""
    rgb, mesh = target
    frames = frames_of([rgb], FORMATS[name])
    paint = replace(
        plan(hopper, frames, mesh), opacity=np.zeros((128, 128), np.float32),
        shift=np.full((468, 2), shift, np.float32),
        field=np.full((64, 64, 2), shift, np.float32),
    )  # fmt: skip
    out = copy_of(frames)
    paint_face(hopper, out, 0, paint)
    x, y = mesh[4, :2].round().astype(int)
    for k in range(3):
        cell = 2 if k and name == "yuv420p" else 1
        (dx, dy), r = (v // cell for v in shift), 20 // cell
        rows, columns = slice(y // cell - r, y // cell + r), slice(x // cell - r, x // cell + r)
        moved = np.roll(frames.planes[0][k], (dy, dx), (0, 1))
        off = np.abs(out.planes[0][k].astype(int) - moved)[rows, columns]
        assert off.max() <= 1


def test_the_shape_moves_towards_that_of_the_source(nets, mesh, target):
    """A source with a wider face widens the target, along the target's own axes."""
    rgb, points = target
    own = head("astronaut", 220)
    wide = meshes_in(nets, own)[0]
    wide = ((wide - wide.mean(0)) * [1.25, 1, 1] + wide.mean(0)).astype(np.float32)
    source = MeshSource(mesh, own.astype(np.float32) / np.float32(255), wide)
    frames = frames_of([rgb])
    shift = plan(source, frames, points).shift
    right, left = 50, 280
    across = points[left, :2] - points[right, :2]
    across /= np.linalg.norm(across)
    assert (shift[left] - shift[right]) @ across > 1.0
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    middle = points.mean(0)
    turned = ((points - middle) @ turn + middle).astype(np.float32)
    again = plan(source, frames, turned).shift
    assert np.abs(again - shift @ turn[:2, :2]).max() < 0.35


def test_glasses_of_the_target_stay(nets, hopper):
    """Hopper wears a pair: it is kept, unless one asks for it to be painted over."""
    rgb = scene(300, 320, ("hopper", 20, 10, 270))
    mesh = meshes_in(nets, rgb)[0]
    frames = frames_of([rgb])
    kept, painted = (plan(hopper, frames, mesh, keep_occluders=k) for k in (True, False))
    eyes = np.abs(hopper.space(128).height - 2.6) < 1.2
    assert kept.opacity[eyes].mean() < 0.8 * painted.opacity[eyes].mean()


def test_ones_own_colour_is_as_strong_as_ones_own(nets, mesh):
    rgb = head("astronaut", 240)
    points = meshes_in(nets, rgb)[0]
    source = MeshSource(mesh, rgb.astype(np.float32) / np.float32(255), points)
    paint = plan(source, frames_of([rgb], FORMATS["yuv444p16le"]), points)
    assert paint.saturation > 0.9
    assert 0.86 < paint.contrast < 1.19
    assert paint.sigma < 1.0
    grey = np.repeat(rgb.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert plan(source, frames_of([grey], FORMATS["yuv444p16le"]), points).saturation < 0.1
    soft = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 2.5), np.uint8)
    assert plan(source, frames_of([soft], FORMATS["yuv444p16le"]), points).sigma > 1.0


def test_in_frame_by_hand():
    x = np.array([[-0.1, 0.0, 9.0, 9.1, 5.0, 5.0]], np.float32)
    y = np.array([[2.0, 0.0, 4.0, 4.0, 4.1, -0.1]], np.float32)
    assert in_frame((x, y), 10, 5).tolist() == [[0, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("face_px", [50.0, 200.0, 700.0])
def test_unrolling_reads_the_right_places(name, face_px):
    """Ramps in luma and chroma, with the shrinking of large faces: to 0.15 pixels.

    At 8 bit half a code value is a pixel here, and OpenCV rounds halves up: 0.6 pixels.
    """
    fmt, colour = FORMATS[name], Colour(full_range=True)
    side, n = 400, 64
    top, centre = (1 << fmt.depth) - 1, 1 << (fmt.depth - 1)
    ch, cw = fmt.chroma_shape(side, side)
    sx, sy = 1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h
    slope = 0.8 / side
    column, row = np.arange(cw) * sx, np.arange(ch) * sy + (sy - 1) / 2
    y = np.round(top * (0.1 + slope * np.arange(side)[None].repeat(side, 0)))
    cb = np.round(centre + top * slope * (column - 200)[None].repeat(ch, 0))
    cr = np.round(centre + top * slope * (row - 200)[:, None].repeat(cw, 1))
    planes = (y.astype(fmt.dtype), cb.astype(fmt.dtype), cr.astype(fmt.dtype))
    rng = np.random.default_rng(1)
    at = tuple(rng.uniform(60, 330, (n, n)).astype(np.float32) for _ in "xy")
    got = unroll(planes, fmt, colour, (at[0], at[1]), face_px)
    limit = 0.6 if fmt.depth == 8 else 0.15
    assert abs(((got[..., 0] - 0.1) / slope - at[0]).mean()) < limit
    assert abs((got[..., 1] / slope + 200 - at[0]).mean()) < limit
    assert abs((got[..., 2] / slope + 200 - at[1]).mean()) < limit
    luma = unroll(planes, fmt, colour, (at[0], at[1]), face_px, luma_only=True)
    assert (luma[..., 0] == got[..., 0]).all()
    assert (luma[..., 1:] == 0).all()


def test_codes_are_rounded_and_held_in_range():
    fmt = FORMATS["yuv420p"]
    values = np.array([[0.0, 0.5, 0.504, -1.0, 3.0]], np.float32)
    # 16 + 219 / 2 = 125.5; 16 + 219 * 0.504 = 126.4
    assert _codes(values, 16.0, 219.0, 255, fmt).tolist() == [[16, 126, 126, 0, 255]]


def nearest_texture(mesh, points: F32, side: int, size: int) -> NDArray[np.float64]:
    """(size, size, 2) texture coordinates of the nearest triangle that faces the camera, by a depth
    buffer: the slow reference for the raster. NaN where there is none."""
    depth = np.full((size, size), np.inf)
    read = np.full((size, size, 2), np.nan)
    value = mesh.uv * side - 0.5
    for corners in mesh.triangles[mesh.signed_area(points) * mesh.winding > 0]:
        (a, b, c), xy = points[corners], points[corners, :2]
        x0, y0 = np.ceil(xy.min(0)).astype(int)
        x1, y1 = np.floor(xy.max(0)).astype(int) + 1
        x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        if not x.size:
            continue
        edges = np.array([b[:2] - a[:2], c[:2] - a[:2]]).T
        w = np.linalg.solve(edges, np.stack([x - a[0], y - a[1]]).reshape(2, -1))
        w = np.vstack([1 - w.sum(0), w])
        z = w.T @ np.array([a[2], b[2], c[2]])
        at = y.ravel(), x.ravel()
        nearer = (w >= 0).all(0) & (z < depth[at])
        at = at[0][nearer], at[1][nearer]
        depth[at] = z[nearer]
        read[at] = w.T[nearer] @ value[corners]
    return read


@pytest.mark.parametrize("degrees", [-45, -30, 30, 45])
def test_of_triangles_one_behind_the_other_the_nearest_is_seen(mesh, degrees):
    """A turned head: the nose lies before the far cheek. Compared with a depth buffer."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
    turned = (mesh.xyz_down @ turn.T * 14 + [150, 150, 0]).astype(np.float32)
    paint = Paint(
        mesh=turned, shift=np.zeros((468, 2), np.float32), field=np.zeros((64, 64, 2), np.float32),
        face_px=100.0, light=np.zeros((64, 64, 3), np.float32),
        opacity=np.ones((128, 128), np.float32), contrast=1.0, saturation=1.0, folds=0.0, sigma=0.0,
    )  # fmt: skip
    raster = _raster(mesh, paint, np.zeros(2, np.float32), (300, 300), 256)
    want = nearest_texture(mesh, turned, 256, 300)
    seen = np.isfinite(want[..., 0]) & (raster.u > 0)
    off = np.hypot(raster.u - want[..., 0], raster.v - want[..., 1])[seen]
    assert seen.sum() > 10_000
    assert (off < 2).mean() > 0.995
