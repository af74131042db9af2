"""Folders of models with known answers under the names of the published ones, and clips for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
from PIL import Image

from ffswap.carriers import F32, Colour
from ffswap.media import probe
from ffswap.media.colour import pixel_format
from ffswap.models import get
from ffswap.models.store import ModelStore
from tests import known_answers as known
from tests.known_detectors import known_yolo
from tests.media.media_clips import Clip, planes, samples

DETECTOR, RECOGNISER = "yoloface_8n", "arcface_w600k_r50"
OPTIONS = ("--detector", DETECTOR, "--landmarker", "none", "--no-keep-occluders")


def install(folder: Path, models: Mapping[str, bytes]) -> Path:
    """A folder of model files by the name of the catalogue; their licences are accepted."""
    folder.mkdir(exist_ok=True)
    store = ModelStore(folder / "models")
    for name, data in models.items():
        spec, file = get(name), folder / f"{name}.onnx"
        file.write_bytes(data)
        store.accept(spec)
        store.add(spec, file)
    return folder / "models"


def with_matrix(data: bytes) -> bytes:
    """A swapper's file with a matrix for its caller, in the middle of the other weights."""
    model = onnx.load_from_string(data)
    matrix = onnx.numpy_helper.from_array(np.eye(512, dtype=np.float32)[::-1].copy(), "buff2fs")
    model.graph.initializer.insert(1, matrix)
    return bytes(model.SerializeToString())


def finds(*faces: F32) -> dict[str, bytes]:
    """A detector that finds these faces, and a recogniser."""
    return {
        DETECTOR: known_yolo(get(DETECTOR), faces),
        RECOGNISER: known.recogniser(get(RECOGNISER), 1),
    }


@dataclass
class WaveClip(Clip):
    """Slow waves, exactly as `known_answers.smooth_planes` makes them: nothing that a crop loses."""

    width: int = 320
    height: int = 240
    frames: int = 3
    encoder: str = "ffv1"

    def planes(self, i: int) -> tuple[Any, Any, Any]:
        """Of frame `i`."""
        frame = av.VideoFrame(self.width, self.height, self.pix_fmt)
        full = self.tags is not None and self.tags[1] == 2
        fmt = pixel_format(frame.format.name)
        assert fmt is not None
        return known.smooth_planes(fmt, Colour(full_range=full), self.height, self.width, 0.2 * i)

    def picture(self, i: int) -> Any:
        """Frame `i`, to be encoded."""
        frame = av.VideoFrame(self.width, self.height, self.pix_fmt)
        for plane, values in zip(frame.planes, self.planes(i), strict=True):
            view = samples(plane).view(values.dtype)
            view[:, : values.shape[1]] = values
        return frame


def decoded(path: Path) -> list[list[Any]]:
    """The planes of every frame."""
    assert probe(path)
    with av.open(str(path)) as file:
        return [planes(frame) for frame in file.decode(video=0)]


def portrait(path: Path, colour: Sequence[float], size: tuple[int, int] = (320, 240)) -> Path:
    """A picture of one colour (RGB, 0 to 1); the known detector finds its faces in it."""
    pixels = np.full((size[1], size[0], 3), np.round(np.asarray(colour) * 255), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
