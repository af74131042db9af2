"""The catalogue, and what happens when it or an embedded file is wrong."""

import dataclasses
import hashlib
import pkgutil
import re
from importlib import resources

import numpy as np
import pytest

import ffswap.models
from ffswap.errors import InternalError, OptionError
from ffswap.models import canonical_mesh, embedded_bytes, get, names
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


def test_names_are_those_of_the_toml():
    assert names() == [
        *("face_detection_full_range", "face_landmark", "hand_landmark", "palm_detection")
    ]
    assert [get(name).name for name in names()] == names()


def test_unknown_name_lists_known_ones():
    with pytest.raises(OptionError, match=r"'retina'.*face_detection_full_range, face_landmark"):
        get("retina")


def test_every_field_is_read():
    spec = parse_catalog(GOOD)["net"]
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
        ('"detector"', '"oracle"', "'net'.*kind 'oracle'"),
        ("0" * 64, "0" * 63, "sha256"),
        ('"net.onnx"', '"../net.onnx"', r"\.\./net\.onnx"),
        ('"nhwc"', '"hwc"', "layout 'hwc'"),
        ('"bgr"', '"grey"', "colour 'grey'"),
        ("[640, 480]", "[640]", r"size \(640,\)"),
        ("[640, 480]", "[640, 0]", r"size \(640, 0\)"),
        ("5.0, 6.0", "5.0, 0.0", "std"),
        ("1.0, 2.0, 3.0", "1.0", "mean"),
        ('["a", "b"]', '["a", "a"]', "'a', 'a'"),
        ('"scrfd"', '"mtcnn"', "family 'mtcnn'; of the kind detector are: blazeface, scrfd"),
        ('"open"', '"free"', "terms 'free'"),
        ('vendor = "v"', "", "vendor"),
        ("[models.net.image]", "[models.net.picture]", "image"),
        ('"scrfd"', '"scrfd"\nthreshold = 1', r"unknown keys \['threshold'\]"),
        ("size =", "size ==", "not TOML"),
    ],
)
def test_wrong_catalogue_is_refused(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(InternalError, match=message):
        parse_catalog(GOOD.replace(old, new))


def test_embedded_bytes_are_the_files():
    for name in names():
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
    models = {get(name).file for name in names()} | {"canonical_face_mesh.npz"}
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
