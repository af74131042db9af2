"""What ffswap knows about models: their data, their files, the canonical face mesh."""

from .catalog import (
    CanonicalMesh,
    Catalog,
    canonical_mesh,
    embedded_bytes,
    get,
    load_catalog,
    names,
    template,
)
from .spec import ImageInput, ModelSpec

__all__ = [
    "CanonicalMesh",
    "Catalog",
    "ImageInput",
    "ModelSpec",
    "canonical_mesh",
    "embedded_bytes",
    "get",
    "load_catalog",
    "names",
    "template",
]
