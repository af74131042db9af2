"""Clips with faces for the tests: portraits of installed packages that move over a gradient."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import matplotlib
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from tests.media.media_clips import Clip

U8 = NDArray[np.uint8]

WIDTH, HEIGHT, FRAMES = 320, 240, 12


@dataclass(frozen=True)
class Portrait:
    """A picture, and the ellipse that holds its face: centre and half axes, in its pixels."""

    rgb: U8
    centre: tuple[float, float]
    axes: tuple[float, float]


@functools.cache
def astronaut() -> Portrait:
    rgb = np.ascontiguousarray(skimage.data.astronaut()[:280, 80:380])
    return Portrait(rgb, (143.0, 122.0), (54.0, 66.0))


@functools.cache
def hopper() -> Portrait:
    file = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    rgb = np.asarray(Image.open(file).convert("RGB"))[:460, 60:460]
    return Portrait(np.ascontiguousarray(rgb), (198.0, 230.0), (104.0, 112.0))


def background(width: int, height: int) -> U8:
    """A gradient in all three channels."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([40 + 150 * x, 60 + 120 * y, 200 - 120 * x * y], -1)
    return np.asarray(rgb.round(), np.uint8)


@dataclass(frozen=True)
class Place:
    """Where a portrait lies in a frame: its face's centre, and its scale."""

    x: float
    y: float
    scale: float

    def at(self, i: int) -> Place:
        """Moved and zoomed slowly, frame by frame."""
        return Place(self.x + 0.9 * i, self.y + 0.4 * i, self.scale * (1 + 0.004 * i))


def put(rgb: U8, portrait: Portrait, place: Place) -> U8:
    """The picture with a portrait in it, its rim faded."""
    height, width = rgb.shape[:2]
    scale, (cx, cy) = place.scale, portrait.centre
    matrix = np.array([[scale, 0, place.x - scale * cx], [0, scale, place.y - scale * cy]])
    rim = np.zeros(portrait.rgb.shape[:2], np.float32)
    rim[16:-16, 16:-16] = 1
    rim = np.asarray(cv2.GaussianBlur(rim, (0, 0), 6), np.float32)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    face = cv2.warpAffine(portrait.rgb, matrix, (width, height), flags=how)
    alpha = cv2.warpAffine(rim, matrix, (width, height))[..., None]
    return np.asarray((rgb + alpha * (face.astype(np.float32) - rgb)).round(), np.uint8)


def face_mask(shape: tuple[int, int], portrait: Portrait, place: Place, grow_px: int = 3) -> Any:
    """(H, W) True inside the ellipse that holds a face, made larger."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    a, b = (place.scale * axis + grow_px for axis in portrait.axes)
    return ((x - place.x) / a) ** 2 + ((y - place.y) / b) ** 2 <= 1


@dataclass
class FaceClip(Clip):
    """A recipe for a clip with the astronaut's face, or with other ones."""

    width: int = WIDTH
    height: int = HEIGHT
    frames: int = FRAMES
    faces: tuple[tuple[Portrait, Place], ...] | None = None

    def placed(self, i: int) -> list[tuple[Portrait, Place]]:
        """Who is where in frame `i`, upright."""
        width, height = self.upright_size
        faces = self.faces
        if faces is None:
            faces = ((astronaut(), Place(width * 0.45, height * 0.45, min(width, height) / 300)),)
        return [(who, place.at(i)) for who, place in faces]

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) as a player shows it."""
        size = (self.width, self.height)
        return size if self.rotation in (None, 0, 180) else size[::-1]

    @property
    def turns(self) -> int:
        """Quarter turns counter-clockwise from the picture as shown to the one stored."""
        return (self.rotation or 0) // 90

    def rgb(self, i: int) -> U8:
        """Frame `i` as stored."""
        picture = background(*self.upright_size)
        for who, place in self.placed(i):
            picture = put(picture, who, place)
        return np.ascontiguousarray(np.rot90(picture, self.turns))

    def mask(self, i: int, grow_px: int = 3) -> Any:
        """(H, W) where frame `i` may change, as stored."""
        width, height = self.upright_size
        found = np.zeros((height, width), np.bool_)
        for who, place in self.placed(i):
            found |= face_mask((height, width), who, place, grow_px)
        return np.rot90(found, self.turns)

    def picture(self, i: int) -> Any:
        """Frame `i`, to be encoded."""
        return av.VideoFrame.from_ndarray(self.rgb(i), "rgb24").reformat(format=self.pix_fmt)


def chroma_mask(mask: Any, shape: tuple[int, int]) -> Any:
    """The mask of a plane of another size: True wherever it covers a pixel of the mask."""
    if mask.shape == shape:
        return mask
    steps = [round(a / b) for a, b in zip(mask.shape, shape, strict=True)]
    padded = np.zeros([n * step for n, step in zip(shape, steps, strict=True)], np.bool_)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(shape[0], steps[0], shape[1], steps[1]).any((1, 3))


def changed(before: list[Any], after: list[Any], mask: Any) -> tuple[int, float]:
    """How many samples outside the mask differ, and the share of luma samples inside that do."""
    outside = 0
    for old, new in zip(before, after, strict=True):
        outside += int(((old != new) & ~chroma_mask(mask, old.shape)).sum())
    return outside, float((before[0] != after[0])[mask].mean())


def upright(path: Path) -> list[U8]:
    """All frames of a clip in RGB, as a player shows them."""
    with av.open(str(path)) as source:
        return [
            np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            for frame in source.decode(video=0)
        ]
