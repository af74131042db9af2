"""Where things are kept, as given or when nobody says where, and whether anything may be fetched."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from ..errors import FfswapError

__all__ = [
    "CATALOG_VARIABLE",
    "ENGINE_DIR_VARIABLE",
    "KERNEL_DIR_VARIABLE",
    "MODELS_DIR_VARIABLE",
    "OFFLINE_VARIABLE",
    "EngineDir",
    "ModelsDir",
    "completed",
    "completes_hints",
    "engine_folder",
    "kernel_folder",
    "models_folder",
    "offline",
    "own_catalogue",
]

ENGINE_DIR_VARIABLE = "FFSWAP_ENGINE_DIR"
KERNEL_DIR_VARIABLE = "FFSWAP_KERNEL_DIR"
MODELS_DIR_VARIABLE = "FFSWAP_MODELS_DIR"
CATALOG_VARIABLE = "FFSWAP_CATALOG"
OFFLINE_VARIABLE = "FFSWAP_OFFLINE"

P = ParamSpec("P")
R = TypeVar("R")


def _folder(text: str) -> Path:
    if not text.strip():  # as a path it would be the folder of the moment
        raise typer.BadParameter("it is empty; allowed: a folder, or leave the option out")
    return Path(text)


ModelsDir = Annotated[
    Path | None,
    typer.Option(
        "--models-dir",
        metavar="DIR",
        parser=_folder,
        help=f"where models are kept; left out: {MODELS_DIR_VARIABLE}, or the user's data folder",
    ),
]
EngineDir = Annotated[
    Path | None,
    typer.Option(
        "--engine-dir",
        metavar="DIR",
        parser=_folder,
        help=f"where engines are kept; left out: {ENGINE_DIR_VARIABLE}, or engines/ of a checkout, "
        "or the user's cache folder",
    ),
]

# By parameter of a command: its option, and the commands that take it, too. In hints they stand
# between backticks, alone or with && between them.
_REST = r"\b(?:(?! && )[^`])*(?=`| && )"
_OPTIONS = {
    "models_dir": ("--models-dir", re.compile(r"\bffswap models [a-z]+" + _REST)),
    "engine_dir": ("--engine-dir", re.compile(r"\bffswap (?:engines [a-z]+|build-engine)" + _REST)),
}


def _longer(command: re.Match[str], words: str) -> str:
    return f"{command[0]} {words}"


def completed(text: str, given: Mapping[str, object]) -> str:
    """A hint whose commands look where this one did.

    Args:
        text: the hint; the library writes commands as for the folders when nobody says where.
        given: parameters of the command that is run, by name.
    """
    for name, (option, commands) in _OPTIONS.items():
        if given.get(name) is not None:
            words = shlex.join([option, str(given[name])])
            text = commands.sub(functools.partial(_longer, words=words), text)
    return text


def completes_hints(command: Callable[P, R]) -> Callable[P, R]:
    """Let the hints of a command's errors lead to the folders that the command was given."""

    @functools.wraps(command)
    def call(*args: P.args, **given: P.kwargs) -> R:
        try:
            return command(*args, **given)
        except FfswapError as error:
            if error.hint is not None:
                error.hint = completed(error.hint, given)
            raise

    return call


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


def kernel_folder() -> Path:
    """Where compiled kernels are kept: of the environment, else of the user's caches."""
    if variable := os.environ.get(KERNEL_DIR_VARIABLE, "").strip():
        return Path(variable)
    import platformdirs

    return platformdirs.user_cache_path("ffswap", appauthor=False) / "kernels"


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
