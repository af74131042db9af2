"""Portraits, frames made from pictures, and the embedded nets, for the tests of the stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import cv2
import matplotlib
import numpy as np
import skimage.data
from numpy.typing import NDArray

from ffswap.carriers import F32, Colour, Frames, PixelFormat, Plane
from ffswap.engines import OrtCpuSession
from ffswap.geometry.face_mesh import FaceMesh
from ffswap.models import canonical_mesh, embedded_bytes, get
from ffswap.options import DetectOptions
from ffswap.stages.detect import Detector
from ffswap.stages.mesh_swap import MeshSource
from ffswap.stages.track import MeshNet, still_mesh

U8 = NDArray[np.uint8]
Nets: TypeAlias = tuple[Detector, MeshNet]

FORMATS = {
    "yuv420p": PixelFormat("yuv420p", 8, 1, 1),
    "yuv422p": PixelFormat("yuv422p", 8, 1, 0),
    "yuv444p": PixelFormat("yuv444p", 8, 0, 0),
    "yuv420p10le": PixelFormat("yuv420p10le", 10, 1, 1),
    "yuv422p10le": PixelFormat("yuv422p10le", 10, 1, 0),
    "yuv444p16le": PixelFormat("yuv444p16le", 16, 0, 0),
}
BT709 = Colour()

HEADS = {"astronaut": (137, 13, 170), "hopper": (145, 40, 280)}
"""(left, top, side) of a square around the head, by eye."""

BACKGROUND = (90, 120, 100)


def portrait(name: str) -> U8:
    """(H, W, 3) RGB, in the public domain: ``astronaut`` or ``hopper``."""
    if name == "astronaut":
        return np.asarray(skimage.data.astronaut(), np.uint8)
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1])


def head(name: str, side: int) -> U8:
    """The square around the head, (side, side, 3)."""
    left, top, size = HEADS[name]
    part = portrait(name)[top : top + size, left : left + size]
    how = cv2.INTER_AREA if side < size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (side, side), interpolation=how), np.uint8)


def scene(height: int, width: int, *placed: tuple[str, float, float, float]) -> U8:
    """Portraits on a plain background: (name, left, top, side of the head's square), subpixel."""
    rgb = np.full((height, width, 3), BACKGROUND, np.uint8)
    for name, x, y, side in placed:
        left, top, size = HEADS[name]
        part = portrait(name)[top : top + size, left : left + size]
        soft = cv2.GaussianBlur(part, (0, 0), max(0.1, size / side / 3))
        zoom = side / size
        matrix = np.array([[zoom, 0, x + (zoom - 1) / 2], [0, zoom, y + (zoom - 1) / 2]])
        cv2.warpAffine(
            soft, matrix, (width, height), dst=rgb, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
    return rgb


def to_planes(rgb: U8, fmt: PixelFormat, colour: Colour = BT709) -> tuple[Plane, Plane, Plane]:
    """RGB to Y'CbCr code values by the textbook; chroma sited left, midway between rows."""
    values = rgb.astype(np.float64) / 255
    y = values @ [colour.kr, 1 - colour.kr - colour.kb, colour.kb]
    parts = [y]
    for k, weight in ((2, colour.kb), (0, colour.kr)):
        chroma = (values[..., k] - y) / (2 * (1 - weight))
        h, w = chroma.shape
        if fmt.log2_chroma_h:
            chroma = np.pad(chroma, ((0, h % 2), (0, 0)), mode="edge")
            chroma = (chroma[::2] + chroma[1::2]) / 2
        if fmt.log2_chroma_w:
            wide = np.pad(chroma, ((0, 0), (1, 1)), mode="edge")
            chroma = ((wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4)[:, ::2]
        assert chroma.shape == fmt.chroma_shape(h, w)
        parts.append(chroma)
    scales = (colour.luma_scale(fmt.depth), *[colour.chroma_scale(fmt.depth)] * 2)
    top = (1 << fmt.depth) - 1
    out = [
        np.clip(np.round(offset + span * p), 0, top).astype(fmt.dtype)
        for p, (offset, span) in zip(parts, scales, strict=True)
    ]
    return out[0], out[1], out[2]


def frames_of(
    pictures: Sequence[U8],
    fmt: PixelFormat = FORMATS["yuv420p"],
    *,
    fps: int = 25,
    pts: Sequence[int] | None = None,
    first: int = 0,
    rotation: int = 0,
) -> Frames:
    """Pictures as frames of a clip, at a constant rate unless `pts` (in milliseconds) says."""
    n = len(pictures)
    base, times = (
        (Fraction(1, fps), range(first, first + n)) if pts is None else (Fraction(1, 1000), pts)
    )
    return Frames(
        planes=[to_planes(rgb, fmt) for rgb in pictures],
        format=fmt,
        colour=BT709,
        pts=np.array(times, np.int64),
        time_base=base,
        index=first,
        rotation=rotation,
    )  # fmt: skip


def some(frames: Frames, first: int, last: int) -> Frames:
    """A batch of a clip's frames; the planes are shared."""
    return Frames(
        frames.planes[first:last], frames.format, frames.colour, frames.pts[first:last],
        frames.time_base, first, frames.rotation,
    )  # fmt: skip


def copy_of(frames: Frames) -> Frames:
    """The same with planes of its own."""
    planes = [(y.copy(), cb.copy(), cr.copy()) for y, cb, cr in frames.planes]
    return Frames(
        planes, frames.format, frames.colour, frames.pts, frames.time_base, frames.index,
        frames.rotation,
    )  # fmt: skip


@contextmanager
def open_nets(options: DetectOptions | None = None) -> Iterator[Nets]:
    """The embedded nets."""
    detector, landmarker = get("face_detection_full_range"), get("face_landmark")
    with (
        OrtCpuSession(embedded_bytes(detector), name="detector") as one,
        OrtCpuSession(embedded_bytes(landmarker), name="landmarker") as two,
    ):
        yield Detector(one, detector, options or DetectOptions()), MeshNet(two, landmarker)


def face_mesh() -> FaceMesh:
    """The canonical mesh with its operators."""
    data = canonical_mesh()
    weights = np.zeros(468, np.float32)
    weights[data.procrustes_index] = data.procrustes_weight
    return FaceMesh(data.vertices, data.uv, data.triangles, weights)


def meshes_in(nets: Nets, rgb: U8) -> F32:
    """(n, 468, 3) of the faces in a picture, largest first."""
    meshes = still_mesh(*nets, frames_of([rgb], FORMATS["yuv444p16le"]), 0.5)
    return meshes


def source_from(nets: Nets, mesh: FaceMesh, rgb: U8) -> MeshSource:
    """The largest face of a picture as a source."""
    return MeshSource(mesh, rgb.astype(np.float32) / np.float32(255), meshes_in(nets, rgb)[0])
