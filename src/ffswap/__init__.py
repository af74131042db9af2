"""ffswap: puts the face of a photo into a video and leaves everything else as it was."""

from __future__ import annotations

from ._version import __version__

__all__ = ["__version__"]
