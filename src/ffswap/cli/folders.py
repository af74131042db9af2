"""Where things are kept when nobody says where, and whether anything may be fetched."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "CATALOG_VARIABLE",
    "ENGINE_DIR_VARIABLE",
    "MODELS_DIR_VARIABLE",
    "OFFLINE_VARIABLE",
    "engine_folder",
    "models_folder",
    "offline",
    "own_catalogue",
]

ENGINE_DIR_VARIABLE = "FFSWAP_ENGINE_DIR"
MODELS_DIR_VARIABLE = "FFSWAP_MODELS_DIR"
CATALOG_VARIABLE = "FFSWAP_CATALOG"
OFFLINE_VARIABLE = "FFSWAP_OFFLINE"


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


def models_folder(given: Path | None) -> Path:
    """The store of models: as given, else of the environment, of the user.

    It is the folder for data and not for caches: what was pinned and accepted cannot be fetched
    again.
    """
    if given is not None:
        return given
    if variable := os.environ.get(MODELS_DIR_VARIABLE, "").strip():
        return Path(variable)
    import platformdirs

    return platformdirs.user_data_path("ffswap", appauthor=False) / "models"


def own_catalogue(models: Path) -> Path | None:
    """The user's own catalogue: of the environment, else ``catalog.toml`` in the store of models."""
    if variable := os.environ.get(CATALOG_VARIABLE, "").strip():
        return Path(variable)
    beside = models / "catalog.toml"
    return beside if beside.is_file() else None


def offline(given: bool) -> bool:
    """Whether nothing may be fetched: as given, or of the environment."""
    return given or os.environ.get(OFFLINE_VARIABLE, "").strip() not in ("", "0")
