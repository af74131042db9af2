"""Calibration sets from clips, through nets with known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ffswap.engines.calibration import read_set
from ffswap.models import get
from tests import known_answers as known
from tests.pipeline.engine_requests import needs_rtx
from tests.pipeline.neural_models import (
    DETECTOR,
    RECOGNISER,
    WaveClip,
    finds,
    install,
    portrait,
    with_matrix,
)

MODEL, SOURCE = "inswapper_128", "source"
FACE = known.face_points(150, 120, 100, 12)
OTHER = known.face_points(420, 300, 60, 0)
LOOK = ("--detector", DETECTOR, "--landmarker", "none", "--model", MODEL)


@pytest.fixture
def models(tmp_path):
    swapper = with_matrix(known.identity_swapper(get(MODEL), 1))
    return install(tmp_path / "nets", {**finds(FACE, OTHER), MODEL: swapper})


@pytest.fixture
def clip(tmp_path):
    made = WaveClip(tmp_path / "in.mkv", width=640, height=480, frames=40)
    made.make()
    return made.path


def calibrate(cli, models, *arguments, count=32):
    return cli("calibrate", *arguments, *LOOK, "--models-dir", models, "--count", count)


def test_a_set_holds_the_inputs_of_all_nets_from_files(cli, tmp_path, models, clip):
    made = tmp_path / "set"
    ended = calibrate(cli, models, "--from", clip, "-o", made, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["frames"] == 40
    assert report["faces"] == 80
    held = {one["model"]: one for one in report["nets"]}
    assert set(held) == {MODEL, DETECTOR, RECOGNISER}
    assert [one["frames"] for one in held.values()] == [False, True, False]
    spec = get(MODEL)
    rows = read_set(made, MODEL)
    assert len(rows) == held[MODEL]["rows"] == 32
    assert rows.inputs[spec.picture.name].shape == (32, 3, 128, 128)
    assert rows.inputs[SOURCE].shape == (32, 512)
    # A crop as the swap itself takes it: of the colours of the clip, and no crop twice.
    pictures = rows.inputs[spec.picture.name]
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert len(np.unique(pictures.reshape(32, -1), axis=0)) == 32
    norms = np.linalg.norm(rows.inputs[SOURCE], axis=1)
    assert norms == pytest.approx(1, abs=1e-4)
    # The boxes of the known detector, in a frame that its picture has the size of.
    heights = {np.ptp(face[:, 1]) * 5 / 3 for face in (FACE, OTHER)}
    assert sorted(set(rows.face_px.tolist())) == pytest.approx(sorted(heights), abs=0.1)
    assert len(read_set(made, RECOGNISER)) == 32
    assert read_set(made, DETECTOR).inputs["input"].shape[1:] == (3, 640, 640)
    with Image.open(made / "faces.png") as sheet:
        assert sheet.size == (16 * 112, 2 * 112)
    assert sorted(one.name for one in made.iterdir()) == [
        f"{RECOGNISER}.npz", "faces.png", f"{MODEL}.npz", "set.json", f"{DETECTOR}.npz",
    ]  # fmt: skip


@needs_rtx
def test_an_int8_engine_is_built_from_the_set(cli, tmp_path, clip):
    made = tmp_path / "set"
    swapper = with_matrix(known.convolving_swapper(get(MODEL)))
    models = install(tmp_path / "nets", {**finds(FACE, OTHER), MODEL: swapper})
    assert calibrate(cli, models, "--from", clip, "-o", made, count=48).code == 0
    recipe = tmp_path / "easy.toml"
    recipe.write_text(
        "[gate_int8]\npsnr_db = 20\nssim = 0.5\nspread_db = 20\nrelative_l2 = 0.5\n"
        f"[models.{MODEL}]\nbatches = [1, 2]\n"
    )
    ended = cli(
        "build-engine", MODEL, "--int8", "--calibrate", made, "--recipe", recipe, "--for", "sm86",
        "--opt-level", 0, "--engine-dir", tmp_path / "store", "--models-dir", models, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (engine,) = json.loads(ended.out)["engines"]
    assert engine["manifest"]["key"]["precision"] == "int8"
    assert engine["manifest"]["int8"]["calibration"] == read_set(made, MODEL).digest


def test_the_same_clip_gives_the_same_set(cli, tmp_path, models, clip):
    sets = [tmp_path / "one", tmp_path / "two"]
    for one in sets:
        assert calibrate(cli, models, "--from", clip, "-o", one).code == 0
    assert read_set(sets[0], MODEL).digest == read_set(sets[1], MODEL).digest


def test_photos_are_the_sources_in_turn(cli, tmp_path, models, clip):
    photos = [
        portrait(tmp_path / f"{name}.png", colour, (640, 480))
        for name, colour in (("anna", (0.8, 0.5, 0.4)), ("ben", (0.3, 0.25, 0.2)))
    ]
    made = tmp_path / "set"
    ended = calibrate(
        cli, models, "--from", clip, "-o", made, "--source", photos[0], "--source", photos[1]
    )
    assert ended.code == 0, ended.err
    vectors = read_set(made, MODEL).inputs[SOURCE]
    assert len(np.unique(vectors, axis=0)) == 2


def test_the_table_and_what_is_missing_are_printed(cli, tmp_path, models, clip):
    ended = calibrate(cli, models, "--from", clip, "-o", tmp_path / "set")
    assert ended.code == 0
    assert "skin tone  very light" in ended.out
    assert f"{MODEL}: 32 rows" in ended.out
    assert f"the rows of {DETECTOR} are whole frames" in ended.err


def test_too_few_faces_and_one_person_are_warnings(cli, tmp_path, models):
    photo = portrait(tmp_path / "anna.png", (0.8, 0.5, 0.4), (640, 480))
    ended = calibrate(cli, models, "--from", photo, "-o", tmp_path / "set")
    assert ended.code == 0, ended.err
    assert "rows are too few for INT8, which needs 32 or more" in ended.err
    assert "there is one person only" in ended.err
    assert "there are no faces of the skin tone dark" in ended.err


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_used(cli, tmp_path, models, clip):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    ended = calibrate(cli, models, "--from", bad, "--from", clip, "-o", tmp_path / "set")
    assert ended.code == 0, ended.err
    assert f"{bad}: left out" in ended.err
    ended = calibrate(cli, models, "--from", bad, "-o", tmp_path / "none")
    assert ended.code == 3
    assert not (tmp_path / "none").exists()


def test_a_set_is_replaced_only_when_that_is_said(cli, tmp_path, models, clip):
    made = tmp_path / "set"
    assert calibrate(cli, models, "--from", clip, "-o", made).code == 0
    (made / "mine.txt").write_text("old")
    ended = calibrate(cli, models, "--from", clip, "-o", made)
    assert (ended.code, "--overwrite" in ended.err) == (4, True)
    assert calibrate(cli, models, "--from", clip, "-o", made, "--overwrite").code == 0
    assert not (made / "mine.txt").exists()
    other = tmp_path / "photos"
    other.mkdir()
    ended = calibrate(cli, models, "--from", clip, "-o", other, "--overwrite")
    assert (ended.code, "is no calibration set" in ended.err) == (4, True)


def test_clips_without_a_face_are_an_error(cli, tmp_path, clip):
    swapper = with_matrix(known.identity_swapper(get(MODEL), 1))
    models = install(tmp_path / "blind", {**finds(), MODEL: swapper})
    ended = calibrate(cli, models, "--from", clip, "-o", tmp_path / "set")
    assert (ended.code, "no face was found in 40 frames" in ended.err) == (3, True)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--from", "gone.mp4"), 3, "gone.mp4"),
        (("--from", "."), 3, "there are no files in this folder"),
    ],
)
def test_what_is_not_there_is_an_error(cli, tmp_path, models, monkeypatch, arguments, code, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    ended = calibrate(cli, models, *arguments, "-o", tmp_path / "set")
    assert (ended.code, words in ended.err) == (code, True), ended.err


def test_the_embedded_swapper_needs_no_set(cli, tmp_path, clip):
    ended = cli(
        "calibrate", "--from", clip, "-o", tmp_path / "set", "--models-dir", tmp_path / "nothing"
    )
    assert (ended.code, "the embedded swapper is no net" in ended.err) == (2, True)


def test_a_count_that_is_too_small_is_refused(cli, tmp_path, models, clip):
    ended = calibrate(cli, models, "--from", clip, "-o", tmp_path / "set", count=31)
    assert (ended.code, "allowed: 32 to 2048" in ended.err) == (2, True)
