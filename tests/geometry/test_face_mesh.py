"""The canonical mesh and its operators: pose, facing, fading, smooth shapes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32
from ffswap.geometry import face_mesh as fm
from ffswap.geometry.face_mesh import FaceMesh, cheek_width, smoothstep
from ffswap.models import canonical_mesh

NOSE_TIP, RIGHT_CHEEK, LEFT_CHEEK = 4, 50, 280
"""Right and left are the person's: the right cheek is on the image's left."""


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    """The embedded mesh."""
    data = canonical_mesh()
    weights = np.zeros(468, np.float32)
    weights[data.procrustes_index] = data.procrustes_weight
    return FaceMesh(data.vertices, data.uv, data.triangles, weights)


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> NDArray[np.float64]:
    """Degrees, about y (down), x (right), z (away from the camera)."""
    a, b, c = np.deg2rad([yaw, pitch, roll])
    y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(z @ x @ y)


def posed(mesh: FaceMesh, turn: NDArray[np.float64], scale: float = 20.0) -> F32:
    """The canonical face in an image."""
    return np.asarray(scale * mesh.xyz_down @ turn.T + [320, 240, 15], np.float32)


def mirrored(mesh: FaceMesh) -> NDArray[np.int64]:
    """(468,) the vertex on the other half of the face of each."""
    other = mesh.xyz * [-1, 1, 1]
    away = ((mesh.xyz[None] - other[:, None]) ** 2).sum(-1)
    assert away.min(1).max() < 1e-3
    return np.asarray(away.argmin(1))


def test_smoothstep_by_hand():
    x = np.array([-1, 0, 0.25, 0.5, 1, 2], np.float32)
    assert smoothstep(x, 0.0, 1.0).tolist() == [0, 0, 0.15625, 0.5, 1, 1]
    assert smoothstep(3.0, 2.0, 4.0) == 0.5
    assert smoothstep(x, 0.0, 1.0).dtype == np.float32


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -20, 10), (-70, 5, 100), (0, 0, 180)])
@pytest.mark.parametrize("scale", [0.5, 40.0])
def test_the_pose_of_a_known_similarity(mesh, angles, scale):
    turn = rotation(*angles)
    got_scale, got_turn, shift = mesh.pose(posed(mesh, turn, scale))
    assert got_scale == pytest.approx(scale, rel=1e-5)
    assert np.abs(got_turn - turn).max() < 1e-4
    assert np.abs(shift - [320, 240, 15]).max() < 1e-3 * scale + 1e-3


def test_the_pose_is_a_rotation_even_for_a_mirrored_face(mesh):
    _, turn, _ = mesh.pose(posed(mesh, np.diag([-1.0, 1.0, 1.0])))
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-6)


def test_the_pose_counts_only_weighted_vertices(mesh):
    face = posed(mesh, rotation(20))
    bent = face.copy()
    bent[mesh.weights == 0] += np.random.default_rng(1).normal(0, 30, 3)
    for a, b in zip(mesh.pose(face), mesh.pose(bent), strict=True):
        assert np.abs(np.asarray(a) - b).max() < 1e-6


def test_to_canonical_undoes_the_pose(mesh):
    for angles in ((0, 0, 0), (40, 15, -60)):
        back = mesh.to_canonical(posed(mesh, rotation(*angles), 33.0))
        assert np.abs(back - mesh.xyz_down).max() < 1e-3


def test_to_canonical_keeps_what_is_not_pose(mesh):
    """A chin 2 cm longer stays 2 cm longer, whatever the pose."""
    shape = mesh.xyz_down.copy()
    shape[152, 1] += 2
    image = (25 * shape @ rotation(20, 0, 30).T + 100).astype(np.float32)
    grown = mesh.to_canonical(image) - mesh.xyz_down
    assert grown[152, 1] == pytest.approx(2, abs=0.01)


def test_facing_of_a_frontal_face(mesh):
    facing = mesh.facing(posed(mesh, rotation(0)))
    assert facing[NOSE_TIP] > 0.9
    assert facing.min() > -0.3
    assert (np.abs(facing - facing[mirrored(mesh)]) < 0.02).all()


def test_facing_has_no_holes_inside_a_frontal_face(mesh):
    """Nostrils and lids are steep; a mask made from the normals must not be pierced by them.

    0.53 with the smoothing, 0.07 without.
    """
    facing = mesh.facing(posed(mesh, rotation(0)))
    assert facing[mesh.oval_distance > 2].min() > 0.4


def test_facing_of_a_turned_face(mesh):
    """Turned so that its nose points to the image's right, the person's right cheek is seen."""
    turn = rotation(-60)
    image = posed(mesh, turn)
    assert image[NOSE_TIP, 0] > image[[RIGHT_CHEEK, LEFT_CHEEK], 0].mean()
    facing = mesh.facing(image)
    assert facing[RIGHT_CHEEK] > 0.5
    assert facing[LEFT_CHEEK] < 0.2


def test_facing_from_behind_and_of_any_size_and_roll(mesh):
    front = mesh.facing(posed(mesh, rotation(0)))
    assert mesh.facing(posed(mesh, rotation(180)))[NOSE_TIP] < -0.9
    assert np.abs(mesh.facing(posed(mesh, rotation(0, 0, 77), 3.0)) - front).max() < 1e-3


def test_winding_is_that_of_triangles_seen_from_the_front(mesh):
    area = mesh.signed_area(posed(mesh, rotation(0))) * mesh.winding
    assert (area > 0).mean() > 0.97


def test_signed_area_by_hand():
    data = canonical_mesh()
    points = np.zeros((468, 2), np.float32)
    a, b, c = data.triangles[0]
    points[a], points[b], points[c] = (0, 0), (4, 0), (0, 3)
    whole = FaceMesh(data.vertices, data.uv, data.triangles, np.ones(468, np.float32))
    assert whole.signed_area(points)[0] == 12


def test_the_fade_is_nothing_on_the_oval_and_whole_inside(mesh):
    assert (mesh.fade[list(fm.OVAL)] == 0).all()
    assert mesh.fade[NOSE_TIP] == 1
    assert mesh.fade[[13, 14]].min() > 0.9
    assert mesh.oval_distance[list(fm.OVAL)].max() < 1e-3
    # By hand: the nose tip's distance is that of the nearest point of the ring of segments.
    ring = mesh.xyz[list(fm.OVAL), :2]
    dense = np.concatenate(
        [np.linspace(a, b, 50) for a, b in zip(ring, np.roll(ring, -1, 0), strict=True)]
    )
    nearest = np.linalg.norm(dense - mesh.xyz[NOSE_TIP, :2], axis=1).min()
    assert mesh.oval_distance[NOSE_TIP] == pytest.approx(nearest, abs=0.01)


def test_smooth_shape_keeps_proportions(mesh):
    """Low-order symmetric fields come back, times the fade towards the oval."""
    x, y = mesh.xyz_down[:, 0] / 8, mesh.xyz_down[:, 1] / 8
    field = np.stack([0.5 * x - 0.2 * x * y, 0.3 + 0.4 * y, 0.2 * x**2 - 0.1 * y], 1)
    got = mesh.smooth_shape(field.astype(np.float32))
    assert np.abs(got - field * mesh.fade[:, None]).max() < 1e-3


def test_smooth_shape_drops_what_is_not_symmetric(mesh):
    lean = np.zeros((468, 3), np.float32)
    lean[:, 0] = 1.0
    assert np.abs(mesh.smooth_shape(lean)).max() < 0.05
    tilt = np.zeros((468, 3), np.float32)
    tilt[:, 1] = mesh.xyz_down[:, 0] / 8
    assert np.abs(mesh.smooth_shape(tilt)).max() < 0.05


def test_smooth_shape_drops_an_open_mouth(mesh):
    """Lips 1.5 cm apart that close to 0.25 cm: an expression, not a proportion."""
    y = mesh.xyz_down[:, 1]
    mouth = y[[13, 14]].mean()
    near = np.exp(-(((mesh.xyz_down[:, 0]) / 2) ** 2) - ((y - mouth) / 1.0) ** 2)
    field = np.zeros((468, 3), np.float32)
    field[:, 1] = np.where(y > mouth, 0.85, -0.85) * near
    opened = field[14, 1] - field[13, 1]
    got = mesh.smooth_shape(field)
    assert opened > 1.4
    assert got[14, 1] - got[13, 1] < 0.25


def test_smooth_shape_of_random_fields_is_symmetric(mesh):
    field = np.random.default_rng(5).normal(0, 1, (468, 3)).astype(np.float32)
    got = mesh.smooth_shape(field)
    other = got[mirrored(mesh)] * [-1, 1, 1]
    assert np.abs(got - other).max() < 1e-3


def test_cheek_width_by_hand():
    mesh = np.zeros((468, 3), np.float32)
    mesh[234], mesh[454] = (10, 20, 7), (13, 24, -9)
    assert cheek_width(mesh) == pytest.approx(5)
