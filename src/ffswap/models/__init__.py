"""What ffswap knows about models: their data, their files, the canonical face mesh."""

from .catalog import CanonicalMesh, canonical_mesh, embedded_bytes, get, names
from .spec import ImageInput, ModelSpec

__all__ = [
    "CanonicalMesh",
    "ImageInput",
    "ModelSpec",
    "canonical_mesh",
    "embedded_bytes",
    "get",
    "names",
]
