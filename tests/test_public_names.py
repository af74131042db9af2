"""The public names: all there, sorted, and loaded only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ffswap
from ffswap import errors, options


def _typed_names() -> set[str]:
    tree = ast.parse(Path(ffswap.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }  # fmt: skip


def test_all_is_sorted_and_what_type_checkers_see():
    assert ffswap.__all__ == sorted(ffswap.__all__)
    assert set(ffswap.__all__) == _typed_names() | {"__version__"}
    assert {*errors.__all__, *options.__all__} < set(ffswap.__all__)


@pytest.mark.parametrize("name", ffswap.__all__)
def test_every_public_name_is_importable(name):
    assert getattr(ffswap, name) is not None
    assert name in dir(ffswap)


def test_a_name_is_the_one_of_its_home():
    assert ffswap.SwapOptions is options.SwapOptions
    assert ffswap.MediaError is errors.MediaError


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ffswap.no_such_name


def test_importing_the_package_loads_next_to_nothing():
    code = "import sys; before = set(sys.modules); import ffswap; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = [name for name in done.stdout.split() if name.startswith("ffswap")]
    assert ours == ["ffswap", "ffswap._version"]
    assert not {"numpy", "av", "cv2", "onnxruntime", "typer", "rich"} & set(done.stdout.split())
