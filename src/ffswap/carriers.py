"""What travels through the pipeline: Frames, here or on a device, and Faces. Shapes are checked on creation and printed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import InternalError

__all__ = [
    "F32",
    "I64",
    "Colour",
    "Faces",
    "FrameBatch",
    "Frames",
    "PixelFormat",
    "Plane",
    "State",
]

Plane: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
F32: TypeAlias = NDArray[np.float32]
I64: TypeAlias = NDArray[np.int64]
State: TypeAlias = dict[str, Any]
"""What a stage remembers from the frames before, by name: numbers, truth values, text, None, NumPy arrays and
numbers, and lists and such dicts of these. It is a copy: nothing changes it later."""


@dataclass(frozen=True)
class PixelFormat:
    """A planar Y'CbCr format.

    Attributes:
        name: FFmpeg's name, such as ``yuv420p10le``.
        depth: bits per sample, 8 to 16; above 8 a sample is a little-endian uint16.
        log2_chroma_w: chroma planes are 2**this times narrower than luma (rounded up).
        log2_chroma_h: the same for the height.
    """

    name: str
    depth: int
    log2_chroma_w: int
    log2_chroma_h: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one sample: uint8 or uint16."""
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)

    def chroma_shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a chroma plane of a frame of this size."""
        return -(-height >> self.log2_chroma_h), -(-width >> self.log2_chroma_w)


@dataclass(frozen=True)
class Colour:
    """How code values relate to light. Names are those of ITU-T H.273 in FFmpeg's spelling.

    Attributes:
        kr: weight of red in luma (0.299 for BT.601, 0.2126 for BT.709, 0.2627 for BT.2020).
        kb: weight of blue in luma (0.114, 0.0722, 0.0593).
        full_range: True when 0 to 2**depth - 1 is used, False for 16 to 235 (scaled to the depth).
        transfer: transfer characteristic (``bt709``, ``smpte2084``, ...), or ``unknown``.
        guessed: True when the file did not say and the usual rule was applied.
    """

    kr: float = 0.2126
    kb: float = 0.0722
    full_range: bool = False
    transfer: str = "unknown"
    guessed: bool = False

    @property
    def is_hdr(self) -> bool:
        """PQ or HLG: nets, which know SDR, see such crops through `ops.tone`."""
        return self.transfer in ("smpte2084", "arib-std-b67")

    def luma_scale(self, depth: int) -> tuple[float, float]:
        """(offset, span) in code values: ``code = offset + span * y`` for y in 0..1."""
        if self.full_range:
            return 0.0, float((1 << depth) - 1)
        return 16.0 * (1 << depth - 8), 219.0 * (1 << depth - 8)

    def chroma_scale(self, depth: int) -> tuple[float, float]:
        """(offset, span) in code values: ``code = offset + span * c`` for c in -0.5..0.5."""
        centre = float(1 << depth - 1)
        if self.full_range:
            return centre, float((1 << depth) - 1)
        return centre, 224.0 * (1 << depth - 8)


class FrameBatch(ABC):
    """n consecutive frames of one clip, wherever their samples are.

    Attributes:
        format: pixel format.
        colour: what the code values mean.
        pts: (n,) int64, presentation times in units of `time_base`, from the container.
        time_base: seconds per unit of `pts`.
        index: index in the decoded stream of the first frame, from 0.
        rotation: degrees (0, 90, 180, 270) by which the picture must be turned counter-clockwise
            to stand upright, as the container's display matrix says.
        pixel_aspect: width of a pixel by its height, as the picture is stored; 1: square.
    """

    format: PixelFormat
    colour: Colour
    pts: I64
    time_base: Fraction
    index: int
    rotation: int
    pixel_aspect: float

    @property
    @abstractmethod
    def height(self) -> int:
        """Rows of the luma plane."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Columns of the luma plane."""

    def __len__(self) -> int:
        return len(self.pts)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} x {self.width}x{self.height} {self.format.name}, "
            f"index {self.index}, pts {self.pts[0]}..{self.pts[-1]} x {self.time_base})"
        )

    @abstractmethod
    def on_host(self) -> Frames:
        """The same frames in host memory, as they were decoded; what is done to them there stays there."""

    def seconds(self, i: int) -> float:
        """Presentation time of frame i of these, in seconds."""
        return float(int(self.pts[i]) * self.time_base)

    def _check_times(self, frames: int) -> None:
        """Refuse what cannot be said about so many frames.

        Raises:
            InternalError: there is no frame, or pts or rotation do not fit.
        """
        if not frames:
            raise InternalError(f"{type(self).__name__} without a frame")
        if self.pts.shape != (frames,):
            raise InternalError(f"{frames} frames but pts of shape {self.pts.shape}")
        if self.rotation not in (0, 90, 180, 270):
            raise InternalError(f"rotation {self.rotation}")
        if not self.pixel_aspect > 0:
            raise InternalError(f"pixel aspect {self.pixel_aspect}")


@dataclass(frozen=True, repr=False)
class Frames(FrameBatch):
    """Frames in the clip's own pixel format, in host memory.

    The planes are writable and are edited in place; whoever holds the Frames owns them. All
    frames of one Frames have the same size, format and colour.

    Attributes:
        planes: n tuples of three arrays (Y', Cb, Cr), shapes (H, W) and twice `chroma_shape`,
            dtype of `format`; rows may be padded (strides), samples of a row are adjacent.
        format: and the others up to `pixel_aspect`: see `FrameBatch`.
        handles: n objects of the reader's that keep the planes alive; only `media` looks inside.
    """

    planes: Sequence[tuple[Plane, Plane, Plane]]
    format: PixelFormat
    colour: Colour
    pts: I64
    time_base: Fraction
    index: int = 0
    rotation: int = 0
    pixel_aspect: float = 1.0
    handles: Sequence[object] = field(default=())

    def __post_init__(self) -> None:
        self._check_times(len(self.planes))
        chroma = self.format.chroma_shape(self.height, self.width)
        for y, cb, cr in self.planes:
            shapes = (y.shape, cb.shape, cr.shape)
            if shapes != ((self.height, self.width), chroma, chroma):
                raise InternalError(f"planes of shapes {shapes} in a {self.format.name} frame")
            if {y.dtype, cb.dtype, cr.dtype} != {self.format.dtype}:
                raise InternalError(f"planes of type {y.dtype} in a {self.format.name} frame")

    def on_host(self) -> Frames:
        """These very frames."""
        return self

    @property
    def height(self) -> int:
        """Rows of the luma plane."""
        return int(self.planes[0][0].shape[0])

    @property
    def width(self) -> int:
        """Columns of the luma plane."""
        return int(self.planes[0][0].shape[1])


_FACE_FIELDS = ("frame", "track", "score", "box", "points", "fresh")
# Fields that some chains have and others have not; all faces of a clip have the same ones.
_DENSE_FIELDS = ("mesh", "landmarks")


@dataclass(frozen=True)
class Faces:
    """All faces of a batch of frames, one row per face, sorted by frame.

    Coordinates are pixels of the luma plane as stored (before any rotation for display); the
    centre of the top left pixel is (0, 0).

    Attributes:
        frame: (n,) int64, index into the batch of frames.
        track: (n,) int64, the same number for the same face through a clip.
        score: (n,) float32, 0 to 1.
        box: (n, 4) float32, left, top, right, bottom.
        points: (n, 5, 2) float32: eyes (image left, image right), nose tip, mouth corners.
        fresh: (n,) bool, True where the track has no past (a new face, or after a cut), or where its
            past may be that of another face.
        mesh: (n, 468, 3) float32, vertices of the face mesh: x, y in pixels, z in the same unit,
            smaller is nearer to the camera; None where no face mesh was asked for.
        landmarks: (n, 68, 2) float32, the points of iBUG 300-W; None where nothing finds them.
    """

    frame: I64
    track: I64
    score: F32
    box: F32
    points: F32
    fresh: NDArray[np.bool_]
    mesh: F32 | None = None
    landmarks: F32 | None = None

    def __post_init__(self) -> None:
        n = len(self.frame)
        want = {"box": (n, 4), "points": (n, 5, 2), "mesh": (n, 468, 3), "landmarks": (n, 68, 2)}
        for name in (*_FACE_FIELDS, *_DENSE_FIELDS):
            value = getattr(self, name)
            if value is None and name in _DENSE_FIELDS:
                continue
            if value.shape != want.get(name, (n,)):
                raise InternalError(
                    f"Faces.{name} has shape {value.shape}, not {want.get(name, (n,))}"
                )

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"Faces({len(self)} faces, tracks {sorted(set(self.track.tolist()))})"

    @classmethod
    def empty(cls) -> Faces:
        """No faces; joins with any others."""
        return cls(
            frame=np.zeros(0, np.int64),
            track=np.zeros(0, np.int64),
            score=np.zeros(0, np.float32),
            box=np.zeros((0, 4), np.float32),
            points=np.zeros((0, 5, 2), np.float32),
            fresh=np.zeros(0, np.bool_),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """The rows of all parts, in order."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        names = parts[0]._present()
        return cls(**{f: np.concatenate([getattr(p, f) for p in parts]) for f in names})

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Faces:
        """The rows that a mask or an index array selects."""
        return Faces(**{f: getattr(self, f)[keep] for f in self._present()})

    def _present(self) -> list[str]:
        """Names of the fields that these faces have."""
        return [f for f in (*_FACE_FIELDS, *_DENSE_FIELDS) if getattr(self, f) is not None]
