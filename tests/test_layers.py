"""The arrows between the parts point down, and each outside library has one door."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
ROOT = "ffswap"

# The picture of docs/architecture.md. An edge may follow several arrows, never against one.
ARROWS: dict[str, tuple[str, ...]] = {
    "__main__": ("cli",),
    "cli": (ROOT,),
    ROOT: ("pipeline",),
    "pipeline": ("stages", "media", "provenance"),
    "stages": ("ops", "engines", "models"),
    "ops": ("gpu", "geometry"),
    "engines": ("gpu", "geometry", "onnx_nodes"),
    "models": ("geometry", "onnx_nodes"),
    "gpu": ("geometry",),
    "media": ("geometry",),
    "provenance": ("carriers", "closing", "options", "files", "_version"),
    "geometry": ("carriers", "closing", "options", "files", "locks", "_version"),
    "carriers": ("errors",),
    "files": ("errors",),
    "locks": ("files",),
    "closing": (),
    "onnx_nodes": (),
    "options": ("errors",),
    "errors": (),
    "_version": (),
}

DOORS = {
    "av": {"media"},
    "PIL": {"media"},
    "cv2": {"ops"},
    "onnx": {"models", "engines", "onnx_nodes"},
    "onnxruntime": {"engines"},
    "tensorrt": {"engines"},
    "tensorrt_rtx": {"engines"},
    "cuda": {"gpu"},
    "c2pa": {"provenance"},
    "cryptography": {"provenance"},
    "typer": {"cli"},
    "rich": {"cli"},
    "tqdm": {"cli"},
}
NUMPY_FREE = {"__main__", "cli", ROOT, "options", "closing", "files", "locks", "errors", "_version"}


def module_name(path: Path) -> str:
    """`ffswap.media.reader` of its file; a package has the name of its folder."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((SOURCE / ROOT).rglob("*.py"))}


def imported(name: str, tree: ast.AST, *, package: bool) -> Iterator[str]:
    """Absolute names of what a module imports, at any depth: in functions and for types, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")
            base = base[: len(base) - node.level + package] if node.level else []
            origin = ".".join([*base, node.module] if node.module else base)
            for alias in node.names:
                # `from .a import b` is an edge to module a.b if that is one, else to a.
                yield f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in FILES else origin


def edges() -> dict[str, set[str]]:
    """For each module of the package all that it imports."""
    return {
        name: set(imported(name, ast.parse(path.read_text()), package=path.stem == "__init__"))
        for name, path in FILES.items()
    }


EDGES = edges()


def part(module: str) -> str:
    """The part of the picture that a module of the package belongs to."""
    return module.split(".")[1] if "." in module else ROOT


def below(start: str) -> set[str]:
    """All parts that the arrows lead to."""
    return {start}.union(*(below(following) for following in ARROWS[start]))


@pytest.mark.parametrize("name", FILES)
def test_arrows_point_down(name):
    allowed = below(part(name))
    inside = {other for other in EDGES[name] if other.split(".")[0] == ROOT}
    assert {other for other in inside if part(other) not in allowed} == set()


@pytest.mark.parametrize("name", FILES)
def test_each_library_has_one_door(name):
    outside = {other.split(".")[0] for other in EDGES[name]} - {ROOT}
    closed = {library for library, doors in DOORS.items() if part(name) not in doors}
    assert outside & closed == set()


@pytest.mark.parametrize("name", [name for name in FILES if part(name) in NUMPY_FREE])
def test_leaves_and_command_line_do_without_numpy(name):
    assert "numpy" not in {other.split(".")[0] for other in EDGES[name]}


def test_geometry_is_numpy_only():
    outside = {
        other.split(".")[0] for name in FILES if part(name) == "geometry" for other in EDGES[name]
    }
    assert outside - {ROOT, "numpy"} - sys.stdlib_module_names == set()


def test_no_module_imports_in_a_circle():
    inside = {name: EDGES[name] & FILES.keys() - {name} for name in FILES}
    assert list(graphlib.TopologicalSorter(inside).static_order())  # raises CycleError


def test_every_part_is_in_the_picture():
    assert {part(name) for name in FILES} <= ARROWS.keys()


def test_relative_imports_are_resolved():
    name = "ffswap.media.reader"
    tree = ast.parse(
        "from . import no_module\nfrom .. import errors\nfrom ..errors import MediaError\nimport av.error"
    )
    found = list(imported(name, tree, package=False))
    assert found == ["ffswap.media", "ffswap.errors", "ffswap.errors", "av.error"]
    assert list(imported("ffswap.media", ast.parse("from .. import x"), package=True)) == ["ffswap"]
