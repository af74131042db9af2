"""The known models, the embedded files, and the canonical face mesh."""

from __future__ import annotations

import difflib
import hashlib
import io
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from ..errors import InternalError, ModelError, OptionError
from ..files import check_input, read_table
from ._reading import NAME, check_keys, read, read_points
from .spec import Kind, ModelSpec, SourceInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CanonicalMesh",
    "Catalog",
    "canonical_mesh",
    "embedded_bytes",
    "get",
    "load_catalog",
    "names",
    "parse_catalog",
    "template",
]

RESERVED = ("auto", "mesh", "none")
"""Words that stand for models on the command line and are no names of any."""


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


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Models by name, and the points that faces are aligned to.

    Attributes:
        models: by name.
        templates: by name: (5, 2) float32, read-only, in units of the crop's side, x to the right, y
            down: the eye at the image's left, the eye at its right, tip of the nose, the mouth's
            corner at the image's left, the one at its right.
        urls: addresses of models that have a release and no addresses of their own.
    """

    models: Mapping[str, ModelSpec]
    templates: Mapping[str, F32]
    urls: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Catalog({len(self.models)} models, {len(self.templates)} templates)"

    def names(self, kind: Kind | None = None, *, embedded: bool | None = None) -> list[str]:
        """Names of models, sorted.

        Args:
            kind: only those of it.
            embedded: only those whose files come with ffswap, or only the others.
        """
        return sorted(
            name
            for name, spec in self.models.items()
            if kind in (None, spec.kind) and embedded in (None, spec.embedded)
        )

    def get(self, name: str) -> ModelSpec:
        """The model of that name.

        Raises:
            OptionError: there is none.
        """
        if name not in self.models:
            near = difflib.get_close_matches(name, self.models, n=1)
            raise OptionError(
                f"no model is called {name!r}; known: {', '.join(self.names())}",
                hint=f"did you mean {near[0]}?" if near else None,
            )
        return self.models[name]

    def template(self, name: str) -> F32:
        """The points of that name, see `templates`.

        Raises:
            OptionError: there are none.
        """
        if name not in self.templates:
            known = ", ".join(sorted(self.templates))
            raise OptionError(f"no template is called {name!r}; known: {known}")
        return self.templates[name]


def parse_catalog(text: str, base: Catalog | None = None) -> Catalog:
    """A catalogue, or what a user's own one adds to another.

    Args:
        text: TOML with a table ``models.NAME`` for each model, whose keys are the fields of
            `ModelSpec`; lists of five points in a table ``templates``; and ``urls``.
        base: whose models and templates may be used here and may not be defined again; None: the
            text is the catalogue that comes with ffswap.

    Returns:
        All of both.

    Raises:
        ModelError: not TOML, or a key or a value is not allowed; the message names table and key.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        raise ModelError(f"the catalogue is not TOML: {error}") from error
    own = ("urls", "models", "templates")
    check_keys(tables, own if base else (*own, "mesh"), "the catalogue")
    known = base or Catalog(models={}, templates={})
    urls = read(_Defaults, {k: v for k, v in tables.items() if k == "urls"}, "catalogue").urls
    urls = urls or known.urls
    templates = {**known.templates}
    for name, points in _tables(tables, "templates", known.templates).items():
        templates[name] = read_points(points, f"[templates] {name}")
    models = {**known.models}
    for name, table in _tables(tables, "models", known.models).items():
        models[name] = _model(name, table, urls, own=base is not None)
    _check_files(models)
    found = Catalog(models=models, templates=templates, urls=urls)
    for spec in models.values():
        _check_references(spec, found)
    return found


@dataclass(frozen=True, kw_only=True)
class _Defaults:
    """What a catalogue says for all of its models."""

    urls: tuple[str, ...] = ()


def _tables(tables: Mapping[str, Any], key: str, known: Collection[str]) -> Mapping[str, Any]:
    """The table of that key, whose names must be new."""
    found = tables.get(key, {})
    if not isinstance(found, Mapping):
        raise ModelError(f"{key} is {found!r}; allowed: tables [{key}.NAME]")
    for name in found:
        if NAME.fullmatch(name) is None:
            raise ModelError(f"[{key}] has a name {name!r}; allowed: letters, digits, _ - .")
        if name in RESERVED:
            raise ModelError(
                f"[{key}] has a name {name!r}; these mean something else: {', '.join(RESERVED)}"
            )
        if name in known:
            raise ModelError(
                f"[{key}.{name}] is in the catalogue of ffswap already; allowed: new names",
                hint="give it another name",
            )
    return found


def _check_files(models: Mapping[str, ModelSpec]) -> None:
    """See that no two models share a file: removing one would take the other's away."""
    owner: dict[str, str] = {}
    for name, spec in models.items():
        other = owner.setdefault(spec.file.lower(), name)
        if other != name:
            raise ModelError(
                f"[models.{name}] file is {spec.file!r}, which is that of {other}; allowed: a name "
                "of its own"
            )


def _model(name: str, table: Any, urls: tuple[str, ...], *, own: bool) -> ModelSpec:
    spec: ModelSpec = read(ModelSpec, table, f"models.{name}", name=name)
    if own and spec.embedded:
        raise ModelError(f"[models.{name}] embedded is True; allowed in your own catalogue: False")
    if spec.source is not None:
        _check_source(spec, spec.source, f"models.{name}")
    if spec.release and not spec.urls:
        return replace(spec, urls=urls)
    if not spec.release and any("{release}" in url for url in spec.urls):
        raise ModelError(f"[models.{name}] has no key 'release', which its urls use")
    return spec


def _check_source(spec: ModelSpec, source: SourceInput, place: str) -> None:
    image = source.image
    if source.form == "embedding" and (image is not None or source.template is not None):
        raise ModelError(
            f"[{place}.source] form is 'embedding'; image and template are for the form 'picture'"
        )
    if image is not None and image.name != source.name:
        raise ModelError(
            f"[{place}.source.image] name is {image.name!r}; allowed: that of [{place}.source], "
            f"{source.name!r}"
        )
    if spec.picture.name == source.name:
        raise ModelError(
            f"[{place}.source] name is {source.name!r}; allowed: another than that of "
            f"[{place}.image]"
        )


def _check_references(spec: ModelSpec, catalog: Catalog) -> None:
    """Refuse names of what there is not."""
    source, place = spec.source, f"models.{spec.name}"
    wanted: list[tuple[str, str, str | None, Collection[str]]] = [
        (place, "template", spec.template, catalog.templates)
    ]
    if source is not None:
        place += ".source"
        wanted += [
            (place, "template", source.template, catalog.templates),
            (place, "recogniser", source.recogniser, catalog.names("recogniser")),
            (place, "converter", source.converter, catalog.names("converter")),
        ]
    for place, key, name, there in wanted:
        if name is not None and name not in there:
            raise ModelError(
                f"[{place}] {key} is {name!r}; allowed: {', '.join(sorted(there)) or 'none'}"
            )


@cache
def _catalog_text() -> str:
    return resources.files(__package__).joinpath("catalog.toml").read_text("utf-8")


@cache
def _catalog() -> Catalog:
    try:
        return parse_catalog(_catalog_text())
    except ModelError as error:
        raise InternalError(f"the catalogue of ffswap: {error.message}") from error


def load_catalog(extra: Path | None = None) -> Catalog:
    """What ffswap knows, and what a user's own file adds.

    Args:
        extra: a TOML file of the form that `parse_catalog` reads, or None.

    Raises:
        InputMissingError: there is no such file.
        ModelError: it cannot be read, is not TOML, or a key or a value is not allowed; the error
            names file, table and key.
    """
    if extra is None:
        return _catalog()
    file = check_input(extra, "a catalogue, such as the example in docs/models.md", ModelError)
    try:
        return parse_catalog(read_table(file).decode("utf-8"), _catalog())
    except UnicodeDecodeError as error:
        raise ModelError("the catalogue is not text in UTF-8", file=file) from error
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror or error})", file=file) from error
    except ModelError as error:
        raise ModelError(error.message, hint=error.hint, file=file) from error


def names(kind: Kind | None = None, *, embedded: bool | None = None) -> list[str]:
    """Names of the models that ffswap knows, sorted: `Catalog.names`."""
    return _catalog().names(kind, embedded=embedded)


def get(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        OptionError: there is none.
    """
    return _catalog().get(name)


def template(name: str) -> F32:
    """The five points of that name, (5, 2) float32, read-only, in units of the crop's side.

    Raises:
        OptionError: there are none.
    """
    return _catalog().template(name)


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
