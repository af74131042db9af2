"""Nothing in the package turns data into code: no pickle, no evaluation, no YAML, no dynamic import of a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ffswap

PACKAGE = Path(ffswap.__file__).parent

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "torch"}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}


def _offences(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (f"import {name}" for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in CALLS:
            yield f"{called.id}()"
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "allow_pickle" and not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                yield "allow_pickle"
            if keyword.arg == "shell":
                yield "shell"


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from torch import load", "np.load(f, allow_pickle=True)", "eval(x)", "run(c, shell=True)"],
)  # fmt: skip
def test_it_would_be_found(source: str) -> None:
    assert list(_offences(ast.parse(source)))


def test_the_package_has_nothing_of_the_kind() -> None:
    found = {
        str(path.relative_to(PACKAGE)): what
        for path in PACKAGE.rglob("*.py")
        for what in _offences(ast.parse(path.read_text("utf-8")))
    }
    assert not found
