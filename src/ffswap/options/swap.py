"""What a swap can be asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..errors import OptionError
from .build import Precision
from .checks import require
from .disclosure import CredentialOptions, LabelOptions
from .encode import EncodeOptions
from .position import Position

__all__ = [
    "DetectOptions",
    "FaceChoice",
    "MaskKind",
    "MeshSwapOptions",
    "ModelOptions",
    "Person",
    "SwapOptions",
    "TrackOptions",
    "Unfinished",
]

MaskKind = Literal["box", "occlusion", "region", "area"]
Unfinished = Literal["refuse", "resume", "discard"]

# Sides of squares that faces are swapped at, pixels: no net is smaller, no video has more detail.
MIN_BOOST, MAX_BOOST = 64, 2048

# Seconds of a segment: each costs a few key frames and flushes to disk, and is lost by an interruption.
MIN_SEGMENT_S, MAX_SEGMENT_S = 0.1, 3600.0


@dataclass(frozen=True)
class FaceChoice:
    """Which faces of a frame are meant.

    Attributes:
        kind: the largest one, all, or those at some places from left to right.
        places: counted from 1, for the last of these.
    """

    kind: Literal["largest", "all", "left-right"]
    places: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FaceChoice:
        """Read ``largest``, ``all``, ``left-right:2`` or ``left-right:1,3``.

        Raises:
            OptionError: the text is none of these.
        """
        if text == "largest":
            return cls("largest")
        if text == "all":
            return cls("all")
        if match := re.fullmatch(r"left-right:([1-9]\d?(?:,[1-9]\d?)*)", text):
            return cls("left-right", tuple(sorted({int(one) for one in match[1].split(",")})))
        raise OptionError.of(
            "faces",
            f"faces is {text!r}; allowed: largest, all, or left-right:N with places counted from 1",
            hint="left-right:1,3 means the first and the third face from the left",
        )


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in the target, and the face that they get.

    Attributes:
        source: photo of the face to put in, or a folder of photos of one face.
        reference: photo by which the person is known in the target.
    """

    source: str
    reference: str

    def __post_init__(self) -> None:
        require(bool(self.source.strip()), "source", self.source, "a photo or a folder of photos")
        require(bool(self.reference.strip()), "reference", self.reference, "a photo")

    @classmethod
    def parse(cls, text: str) -> Person:
        """Read ``SOURCE=REFERENCE``.

        Raises:
            OptionError: the text is not of that form.
        """
        source, sign, reference = text.partition("=")
        if not (sign and source.strip() and reference.strip()) or "=" in reference:
            raise OptionError(
                f"{text!r} does not map a face to a person; allowed: SOURCE=REFERENCE",
                hint="name two photos: the face to put in, and the person in the target who gets "
                "it, such as anna.jpg=guest.jpg",
            )
        return cls(source=source, reference=reference)


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """How faces are found.

    Attributes:
        score: least confidence of the detector, 0 to 1; None: the detector's own.
        iou: boxes that overlap more than this are one face, 0 to 1; None: the detector's own.
        min_face_px: faces at least this high are looked for, in frame pixels.
    """

    score: float | None = None
    iou: float | None = None
    min_face_px: int = 40

    def __post_init__(self) -> None:
        for name in ("score", "iou"):
            value = getattr(self, name)
            require(value is None or 0 < value < 1, name, value, "between 0 and 1")
        require(self.min_face_px >= 12, "min_face_px", self.min_face_px, "12 or more")


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """How faces are followed from frame to frame.

    Attributes:
        detect_every_s: the whole frame is searched again after this many seconds.
        score: a face is lost when the mesh net's own confidence falls below this, 0 to 1.
        smooth_hz: One-Euro cut-off of a face at rest, in hertz; 0 switches smoothing off.
        smooth_beta: how fast the cut-off grows with speed (face sizes per second to hertz).
    """

    detect_every_s: float = 0.4
    score: float = 0.5
    smooth_hz: float = 1.0
    smooth_beta: float = 20.0

    def __post_init__(self) -> None:
        require(self.detect_every_s > 0, "detect_every_s", self.detect_every_s, "more than 0")
        require(0 < self.score < 1, "score", self.score, "between 0 and 1")
        require(self.smooth_hz >= 0, "smooth_hz", self.smooth_hz, "0 or more")
        require(self.smooth_beta >= 0, "smooth_beta", self.smooth_beta, "0 or more")


@dataclass(frozen=True, kw_only=True)
class MeshSwapOptions:
    """The embedded swapper.

    Attributes:
        shape: how far the target's face takes the source's proportions, 0 (not) to 1 (fully).
        keep_occluders: leave hands, glasses and whatever else is in front of the face as they are.
    """

    shape: float = 0.7
    keep_occluders: bool = True

    def __post_init__(self) -> None:
        require(0 <= self.shape <= 1, "shape", self.shape, "0 to 1")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which models work on a face, and how their results come together.

    A model is named as `ffswap models list` does, or by the path of its ONNX file.

    Attributes:
        swapper: ``auto``: the best one that is installed, else the embedded one (``mesh``).
        detector: finds faces; ``auto``: the embedded one.
        detector_angles: degrees (0, 90, 180, 270) by which the picture is turned for each search; the
            embedded detector ignores them.
        landmarker: finds points in a face; ``auto``: the embedded face mesh; ``none``: the points
            of the detector.
        restorer: works over each swapped face; None: nothing does.
        masks: what limits where a face is painted; all that are named count together.
        occluder: for the mask ``occlusion``; ``auto``: the first that is installed.
        parser: for the mask ``region``, likewise.
        mask_blur: softness of the box mask's edge, 0 to 1, by half the side of the crop.
        mask_padding: top, right, bottom and left that the box mask leaves out, percent.
        regions: labels of the parser that the mask ``region`` keeps; empty: the face itself.
        areas: parts that the mask ``area`` keeps; empty: all of them.
        pixel_boost: side of the square that a face is swapped at, pixels, a multiple of the
            model's own; None: the model's own.
        restore_blend: how much of the restorer's result is taken, 0 to 1.
    """

    swapper: str = "auto"
    detector: str = "auto"
    detector_angles: tuple[int, ...] = (0,)
    landmarker: str = "auto"
    restorer: str | None = None
    masks: tuple[MaskKind, ...] = ("box",)
    occluder: str = "auto"
    parser: str = "auto"
    mask_blur: float = 0.3
    mask_padding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    regions: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    pixel_boost: int | None = None
    restore_blend: float = 0.8

    def __post_init__(self) -> None:
        for name in ("swapper", "detector", "landmarker", "occluder", "parser", "restorer"):
            value = getattr(self, name)
            require(value is None or bool(value.strip()), name, value, "the name of a model")
        angles = self.detector_angles
        require(
            len(angles) > 0 and set(angles) <= {0, 90, 180, 270} and len(set(angles)) == len(angles),
            "detector_angles", angles, "one or more of 0, 90, 180, 270, each once",
        )  # fmt: skip
        kinds = get_args(MaskKind)
        require(
            len(self.masks) > 0
            and set(self.masks) <= set(kinds)
            and len(set(self.masks)) == len(self.masks),
            "mask", ",".join(self.masks), f"one or more of {', '.join(kinds)}, each once",
        )  # fmt: skip
        require(0 <= self.mask_blur <= 1, "mask_blur", self.mask_blur, "0 to 1")
        padding = self.mask_padding
        require(
            len(padding) == 4
            and min(padding) >= 0
            and padding[0] + padding[2] < 100
            and padding[1] + padding[3] < 100,
            "mask_padding", padding, "four percentages, those of opposite sides below 100 together",
        )  # fmt: skip
        if self.pixel_boost is not None:
            require(
                MIN_BOOST <= self.pixel_boost <= MAX_BOOST,
                "pixel_boost", self.pixel_boost, f"{MIN_BOOST} to {MAX_BOOST} (pixels)",
            )  # fmt: skip
        require(0 <= self.restore_blend <= 1, "blend", self.restore_blend, "0 to 1")


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """Everything that one run of `ffswap.swap` can be told.

    Attributes:
        faces: which faces of the target are swapped: ``largest``, ``all``, or ``left-right:N,M``,
            the N-th and M-th from the left. Where persons are named, of all the others.
        people: further persons in the target who get a face of their own.
        reference: photo of the person in the target who gets the source's face; None: those that
            `faces` says.
        reference_distance: two faces are one person below this, 0 to 1: half of 1 minus the cosine
            between their embeddings.
        start: first moment of the target that is kept; the output begins there.
        end: first moment of the target that is no longer kept.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp16`` or ``fp32``, of the engines on a GPU; None: FP16 where there is one.
        threads: that decoder, painters and encoder may use, each for itself; None: as many as
            there are cores.
        segment_s: a clip of more than twice this many seconds is done in segments of about this length, so
            that an interrupted run can go on; 0: it is done at once.
        unfinished: what happens to what an interrupted run of the same output has left: ``refuse`` to
            run, ``resume``: go on from there, ``discard`` it. Without such a thing each starts anew.
        overwrite: replace the output if it exists, and what lies beside it to vouch for it.
        label: text that is drawn into the frames, or None.
        credentials: who vouches for the output.
    """

    faces: str = "largest"
    people: tuple[Person, ...] = ()
    reference: str | None = None
    reference_distance: float = 0.3
    start: Position | None = None
    end: Position | None = None
    device: str = "auto"
    precision: Precision | None = None
    threads: int | None = None
    segment_s: float = 10.0
    unfinished: Unfinished = "refuse"
    overwrite: bool = False
    detect: DetectOptions = field(default_factory=DetectOptions)
    track: TrackOptions = field(default_factory=TrackOptions)
    models: ModelOptions = field(default_factory=ModelOptions)
    mesh: MeshSwapOptions = field(default_factory=MeshSwapOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    label: LabelOptions | None = None
    credentials: CredentialOptions = field(default_factory=CredentialOptions)

    def __post_init__(self) -> None:
        FaceChoice.parse(self.faces)
        distance = self.reference_distance
        require(0 < distance < 1, "reference_distance", distance, "between 0 and 1")
        if self.reference is not None:
            require(bool(self.reference.strip()), "reference", self.reference, "a photo")
        require(
            re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None,
            "device", self.device, "auto, cpu, cuda, cuda:N",
        )  # fmt: skip
        words = get_args(Precision)
        require(self.precision in (None, *words), "precision", self.precision, " or ".join(words))
        require(
            self.segment_s == 0 or MIN_SEGMENT_S <= self.segment_s <= MAX_SEGMENT_S,
            "segment", self.segment_s, f"0, or {MIN_SEGMENT_S:g} to {MAX_SEGMENT_S:g} (seconds)",
        )  # fmt: skip
        kinds = get_args(Unfinished)
        require(self.unfinished in kinds, "unfinished", self.unfinished, ", ".join(kinds))
        if self.threads is not None:
            require(1 <= self.threads <= 256, "threads", self.threads, "1 to 256")
