"""Scene cuts: what is one and what is not, at 25 frames per second."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.stages.cuts import CutDetector
from tests.stages.face_scenes import FORMATS, U8, frames_of, portrait, scene, some


def picture(seed: int, height: int = 180, width: int = 320) -> U8:
    """Coarse random blotches: a scene of its own for every seed."""
    rng = np.random.default_rng(seed)
    blotches = rng.integers(20, 236, (height // 30, width // 32, 3), dtype=np.uint8)
    return np.ascontiguousarray(blotches.repeat(30, 0).repeat(32, 1))


def flags(pictures: list[U8], fmt: str = "yuv420p") -> list[int]:
    """Indices of the frames that start a scene."""
    found = CutDetector()(frames_of(pictures, FORMATS[fmt]))
    return [i for i, cut in enumerate(found) if cut]


@pytest.mark.parametrize("fmt", sorted(FORMATS))
def test_hard_cuts(fmt):
    clip = [picture(1)] * 4 + [picture(2)] * 3 + [picture(3)] * 3
    assert flags(clip, fmt) == [4, 7]


def test_the_first_frame_is_no_cut():
    assert flags([picture(1)]) == []
    assert flags([picture(1), picture(1)]) == []


def test_batches_do_not_matter():
    clip = frames_of([picture(1)] * 4 + [picture(2)] * 3)
    detector = CutDetector()
    got = [f for k in range(7) for f in detector(some(clip, k, k + 1))]
    assert got == CutDetector()(clip)


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le", "yuv444p16le"])
def test_noise_is_no_cut(fmt):
    rng = np.random.default_rng(1)
    clip = [
        np.clip(picture(1) + rng.normal(0, 25, (180, 320, 3)), 0, 255).astype(np.uint8)
        for _ in range(8)
    ]
    assert flags(clip, fmt) == []


def test_a_cut_is_seen_through_noise():
    rng = np.random.default_rng(2)
    clip = [
        np.clip(picture(1 + k // 5) + rng.normal(0, 25, (180, 320, 3)), 0, 255).astype(np.uint8)
        for k in range(10)
    ]
    assert flags(clip) == [5]


@pytest.mark.parametrize("speed", [2, 6])
def test_a_pan_is_no_cut(speed):
    """Along a photograph, up to the frame's width in two seconds."""
    wide = np.concatenate([portrait("astronaut"), portrait("astronaut")[:, ::-1]], 1)
    assert flags([wide[100:280, speed * k : speed * k + 320] for k in range(30)]) == []


@pytest.mark.parametrize("speed", [12, 20])
def test_a_fast_pan_is_not_a_cut_in_every_frame(speed):
    """Where it begins at once the first frames look like cuts, but not those that follow."""
    wide = np.concatenate([portrait("astronaut"), portrait("astronaut")[:, ::-1]], 1)
    clip = [wide[100:280, speed * k : speed * k + 320] for k in range(30)]
    assert len(flags(clip)) <= 2


def test_a_slow_fade_is_no_cut():
    one, two = picture(1).astype(float), picture(2).astype(float)
    clip = [(one + (two - one) * k / 25).astype(np.uint8) for k in range(26)]
    assert flags(clip) == []


def test_a_faint_flash_is_no_cut_and_a_white_one_is():
    still = picture(1)
    faint = np.clip(still.astype(int) + 12, 0, 255).astype(np.uint8)
    assert flags([still] * 4 + [faint] + [still] * 4) == []
    # A white frame hides everything, faces too: the scene starts afresh after it.
    assert flags([still] * 4 + [np.full_like(still, 255)] + [still] * 4) == [4, 5]


def test_one_moving_face_is_no_cut():
    clip = [scene(180, 320, ("hopper", 20 + 9 * k, 30, 110)) for k in range(12)]
    assert flags(clip) == []


def test_a_cut_between_dark_scenes():
    dark = [(picture(k) * 0.45).astype(np.uint8) for k in (1, 2)]
    assert flags([dark[0]] * 3 + [dark[1]] * 3) == [3]


@pytest.mark.parametrize(("height", "width"), [(18, 32), (9, 50), (31, 17), (1080, 1920)])
def test_any_size(height, width):
    one, two = np.zeros((height, width, 3), np.uint8), np.full((height, width, 3), 200, np.uint8)
    assert flags([one, one, two, two]) == [2]
