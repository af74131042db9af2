"""A user's own catalogue: what it adds, and what it may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ffswap.errors import InputMissingError, ModelError
from ffswap.models import Catalog, load_catalog, names

OWN = """
urls = ["https://models.example/{file}"]

[templates]
wide = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.5], [0.4, 0.7], [0.6, 0.7]]

[models.my_swapper]
kind = "swapper"
family = "generator"
file = "mine.onnx"
licence = "MIT"
terms = "open"
vendor = "me"
template = "wide"

[models.my_swapper.image]
name = "target"
layout = "nchw"
size = [128, 128]
colour = "rgb"
mean = [0, 0, 0]
std = [255, 255, 255]

[models.my_swapper.result]
mean = [0, 0, 0]
std = [255, 255, 255]

[models.my_swapper.source]
name = "source"
form = "embedding"
recogniser = "arcface_w600k_r50"
unit_before = true
"""

PICTURE = """
form = "picture"
template = "ffhq_512"
[models.my_swapper.source.image]
name = "source"
layout = "nchw"
size = [112, 112]
colour = "rgb"
mean = [0, 0, 0]
std = [255, 255, 255]
"""


def load(folder: Path, text: str) -> Catalog:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return load_catalog(file)


def test_without_a_file_it_is_the_one_that_comes_with_ffswap():
    assert load_catalog().names() == names()
    assert load_catalog() is load_catalog()


def test_a_file_adds_models_and_templates(tmp_path: Path):
    catalog = load(tmp_path, OWN)
    assert catalog.names() == sorted([*names(), "my_swapper"])
    spec = catalog.get("my_swapper")
    assert (spec.template, spec.needs, spec.size) == ("wide", ("arcface_w600k_r50",), 128)
    assert spec.picture.mean == (0.0, 0.0, 0.0)
    assert isinstance(spec.picture.mean[0], float)
    np.testing.assert_array_equal(catalog.template("wide")[1], np.array([0.7, 0.4], np.float32))
    assert "my_swapper" not in names()  # the catalogue of ffswap stays as it is
    assert repr(catalog) == f"Catalog({len(names()) + 1} models, 8 templates)"


def test_urls_of_a_file_are_for_its_models_with_a_release(tmp_path: Path):
    with_release = OWN.replace('vendor = "me"', 'vendor = "me"\nrelease = "models-9"')
    catalog = load(tmp_path, with_release)
    assert catalog.get("my_swapper").urls == ("https://models.example/{file}",)
    assert catalog.get("gfpgan_1.4").urls == load_catalog().get("gfpgan_1.4").urls
    assert load(tmp_path, OWN).get("my_swapper").urls == ()
    inherited = load(tmp_path, with_release.replace("urls = ", "#"))
    assert inherited.get("my_swapper").urls == load_catalog().get("gfpgan_1.4").urls


def test_a_source_may_be_a_picture(tmp_path: Path):
    text = OWN[: OWN.index('form = "embedding"')] + PICTURE
    source = load(tmp_path, text).get("my_swapper").source
    assert source is not None
    assert source.image is not None
    assert source.image.size == (112, 112)
    with pytest.raises(ModelError, match=r"source.image. name is 'face'; allowed: .* 'source'"):
        load(tmp_path, text.replace('name = "source"\nlayout', 'name = "face"\nlayout'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models.my_swapper", "models.inswapper_128", r"inswapper_128. is in the catalogue of ffswap"),
        ("wide = ", "ffhq_512 = ", r"ffhq_512. is in the catalogue of ffswap already"),
        ("models.my_swapper", 'models."../x"', r"has a name '../x'; allowed: letters, digits"),
        ("[0.6, 0.7]]", "]", "wide is .*; allowed: five points .x, y. .* -2.0 to 2.0"),
        ("[0.6, 0.7]", "[0.6, 70]", "wide is .*70.*; allowed: five points"),
        ("[0.6, 0.7]", '[0.6, "0.7"]', "wide is .*; allowed: five points"),
        ("[0.6, 0.7]", "[0.6, nan]", "wide is .*nan.*; allowed: five points"),
        ("[0.6, 0.7]", "[true, 0.7]", "wide is .*True.*; allowed: five points"),
        ('template = "wide"', 'template = "narrow"', r"template is 'narrow'; allowed: arc.*, wide"),
        ('"arcface_w600k_r50"', '"2dfan4"', "source. recogniser is '2dfan4'; allowed: arcface_w"),
        ("unit_before = true", 'converter = "x"', "converter is 'x'; allowed: crossface_ghost, "),
        ("unit_before = true", "unit_befor = true", "source. has a key 'unit_befor'; allowed: name"),
        ("unit_before = true", "template = 'wide'", "image and template are for the form"),
        ('name = "source"', 'name = "target"', "source. name is 'target'; allowed: another"),
        ('vendor = "me"', 'vendor = "me"\nembedded = true\nsha256 = "%s"' % ("0" * 64), "embedded"),
        ("[templates]", "[mesh]", "the catalogue has a key 'mesh'; allowed: urls, models, templates"),
        ("[models.my_swapper.result]", "[[models.my_swapper.result]]", "result. is .*allowed: a table"),
        ("[models.my_swapper]", "[models]\nx = 1\n[models.my_swapper]", "models.x. is 1; allowed"),
        ('"mine.onnx"', '"catalog.toml"', "file is 'catalog.toml'; allowed: the name of an .onnx"),
        ('"mine.onnx"', '"INSWAPPER_128.onnx"', "which is that of inswapper_128"),
        ("[models.my_swapper]", "[models.mesh]", "a name 'mesh'; these mean something else: auto"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_table_and_key(
    tmp_path: Path, old: str, new: str, message: str
):
    assert old in OWN
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path, OWN.replace(old, new))
    assert caught.value.file == str(tmp_path / "own.toml")


def test_tables_that_are_none_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match=r"models is 3; allowed: tables .models.NAME."):
        load(tmp_path, "models = 3")
    with pytest.raises(ModelError, match="not TOML"):
        load(tmp_path, "a = " + "[" * 5000)


def test_what_is_no_readable_file_is_refused(tmp_path: Path):
    with pytest.raises(InputMissingError, match="no such file"):
        load_catalog(tmp_path / "none.toml")
    with pytest.raises(InputMissingError, match="is a folder"):
        load_catalog(tmp_path)
    with pytest.raises(ModelError, match="is empty"):
        load(tmp_path, "")
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n")
    with pytest.raises(ModelError, match="not text in UTF-8"):
        load_catalog(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    "points",
    [
        [[0.5, 0.5]] * 5,
        [[0.7, 0.4], [0.3, 0.4], [0.5, 0.6], [0.6, 0.7], [0.4, 0.7]],
        [[0.3, 0.5], [0.7, 0.5], [0.5, 0.5], [0.4, 0.5], [0.6, 0.5]],
    ],
)
def test_points_that_are_no_upright_face_are_refused(tmp_path: Path, points: list[list[float]]):
    with pytest.raises(ModelError, match=r"odd is .*allowed: five points"):
        load(tmp_path, f"[templates]\nodd = {points}\n")
