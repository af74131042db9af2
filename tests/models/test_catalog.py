"""The catalogue, and what happens when it or an embedded file is wrong."""

import dataclasses
import hashlib
import pkgutil
import re
from importlib import resources
from typing import Any

import numpy as np
import pytest

import ffswap.models
from ffswap.errors import InternalError, ModelError, OptionError
from ffswap.models import canonical_mesh, catalog, embedded_bytes, get, names, template
from ffswap.models.catalog import parse_catalog

GOOD = """
[models.net]
kind = "detector"
family = "scrfd"
file = "net.onnx"
sha256 = "%s"
licence = "MIT"
terms = "open"
vendor = "v"
outputs = ["a", "b"]
[models.net.image]
name = "x"
layout = "nhwc"
size = [640, 480]
colour = "bgr"
mean = [1.0, 2.0, 3.0]
std = [4.0, 5.0, 6.0]
""" % ("0" * 64)


def test_all_is_complete():
    for module in (ffswap.models, ffswap.models.catalog, ffswap.models.spec):
        assert all(hasattr(module, name) for name in module.__all__)
    modules = {m.name for m in pkgutil.iter_modules(ffswap.models.__path__)}
    public = {n for n in vars(ffswap.models) if not n.startswith("_")} - modules
    assert public == set(ffswap.models.__all__)


EMBEDDED = ["face_detection_full_range", "face_landmark", "hand_landmark", "palm_detection"]
PUBLISHED = {
    "detector": "retinaface_10g scrfd_2.5g yoloface_8n yunet_2023_mar",
    "landmarker": "2dfan4 fan_68_5 peppa_wutz",
    "recogniser": "arcface_w600k_r50",
    "converter": "crossface_ghost crossface_hififace crossface_simswap",
    "swapper": "blendswap_256 ghost_1_256 ghost_2_256 ghost_3_256 hififace_unofficial_256 "
    "hyperswap_1a_256 hyperswap_1b_256 hyperswap_1c_256 inswapper_128 inswapper_128_fp16 "
    "simswap_256 simswap_unofficial_512 uniface_256",
    "occluder": "xseg_1 xseg_2 xseg_3",
    "parser": "bisenet_resnet_18 bisenet_resnet_34",
    "restorer": "codeformer gfpgan_1.2 gfpgan_1.3 gfpgan_1.4 gpen_bfr_1024 gpen_bfr_2048 "
    "gpen_bfr_256 gpen_bfr_512 restoreformer_plus_plus",
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_every_published_model_is_there(kind: Any):
    assert names(kind, embedded=False) == PUBLISHED[kind].split()


def test_names_are_those_of_the_toml():
    assert names(embedded=True) == EMBEDDED
    published = [name for listed in PUBLISHED.values() for name in listed.split()]
    assert names() == sorted(EMBEDDED + published)
    assert names("detector") == sorted([EMBEDDED[0], *PUBLISHED["detector"].split()])
    assert [get(name).name for name in names()] == names()


def test_unknown_name_lists_known_ones():
    with pytest.raises(OptionError, match=r"'retina'.*face_detection_full_range, face_landmark"):
        get("retina")
    with pytest.raises(OptionError, match="no model is called 'inswaper_128'") as caught:
        get("inswaper_128")
    assert caught.value.hint == "did you mean inswapper_128?"
    with pytest.raises(OptionError, match="'ffhq'; known: arcface_112_v1, arcface_112_v2"):
        template("ffhq")


# InsightFace, python-package/insightface/utils/face_align.py: pixels of 112 x 112.
ARCFACE_DST = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
]


def test_templates_are_the_published_points():
    wanted = np.array(ARCFACE_DST)
    moved = wanted + np.array([8, 0])
    np.testing.assert_allclose(template("arcface_112_v2") * 112, wanted, atol=1e-4)
    np.testing.assert_allclose(template("arcface_128") * 128, moved, atol=1e-4)


# So that a digit that is changed shows: the sums of a template's x and of its y.
SUMS = {
    "arcface_112_v1": (2.50000000, 3.07847322),
    "arcface_112_v2": (2.50116785, 3.20985625),
    "arcface_128": (2.50102187, 2.80862422),
    "dfl_whole_face": (2.45461315, 2.70089314),
    "ffhq_512": (2.50560259, 3.00140946),
    "mtcnn_512": (2.50099279, 3.10337793),
    "styleganex_384": (2.50582398, 3.02585412),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_template_is_five_points_of_a_face(name: str):
    points = template(name)
    assert points.shape == (5, 2)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.astype(np.float64).sum(0), SUMS[name], atol=3e-7)
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    with pytest.raises(ValueError, match="read-only"):
        points[0] = 0


@pytest.mark.parametrize("name", names(embedded=False))
def test_a_published_model_says_where_it_is_and_on_what_terms(name: str):
    spec = get(name)
    assert spec.file == f"{name}.onnx"
    assert re.fullmatch(r"models-3\.[0-4]\.0", spec.release)
    assert spec.urls[0].startswith("https://github.com/")
    assert all(url.endswith("/{file}") and "{release}" in url for url in spec.urls)
    assert len(spec.urls) == 3
    assert spec.year is not None
    assert spec.notes
    free = ("Apache-2.0", "MIT", "GPL-3.0")
    wanted = {"Non-Commercial": "non-commercial", "Unknown": "unknown"}
    limited = ("OpenRAIL-M", "ResearchRAIL", "S-Lab-1.0")
    wanted |= dict.fromkeys(free, "open") | dict.fromkeys(limited, "restricted")
    assert spec.terms == wanted[spec.licence]


def test_only_one_crc_is_known():
    assert {name: get(name).crc32 for name in names() if get(name).crc32} == {
        "fan_68_5": "95c4a198"
    }


RECOGNISER = "arcface_w600k_r50"


@pytest.mark.conformance("source", models=names("swapper"))
def test_sources_are_prepared_as_their_nets_want():
    """Projected, unit before, converter, unit after."""
    found = {
        name: (one.projected, one.unit_before, one.converter, one.unit_after)
        for name in names("swapper")
        if (one := get(name).source) is not None and one.form == "embedding"
    }
    ins, hyper = (True, True, None, True), (False, True, None, False)
    assert found == {
        **dict.fromkeys(("inswapper_128", "inswapper_128_fp16"), ins),
        **dict.fromkeys((f"hyperswap_1{one}_256" for one in "abc"), hyper),
        "simswap_256": (False, False, "crossface_simswap", True),
        "simswap_unofficial_512": (False, False, "crossface_simswap", True),
        **{f"ghost_{one}_256": (False, False, "crossface_ghost", False) for one in "123"},
        "hififace_unofficial_256": (False, False, "crossface_hififace", True),
    }
    assert get("ghost_1_256").needs == (RECOGNISER, "crossface_ghost")
    assert get("inswapper_128").needs == (RECOGNISER,)
    for name, size, points in (
        ("uniface_256", 256, "ffhq_512"),
        ("blendswap_256", 112, "arcface_112_v2"),
    ):
        source = get(name).source
        assert source is not None
        assert source.image is not None
        assert (source.form, source.image.size, source.template) == (
            "picture",
            (size, size),
            points,
        )
        assert get(name).needs == ()


@pytest.mark.conformance("scale")
@pytest.mark.parametrize(
    ("name", "colour", "low", "high"),
    [
        (name, *wanted)
        for wanted, models in {
            ("bgr", -127.5 / 128, 127.5 / 128): ("retinaface_10g", "scrfd_2.5g"),
            ("bgr", 0, 255): ("yunet_2023_mar",),
            ("bgr", 0, 1): ("yoloface_8n", "2dfan4", "peppa_wutz", *names("occluder")),
            ("rgb", 0, 1): (
                *("inswapper_128", "inswapper_128_fp16", "simswap_unofficial_512"),
                "blendswap_256",
            ),
            ("rgb", -1, 1): (
                *("arcface_w600k_r50", "uniface_256", "hififace_unofficial_256"),
                *(f"ghost_{k}_256" for k in "123"),
                *(f"hyperswap_1{k}_256" for k in "abc"),
                *names("restorer"),
            ),
            ("rgb", -0.485 / 0.229, (1 - 0.485) / 0.229): ("simswap_256", *names("parser")),
        }.items()
        for name in models
    ],
)
def test_what_black_and_white_become_for_a_net(name: str, colour: str, low: float, high: float):
    image = get(name).picture
    assert image.colour == colour
    assert [(v - image.mean[0]) / image.std[0] for v in (0, 255)] == pytest.approx([low, high])


def test_results_are_read_on_their_own_scale():
    """SimSwap at 256 takes ImageNet's scale and gives 0 to 1."""
    found = {
        name: (result.mean[0], result.std[0])
        for name in (*names("swapper"), *names("restorer"))
        if (result := get(name).result) is not None
    }
    unit = {name for name, scale in found.items() if scale == (0, 255)}
    assert unit == {
        *("inswapper_128", "inswapper_128_fp16", "simswap_256"),
        *("simswap_unofficial_512", "blendswap_256"),
    }
    assert {scale for name, scale in found.items() if name not in unit} == {(127.5, 127.5)}


def test_every_field_is_read():
    spec = parse_catalog(GOOD).models["net"]
    assert (spec.name, spec.kind, spec.family, spec.file) == (
        "net",
        "detector",
        "scrfd",
        "net.onnx",
    )
    assert (spec.sha256, spec.licence, spec.vendor) == ("0" * 64, "MIT", "v")
    assert (spec.outputs, spec.notes) == (("a", "b"), "")
    assert (spec.picture.name, spec.picture.layout, spec.picture.colour) == ("x", "nhwc", "bgr")
    assert (spec.picture.size, spec.picture.shape) == ((640, 480), (-1, 480, 640, 3))
    assert (spec.picture.mean, spec.picture.std) == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"detector"',
            '"oracle"',
            r"^\[models.net\] kind is 'oracle'; allowed: detector, landmarker",
        ),
        ("0" * 64, "0" * 63, "sha256 is .*; allowed: 64 lower-case hexadecimal digits"),
        ('"net.onnx"', '"../net.onnx"', r"\.\./net\.onnx.*without folders"),
        ('"nhwc"', '"hwc"', r"^\[models.net.image\] layout is 'hwc'; allowed: nchw, nhwc"),
        ('"bgr"', '"grey"', "colour is 'grey'; allowed: rgb, bgr"),
        ("[640, 480]", "[640]", r"size is \[640\]; allowed: width and height"),
        ("[640, 480]", "[640, 0]", r"size is \[640, 0\]"),
        ("[640, 480]", "[640, true]", "size is .640, True."),
        ("5.0, 6.0", "5.0, 0.0", "std is .*; allowed: three numbers, none of them 0"),
        ("1.0, 2.0, 3.0", "1.0", r"mean is \[1.0\]; allowed: a list of 3 numbers"),
        ("1.0, 2.0, 3.0", "1.0, nan, 3.0", "mean is .*nan"),
        ("1.0, 2.0, 3.0", "1.0, 1%s, 3.0" % ("0" * 400), "mean is "),
        ('["a", "b"]', '["a", "a"]', "outputs is .*different names"),
        ('["a", "b"]', '"a"', "outputs is 'a'"),
        ('"scrfd"', '"mtcnn"', "family 'mtcnn'; of the kind detector are: blazeface, scrfd"),
        ('"open"', '"free"', "terms is 'free'; allowed: open, non-commercial"),
        ('"open"', '"open"\nyear = "2020"', "year is '2020'; allowed: a whole number"),
        ('"open"', '"open"\nscore = 1', "score is 1; allowed: a number between 0 and 1"),
        ('"open"', '"open"\nembedded = 1', "embedded is 1; allowed: true or false"),
        ('"open"', '"open"\ntemplate = "x"', "template: missing, or too many"),
        ('"open"', '"open"\nurls = ["file:///x"]', "urls is .*http or https"),
        ('"open"', '"open"\nurls = ["http://x/{0}"]', "urls is .*http or https"),
        ('"open"', '"open"\nurls = ["http://x/{release}"]', "no key 'release'"),
        ('vendor = "v"', "", r"\[models.net\] has no key 'vendor'"),
        ('vendor = "v"', 'vendor = "v"\nname = "x"', "has a key 'name'"),
        ("[models.net.image]", "[models.net.picture]", "has a key 'picture'; allowed: .*image"),
        ('"scrfd"', '"scrfd"\nthreshold = 1', "has a key 'threshold'; allowed: kind"),
        ("[models.net.image]", "[model]\n[models.net.image]", "the catalogue has a key 'model'"),
        ("size =", "size ==", "not TOML"),
    ],
)
def test_wrong_catalogue_is_refused(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(ModelError, match=message):
        parse_catalog(GOOD.replace(old, new))


def test_a_catalogue_that_comes_damaged_is_our_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog, "_catalog_text", lambda: GOOD.replace('"bgr"', '"grey"'))
    catalog._catalog.cache_clear()
    try:
        with pytest.raises(InternalError, match=r"of ffswap: .models.net.image. colour is 'grey'"):
            names()
    finally:
        catalog._catalog.cache_clear()


def test_embedded_bytes_are_the_files():
    for name in names(embedded=True):
        spec = get(name)
        assert hashlib.sha256(embedded_bytes(spec)).hexdigest() == spec.sha256


def test_damaged_file_is_detected(monkeypatch: pytest.MonkeyPatch, tmp_path):
    folder = tmp_path / "embedded"
    folder.mkdir()
    spec = get("face_landmark")
    data = bytearray(embedded_bytes(spec))
    data[len(data) // 2] ^= 1
    (folder / spec.file).write_bytes(data)
    monkeypatch.setattr("ffswap.models.catalog.resources.files", lambda _: tmp_path)
    with pytest.raises(InternalError, match=r"face_landmark\.onnx is damaged"):
        embedded_bytes(spec)
    with pytest.raises(InternalError, match=r"face_detection_full_range\.onnx is missing"):
        embedded_bytes(get("face_detection_full_range"))


def test_notice_and_licence_name_every_file():
    folder = resources.files("ffswap.models") / "embedded"
    notice = (folder / "NOTICE").read_text("utf-8")
    present = {path.name for path in folder.iterdir()}
    models = {get(name).file for name in names(embedded=True)} | {"canonical_face_mesh.npz"}
    assert present == models | {"NOTICE", "LICENSE"}
    assert set(re.findall(r"^(\S+\.(?:onnx|npz))$", notice, re.MULTILINE)) == models
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")


def test_canonical_mesh_is_a_face():
    mesh = canonical_mesh()
    assert mesh.vertices.shape == (468, 3)
    assert mesh.triangles.shape == (898, 3)
    assert mesh.procrustes_index.shape == mesh.procrustes_weight.shape == (33,)
    assert set(mesh.triangles.ravel().tolist()) == set(range(468))
    assert (mesh.procrustes_weight > 0).all()
    assert (mesh.uv >= 0).all()
    assert (mesh.uv <= 1).all()
    # Centimetres: a face is 14 to 18 wide; left and right are mirror images.
    assert 14 < np.ptp(mesh.vertices[:, 0]) < 18
    assert mesh.vertices[:, 0].max() == -mesh.vertices[:, 0].min()
    # Axes as documented: the nose is in front, eyes above mouth, u to the right, v down.
    assert int(mesh.vertices[:, 2].argmax()) == 4
    eye_image_left, eye_image_right, mouth = mesh.vertices[[33, 263, 13]]
    assert eye_image_left[0] < 0 < eye_image_right[0]
    assert mouth[1] < eye_image_left[1]
    assert np.corrcoef(mesh.vertices[:, 0], mesh.uv[:, 0])[0, 1] > 0.9
    assert np.corrcoef(mesh.vertices[:, 1], mesh.uv[:, 1])[0, 1] < -0.9


def test_triangles_are_counter_clockwise_and_closed():
    mesh = canonical_mesh()
    a, b, c = mesh.vertices[mesh.triangles].transpose(1, 0, 2)
    front = np.cross(b - a, c - a)[:, 2] > 0
    assert front.mean() > 0.95  # the rest are at nostrils, lips and rim
    # Neighbours run along their common edge in opposite directions.
    edges = [tuple(t[[i, (i + 1) % 3]].tolist()) for t in mesh.triangles for i in range(3)]
    assert len(set(edges)) == len(edges)


def test_canonical_mesh_cannot_be_changed_and_checks_itself():
    mesh = canonical_mesh()
    with pytest.raises(ValueError, match="read-only"):
        mesh.vertices[0] = 0
    with pytest.raises(InternalError, match=r"uv is float32 \(468, 1\)"):
        dataclasses.replace(mesh, uv=mesh.uv[:, :1])
    with pytest.raises(InternalError, match="outside 0 to 467"):
        dataclasses.replace(mesh, triangles=mesh.triangles + np.int32(1))
