"""Following faces through synthetic clips, with the embedded nets."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.carriers import F32, Faces, Frames
from ffswap.geometry.roi import mesh_box
from ffswap.options import TrackOptions
from ffswap.stages.track import REMEMBER_S, FaceTracker, still_mesh
from tests.stages.face_scenes import U8, Nets, frames_of, scene, some

SIZE = (180, 320)


def follow(
    nets: Nets, frames: Frames, batch: int = 8, options: TrackOptions | None = None
) -> tuple[list[Faces], int]:
    """The faces of each frame, and how many were numbered in all."""
    tracker = FaceTracker(*nets, options or TrackOptions())
    out = []
    for at in range(0, len(frames), batch):
        part = some(frames, at, min(at + batch, len(frames)))
        found = tracker(part)
        assert (np.diff(found.frame) >= 0).all()
        out += [found.rows(found.frame == i) for i in range(len(part))]
    return out, tracker.faces_seen


def gliding(k: int) -> U8:
    """The astronaut, moving, growing; hopper beside it, at rest."""
    return scene(*SIZE, ("astronaut", 30 + 3 * k, 30 + k, 90 + k), ("hopper", 210, 60, 90))


@pytest.fixture(scope="module")
def clip() -> Frames:
    """Two faces, 16 frames."""
    return frames_of([gliding(k) for k in range(16)])


@pytest.fixture(scope="module")
def followed(nets: Nets, clip) -> list[Faces]:
    """The faces of the clip, in batches of 8."""
    return follow(nets, clip)[0]


def test_two_faces_keep_their_numbers(nets: Nets, clip, followed):
    assert [len(f) for f in followed] == [2] * 16
    order = followed[0].track[np.argsort(followed[0].box[:, 0])]
    for faces in followed:
        assert (faces.track[np.argsort(faces.box[:, 0])] == order).all()
    assert follow(nets, clip)[1] == 2


def test_only_the_first_frame_of_a_face_is_fresh(followed):
    assert followed[0].fresh.all()
    assert not any(f.fresh.any() for f in followed[1:])


def test_meshes_follow_the_portrait(followed):
    """The astronaut moves 3 and 1 pixels a frame and grows 1/90 of its size: the tip of its nose
    lies at 0.51 and 0.66 of the head's square, within 3 pixels."""
    moving = followed[0].track[np.argmin(followed[0].box[:, 0])]
    for k, faces in enumerate(followed):
        row = int(np.flatnonzero(faces.track == moving)[0])
        side = 90 + k
        nose = faces.points[row, 2]
        want = np.array([30 + 3 * k + 0.51 * side, 30 + k + 0.66 * side])
        assert np.abs(nose - want).max() < 4
        box = faces.box[row]
        assert (box[:2] < nose).all()
        assert (nose < box[2:]).all()
        assert (
            np.abs(box - [*faces.mesh[row, :, :2].min(0), *faces.mesh[row, :, :2].max(0)]).max()
            == 0
        )


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_do_not_matter(nets: Nets, clip, followed, batch):
    for one, other in zip(followed, follow(nets, clip, batch)[0], strict=True):
        assert (one.track == other.track).all()
        assert (one.fresh == other.fresh).all()
        assert np.abs(one.mesh - other.mesh).max() < 1e-3


def test_uneven_times_give_the_same_faces(nets: Nets, followed):
    """The same frames 20 to 70 ms apart: smoothing differs a little, nothing else."""
    steps = np.random.default_rng(1).integers(20, 70, 16)
    uneven = frames_of([gliding(k) for k in range(16)], pts=np.cumsum(steps).tolist())
    for one, other in zip(followed, follow(nets, uneven)[0], strict=True):
        assert (one.track == other.track).all()
        assert np.abs(one.mesh - other.mesh).max() < 2.5


def mesh_of(faces: Faces) -> F32:
    assert faces.mesh is not None
    return faces.mesh


def test_smoothing_takes_jitter_out_of_a_face_that_rests(nets: Nets):
    rng = np.random.default_rng(3)
    pictures = [
        np.clip(scene(*SIZE, ("hopper", 90, 25, 130)) + rng.normal(0, 22, (*SIZE, 3)), 0, 255)
        for _ in range(14)
    ]
    frames = frames_of([p.astype(np.uint8) for p in pictures])
    raw, smooth = (
        np.stack(
            [mesh_of(f)[0] for f in follow(nets, frames, options=TrackOptions(smooth_hz=hz))[0]]
        )
        for hz in (0.0, 1.0)
    )
    shake = [np.abs(np.diff(m[..., :2], 2, axis=0)).mean() for m in (raw, smooth)]
    assert shake[0] > 0.1
    assert shake[1] < 0.6 * shake[0]


def test_a_scene_cut_starts_afresh(nets: Nets):
    one = scene(*SIZE, ("hopper", 90, 25, 130))
    # The same face at the same place in another scene: still a new track.
    other = np.where((one == (90, 120, 100)).all(-1)[..., None], 235, one).astype(np.uint8)
    got, numbers = follow(nets, frames_of([one] * 4 + [other] * 4))
    assert [f.track.tolist() for f in got] == [[0]] * 4 + [[1]] * 4
    assert [f.fresh.tolist() for f in got] == [[True]] + [[False]] * 3 + [[True]] + [[False]] * 3
    assert numbers == 2


def test_no_faces_at_all(nets: Nets):
    got, numbers = follow(nets, frames_of([scene(*SIZE)] * 3))
    assert [len(f) for f in got] == [0, 0, 0]
    assert numbers == 0


@pytest.mark.parametrize("fps", [25, 10])
def test_a_new_face_is_picked_up(nets: Nets, fps):
    """Within `detect_every_s` times 3, beside one that is there and never changes its number."""
    options = TrackOptions(detect_every_s=0.2)
    n = round(0.6 * fps) + 2
    beside = ("hopper", 10, 40, 110)
    pictures = [scene(*SIZE, beside)] * 2
    pictures += [scene(*SIZE, beside, ("astronaut", 190, 40, 110))] * (n - 2)
    got, _ = follow(nets, frames_of(pictures, fps=fps), options=options)
    assert all(0 in f.track for f in got)
    assert [len(f) for f in got[:2]] == [1, 1]
    first = next(i for i, f in enumerate(got) if len(f) == 2)
    assert first - 2 <= 3 * options.detect_every_s * fps
    assert got[first].fresh.tolist() == [t == 1 for t in got[first].track]
    assert all(len(f) == 2 for f in got[first:])


def blinked(gap: int) -> list[U8]:
    """A face beside another; the second is gone for some frames."""
    both = [("hopper", 10, 40, 110), ("astronaut", 190, 40, 110)]
    return [scene(*SIZE, *both)] * 2 + [scene(*SIZE, both[0])] * gap + [scene(*SIZE, *both)] * 8


def test_a_lost_face_is_dropped_at_once_and_comes_back_with_its_number(nets: Nets):
    gap, fps = 5, 10
    got, numbers = follow(nets, frames_of(blinked(gap), fps=fps))
    assert [len(f) for f in got[: 2 + gap]] == [2, 2] + [1] * gap
    assert len(got[-1]) == 2
    assert numbers == 2
    back = next(f for f in got[2 + gap :] if len(f) == 2)
    right = int(np.argmax(back.box[:, 0]))
    assert back.track[right] == got[0].track[np.argmax(got[0].box[:, 0])]
    assert back.fresh[right]
    assert not back.fresh[1 - right]


def test_a_face_that_was_away_for_long_has_a_new_number(nets: Nets):
    fps = 5
    got, numbers = follow(nets, frames_of(blinked(round((REMEMBER_S + 0.6) * fps)), fps=fps))
    assert numbers == 3
    assert len(got[-1]) == 2
    assert 2 in got[-1].track


def test_a_still_picture_gives_its_faces_largest_first(nets: Nets):
    frames = frames_of([scene(*SIZE, ("hopper", 190, 40, 90), ("astronaut", 10, 20, 130))])
    meshes = still_mesh(*nets, frames, 0.5)
    assert meshes.shape == (2, 468, 3)
    boxes = np.stack([mesh_box(mesh) for mesh in meshes])
    assert boxes[0, 0] < 160 < boxes[1, 0]
    assert still_mesh(*nets, frames_of([scene(*SIZE)]), 0.5).shape == (0, 468, 3)


def test_a_mesh_lies_half_a_pixel_right_in_every_size(nets: Nets):
    """The same picture twice as large: pixel x becomes 2 x + 0.5."""
    small = scene(*SIZE, ("hopper", 60, 10, 160))
    large = np.repeat(np.repeat(small, 2, 0), 2, 1)
    one, two = (still_mesh(*nets, frames_of([p]), 0.5)[0, :, :2] for p in (small, large))
    assert np.abs((two - (2 * one + 0.5)).mean(0)).max() < 0.6
