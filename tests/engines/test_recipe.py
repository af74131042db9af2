"""Recipes: what they may say, what they leave out, and every way in which one is wrong."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import ffswap.engines.recipe
from ffswap.engines.manifest import GateLimits
from ffswap.engines.recipe import ModelRecipe, load_recipe
from ffswap.errors import InputMissingError, OptionError
from ffswap.models import names

FOLDER = Path(__file__).resolve().parents[2] / "engines"

FULL = """
[set]
precision = "fp32"
batches = [2, 4]
profiles = "range"
opt_level = 0
workspace_gb = 2

[gate]
relative_l2 = 0.04
psnr_db = 30

[gate_int8]
ssim = 0.9
psnr_db = 28

[models.plain]

[models.own]
file = "nets/own.onnx"
precision = "fp16"
batches = [1]
profiles = "each"
opt_level = 5
workspace_gb = 0.5
keep_fp32 = ["Conv_1", "Exp_2"]
half_io = true
samples = "own.npz"
unbatched = ["weight"]
tactics = ["JIT_CONVOLUTIONS"]
int8_ranges = "entropy"
int8_weights = "tensor"
int8_fences = true
keep_fp16 = ["Conv_7"]

[models.own.shapes]
input = [3, 640, 640]

[models.own.ranges]
source = [-3, 3.5]

[models.own.gate]
relative_l2 = 0.1
row = 0.5

[models.own.gate_int8]
identity = 0.2
spread_db = 1
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.toml"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def test_all_is_sorted():
    assert ffswap.engines.recipe.__all__ == sorted(ffswap.engines.recipe.__all__)


def test_everything_is_read(tmp_path: Path):
    recipe = load_recipe(str(write(tmp_path, FULL)))
    plain, own = recipe.models
    assert recipe.name == "mine"
    assert plain == ModelRecipe(
        name="plain", precision="fp32", batches=(2, 4), profiles="range", opt_level=0,
        workspace_gb=2.0, gate=GateLimits(relative_l2=0.04, psnr_db=30.0),
        gate_int8=GateLimits.for_int8(ssim=0.9, psnr_db=28.0),
    )  # fmt: skip
    assert own == ModelRecipe(
        name="own", file=tmp_path / "nets" / "own.onnx", batches=(1,), opt_level=5,
        workspace_gb=0.5, keep_fp32=("Conv_1", "Exp_2"), half_io=True, unbatched=("weight",),
        tactics=("JIT_CONVOLUTIONS",), shapes={"input": (3, 640, 640)},
        ranges={"source": (-3.0, 3.5)}, samples=tmp_path / "own.npz", gate=GateLimits(relative_l2=0.1, psnr_db=30.0, row=0.5),
        gate_int8=GateLimits.for_int8(ssim=0.9, psnr_db=28.0, identity=0.2, spread_db=1.0),
        int8_ranges="entropy", int8_weights="tensor", int8_fences=True, keep_fp16=("Conv_7",),
    )  # fmt: skip
    assert isinstance(plain.workspace_gb, float)
    assert isinstance(own.ranges["source"][0], float)
    # Every field is in this recipe and has another value than a model without one.
    bare = ModelRecipe(name="own")
    same = {one.name for one in fields(own) if getattr(own, one.name) == getattr(bare, one.name)}
    assert same == {"name", "precision", "profiles"}


def test_a_model_without_a_word_has_the_defaults(tmp_path: Path):
    (model,) = load_recipe(write(tmp_path, "[models.x]")).models
    assert model == ModelRecipe(name="x")
    assert (model.file, model.precision, model.batches) == (None, "fp16", (1, 4, 8, 16))
    assert model.gate == GateLimits(relative_l2=0.05, psnr_db=35.0, row=0.02)
    assert model.limits == model.gate
    assert replace(model, precision="int8").limits == GateLimits(
        relative_l2=0.1, psnr_db=30.0, row=0.05, ssim=0.95, identity=0.05, spread_db=3.0
    )


def test_a_file_may_be_absolute(tmp_path: Path):
    net = (tmp_path / "else" / "NET.ONNX").as_posix()
    (model,) = load_recipe(write(tmp_path, f'[models.x]\nfile = "{net}"')).models
    assert model.file == Path(net)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modles.x]", "the recipe has a key 'modles'; allowed: set, gate, gate_int8, models"),
        ("models = 3", r"\[models\] is 3; allowed: a table"),
        ("[models]\nx = 3", r"\[models.x\] is 3; allowed: a table"),
        ("[models.x]\ngate = 1", r"\[models.x.gate\] is 1; allowed: a table"),
        ("set = []\n[models.x]", r"\[set\] is \[\]; allowed: a table"),
        ("", "the recipe names no models"),
        ("[set]", "the recipe names no models"),
        ('[models.""]', r"\[models.\] name is ''; allowed: at least one character"),
        ("[set]\nhalf_io = true\n[models.x]", r"\[set\] has a key 'half_io'; allowed: precision"),
        ("[set]\nopt_level = 6\n[models.x]", r"\[set\] opt_level is 6; allowed: 0 to 5"),
        ("[set]\nbatches = []\n[models.x]", r"\[set\] batches is \[\]; allowed: one or more"),
        ("[gate]\nssim = 0.9\n[models.x]", r"\[gate\] has a key 'ssim'; allowed: relative_l2"),
        ("[gate_int8]\nssim = 2\n[models.x]", r"\[gate_int8\] ssim is 2.0; allowed: 0 to 1"),
        ("[models.x.gate_int8]\nspread_db = -1", r"\[models.x.gate_int8\] spread_db is -1.0"),
        ("[gate]\npsnr = 3\n[models.x]", r"\[gate\] has a key 'psnr'; allowed: relative_l2"),
        ("[gate]\nrow = 2\n[models.x]", r"\[gate\] row is 2.0; allowed: more than 0, at most 1"),
        ("[gate]\nrow = true\n[models.x]", r"\[gate\] row is True; allowed: more than 0"),
        ("[gate]\npsnr_db = nan\n[models.x]", r"\[gate\] psnr_db is nan; allowed: 0 to 200"),
        ("[models.x.gate]\nrow = 0", r"\[models.x.gate\] row is 0.0; allowed"),
        ("[models.x.gate]\nlimit = 1", r"\[models.x.gate\] has a key 'limit'; allowed"),
        ("[models.x]\nbatch = [1]", r"\[models.x\] has a key 'batch'; allowed: file, precision"),
        ("x = [", "the recipe is not TOML: "),
        (b"x = '\xff'", "the recipe is not TOML: "),
    ],
)
def test_wrong_tables_and_keys_are_said(tmp_path: Path, text: str | bytes, message: str):
    path = write(tmp_path, text)
    with pytest.raises(OptionError, match=message) as caught:
        load_recipe(path)
    assert caught.value.file == str(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("line", "shown", "allowed"),
    [
        ("file = 'net.pb'", "net.pb'", "the name of an ONNX file, ending in .onnx"),
        ("file = ''", "", "the name of an ONNX file"),
        ("file = 3", "3", "the name of an ONNX file"),
        ("precision = 'int4'", "'int4'", "fp16 or fp32 or int8"),
        ("precision = 16", "16", "fp16 or fp32 or int8"),
        ("int8_ranges = 'mean'", "'mean'", "minmax or entropy or percentile"),
        ("int8_weights = 'row'", "'row'", "channel or tensor"),
        ("int8_weights = true", "True", "channel or tensor"),
        ("int8_fences = 1", "1", "true or false"),
        ("keep_fp16 = ['a', 'a']", "['a', 'a']", "a list of different names of nodes"),
        ("batches = 4", "4", "one or more sizes from 1 to 1024 in ascending order"),
        ("batches = []", "[]", "one or more sizes"),
        ("batches = [4, 1]", "[4, 1]", "one or more sizes"),
        ("batches = [4, 4]", "[4, 4]", "one or more sizes"),
        ("batches = [0, 1]", "[0, 1]", "one or more sizes"),
        ("batches = [1025]", "[1025]", "one or more sizes"),
        ("batches = [true]", "[True]", "one or more sizes"),
        ("batches = [1.0]", "[1.0]", "one or more sizes"),
        ("profiles = 'all'", "'all'", "each or range"),
        ("opt_level = -1", "-1", "0 to 5"),
        ("opt_level = 1.0", "1.0", "0 to 5"),
        ("workspace_gb = 0", "0.0", "more than 0 (GiB)"),
        ("workspace_gb = inf", "inf", "more than 0 (GiB)"),
        ("workspace_gb = nan", "nan", "more than 0 (GiB)"),
        ("workspace_gb = '4'", "'4'", "more than 0 (GiB)"),
        ("keep_fp32 = 'Conv'", "'Conv'", "a list of different names of nodes"),
        ("keep_fp32 = ['a', 'a']", "['a', 'a']", "a list of different names of nodes"),
        ("keep_fp32 = ['']", "['']", "a list of different names of nodes"),
        ("keep_fp32 = [1]", "[1]", "a list of different names of nodes"),
        ("half_io = 1", "1", "true or false"),
        ("unbatched = ['a', 'a']", "['a', 'a']", "a list of different names of inputs"),
        ("tactics = ['']", "['']", "a list of different names"),
        ("shapes = [3]", "[3]", "for each input a list of whole numbers"),
        ("shapes = {input = 3}", "{'input': 3}", "for each input a list of whole numbers"),
        ("shapes = {input = []}", "{'input': ()}", "for each input a list of whole numbers"),
        ("shapes = {input = [0]}", "{'input': (0,)}", "for each input a list of whole numbers"),
        ("ranges = {a = [1]}", "{'a': [1]}", "for each input its lowest and its highest"),
        ("ranges = {a = [1, 1]}", "{'a': (1.0, 1.0)}", "for each input its lowest"),
        ("ranges = {a = [0, inf]}", "{'a': (0.0, inf)}", "for each input its lowest"),
        ("ranges = {a = ['0', 1]}", "{'a': ['0', 1]}", "for each input its lowest"),
    ],
)
def test_wrong_values_are_said(tmp_path: Path, line: str, shown: str, allowed: str):
    key = line.split(" = ")[0]
    with pytest.raises(OptionError) as caught:
        load_recipe(write(tmp_path, f"[models.x]\n{line}"))
    given, _, rest = caught.value.message.partition("; allowed: ")
    assert given.startswith(f"[models.x] {key} is ")
    assert given.endswith(shown)
    assert rest.startswith(allowed)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[models.x]\nkeep_fp23 = []", "did you mean keep_fp32?"),
        ("[model.x]", "did you mean models?"),
        ("[set]\nprecison = 'fp16'\n[models.x]", "did you mean precision?"),
        ("[gate]\npsnr = 40\n[models.x]", "did you mean psnr_db?"),
        ("[models.x]\nqqq = 1", None),
    ],
)
def test_a_slip_of_the_finger_is_guessed(tmp_path: Path, text: str, hint: str | None):
    with pytest.raises(OptionError) as caught:
        load_recipe(write(tmp_path, text))
    assert caught.value.hint == hint


def test_a_missing_recipe_is_said(tmp_path: Path):
    for path in (tmp_path / "none.toml", tmp_path, write(tmp_path, FULL) / "below.toml"):
        with pytest.raises(InputMissingError, match="no such recipe"):
            load_recipe(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_a_recipe_that_may_not_be_read_is_said(tmp_path: Path):
    path = write(tmp_path, FULL)
    path.chmod(0)
    with pytest.raises(OptionError, match="the recipe cannot be read"):
        load_recipe(path)


@pytest.mark.parametrize(
    "change",
    [{"batches": (4, 1)}, {"precision": "int4"}, {"opt_level": 9}, {"file": Path("net.txt")}],
)
def test_what_the_command_line_puts_in_is_checked_as_well(change: dict[str, Any]):
    (name,) = change
    with pytest.raises(OptionError, match=f"^{name} is .*; allowed: "):
        replace(ModelRecipe(name="x"), **change)


def test_the_default_recipe_is_all_nets_of_the_catalogue():
    recipe = load_recipe(FOLDER / "default.toml")
    assert sorted(one.name for one in recipe.models) == names(embedded=True)
    assert all(one.file is None for one in recipe.models)
    assert {one.precision for one in recipe.models} == {"fp16"}
    # Coordinates may be less far off than the pictures that the defaults are for.
    assert all(one.gate.relative_l2 < GateLimits().relative_l2 for one in recipe.models)


RECIPES = sorted(path.stem for path in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_models_of_the_catalogue_and_no_files(name: str):
    recipe = load_recipe(FOLDER / f"{name}.toml")
    assert recipe.models
    assert {one.name for one in recipe.models} <= set(names())
    assert {one.file for one in recipe.models} == {None}


def test_every_model_of_the_catalogue_has_a_recipe():
    told = {one.name for name in RECIPES for one in load_recipe(FOLDER / f"{name}.toml").models}
    assert told == set(names())


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_names_every_recipe(name: str):
    assert f"`{name}.toml`" in (FOLDER / "README.md").read_text("utf-8")


def test_the_page_about_recipes_shows_one(tmp_path: Path):
    page = (FOLDER / "README.md").read_text("utf-8").split("## A recipe")[1].split("\n\nOnly")[0]
    shown = "\n".join(line.strip() for line in page.splitlines())
    (model,) = load_recipe(write(tmp_path, shown)).models
    bare = ModelRecipe(name="NAME")
    same = {one.name for one in fields(bare) if getattr(model, one.name) == getattr(bare, one.name)}
    assert same == {"name", "precision", "profiles", "half_io"}
