"""A swap on a GPU gives what one on the CPU gives, from file to file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffswap.models import get
from tests import known_answers as known
from tests.gpu.real_gpu import open_gpu
from tests.pipeline.neural_models import (
    OPTIONS,
    WaveClip,
    decoded,
    finds,
    install,
    portrait,
    with_matrix,
)

pytestmark = pytest.mark.gpu

LEFT, RIGHT = known.face_points(90, 120, 90, 12), known.face_points(230, 120, 80, -20)
SWAPPER, RESTORER = "inswapper_128", "gfpgan_1.4"


@pytest.fixture(autouse=True)
def gpu() -> None:
    open_gpu().close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two faces in every frame; a swapper that gives back its crop, and what masks and restores."""
    made = {
        SWAPPER: with_matrix(known.identity_swapper(get(SWAPPER), 1)),
        "hyperswap_1a_256": known.painter(get("hyperswap_1a_256"), 1),
        "xseg_1": known.occluder(get("xseg_1"), 1),
        RESTORER: known.restorer(get(RESTORER), 1),
    }
    return install(tmp_path, {**finds(LEFT, RIGHT), **made})


def swap(cli: Any, models: Path, folder: Path, clip: Path, device: str, *options: str) -> Any:
    """The decoded result and the report of a lossless swap."""
    source = portrait(folder / "anna.png", (0.8, 0.5, 0.4))
    out = folder / f"{device.replace(':', '_')}.mkv"
    ended = cli(
        "swap", source, clip, out, *OPTIONS, "--models-dir", models, "--engine-dir", folder / "none",
        "--encoder", "ffv1", "--device", device, "--json", "--faces", "all", *options,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return decoded(out), json.loads(ended.out)


CASES = [
    ("yuv420p", ()),
    ("yuv420p10le", ("--restore", RESTORER)),
    ("yuv422p", ("--pixel-boost", "256")),
    ("yuv444p10le", ("--pixel-boost", "512", "--restore", RESTORER)),
    ("yuv420p", ("--restore", RESTORER)),
    ("yuv420p", ("--mask", "box,occlusion", "--restore", RESTORER)),
    ("yuv420p", ("--model", "hyperswap_1a_256", "--detector-angles", "0,90")),
]


@pytest.mark.parametrize(("pix_fmt", "options"), CASES, ids=lambda one: str(one).strip("()"))
def test_both_devices_give_one_result(cli, tmp_path, models, pix_fmt, options):
    clip = WaveClip(tmp_path / "in.mkv", pix_fmt=pix_fmt, frames=19, width=322, height=242)
    clip.make()
    if "--model" not in options:
        options = ("--model", SWAPPER, *options)
    on_cpu, cpu = swap(cli, models, tmp_path, clip.path, "cpu", *options)
    on_gpu, gpu = swap(cli, models, tmp_path, clip.path, "cuda:0", *options)
    assert (cpu["device"], gpu["device"]) == ("cpu", "cuda:0")
    assert cpu["faces"] == gpu["faces"] == (76 if "0,90" in options else 38)
    assert gpu["runtimes"].keys() >= {"yoloface_8n"}
    before = decoded(clip.path)
    step, changed = 1 << (2 if "10" in pix_fmt else 0), 0
    for one, two, old in zip(on_cpu, on_gpu, before, strict=True):
        for a, b, c in zip(one, two, old, strict=True):
            off = np.abs(a.astype(int) - b)
            assert off.max() <= 3 * step
            assert (off <= step).mean() >= 0.999
            changed += np.count_nonzero(a != c)
            assert not (b[(a == c) & (off > step)]).any()
    # A swapper that gives back its crop may change nothing; a restorer and a painter do.
    assert changed or ("--restore" not in options and "--model" in options and SWAPPER in options)


def test_a_clip_without_faces_comes_back_bit_by_bit(cli, tmp_path, models):
    clip = WaveClip(tmp_path / "in.mkv", frames=9)
    clip.make()
    got, report = swap(
        cli, models, tmp_path, clip.path, "cuda", "--model", SWAPPER, "--faces", "left-right:7"
    )
    assert report["faces"] == 0
    for one, two in zip(got, decoded(clip.path), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_faces_for_which_the_net_gives_no_numbers_stay(cli, tmp_path):
    blind = known.blind_below(
        known.painter(get("hyperswap_1a_256"), 1), get("hyperswap_1a_256").picture, 0.5
    )
    models = install(tmp_path / "blind", {**finds(LEFT, RIGHT), "hyperswap_1a_256": blind})
    clip = WaveClip(tmp_path / "in.mkv", frames=9)
    clip.make()
    options = ("--model", "hyperswap_1a_256")
    on_cpu, cpu = swap(cli, models, tmp_path, clip.path, "cpu", *options)
    on_gpu, gpu = swap(cli, models, tmp_path, clip.path, "cuda", *options)
    assert cpu["faces_skipped"] == gpu["faces_skipped"]
    for one, two in zip(on_cpu, on_gpu, strict=True):
        for a, b in zip(one, two, strict=True):
            assert np.abs(a.astype(int) - b).max() <= 3


def test_each_of_many_files_is_as_if_it_were_alone(cli, tmp_path, models):
    """One room does all clips, with a brush of its own for each; a picture goes to the CPU."""
    clips = [WaveClip(tmp_path / f"{name}.mkv", frames=9) for name in "abc"]
    for clip in clips:
        clip.make()
    options = ("--model", "hyperswap_1a_256", "--restore", RESTORER)
    alone, one = swap(cli, models, tmp_path, clips[0].path, "cuda", *options)
    picture = portrait(tmp_path / "d.png", (0.3, 0.4, 0.5))
    ended = cli(
        "swap", tmp_path / "anna.png", *(clip.path for clip in clips), picture, "-o", tmp_path / "out",
        *OPTIONS, "--models-dir", models, "--engine-dir", tmp_path / "none", "--device", "auto",
        "--json", "--faces", "all", *options,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    reports = [file["report"] for file in json.loads(ended.out)["files"]]
    assert [report["device"] for report in reports] == ["cuda:0"] * 3 + ["cpu"]
    for clip, report in zip(clips, reports, strict=False):
        assert (report["faces"], report["warnings"]) == (one["faces"], one["warnings"])
        for got, wanted in zip(decoded(tmp_path / "out" / clip.path.name), alone, strict=True):
            for a, b in zip(got, wanted, strict=True):
                assert np.abs(a.astype(int) - b).max() <= 3
