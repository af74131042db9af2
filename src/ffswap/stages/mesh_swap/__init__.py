"""The embedded swapper: mesh and texture-space relighting."""

from .people import MeshSwappers
from .render import Paint
from .source import MeshSource
from .swapper import MeshSwapper

__all__ = ["MeshSource", "MeshSwapper", "MeshSwappers", "Paint"]
