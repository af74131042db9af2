"""The known models, the embedded files, and the canonical face mesh."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from ..errors import InternalError, OptionError
from .spec import ImageInput, ModelSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CanonicalMesh", "canonical_mesh", "embedded_bytes", "get", "names", "parse_catalog"]


@dataclass(frozen=True)
class CanonicalMesh:
    """MediaPipe's average face: the shape, its texture coordinates and its triangles.

    Vertex i is landmark i of the ``face_mesh`` family. The arrays are read-only.

    Attributes:
        vertices: (468, 3) float32, centimetres; x to the image's right, y up, z to the camera,
            so the coordinates are right-handed; the tip of the nose is vertex 4.
        uv: (468, 2) float32, 0 to 1, u to the image's right, v down.
        triangles: (898, 3) int32, indices of vertices, counter-clockwise seen from outside.
        procrustes_index: (33,) int32, the vertices by which a face is fitted to this one.
        procrustes_weight: (33,) float32, their weights, positive, not normalised.
    """

    vertices: F32
    uv: F32
    triangles: NDArray[np.int32]
    procrustes_index: NDArray[np.int32]
    procrustes_weight: F32

    def __post_init__(self) -> None:
        n, p = len(self.vertices), len(self.procrustes_index)
        want: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "vertices": (np.float32, (n, 3)),
            "uv": (np.float32, (n, 2)),
            "triangles": (np.int32, (len(self.triangles), 3)),
            "procrustes_index": (np.int32, (p,)),
            "procrustes_weight": (np.float32, (p,)),
        }
        for name, (dtype, shape) in want.items():
            array = getattr(self, name)
            if (array.dtype, array.shape) != (np.dtype(dtype), shape):
                raise InternalError(f"CanonicalMesh.{name} is {array.dtype} {array.shape}")
        for index in (self.triangles, self.procrustes_index):
            if index.size and not 0 <= index.min() <= index.max() < n:
                raise InternalError(f"CanonicalMesh refers to a vertex outside 0 to {n - 1}")

    def __repr__(self) -> str:
        return f"CanonicalMesh({len(self.vertices)} vertices, {len(self.triangles)} triangles)"


def _strict(kind: type[Any], name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with lists as tuples, if its keys are fields of the dataclass."""
    unknown = sorted(set(table) - {f.name for f in fields(kind)})
    if unknown:
        raise InternalError(f"model {name!r} in the catalogue: unknown keys {unknown}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def parse_catalog(text: str) -> dict[str, ModelSpec]:
    """The models of a catalogue.

    Args:
        text: TOML with a table ``models.NAME`` per model and, in it, a table ``image``.

    Raises:
        InternalError: not TOML, a key that is unknown or missing, or a value not allowed.
    """
    try:
        tables = tomllib.loads(text).get("models", {})
    except tomllib.TOMLDecodeError as error:
        raise InternalError(f"the catalogue is not TOML: {error}") from error
    specs = {}
    for name, table in tables.items():
        try:
            image = ImageInput(**_strict(ImageInput, name, table["image"]))
            specs[name] = ModelSpec(name=name, **_strict(ModelSpec, name, table | {"image": image}))
        except (KeyError, TypeError) as error:
            raise InternalError(f"model {name!r} in the catalogue: {error}") from error
    return specs


@cache
def _catalog_text() -> str:
    return resources.files(__package__).joinpath("catalog.toml").read_text("utf-8")


@cache
def _catalog() -> Mapping[str, ModelSpec]:
    return parse_catalog(_catalog_text())


def names() -> list[str]:
    """Names of all known models, sorted."""
    return sorted(_catalog())


def get(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in _catalog():
        raise OptionError(f"no model is called {name!r}; known: {', '.join(names())}")
    return _catalog()[name]


def _embedded(file: str, sha256: str) -> bytes:
    """Bytes of a file that comes with the package, checked."""
    path = resources.files(__package__) / "embedded" / file
    hint = "install ffswap again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InternalError(f"the embedded file {file} is missing", hint=hint) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InternalError(f"the embedded file {file} is damaged: wrong sha256", hint=hint)
    return data


def embedded_bytes(spec: ModelSpec) -> bytes:
    """The ONNX file of an embedded model.

    Raises:
        InternalError: the file is missing or is not the one that the catalogue names.
    """
    if not spec.embedded or spec.sha256 is None:
        raise InternalError(f"model {spec.name!r} is not embedded")
    return _embedded(spec.file, spec.sha256)


def canonical_mesh() -> CanonicalMesh:
    """The embedded canonical face mesh, read afresh (about a millisecond).

    Raises:
        InternalError: the file is missing or is not the one that the catalogue names.
    """
    entry = tomllib.loads(_catalog_text())["mesh"]
    with np.load(io.BytesIO(_embedded(entry["file"], entry["sha256"]))) as archive:
        arrays = {f.name: archive[f.name] for f in fields(CanonicalMesh)}
    for array in arrays.values():
        array.flags.writeable = False
    return CanonicalMesh(**arrays)
