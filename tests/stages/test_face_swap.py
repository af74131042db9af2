"""The stages in their order: counts, and that painting needs no order."""

from __future__ import annotations

import numpy as np

from ffswap.options import FaceChoice, MeshSwapOptions, TrackOptions
from ffswap.stages.choose import FaceChooser
from ffswap.stages.face_swap import FaceSwap, SwapPlan
from ffswap.stages.mesh_swap import MeshSwapper, MeshSwappers
from ffswap.stages.track import FaceTracker
from tests.stages.face_scenes import Nets, copy_of, frames_of, scene, some

SIZE = (180, 320)


def a_swap(nets: Nets, source, choice="largest") -> FaceSwap:
    tracker = FaceTracker(*nets, TrackOptions())
    swappers = MeshSwappers([MeshSwapper(source, MeshSwapOptions())])
    return FaceSwap(tracker, FaceChooser(FaceChoice.parse(choice)), [swappers])


def test_counts_and_untouched_frames(nets, hopper):
    face = scene(*SIZE, ("astronaut", 20, 10, 150), ("hopper", 200, 60, 90))
    frames = frames_of([scene(*SIZE), scene(*SIZE), face, face])
    out = copy_of(frames)
    swap = a_swap(nets, hopper)
    for at in (0, 2):
        part = some(out, at, at + 2)
        swap.paint(part, swap.look(part))
    counts = swap.counts
    assert (counts.frames, counts.frames_without_face, counts.faces) == (4, 2, 2)
    assert swap.tracks == 2
    for i in range(4):
        off = frames.planes[i][0] != out.planes[i][0]
        assert off[:, :170].any() == (i >= 2)
        assert not off[:, 190:].any(), "the smaller face is not swapped"


def test_all_faces(nets, hopper):
    frames = frames_of([scene(*SIZE, ("astronaut", 5, 10, 140), ("hopper", 170, 20, 130))])
    out = copy_of(frames)
    swap = a_swap(nets, hopper, "all")
    swap.paint(out, swap.look(out))
    assert swap.counts.faces == 2
    off = frames.planes[0][0] != out.planes[0][0]
    assert off[:, :150].any()
    assert off[:, 170:].any()


def test_looking_changes_nothing_and_painting_later_is_the_same(nets, hopper):
    frames = frames_of([scene(*SIZE, ("astronaut", 20 + k, 10, 150)) for k in range(3)])
    one, two = copy_of(frames), copy_of(frames)
    swap = a_swap(nets, hopper)
    plan = swap.look(one)
    assert all((a == b).all() for p, q in zip(one.planes, frames.planes, strict=True) for a, b in zip(p, q, strict=True))  # fmt: skip
    for k in (2, 1, 0):
        paints = [of_painter[k : k + 1] for of_painter in plan.paints]
        here = SwapPlan(plan.faces.rows(plan.faces.frame == k), paints)
        swap.paint(some(one, k, k + 1), here)
    swap = a_swap(nets, hopper)
    for k in range(3):
        part = some(two, k, k + 1)
        swap.paint(part, swap.look(part))
    off = [
        np.abs(p[0].astype(int) - q[0]).max() for p, q in zip(one.planes, two.planes, strict=True)
    ]
    assert max(off) <= 1
