"""Running means in time units: the frame rate does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ffswap.stages.mesh_swap import memory as module
from ffswap.stages.mesh_swap.light import Appearance
from ffswap.stages.mesh_swap.memory import FaceMemory


def a_memory(**more: Any) -> FaceMemory:
    """Everything at 0."""
    values: dict[str, Any] = {
        "seen_s": 0.0, "light": np.zeros((2, 2, 3), np.float32), "contrast": 0.0, "saturation": 0.0,
        "shape": np.zeros((468, 3), np.float32), "folds": 0.0, "cover": np.zeros((2, 2), np.float32),
        "sharpness": 0.0, "glasses": 0.0, "looked_s": 0.0,
    }  # fmt: skip
    return FaceMemory(**{**values, **more})


def look(value: float = 1.0) -> Appearance:
    plane = np.full((2, 2), value, np.float32)
    return Appearance(
        light=np.full((2, 2, 3), value, np.float32), contrast=value, saturation=value,
        detail=np.zeros((2, 2, 3), np.float32), off=plane,
    )  # fmt: skip


SHAPE = np.ones((468, 3), np.float32)
COVER = np.ones((2, 2), np.float32)


def watched(times: Any, **more: Any) -> FaceMemory:
    """After seeing ones at these times."""
    memory = a_memory(**more)
    for now in times:
        memory.follow(float(now), look(), SHAPE, 1.0)
        memory.follow_cover(float(now), COVER)
    return memory


def gone(time_s: float, seconds: float) -> float:
    """What a first-order mean has taken in after so long."""
    return float(1 - np.exp(-seconds / time_s))


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_after_the_same_time_the_same_is_remembered(fps):
    memory = watched(np.arange(1, fps // 5 + 1) / fps)
    after = memory.seen_s
    assert after == pytest.approx(0.2)
    for value in (memory.contrast, memory.saturation, memory.folds, memory.light[1, 1, 2]):
        assert value == pytest.approx(gone(module.LIGHT_TIME_S, after), abs=1e-5)
    assert memory.cover[0, 1] == pytest.approx(gone(module.COVER_TIME_S, after), abs=1e-5)


def test_uneven_times_come_to_the_same():
    even, uneven = watched(np.linspace(0.03, 0.3, 10)), watched([0.01, 0.02, 0.15, 0.16, 0.3])
    assert even.contrast == pytest.approx(uneven.contrast, abs=1e-6)
    assert np.abs(even.cover - uneven.cover).max() < 1e-6


@pytest.mark.parametrize("fps", [25, 50])
def test_a_long_known_shape_changes_in_time_units(fps):
    memory = watched(np.arange(1, fps + 1) / fps, frames=100000)
    assert memory.shape[5, 1] == pytest.approx(gone(module.SHAPE_TIME_S, 1.0), abs=1e-3)


def test_a_new_face_shape_is_a_plain_mean():
    memory = a_memory()
    for k in range(3):
        memory.follow(0.001 * (k + 1), look(), np.full((468, 3), k + 1.0, np.float32), 0.0)
    assert memory.shape[0, 0] == pytest.approx((0 + 1 + 2 + 3) / 4)


def test_time_that_goes_back_changes_nothing():
    memory = a_memory(seen_s=5.0, frames=10**9)
    memory.follow(4.0, look(), SHAPE, 1.0)
    memory.follow_cover(4.0, COVER)
    assert memory.contrast == memory.cover.max() == memory.light.max() == 0
    assert memory.shape.max() < 1e-6


def test_a_closer_look_is_due_now_and_then():
    memory = a_memory(looked_s=1.0)
    assert not memory.look_is_due(1.0 + module.LOOK_EVERY_S - 0.01)
    assert memory.look_is_due(1.0 + module.LOOK_EVERY_S + 0.01)
    memory.look(1.5, 2.0, 1.0)
    assert memory.looked_s == 1.5
    assert memory.sharpness == pytest.approx(2 * gone(module.LOOK_TIME_S, 0.5))
    assert memory.glasses == pytest.approx(gone(module.LOOK_TIME_S, 0.5))


def test_what_is_remembered_is_new_and_the_old_is_left_alone():
    memory = a_memory()
    light = memory.light
    memory.follow(1.0, look(), SHAPE, 1.0)
    assert light.max() == 0
    assert memory.light.dtype == memory.shape.dtype == np.float32
