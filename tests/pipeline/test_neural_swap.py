"""Swaps through nets with known answers: a net that changes nothing changes nothing, a painter shows
where was painted and for whom.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack

import numpy as np
import pytest

from ffswap.geometry import affine
from ffswap.geometry.similarity import similarity
from ffswap.models import get, load_catalog, names, template
from ffswap.models.onnx_files import load_onnx
from ffswap.models.store import ModelStore
from ffswap.pipeline.nets import Nets
from ffswap.pipeline.swappers import best_swapper
from tests import known_answers as known
from tests.pipeline.neural_models import (
    DETECTOR,
    OPTIONS,
    RECOGNISER,
    WaveClip,
    decoded,
    finds,
    install,
    portrait,
    with_matrix,
)

FACE = known.face_points(150, 120, 100, 12)
"""In the middle of the clip, its crop less wide than any net's input: nothing is lost by shrinking."""


def swap(cli, models, *arguments):
    """A lossless swap by the known detector, which succeeds."""
    ended = cli("swap", *arguments, *OPTIONS, "--models-dir", models, "--encoder", "ffv1")
    assert ended.code == 0, ended.err
    return ended


def needed(name, made):
    """A swapper with everything that it needs."""
    spec = get(name)
    assert spec.source is not None
    models = {name: made(spec, 1)}
    if spec.source.converter is not None:
        models[spec.source.converter] = known.converter(1)
    return models


def painted_region(spec, points, grow=1.5):
    """(H, W) where a crop's box mask may be more than 0."""
    matrix = similarity(points[None], template(spec.template), spec.size)[0]
    rows, columns = np.mgrid[0:240, 0:320]
    at = affine.apply(matrix, np.stack([columns, rows], -1).reshape(-1, 2)).reshape(240, 320, 2)
    return ((at > -grow) & (at < spec.size + grow - 1)).all(-1)


@pytest.mark.conformance("identity")
@pytest.mark.parametrize("name", sorted(names("swapper")))
def test_a_swapper_that_changes_nothing_leaves_the_clip_as_it_was(cli, tmp_path, name):
    clip = WaveClip(tmp_path / "in.mkv")
    clip.make()
    made, spec = needed(name, known.identity_swapper), get(name)
    if spec.source is not None and spec.source.projected:
        made[name] = with_matrix(made[name])
    models = install(tmp_path, {**finds(FACE), **made})
    source = portrait(tmp_path / "anna.png", (0.8, 0.5, 0.4))
    out = tmp_path / "out.mkv"
    ended = swap(cli, models, source, clip.path, out, "--model", name, "--json")
    report = json.loads(ended.out)
    assert (report["model"], report["faces"], report["models"]["detector"]) == (name, 3, DETECTOR)
    region = painted_region(get(name), FACE)
    for i, got in enumerate(decoded(out)):
        for k, (one, two) in enumerate(zip(got, clip.planes(i), strict=True)):
            off = np.abs(one.astype(int) - two)
            assert off.max() <= 1
            if not k:
                assert not off[~region].any()


@pytest.mark.parametrize(
    ("pix_fmt", "boost"), [("yuv420p", 256), ("yuv420p10le", 128), ("yuv444p10le", 512), ("yuv422p", 384)]
)  # fmt: skip
def test_it_does_so_at_every_depth_and_pixel_boost(cli, tmp_path, pix_fmt, boost):
    clip = WaveClip(tmp_path / "in.mkv", pix_fmt=pix_fmt)
    clip.make()
    made = {"inswapper_128": with_matrix(known.identity_swapper(get("inswapper_128"), 1))}
    models = install(tmp_path, {**finds(FACE), **made})
    source = portrait(tmp_path / "anna.png", (0.8, 0.5, 0.4))
    out = tmp_path / "out.mkv"
    ended = swap(cli, models, source, clip.path, out, "--pixel-boost", boost, "--json")
    report = json.loads(ended.out)
    assert (report["model"], report["pixel_format"]) == ("inswapper_128", pix_fmt)
    for i, got in enumerate(decoded(out)):
        for one, two in zip(got, clip.planes(i), strict=True):
            assert np.abs(one.astype(int) - two).max() <= 1


ANNA, BEN = (0.9, 0.4, 0.3), (0.2, 0.5, 0.8)
LEFT, RIGHT = known.face_points(80, 120, 100), known.face_points(240, 120, 100)


@pytest.fixture
def two_people(tmp_path):
    """A clip with a red face on the left and a blue one on the right, and models that see them."""
    half = np.zeros((240, 320, 3), np.uint8)
    half[:, :160], half[:, 160:] = np.round(np.array(ANNA) * 255), np.round(np.array(BEN) * 255)

    class Halves(WaveClip):
        def picture(self, _):
            import av

            return av.VideoFrame.from_ndarray(half, "rgb24").reformat(format="yuv444p")

    clip = Halves(tmp_path / "in.mkv", pix_fmt="yuv444p", frames=2)
    clip.make()
    spec = get("hyperswap_1a_256")
    found = {**finds(LEFT, RIGHT), "hyperswap_1a_256": known.painter(spec, 1)}
    return clip.path, install(tmp_path, found)


def colours_at(path):
    """(2, 3) RGB, 0 to 1, in the middle of both faces of the first frame."""
    import av

    with av.open(str(path)) as file:
        rgb = next(file.decode(video=0)).to_ndarray(format="rgb24")
    return np.stack([rgb[120, 80], rgb[120, 240]]) / 255


def unit(colour):
    rounded = np.round(np.asarray([colour]) * 255) / 255
    embedding = known.recognised(rounded.astype(np.float32))
    return embedding / np.linalg.norm(embedding)


CARL, DORA = (0.3, 0.9, 0.2), (0.7, 0.1, 0.9)


def test_each_person_gets_the_face_that_they_were_mapped_to(cli, tmp_path, two_people):
    clip, models = two_people
    out = tmp_path / "out.mkv"
    photo = {
        name: portrait(tmp_path / f"{name}.png", colour)
        for name, colour in {"anna": ANNA, "ben": BEN, "carl": CARL, "dora": DORA}.items()
    }
    swap(
        cli,
        models,
        "--map",
        f"{photo['carl']}={photo['ben']}",
        "--map",
        f"{photo['dora']}={photo['anna']}",
        clip,
        out,
        "--reference-distance",
        "0.1",
    )
    want = known.painted(np.concatenate([unit(DORA), unit(CARL)]))
    np.testing.assert_allclose(colours_at(out), want, atol=0.02)


@pytest.mark.parametrize(("who", "place"), [("anna", 0), ("ben", 1)])
def test_only_the_person_of_the_reference_is_swapped(cli, tmp_path, two_people, who, place):
    clip, models = two_people
    out = tmp_path / "out.mkv"
    source = portrait(tmp_path / "carl.png", CARL)
    reference = portrait(tmp_path / "who.png", {"anna": ANNA, "ben": BEN}[who])
    swap(cli, models, source, clip, out, "--reference", reference, "--reference-distance", "0.1")
    got, before = colours_at(out), colours_at(clip)
    np.testing.assert_allclose(got[place], known.painted(unit(CARL))[0], atol=0.02)
    np.testing.assert_array_equal(got[1 - place], before[1 - place])


@pytest.mark.parametrize(("faces", "swapped"), [("left-right:1", [True, False]), ("left-right:2", [False, True]), ("all", [True, True])])  # fmt: skip
def test_faces_are_chosen_by_place(cli, tmp_path, two_people, faces, swapped):
    clip, models = two_people
    out = tmp_path / "out.mkv"
    source = portrait(tmp_path / "carl.png", CARL)
    swap(cli, models, source, clip, out, "--faces", faces)
    assert (colours_at(out) != colours_at(clip)).any(1).tolist() == swapped


def test_photos_of_one_person_are_averaged(cli, tmp_path, two_people):
    clip, models = two_people
    folder = tmp_path / "carl"
    folder.mkdir()
    shades = [(0.3, 0.9, 0.2), (0.4, 0.8, 0.3)]
    for k, shade in enumerate(shades):
        portrait(folder / f"{k}.png", shade)
    (folder / "notes.txt").write_text("no picture")
    out = tmp_path / "out.mkv"
    swap(cli, models, folder, clip, out, "--faces", "left-right:1")
    mean = unit(shades[0]) + unit(shades[1])
    want = known.painted(mean / np.linalg.norm(mean))[0]
    np.testing.assert_allclose(colours_at(out)[0], want, atol=0.02)


def test_a_restorer_goes_over_what_was_swapped(cli, tmp_path, two_people):
    clip, models = two_people
    install(tmp_path, {"gfpgan_1.4": known.restorer(get("gfpgan_1.4"), 1, brighter=0.1)})
    source = portrait(tmp_path / "carl.png", CARL)
    results = {}
    for name, more in {"plain": (), "over": ("--restore", "gfpgan_1.4", "--blend", "0.5")}.items():
        out = tmp_path / f"{name}.mkv"
        swap(cli, models, source, clip, out, "--faces", "left-right:1", *more)
        results[name] = colours_at(out)
    off = results["over"] - results["plain"]
    np.testing.assert_allclose(off[0], np.full(3, 0.05), atol=0.012)
    assert not off[1].any()


def with_blind_swapper(tmp_path, level):
    """The models of `two_people` with a swapper that fails for crops darker than this."""
    spec = get("hyperswap_1a_256")
    data = known.blind_below(known.painter(spec, 1), spec.picture, level)
    return install(tmp_path, {**finds(LEFT, RIGHT), "hyperswap_1a_256": data})


def test_a_face_for_which_the_net_gives_no_numbers_stays_and_is_reported(cli, tmp_path, two_people):
    clip, _ = two_people
    models = with_blind_swapper(tmp_path / "blind", (sum(ANNA) + sum(BEN)) / 6)
    out, source = tmp_path / "out.mkv", portrait(tmp_path / "carl.png", CARL)
    ended = swap(cli, models, source, clip, out, "--faces", "all")
    assert (
        "warning: 2 faces were not swapped (2: a net gave values that are not numbers for them)"
        in ended.err
    )
    assert "faces: 2 swapped on 2 tracks, 0 frames without a face, 2 faces left as they are" in (
        ended.out
    )
    assert (colours_at(out) != colours_at(clip)).any(1).tolist() == [True, False]
    ended = swap(cli, models, source, clip, tmp_path / "2.mkv", "--faces", "all", "--json")
    report = json.loads(ended.out)
    assert (report["faces"], report["faces_skipped"]) == (2, {"values": 2})


def test_what_is_counted_in_one_of_many_files_is_not_counted_in_the_next(cli, tmp_path, two_people):
    clip, _ = two_people
    swapper, restorer = get("hyperswap_1a_256"), get("gfpgan_1.4")
    level = (sum(ANNA) + sum(BEN)) / 6
    made = {
        **finds(LEFT, RIGHT),
        swapper.name: known.identity_swapper(swapper, 1),
        restorer.name: known.blind_below(known.restorer(restorer, 1), restorer.picture, level),
    }
    other = tmp_path / "other.mkv"
    other.write_bytes(clip.read_bytes())
    ended = swap(
        cli, install(tmp_path / "blind", made), portrait(tmp_path / "carl.png", CARL), clip, other,
        "-o", tmp_path / "out", "--faces", "all", "--restore", restorer.name, "--json",
    )  # fmt: skip
    for one in json.loads(ended.out)["files"]:
        (told,) = (said for said in one["report"]["warnings"] if "not restored" in said)
        assert told.startswith("2 faces were not restored")


def test_a_net_that_gives_no_numbers_for_any_face_is_an_error(cli, tmp_path, two_people):
    clip, _ = two_people
    models = with_blind_swapper(tmp_path / "blind", 2.0)
    out, source = tmp_path / "out.mkv", portrait(tmp_path / "carl.png", CARL)
    ended = cli(
        "swap", source, clip, out, *OPTIONS, "--models-dir", models, "--encoder", "ffv1",
        "--faces", "all",
    )  # fmt: skip
    assert ended.code == 5
    assert "hyperswap_1a_256, or a net of its masks, gave values that are not numbers" in ended.err
    assert not out.exists()


class TestBadInput:
    def run(self, cli, tmp_path, models, *options):
        clip = WaveClip(tmp_path / "in.mkv")
        clip.make()
        source = portrait(tmp_path / "anna.png", ANNA)
        out = tmp_path / "out.mkv"
        ended = cli("swap", source, clip.path, out, "--models-dir", models, *options)
        assert not out.exists()
        return ended

    def test_a_model_that_is_not_installed_is_named_with_what_brings_it(self, cli, tmp_path):
        ended = self.run(cli, tmp_path, tmp_path / "none", "--model", "ghost_1_256")
        assert ended.code == 3
        assert "the swapper ghost_1_256 is not installed" in ended.err
        assert f"`ffswap models pull ghost_1_256 --models-dir {tmp_path / 'none'}`" in ended.err

    def test_a_swapper_needs_its_recogniser(self, cli, tmp_path):
        models = install(tmp_path, needed("ghost_1_256", known.identity_swapper))
        ended = self.run(cli, tmp_path, models, "--model", "ghost_1_256")
        assert ended.code == 3
        assert f"ffswap models pull {RECOGNISER}" in ended.err

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (("--model", "ghost_9"), "no model is called 'ghost_9'"),
            (("--model", RECOGNISER), "it is a recogniser; no swapper is called"),
            (("--detector", "gfpgan_1.4"), "no detector is called"),
            (("--map", "anna.jpg"), "SOURCE=REFERENCE"),
            (("--mask", "circle"), "box, occlusion, region, area"),
            (("--faces", "left-right:0"), "left-right:N"),
            (("--landmarker", "none"), "does not find the corners of the mouth"),
        ],
    )
    def test_options_that_cannot_be(self, cli, tmp_path, options, word):
        ended = self.run(cli, tmp_path, tmp_path / "none", *options)
        assert ended.code == 2
        assert word in ended.err

    def test_a_file_of_another_model_says_what_it_fits(self, cli, tmp_path):
        file = tmp_path / "inswapper_128.onnx"
        file.write_bytes(known.recogniser(get(RECOGNISER), 1))
        ended = self.run(cli, tmp_path, tmp_path / "none", "--model", file)
        assert ended.code == 3
        assert "inswapper_128.onnx: is not inswapper_128: there is no input" in ended.err
        assert "this file fits: " in ended.err
        assert RECOGNISER in ended.err

    def test_a_reference_without_a_face_is_refused(self, cli, tmp_path):
        models = install(tmp_path, finds())
        ended = self.run(cli, tmp_path, models, "--reference", portrait(tmp_path / "b.png", BEN))
        assert ended.code == 3
        assert "no face was found" in ended.err

    def test_without_a_recogniser_nobody_is_known_again(self, cli, tmp_path):
        ended = self.run(
            cli, tmp_path, tmp_path / "none", "--reference", portrait(tmp_path / "b.png", BEN)
        )
        assert ended.code == 3
        assert f"ffswap models pull {RECOGNISER}" in ended.err

    def test_a_file_that_was_changed_is_not_used(self, cli, tmp_path):
        models = install(tmp_path, {**finds(FACE), **needed("ghost_1_256", known.identity_swapper)})
        with open(models / "ghost_1_256.onnx", "ab") as file:
            file.write(b"more")
        ended = self.run(cli, tmp_path, models, "--model", "ghost_1_256")
        assert ended.code == 3
        assert "the file of ghost_1_256 cannot be used: it has" in ended.err
        assert "ffswap models remove ghost_1_256" in ended.err

    def test_a_file_cut_short_is_not_onnx(self, cli, tmp_path):
        file = tmp_path / "ghost_1_256.onnx"
        whole = known.identity_swapper(get("ghost_1_256"), 1)
        file.write_bytes(whole[: len(whole) // 2])
        ended = self.run(cli, tmp_path, tmp_path / "none", "--model", file)
        assert ended.code == 3
        assert "ghost_1_256.onnx" in ended.err

    def test_a_swapper_without_its_matrix_is_refused(self, cli, tmp_path):
        file = tmp_path / "inswapper_128.onnx"
        file.write_bytes(known.identity_swapper(get("inswapper_128"), 1))
        ended = self.run(cli, tmp_path, tmp_path / "none", "--model", file)
        assert ended.code == 3
        assert "matrix" in ended.err

    @pytest.mark.parametrize("asked", [(), ("--model", "ghost_1_256")])
    @pytest.mark.parametrize("spoil", ["cut short", "gone", "another net"])
    def test_an_installed_swapper_gone_bad_is_no_dead_end(self, cli, tmp_path, asked, spoil):
        models = install(tmp_path, {**finds(FACE), **needed("ghost_1_256", known.identity_swapper)})
        file = models / "ghost_1_256.onnx"
        if spoil == "gone":
            file.unlink()
        elif spoil == "cut short":
            os.truncate(file, 1000)
        else:  # as of an ffswap that did not compare
            other = known.identity_swapper(get("uniface_256"), 1)
            file.unlink()
            file.write_bytes(other)
            pin = models / "ghost_1_256.json"
            record = json.loads(pin.read_text("utf-8"))
            record["pin"] |= {
                "size_bytes": len(other), "mtime_ns": file.stat().st_mtime_ns,
                "sha256": hashlib.sha256(other).hexdigest(),
            }  # fmt: skip
            pin.write_text(json.dumps(record), encoding="utf-8")
        ended = self.run(cli, tmp_path, models, *OPTIONS, *asked)
        assert ended.code == 3, ended.err
        words = [
            "ghost_1_256",
            "ffswap models pull ",
            "ffswap models add ",
            "ffswap models remove ",
        ]
        words += ["--model mesh"] * (not asked or spoil == "another net")
        words += ["this file fits: uniface_256"] * (spoil == "another net")
        assert [word for word in words if word not in ended.err] == []
        assert "Traceback" not in ended.err

    def test_a_file_given_by_its_path_is_read_once(self, tmp_path, monkeypatch):
        file = tmp_path / "inswapper_128.onnx"
        file.write_bytes(with_matrix(known.identity_swapper(get("inswapper_128"), 1)))
        reads = []

        def read(path):
            reads.append(path)
            return load_onnx(path)

        monkeypatch.setattr("ffswap.pipeline.nets.load_onnx", read)
        with ExitStack() as stack:
            nets = Nets(load_catalog(), None, 1, stack)
            session, matrix = nets.open_with_matrix(nets.find(str(file), "swapper"))
            assert set(session.inputs) == {"source", "target"}
        np.testing.assert_array_equal(matrix, np.eye(512)[::-1])
        assert reads == [file]

    def test_the_embedded_swapper_needs_the_face_mesh(self, cli, tmp_path):
        models = install(tmp_path, finds(FACE))
        ended = self.run(cli, tmp_path, models, *OPTIONS)
        assert ended.code == 2
        assert "the embedded swapper needs the face mesh; --landmarker is 'none'" in ended.err

    def test_an_area_needs_68_points(self, cli, tmp_path):
        models = install(tmp_path, {**finds(FACE), **needed("ghost_1_256", known.identity_swapper)})
        ended = self.run(cli, tmp_path, models, "--model", "ghost_1_256", "--mask", "area")
        assert ended.code == 2
        assert "--landmarker 2dfan4" in ended.err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--mask", "region"), "--mask is for swappers of your own"),
            (("--pixel-boost", "512"), "--pixel-boost is for swappers of your own"),
            (("--detector-angles", "0,90"), "--detector-angles is for detectors of your own"),
        ],
    )
    def test_what_the_embedded_nets_do_not_do_is_refused(self, cli, tmp_path, options, words):
        ended = self.run(cli, tmp_path, tmp_path / "none", *options)
        assert ended.code == 2
        assert words in ended.err

    def test_one_person_gets_one_face(self, cli, tmp_path):
        models = install(tmp_path, finds(FACE))
        who = portrait(tmp_path / "who.png", BEN)
        pairs = [f"{portrait(tmp_path / f'{k}.png', CARL)}={who}" for k in range(2)]
        ended = self.run(cli, tmp_path, models, "--map", pairs[0], "--map", pairs[1])
        assert ended.code == 2
        assert "two faces go on the person of" in ended.err

    def test_a_photo_of_a_folder_is_not_overwritten(self, cli, tmp_path):
        folder = tmp_path / "anna"
        folder.mkdir()
        photo = portrait(folder / "a.png", ANNA)
        before = photo.read_bytes()
        ended = cli("swap", folder, portrait(tmp_path / "b.png", BEN), photo, "-y")
        assert ended.code == 4
        assert "lies in the folder of the source" in ended.err
        assert photo.read_bytes() == before

    def test_a_mask_needs_its_model(self, cli, tmp_path):
        models = install(tmp_path, {**finds(FACE), **needed("ghost_1_256", known.identity_swapper)})
        ended = self.run(cli, tmp_path, models, "--model", "ghost_1_256", "--mask", "occlusion")
        assert ended.code == 3
        assert "--mask occlusion needs a model of the kind occluder" in ended.err

    def test_two_files_need_a_mapping(self, cli, tmp_path):
        ended = cli("swap", tmp_path / "a.jpg", tmp_path / "b.mkv")
        assert ended.code == 2
        assert "SOURCE TARGET OUTPUT" in ended.err

    def test_a_pixel_boost_is_a_multiple_of_the_net(self, cli, tmp_path):
        made = needed("hyperswap_1a_256", known.identity_swapper)
        models = install(tmp_path, {**finds(FACE), **made})
        ended = self.run(cli, tmp_path, models, "--pixel-boost", "384")
        assert ended.code == 2
        assert "multiples of 256" in ended.err


def test_nobody_who_was_asked_for_is_another_thing_than_no_face(cli, tmp_path, two_people):
    clip, models = two_people
    source = portrait(tmp_path / "carl.png", CARL)
    for options, words in (
        (("--reference", portrait(tmp_path / "dora.png", DORA), "--reference-distance", "0.05"),
         "2 faces were found in the target, none of them is the people asked for"),
        (("--faces", "left-right:3"), "none of them is --faces left-right:3"),
    ):  # fmt: skip
        out = tmp_path / f"{len(options)}.mkv"
        ended = cli("swap", source, clip, out, *OPTIONS, "--models-dir", models, *options)
        assert ended.code == 0
        assert words in ended.err


def test_what_changes_nothing_is_said(cli, tmp_path, two_people):
    clip, models = two_people
    source = portrait(tmp_path / "carl.png", CARL)
    ended = cli(
        "swap", source, clip, tmp_path / "out.mkv", *OPTIONS, "--models-dir", models, "--blend",
        "0.5", "--reference-distance", "0.2",
    )  # fmt: skip
    assert ended.code == 0
    assert "--blend changes nothing without --restore" in ended.err
    assert "--reference-distance changes nothing without --reference or --map" in ended.err


def test_a_restorer_leaves_what_covers_a_face(cli, tmp_path):
    green = np.zeros((240, 320, 3), np.uint8)
    green[:] = (20, 220, 20)

    class Covered(WaveClip):
        def picture(self, _):
            import av

            return av.VideoFrame.from_ndarray(green, "rgb24").reformat(format="yuv444p")

    clip = Covered(tmp_path / "in.mkv", pix_fmt="yuv444p", frames=1)
    clip.make()
    spec = get("hyperswap_1a_256")
    models = install(
        tmp_path,
        {
            **finds(FACE), spec.name: known.painter(spec, 1),
            "xseg_1": known.occluder(get("xseg_1"), 1),
            "gfpgan_1.4": known.restorer(get("gfpgan_1.4"), 1),
        },
    )  # fmt: skip
    source = portrait(tmp_path / "carl.png", CARL)
    out = tmp_path / "out.mkv"
    ended = swap(
        cli,
        models,
        source,
        clip.path,
        out,
        "--mask",
        "box,occlusion",
        "--restore",
        "gfpgan_1.4",
        "--json",
    )
    assert json.loads(ended.out)["models"]["restorer"] == "gfpgan_1.4"
    (got,), (before,) = decoded(out), decoded(clip.path)
    for one, two in zip(got, before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_masks_limit_what_is_painted(cli, tmp_path, two_people):
    clip, models = two_people
    spec = get("bisenet_resnet_18")
    palette = {"skin": (0.2, 0.2, 0.2), "nose": (0.9, 0.9, 0.9)}
    install(
        tmp_path,
        {"xseg_1": known.occluder(get("xseg_1"), 1), spec.name: known.parser(spec, palette, 1)},
    )
    source = portrait(tmp_path / "carl.png", CARL)
    painted = {}
    for mask in ("box", "occlusion", "region", "box,occlusion,region"):
        out = tmp_path / f"{mask}.mkv"
        swap(cli, models, source, clip, out, "--faces", "left-right:1", "--mask", mask)
        (before, *_), (after, *_) = decoded(clip)[0], decoded(out)[0]
        painted[mask] = before != after
    assert painted["occlusion"].sum() > painted["box"].sum() > 0
    together = painted["box,occlusion,region"]
    assert not (together & ~(painted["box"] & painted["occlusion"] & painted["region"])).any()


def test_a_swapper_that_lacks_its_recogniser_is_passed_over(tmp_path):
    spec = get("ghost_1_256")
    models = install(tmp_path, {spec.name: known.identity_swapper(spec, 1)})
    name, reason = best_swapper(load_catalog(), ModelStore(models))
    assert name == "mesh"
    assert "ghost_1_256 needs arcface_w600k_r50 and crossface_ghost" in reason


def test_without_a_model_the_best_installed_one_is_used(cli, tmp_path):
    clip = WaveClip(tmp_path / "in.mkv")
    clip.make()
    source = portrait(tmp_path / "anna.png", ANNA)
    found = {**finds(FACE), **needed("ghost_1_256", known.identity_swapper)}
    models = install(tmp_path, {**found, **needed("uniface_256", known.identity_swapper)})
    for name, command in {"ghost_1_256": (), "uniface_256": ("--model", "uniface_256")}.items():
        out = tmp_path / f"{name}.mkv"
        ended = cli(
            "swap", source, clip.path, out, *OPTIONS, "--models-dir", models, *command, "--json"
        )
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["model"] == name
