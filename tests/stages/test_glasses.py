"""Glasses: drawn on the astronaut, who wears none, they are seen; hopper wears a pair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ffswap.carriers import F32
from ffswap.geometry import face_mesh as fm
from ffswap.stages.mesh_swap import MeshSource
from ffswap.stages.mesh_swap.glasses import GLASSES_SIDE, Glasses
from tests.stages.face_scenes import U8, head, meshes_in

BT709 = (0.2126, 0.0722)
STYLES = {
    "black": ((20, 20, 20), None),
    "brown": ((90, 50, 25), None),
    "dark": ((25, 25, 28), (35, 35, 40)),
}
"""Colour of the rims, of the lenses."""


def with_glasses(rgb: U8, points: F32, style: str, *, rims: bool = True, bridge: bool = True) -> U8:
    """Two rims and a bridge, drawn through the mesh."""
    rim, lens = STYLES[style]
    out, xy = rgb.copy(), points[:, :2]
    eyes = [xy[list(ring)].mean(0) for ring in (fm.RIGHT_EYE, fm.LEFT_EYE)]
    width = float(np.linalg.norm(xy[33] - xy[133]))
    along = (eyes[1] - eyes[0]) / np.linalg.norm(eyes[1] - eyes[0])
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    thick = max(2, int(width * 0.12))

    def fixed(point: F32) -> tuple[int, int]:
        return int(point[0] * 16), int(point[1] * 16)

    for eye in eyes if rims else []:
        middle = fixed(eye + np.array([0, 0.15 * width], np.float32))
        axes = (int(0.95 * width * 16), int(0.72 * width * 16))
        if lens is not None:
            cv2.ellipse(out, middle, axes, angle, 0, 360, lens, -1, cv2.LINE_AA, 4)
        # Without a bridge only the lower halves: nothing touches the nose.
        arc = (0, 360) if bridge else (35, 145)
        cv2.ellipse(out, middle, axes, angle, *arc, rim, thick, cv2.LINE_AA, 4)
    a, b = eyes[0] + along * 0.95 * width, eyes[1] - along * 0.95 * width
    if bridge:
        cv2.line(out, fixed(a), fixed(b), rim, thick, cv2.LINE_AA, 4)
    return np.asarray(out, np.uint8)


@pytest.fixture(scope="module")
def face(nets) -> tuple[U8, F32]:
    """The astronaut's head and its mesh."""
    rgb = head("astronaut", 340)
    return rgb, meshes_in(nets, rgb)[0]


def evidence(source: MeshSource) -> float:
    """Belief, from the detail that the source separated from its light."""
    detail = source.texture(GLASSES_SIDE, *BT709).detail
    return Glasses(source.space(GLASSES_SIDE)).evidence(detail)


def source_of(mesh, rgb: U8, points: F32) -> MeshSource:
    return MeshSource(mesh, rgb.astype(np.float32) / np.float32(255), points)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_glasses_that_are_drawn_are_seen_covered_and_not_painted(mesh, face, style, astronaut):
    worn = source_of(mesh, with_glasses(face[0], face[1], style), face[1])
    texture, space = worn.texture(GLASSES_SIDE, *BT709), worn.space(GLASSES_SIDE)
    assert evidence(worn) > 0.5

    cover = Glasses(space).cover(texture.detail)
    assert cover.shape == (GLASSES_SIDE, GLASSES_SIDE)
    assert 0 <= cover.min() <= cover.max() <= 1
    # On the bridge, which lies about the point between the eyes (168 of the mesh); not on cheeks.
    u, v = (space.mesh.uv[168] * GLASSES_SIDE).astype(int)
    assert cover[v - 4 : v + 8, u - 2 : u + 3].max() > 0.7
    assert cover[(space.height < -3) & space.inside].max() < 0.01

    if STYLES[style][1] is not None:
        lens = (space.mesh.uv[list(fm.RIGHT_EYE)].mean(0) * GLASSES_SIDE).astype(int)
        assert cover[lens[1] + 5, lens[0]] > 0.7

    plain = astronaut.texture(GLASSES_SIDE, *BT709).mask
    eyes = (np.abs(space.height - 2.6) < 1.2) & (plain > 0.5)
    assert texture.mask[eyes].mean() < 0.65 * plain[eyes].mean()


@pytest.mark.parametrize(
    "change",
    [
        lambda rgb: rgb,
        lambda rgb: (rgb * 0.5).astype(np.uint8),
        lambda rgb: np.clip(rgb * [1.2, 1.0, 0.8], 0, 255).astype(np.uint8),
        lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 2.0),
        lambda rgb: (rgb * np.linspace(0.5, 1, 340)[None, :, None]).astype(np.uint8),
        lambda rgb: np.repeat(rgb.mean(-1, keepdims=True), 3, -1).astype(np.uint8),
    ],
    ids=["plain", "dark", "warm", "soft", "lit from the right", "grey"],
)
def test_a_face_without_glasses_has_none(mesh, face, change):
    assert evidence(source_of(mesh, change(face[0]), face[1])) < 0.2


def test_a_line_across_the_nose_alone_is_no_glasses(mesh, face):
    drawn = with_glasses(face[0], face[1], "black", rims=False)
    assert evidence(source_of(mesh, drawn, face[1])) < 0.2


def test_worn_glasses_are_seen(hopper, astronaut):
    assert evidence(hopper) > 0.5
    assert evidence(astronaut) < 0.2


def test_nothing_odd_is_no_evidence(astronaut):
    glasses = Glasses(astronaut.space(GLASSES_SIDE))
    flat = np.zeros((GLASSES_SIDE, GLASSES_SIDE, 3), np.float32)
    assert glasses.evidence(flat) == 0
    assert glasses.cover(flat).max() == 0


def test_arcs_under_the_eyes_alone_are_no_glasses(mesh, face):
    """Dark rings under the eyes are no glasses: both signs are asked for."""
    rings = with_glasses(face[0], face[1], "brown", bridge=False)
    assert evidence(source_of(mesh, rings, face[1])) < 0.5
    whole = with_glasses(face[0], face[1], "brown")
    assert evidence(source_of(mesh, whole, face[1])) > 0.5
