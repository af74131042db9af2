"""A model at hand: its entry in the catalogue, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..carriers import F32
from ..models import ModelSpec
from ..models.interface import PortNames

__all__ = ["Net"]


@dataclass(frozen=True, kw_only=True)
class Net:
    """A model and where its file is.

    Attributes:
        spec: of the catalogue.
        file: None: it comes with ffswap.
        names: what the file calls its inputs and outputs; None: it was not compared with the catalogue.
        matrix: for the source, if it has one and was compared; see `models.interface.find_matrix`.
    """

    spec: ModelSpec
    file: Path | None
    names: PortNames | None = None
    matrix: F32 | None = None
