"""Short lossless clips of a face of a given width, and what happens to clips on their way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from PIL import Image

from ffswap.ops import cpu
from tools.material import material

__all__ = ["RATE", "Scene", "Variant", "make_scene", "make_variant"]

RATE = Fraction(25)
WINDOW = 2.4
"""Side of a clip by the width of its face: what lies further away says nothing about the mark."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A piece of the material with one face.

    Attributes:
        name: for the tables.
        file: of the material; a picture is moved slowly.
        portrait: of the material, whose face is put in.
        first: frame of the clip.
        frames: in the clip; where it is over it runs back and forth.
        centre: of the face, pixels.
        width_px: of the face, cheek to cheek.
    """

    name: str
    file: str
    portrait: str
    first: int
    frames: int
    centre: tuple[float, float]
    width_px: float


@dataclass(frozen=True)
class Variant:
    """What happens to a marked clip.

    Attributes:
        name: for the tables.
        encoder: FFmpeg's name; None: the file is copied into another container.
        options: of the encoder.
        scale: of its size.
        crop: share of its sides that is left.
        every: of so many frames one is left.
        seconds: that are kept.
    """

    name: str
    encoder: str | None = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    scale: Fraction = Fraction(1)
    crop: float = 1.0
    every: int = 1
    seconds: float = 5.0


def make_scene(scene: Scene, face_px: int, seconds: float, output: Path) -> None:
    """Write the clip, lossless, 4:2:0, with the face so many pixels wide in the middle."""
    zoom = face_px / scene.width_px
    side = int(WINDOW * face_px) // 2 * 2
    pictures = list(_pictures(scene))
    turns = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)] or [0]
    with av.open(str(output), "w") as file:
        stream = file.add_stream("ffv1", rate=RATE)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for k in range(round(seconds * RATE)):
            drift, grow = (0.0, 1.0) if len(pictures) > 1 else (0.1 * np.sin(k / 20), 1 + k / 2000)
            at = zoom * grow
            shift = [side * (0.5 + drift / 5) - at * c for c in scene.centre]
            matrix = np.array([[at, 0, shift[0]], [0, at, shift[1]]])
            picture = pictures[turns[k % len(turns)]]
            crop = [
                cpu.sample_plane(np.ascontiguousarray(picture[..., c]), matrix, (side, side), None)
                for c in range(3)
            ]
            frame = av.VideoFrame.from_ndarray(np.stack(crop, -1), "rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode(None))


def _pictures(scene: Scene) -> Iterator[U8]:
    path = material(scene.file)
    if path.suffix in (".png", ".jpg"):
        yield np.asarray(Image.open(path).convert("RGB"))
        return
    with av.open(str(path)) as file:
        for k, frame in enumerate(file.decode(video=0)):
            if k >= scene.first + scene.frames:
                return
            if k >= scene.first:
                yield frame.to_ndarray(format="rgb24")


def make_variant(source: Path, variant: Variant, folder: Path) -> Path:
    """Do to a clip what the variant says; the path of the result."""
    suffix = ".webm" if variant.encoder == "libvpx-vp9" else ".mp4"
    output = folder / f"variant{suffix}"
    if variant.encoder is None:
        once = make_variant(source, Variant("x264", options={"crf": "18"}), folder)
        return _remuxed(once, folder / "remuxed.mkv")
    with av.open(str(source)) as before, av.open(str(output), "w") as after:
        stream: Any = None
        for k, frame in enumerate(before.decode(video=0)):
            if k >= variant.seconds * RATE:
                break
            if k % variant.every:
                continue
            made = _changed(frame, variant)
            if stream is None:
                stream = after.add_stream(variant.encoder, rate=RATE, options=variant.options)
                stream.width, stream.height, stream.pix_fmt = made.width, made.height, "yuv420p"
            made.pts, made.time_base = k, 1 / RATE
            after.mux(stream.encode(made))
        after.mux(stream.encode(None))
    return output


def _changed(frame: Any, variant: Variant) -> Any:
    """One frame, cropped and scaled."""
    if variant.crop < 1:
        samples = frame.to_ndarray(format="rgb24")
        edge = round(len(samples) * (1 - variant.crop) / 2) | 1  # odd: chroma falls elsewhere
        cut = np.ascontiguousarray(samples[edge : len(samples) - edge, edge : len(samples) - edge])
        frame = av.VideoFrame.from_ndarray(cut, "rgb24")
    width, height = (int(n * variant.scale) // 2 * 2 for n in (frame.width, frame.height))
    return frame.reformat(
        width=width, height=height, format="yuv420p", interpolation=Interpolation.BICUBIC
    )


def _remuxed(source: Path, output: Path) -> Path:
    with av.open(str(source)) as before, av.open(str(output), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        packets: Sequence[Any] = [p for p in before.demux(video=0) if p.size]
        for packet in packets:
            packet.stream = stream
            after.mux(packet)
    return output
