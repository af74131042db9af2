"""Where things are kept when nobody says where."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ENGINE_DIR_VARIABLE", "engine_folder"]

ENGINE_DIR_VARIABLE = "FFSWAP_ENGINE_DIR"


def engine_folder(given: Path | None) -> Path:
    """The engine store: as given, else of the environment, of the checkout, of the user."""
    if given is not None:
        return given
    if variable := os.environ.get(ENGINE_DIR_VARIABLE, "").strip():
        return Path(variable)
    # In a checkout the package lies in src/, and engines/ with its recipes beside that.
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "engines" / "default.toml").is_file() and (
        checkout / "pyproject.toml"
    ).is_file():
        return checkout / "engines"
    import platformdirs

    return platformdirs.user_cache_path("ffswap", appauthor=False) / "engines"
