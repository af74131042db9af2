"""Painting: what is touched and what is not, whose face it is, any format and size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32, Faces, Frames
from ffswap.geometry.face_mesh import OVAL
from ffswap.geometry.roi import face_points, mesh_box
from ffswap.options import MeshSwapOptions
from ffswap.stages.mesh_swap import MeshSource, MeshSwapper, Paint
from tests.stages.face_scenes import FORMATS, copy_of, frames_of, meshes_in, scene

SIZE = (181, 241)


def faces_at(mesh: F32, frames: int = 1, fresh: bool = True) -> Faces:
    """The same face, track 7, in each frame."""
    n = frames
    return Faces(
        frame=np.arange(n, dtype=np.int64),
        track=np.full(n, 7, np.int64),
        score=np.ones(n, np.float32),
        box=np.repeat(mesh_box(mesh)[None], n, 0),
        points=np.repeat(face_points(mesh)[None].astype(np.float32), n, 0),
        mesh=np.repeat(mesh[None], n, 0),
        fresh=np.array([fresh] + [False] * (n - 1)),
    )


def swapped(
    source: MeshSource, frames: Frames, faces: Faces, options: MeshSwapOptions | None = None
) -> tuple[Frames, list[list[Paint]]]:
    """A copy of the frames with the source painted in, and the plans."""
    swapper = MeshSwapper(source, options or MeshSwapOptions())
    out = copy_of(frames)
    plans = swapper.plan(out, faces)
    for one, two in zip(frames.planes, out.planes, strict=True):
        assert all((a == b).all() for a, b in zip(one, two, strict=True)), "planning changed it"
    for i, paints in enumerate(plans):
        swapper.paint(out, i, paints)
    return out, plans


def moved(mesh: F32, x: float = 0.0, y: float = 0.0, scale: float = 1.0) -> F32:
    """About the top left corner, then shifted."""
    return (mesh * scale + [x, y, 0]).astype(np.float32)


@pytest.fixture(scope="module")
def target(nets) -> tuple[NDArray[np.uint8], F32]:
    """The astronaut in a frame of odd size, and its mesh."""
    rgb = scene(*SIZE, ("astronaut", 30.0, 8.0, 165.0))
    return rgb, meshes_in(nets, rgb)[0]


def change(one: Frames, two: Frames, i: int = 0) -> list[NDArray[np.float64]]:
    """Absolute difference of each plane, 0 to 1."""
    top = (1 << one.format.depth) - 1
    return [
        np.abs(a.astype(np.float64) - b) / top
        for a, b in zip(one.planes[i], two.planes[i], strict=True)
    ]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_only_the_face_is_touched(target, hopper, name):
    rgb, mesh = target
    fmt = FORMATS[name]
    frames = frames_of([rgb], fmt)
    out, plans = swapped(hopper, frames, faces_at(mesh))
    ((paint,),) = plans
    bounds = paint.bounds(*SIZE, (1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h))
    assert bounds is not None
    outline = np.concatenate([mesh[:, :2], paint.moved])
    allowed = np.zeros(SIZE, np.uint8)
    cv2.fillConvexPoly(allowed, np.round(cv2.convexHull(outline)).astype(np.int32), 1)
    allowed = np.asarray(cv2.dilate(allowed, np.ones((7, 7), np.uint8)), np.uint8)
    sx, sy = 1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h
    for k, off in enumerate(change(frames, out)):
        near = allowed if k == 0 else allowed[::sy, ::sx]
        assert (off[near == 0] == 0).all()
        assert (off[near > 0] > 0).mean() > 0.2
        rows, columns = bounds
        if k:
            rows = slice(rows.start // sy, -(-rows.stop // sy))
            columns = slice(columns.start // sx, -(-columns.stop // sx))
        outside = np.ones(off.shape, bool)
        outside[rows, columns] = False
        assert (off[outside] == 0).all()


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p16le"])
def test_ones_own_face_changes_little_and_another_much(target, hopper, astronaut, name):
    rgb, mesh = target
    frames = frames_of([rgb], FORMATS[name])
    own, other = (swapped(s, frames, faces_at(mesh))[0] for s in (astronaut, hopper))
    inside = np.zeros(SIZE, np.uint8)
    cv2.fillConvexPoly(inside, np.round(cv2.convexHull(mesh[:, :2].copy())).astype(np.int32), 1)
    little, much = (change(frames, f)[0][inside > 0].mean() for f in (own, other))
    assert little < 0.02
    assert max(plane.mean() for plane in change(frames, own)[1:]) < 0.006
    # Not more than that: the astronaut's broad smile keeps its own folds under the other face.
    assert much > 1.7 * little


def test_formats_agree(target, hopper):
    """The same face in 8, 10 and 16 bit, 4:2:0 to 4:4:4: the same luma, within 2 steps of 255."""
    rgb, mesh = target
    planes = {}
    for name, fmt in FORMATS.items():
        frames = frames_of([rgb], fmt)
        out, _ = swapped(hopper, frames, faces_at(mesh))
        planes[name] = out.planes[0][0].astype(np.float64) / (1 << (fmt.depth - 8))
    reference = planes.pop("yuv444p16le")
    for plane in planes.values():
        assert np.abs(plane - reference).mean() < 0.6
        assert np.quantile(np.abs(plane - reference), 0.999) < 4


def test_large_faces_have_no_specks_on_their_outline(nets, hopper):
    """Painted in steps of pixels, the rim must not read from the middle of the texture: the change
    grows slowly from nothing."""
    rgb = scene(520, 560, ("astronaut", 30, 10, 495))
    mesh = meshes_in(nets, rgb)[0]
    frames = frames_of([rgb], FORMATS["yuv444p16le"])
    out, plans = swapped(hopper, frames, faces_at(mesh))
    assert plans[0][0].face_px > 240
    off = change(frames, out)[0]
    ring = np.zeros(off.shape, np.uint8)
    cv2.fillPoly(ring, [np.round(mesh[list(OVAL), :2]).astype(np.int32)], 1)
    inner = cv2.erode(ring, np.ones((7, 7), np.uint8))
    assert off[inner == 0].max() < 0.08
    assert off[inner > 0].max() > 0.2


def test_painting_is_deterministic_and_in_any_order(target, hopper):
    rgb, mesh = target
    frames = frames_of([rgb, scene(*SIZE, ("astronaut", 30.0, 8.0, 165.0)), rgb // 2])
    faces = faces_at(mesh, frames=3)
    swapper = MeshSwapper(hopper, MeshSwapOptions())
    plans = swapper.plan(frames, faces)
    forward, backward = copy_of(frames), copy_of(frames)
    for i in (0, 1, 2):
        swapper.paint(forward, i, plans[i])
    for i in (2, 0, 1):
        swapper.paint(backward, i, plans[i])
    again, _ = swapped(hopper, frames, faces)
    for other in (backward, again):
        assert all((a == 0).all() for i in range(3) for a in change(forward, other, i))


def test_batches_do_not_matter(target, hopper):
    rgb, mesh = target
    frames = frames_of([np.asarray(rgb * f, np.uint8) for f in (1.0, 0.8, 0.9)])
    whole = MeshSwapper(hopper, MeshSwapOptions()).plan(frames, faces_at(mesh, 3))
    one = MeshSwapper(hopper, MeshSwapOptions())
    for i in range(3):
        part = Frames([frames.planes[i]], frames.format, frames.colour, frames.pts[i : i + 1], frames.time_base)  # fmt: skip
        ((paint,),) = one.plan(part, faces_at(mesh, fresh=i == 0))
        for name in ("light", "shift", "opacity"):
            assert np.abs(getattr(paint, name) - getattr(whole[i][0], name)).max() < 1e-5


def test_light_follows_the_target(target, hopper):
    """A target half as bright is painted half as bright."""
    rgb, mesh = target
    one, two = (
        swapped(hopper, frames_of([p], FORMATS["yuv444p16le"]), faces_at(mesh))[0].planes[0][0]
        for p in (rgb, (rgb * 0.5).astype(np.uint8))
    )
    x, y = mesh[[50, 280, 205, 425], :2].round().astype(int).T
    bright, dark = ((p[y, x].astype(float) - 4096) / 56064 for p in (one, two))
    assert (dark / bright).mean() == pytest.approx(0.5, abs=0.08)


def test_shape_none_moves_nothing(target, hopper):
    rgb, mesh = target
    frames = frames_of([rgb])
    still, shifts = (
        swapped(hopper, frames, faces_at(mesh), MeshSwapOptions(shape=s))[1][0][0].shift
        for s in (0.0, 1.0)
    )
    assert np.abs(still).max() == 0
    assert 0.3 < np.abs(shifts).max() < 30
    some = swapped(hopper, frames, faces_at(mesh), MeshSwapOptions(shape=0.5))[1][0][0].shift
    assert np.linalg.norm(some) == pytest.approx(0.5 * np.linalg.norm(shifts), rel=0.1)


def test_a_fresh_face_forgets(target, hopper):
    rgb, mesh = target
    dark = (rgb * 0.4).astype(np.uint8)
    frames = frames_of([rgb, dark])

    def light(fresh: bool) -> Any:
        swapper = MeshSwapper(hopper, MeshSwapOptions())
        faces = faces_at(mesh, 2)
        faces.fresh[1] = fresh
        return swapper.plan(frames, faces)[1][0].light[..., 0].mean()

    alone = swapped(hopper, frames_of([dark]), faces_at(mesh))[1][0][0].light[..., 0].mean()
    assert light(True) == pytest.approx(alone, abs=1e-5)
    assert light(False) > alone + 0.2


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_faces_partly_outside_the_frame(target, hopper, name):
    rgb, mesh = target
    for x, y in ((-110, 0), (130, 0), (0, -90), (0, 95), (-70, -60), (120, 80)):
        window = np.full((*SIZE, 3), 60, np.uint8)
        cv2.warpAffine(
            rgb, np.array([[1.0, 0, x], [0, 1, y]]), SIZE[::-1], dst=window,
            borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
        frames = frames_of([window], FORMATS[name])
        out, plans = swapped(hopper, frames, faces_at(moved(mesh, x, y)))
        if plans[0]:
            assert change(frames, out)[0].max() > 0


def test_faces_outside_the_frame_are_left_alone(target, hopper):
    rgb, mesh = target
    frames = frames_of([rgb])
    for x, y in ((-300, 0), (0, 400), (5000, 5000), (-5000, 0)):
        out, plans = swapped(hopper, frames, faces_at(moved(mesh, x, y)))
        assert plans == [[]]
        assert all((a == 0).all() for a in change(frames, out))


@pytest.mark.parametrize("face_px", [4, 12, 20, 35])
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le"])
def test_very_small_faces(target, hopper, name, face_px):
    _, mesh = target
    scale = face_px / float(np.ptp(mesh[:, 0]))
    rgb = scene(64, 80, ("astronaut", 20 + 30 * scale, 20 + 8 * scale, 165 * scale))
    frames = frames_of([rgb], FORMATS[name])
    out, _ = swapped(hopper, frames, faces_at(moved(mesh, 20, 20, scale)))
    off = change(frames, out)[0]
    assert off.max() > 0 if face_px >= 20 else off.max() < 0.5


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p16le"])
def test_very_large_faces(target, hopper, name):
    rgb, mesh = target
    scale = 7.3
    large = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    frames = frames_of([np.asarray(large[:1201, :1501], np.uint8)], FORMATS[name])
    out, plans = swapped(hopper, frames, faces_at(moved(mesh, scale=scale)))
    assert plans[0][0].face_px > 500
    assert change(frames, out)[0].max() > 0.1


@pytest.mark.parametrize(("height", "width"), [(15, 40), (40, 15)])
def test_too_few_pixels_are_left_alone(height, width):
    mesh = np.zeros((468, 3), np.float32)
    mesh[:, 0], mesh[:, 1] = np.linspace(10, 20, 468), np.linspace(10, 20, 468)
    paint = Paint(
        mesh=mesh, shift=np.zeros((468, 2), np.float32), face_px=10.0,
        light=np.zeros((64, 64, 3), np.float32), opacity=np.ones((128, 128), np.float32),
        contrast=1.0, saturation=1.0, sigma=0.0, folds=0.0,
        field=np.zeros((64, 64, 2), np.float32),
    )  # fmt: skip
    assert paint.bounds(height, width, (2, 2)) is None
    # From floor(10) - 4 on the chroma grid to ceil(20) + 5.
    assert paint.bounds(100, 100, (2, 2)) == (slice(6, 25), slice(6, 25))
    odd = replace(paint, mesh=mesh + np.float32(1))
    assert odd.bounds(100, 100, (2, 2)) == (slice(6, 26), slice(6, 26))
    assert paint.bounds(22, 23, (1, 1)) == (slice(6, 22), slice(6, 23))
