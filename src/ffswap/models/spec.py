"""What a model is, as data: everything in which two models of one kind may differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InternalError

__all__ = ["Colour", "ImageInput", "Kind", "Layout", "ModelSpec"]

Kind = Literal[
    "detector", "landmarker", "recogniser", "swapper", "occluder", "parser", "restorer",
    "hand_detector", "hand_landmarker",
]  # fmt: skip
Layout = Literal["nchw", "nhwc"]
Colour = Literal["rgb", "bgr"]


def _require(ok: bool, model: str, what: str) -> None:
    if not ok:
        raise InternalError(f"model {model!r} in the catalogue: {what}")


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The picture that a net takes, float32, one value per colour and pixel.

    A value v of 0 to 255 goes in as ``(v - mean) / std``.

    Attributes:
        name: of the graph's input.
        layout: order of the axes; the batch is always first.
        size: (width, height) in pixels.
        colour: order of the colours.
        mean: per colour, in the order of `colour`, on the scale of 0 to 255.
        std: the same; not zero.
    """

    name: str
    layout: Layout
    size: tuple[int, int]
    colour: Colour
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the graph's input, -1 for the batch."""
        width, height = self.size
        return (-1, 3, height, width) if self.layout == "nchw" else (-1, height, width, 3)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the catalogue.

    Attributes:
        name: by which it is asked for.
        kind: what it does.
        family: names the code that crops for it and reads its outputs; models of one family
            differ in the other fields only.
        file: name of its ONNX file.
        sha256: of the file, 64 lower-case hexadecimal digits.
        licence: SPDX identifier, or the vendor's own words where there is none.
        vendor: who made the weights.
        image: the picture that it takes.
        outputs: names of the graph's outputs in the order in which the family reads them.
        notes: what the outputs mean and where the numbers come from.
    """

    name: str
    kind: Kind
    family: str
    file: str
    sha256: str
    licence: str
    vendor: str
    image: ImageInput
    outputs: tuple[str, ...]
    notes: str = ""

    def __post_init__(self) -> None:
        _require(self.kind in get_args(Kind), self.name, f"kind {self.kind!r}")
        _require(
            re.fullmatch("[0-9a-f]{64}", self.sha256) is not None,
            self.name, f"sha256 {self.sha256!r}",
        )  # fmt: skip
        # Before the file is looked for: a name must not lead out of its folder.
        _require(re.fullmatch(r"[\w-][\w.-]*", self.file) is not None, self.name, self.file)
        _require(len(set(self.outputs)) == len(self.outputs) > 0, self.name, f"{self.outputs}")
        image = self.image
        _require(image.layout in get_args(Layout), self.name, f"layout {image.layout!r}")
        _require(image.colour in get_args(Colour), self.name, f"colour {image.colour!r}")
        _require(len(image.size) == 2 and min(image.size) > 0, self.name, f"size {image.size}")
        _require(len(image.mean) == 3, self.name, f"mean {image.mean}")
        _require(len(image.std) == 3 and all(image.std), self.name, f"std {image.std}")
