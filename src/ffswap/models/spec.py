"""What a model is, as data: everything in which two models of one kind may differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from ..errors import InternalError

__all__ = [
    "FAMILIES",
    "Colour",
    "ImageInput",
    "ImageOutput",
    "Kind",
    "Layout",
    "ModelSpec",
    "SourceInput",
    "Terms",
]

Kind = Literal[
    "detector", "landmarker", "recogniser", "converter", "swapper", "occluder", "parser",
    "restorer", "hand_detector", "hand_landmarker",
]  # fmt: skip
Layout = Literal["nchw", "nhwc"]
Colour = Literal["rgb", "bgr"]
Terms = Literal["open", "non-commercial", "restricted", "unknown"]

FAMILIES: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "detector": ("blazeface", "scrfd", "yolo_face", "yunet"),
        "landmarker": ("face_mesh", "fan_heatmap", "fan_points", "peppa_wutz"),
        "recogniser": ("arcface",),
        "converter": ("crossface",),
        "swapper": ("generator",),
        "occluder": ("xseg",),
        "parser": ("bisenet",),
        "restorer": ("restorer",),
        "hand_detector": ("blazepalm",),
        "hand_landmarker": ("hand_points",),
    }
)
"""The code that there is, by kind: models of one family differ in their data only."""

# Kinds whose nets take no picture of their own size: points, or an embedding.
_NO_IMAGE = ("converter", "fan_points")
_TEMPLATED = ("recogniser", "swapper", "restorer")


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

    def check(self, model: str) -> None:
        """Refuse what cannot be.

        Raises:
            InternalError: a field of this has a value that is not allowed.
        """
        _require(self.layout in get_args(Layout), model, f"layout {self.layout!r}")
        _require(self.colour in get_args(Colour), model, f"colour {self.colour!r}")
        _require(len(self.size) == 2 and min(self.size) > 0, model, f"size {self.size}")
        _require(len(self.mean) == 3, model, f"mean {self.mean}")
        _require(len(self.std) == 3 and all(self.std), model, f"std {self.std}")


@dataclass(frozen=True, kw_only=True)
class ImageOutput:
    """The picture that a net gives, (N, 3, height, width) float32 RGB, of the size of its input.

    A value v means ``v * std + mean`` on the scale of 0 to 255, limited to that.

    Attributes:
        mean: of every colour, on the scale of 0 to 255.
        std: the same; not zero.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class SourceInput:
    """How a swapper is told whose face it makes: by an embedding or by a picture.

    An embedding e of the recogniser, (512,), goes in as follows: divided by its norm if
    `unit_before`; multiplied by the matrix in the net's own file if `projected`, as ``e @ matrix``;
    through `converter` if there is one; divided by its norm if `unit_after`.

    Attributes:
        name: of the graph's input.
        form: which of the two.
        recogniser: model that makes the embedding; None for a picture.
        converter: model that turns the embedding into one of another recogniser, or None.
        projected: the file holds a square matrix for the caller, which no node reads.
        unit_before: see above.
        unit_after: see above.
        image: for a picture: what goes in.
        template: for a picture: name of the points that the portrait is aligned to.
    """

    name: str
    form: Literal["embedding", "picture"]
    recogniser: str | None = None
    converter: str | None = None
    projected: bool = False
    unit_before: bool = False
    unit_after: bool = False
    image: ImageInput | None = None
    template: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of a catalogue.

    Attributes:
        name: by which it is asked for.
        kind: what it does.
        family: one of `FAMILIES`: names the code that crops for it and reads its outputs.
        file: name of its ONNX file.
        licence: SPDX identifier, or the vendor's own words where there is none.
        terms: ``open``; ``non-commercial``; ``restricted``: other limits of use; ``unknown``.
            All but the first must be accepted before a download.
        vendor: who made the weights.
        year: in which they were published, or None.
        outputs: names of the graph's outputs in the order in which the family reads them; empty:
            all of them in the graph's own order (published files name them by numbers).
        image: the picture that it takes, or None where it takes none.
        result: the picture that it gives, of swappers and restorers.
        template: name of the five points that a face is aligned to.
        source: of swappers.
        constants: further inputs, each with the one value that it gets.
        classes: of parsers: what the labels mean.
        score: of detectors: least confidence by default, 0 to 1.
        embedded: the file comes with ffswap.
        sha256: of the file, 64 lower-case hexadecimal digits; None: not published.
        crc32: of the file, 8 such digits; None: not known, or only beside the file (`.hash`).
        release: of the collection that holds the file, in its addresses.
        urls: where the file is; ``{release}`` and ``{file}`` stand for these.
        notes: what the outputs mean and where the numbers come from.
    """

    name: str
    kind: Kind
    family: str
    file: str
    licence: str
    terms: Terms
    vendor: str
    year: int | None = None
    outputs: tuple[str, ...] = ()
    image: ImageInput | None = None
    result: ImageOutput | None = None
    template: str | None = None
    source: SourceInput | None = None
    constants: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    score: float = 0.5
    embedded: bool = False
    sha256: str | None = None
    crc32: str | None = None
    release: str = ""
    urls: tuple[str, ...] = ()
    notes: str = ""

    @property
    def picture(self) -> ImageInput:
        """The picture that it takes.

        Raises:
            InternalError: it takes none.
        """
        if self.image is None:
            raise InternalError(f"model {self.name!r} takes no picture")
        return self.image

    @property
    def size(self) -> int:
        """Side of the square picture that it takes, in pixels.

        Raises:
            InternalError: it takes none, or one that is not square.
        """
        width, height = self.picture.size
        if width != height:
            raise InternalError(f"model {self.name!r} takes a picture of {width} x {height}")
        return width

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the models without which it cannot work."""
        if self.source is None:
            return ()
        return tuple(one for one in (self.source.recogniser, self.source.converter) if one)

    def __post_init__(self) -> None:
        _require(self.kind in get_args(Kind), self.name, f"kind {self.kind!r}")
        allowed = FAMILIES[self.kind]
        _require(
            self.family in allowed,
            self.name, f"family {self.family!r}; of the kind {self.kind} are: {', '.join(allowed)}",
        )  # fmt: skip
        _require(self.terms in get_args(Terms), self.name, f"terms {self.terms!r}")
        for name, digits in (("sha256", 64), ("crc32", 8)):
            value = getattr(self, name)
            good = value is None or re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None
            _require(good, self.name, f"{name} {value!r}")
        _require(not self.embedded or self.sha256 is not None, self.name, "embedded, no sha256")
        # Before the file is looked for: a name must not lead out of its folder.
        _require(re.fullmatch(r"[\w-][\w.-]*", self.file) is not None, self.name, self.file)
        _require(len(set(self.outputs)) == len(self.outputs), self.name, f"{self.outputs}")
        _require(0 < self.score < 1, self.name, f"score {self.score}")
        self._check_parts()

    def _check_parts(self) -> None:
        """Whether everything is there that its kind needs."""
        bare = self.kind in _NO_IMAGE or self.family in _NO_IMAGE
        _require(bare == (self.image is None), self.name, "image: missing, or one too many")
        if self.image is not None:
            self.image.check(self.name)
        painter = self.kind in ("swapper", "restorer")
        _require(painter == (self.result is not None), self.name, "result: missing, or too many")
        if self.result is not None:
            _require(all(self.result.std), self.name, f"std {self.result.std}")
        aligned = self.kind in _TEMPLATED or self.family == "fan_points"
        _require(
            aligned == (self.template is not None), self.name, "template: missing, or too many"
        )
        _require((self.kind == "swapper") == (self.source is not None), self.name, "source")
        _require((self.kind == "parser") == bool(self.classes), self.name, "classes")
        if self.source is not None:
            self._check_source(self.source)

    def _check_source(self, source: SourceInput) -> None:
        picture = source.form == "picture"
        _require(source.form in ("embedding", "picture"), self.name, f"form {source.form!r}")
        has_picture = source.image is not None and source.template is not None
        _require(picture == has_picture, self.name, "source: image and template are for pictures")
        _require(picture == (source.recogniser is None), self.name, "source: recogniser")
        converted = source.projected or source.converter is not None
        _require(not (picture and converted), self.name, "source: a picture is not converted")
        if source.image is not None:
            source.image.check(self.name)
