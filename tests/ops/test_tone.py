"""HDR as SDR and back: known brightnesses, a way back, and nothing at all for SDR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ffswap.carriers import Colour, PixelFormat
from ffswap.geometry import affine
from ffswap.ops import cpu, tone
from ffswap.ops.paste import paste_crop
from ffswap.stages.mesh_swap.hdr import hdr_ycc, sdr_ycc

WIDE = Colour(kr=0.2627, kb=0.0593)
PQ = replace(WIDE, transfer="smpte2084")
HLG = replace(WIDE, transfer="arib-std-b67")
DEEP = PixelFormat("yuv420p10le", 10, 1, 1)

# One code value of 10 bits, full range.
CODE = 1 / 1023


def grey(*values: float) -> np.ndarray:
    return np.tile(np.array(values, np.float32), (3, 1))


@pytest.mark.parametrize("transfer", ["bt709", "unknown", "iec61966-2-1", "bt2020-10"])
def test_sdr_passes_as_it_is(transfer: str):
    colour = replace(WIDE, transfer=transfer)
    rgb = grey(0.1, 0.5)
    ycc = np.zeros((2, 2, 3), np.float32)
    assert tone.sdr_rgb(rgb, colour) is rgb
    assert tone.hdr_rgb(rgb, colour) is rgb
    assert sdr_ycc(ycc, colour) is ycc
    assert hdr_ycc(ycc, colour) is ycc
    assert tone.chroma_shares(colour) == (1, 1)


@pytest.mark.parametrize(
    ("colour", "white", "skin"),
    # ITU-R BT.2408-7, tables 1 and 2: the signal of white paper, and of a light skin tone (FST 1 to
    # 2: 65 to 110 cd/m2 in PQ, read as 45 to 55 % of PQ and 55 to 65 % of HLG).
    [(PQ, 0.58, (0.45, 0.55)), (HLG, 0.75, (0.55, 0.65))],
)
def test_white_paper_is_nearly_white_and_skin_is_where_sdr_has_it(
    colour: Colour, white: float, skin: tuple[float, float]
):
    paper = float(tone.sdr_rgb(grey(white), colour)[0, 0])
    assert 0.93 < paper < 0.97  # room is left for highlights
    low, high = (float(tone.sdr_rgb(grey(value), colour)[0, 0]) for value in skin)
    assert 0.5 < low < high < 0.9
    black, top = tone.sdr_rgb(grey(0, 1), colour)[0].tolist()
    assert black == 0
    assert 0.99 < top <= 1


@pytest.mark.parametrize(("colour", "up_to"), [(PQ, 0.64), (HLG, 0.85)])
def test_there_is_a_way_back_for_everything_that_skin_can_be(colour: Colour, up_to: float):
    rng = np.random.default_rng(0)
    signal = rng.uniform(0.02, up_to, (1, 500)).astype(np.float32)
    tint = rng.uniform(0.85, 1, (3, 500)).astype(np.float32)
    tint[0] = 1  # skin: red above green above blue
    tint[2] = np.minimum(tint[1], tint[2])
    rgb = signal * tint
    assert np.abs(tone.hdr_rgb(tone.sdr_rgb(rgb, colour), colour) - rgb).max() < CODE / 4


def test_brighter_stays_brighter():
    ramp = grey(*np.linspace(0, 1, 400))
    for colour in (PQ, HLG):
        steps = np.diff(tone.sdr_rgb(ramp, colour)[0])
        assert (steps >= 0).all()
        assert (steps[: int(0.6 * 400)] > 0).all()


@pytest.mark.parametrize("colour", [PQ, HLG], ids=["pq", "hlg"])
def test_a_crop_that_nothing_is_done_to_leaves_the_frame_as_it_was(colour: Colour):
    rng = np.random.default_rng(1)
    y = rng.integers(200, 560, (64, 64)).astype(np.uint16)
    cb = rng.integers(495, 512, (32, 32)).astype(np.uint16)
    cr = rng.integers(513, 530, (32, 32)).astype(np.uint16)
    y = np.kron(y[::2, ::2], np.ones((2, 2), np.uint16))  # crops are no finer than chroma
    planes = (y.copy(), cb.copy(), cr.copy())
    matrix = affine.compose(np.array([[1.0, 0, 0], [0, 1, 0]]), np.eye(2, 3))
    crop = cpu.crop_rgb(planes, DEEP, colour, matrix, 64)
    paste_crop(planes, DEEP, colour, crop, np.ones((64, 64), np.float32), matrix)
    assert np.abs(planes[0].astype(int) - y).max() <= 1
    # What is painted has the brightness of what it was taken from, and the nets saw it as SDR.
    assert 0.3 < crop.mean() < 0.9


@pytest.mark.parametrize("colour", [PQ, HLG], ids=["pq", "hlg"])
def test_a_chroma_step_of_hdr_is_seen_as_one_of_sdr(colour: Colour):
    base = cpu.rgb_to_ycc(np.array([[[0.68, 0.52, 0.43]]], np.float32), colour.kr, colour.kb)
    for k, share in enumerate(tone.chroma_shares(colour), 1):
        moved = base.copy()
        moved[..., k] += 2 / 224
        step = float((hdr_ycc(moved, colour) - hdr_ycc(base, colour))[0, 0, k]) * 224 / 2
        assert step == pytest.approx(share, rel=0.25)
