"""What the package shows to the outside is true, and nothing in the repository is bound to a place."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import ffswap

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = [
    "ffswap",
    *(
        f"ffswap.{info.name}"
        for info in pkgutil.iter_modules(ffswap.__path__)
        if not info.name.startswith("_")
    ),
]
HEAVY = [
    "PIL",
    "av",
    "c2pa",
    "cryptography",
    "cuda",
    "cv2",
    "numpy",
    "onnx",
    "onnxruntime",
    "rich",
    "tensorrt",
    "typer",
]


def exports(module: ModuleType) -> list[str]:
    """`__all__`; a package that shows nothing itself, only its modules, may do without."""
    return list(getattr(module, "__all__", []))


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_exist_once(name):
    module = importlib.import_module(name)
    names = exports(module)
    assert len(set(names)) == len(names)
    assert [entry for entry in names if not hasattr(module, entry)] == []


def export_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff's RUF022 asks for."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted(name):
    names = exports(importlib.import_module(name))
    assert names == sorted(names, key=export_order)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_has_everything_public_that_is_defined_here(name):
    # What is imported only to be shown again must be in `__all__`, too: ruff's F401 sees to that.
    module = importlib.import_module(name)
    here = {
        entry
        for entry, value in vars(module).items()
        if not entry.startswith("_") and getattr(value, "__module__", None) == name
    }
    assert here - set(exports(module)) == set()


def test_import_loads_no_heavy_library():
    code = "import json, sys, ffswap; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()


def test_changelog_and_version_agree():
    versions = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == ffswap.__version__


def test_no_tracked_file_names_a_place():
    # Written in pieces so that this file does not match itself.
    folders = "/({})/|[.]{}".format("|".join(["w" + "ork", "r" + "oot", "f" + "arm"]), "py" + "env")
    hosts = "({})[.](org|com)".format("|".join(["py" + "pi", "python" + "hosted", "npm" + "js"]))
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of tracked files")
    done = subprocess.run(
        ["git", "grep", "-nIE", f"{folders}|{hosts}", "--", ".", ":!*.lock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")  # 1: nothing found
