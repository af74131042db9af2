"""Models and files for the tests of the store: small, and known by their digests."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from typing import Any

from ffswap.models import ModelSpec, get
from ffswap.models.spec import ImageInput, ImageOutput, SourceInput
from tests.models.graphs import Dims, graph, node, weights

__all__ = [
    "BODY", "CRC32", "OTHER", "PAINTER", "SHA256", "detector", "embedded", "recogniser", "swapper",
]  # fmt: skip

_SIDE = 112  # pixels
_DIMS: Dims = ["N", 3, _SIDE, _SIDE]
_EMBEDDING = 512
_CELLS = 14 * 14 + 7 * 7 + 3 * 3  # of a picture of that side, for all strides of a detector
_WIDE = 240


def _net(seed: int) -> bytes:
    """An ONNX file of 1 MB, which is read in several pieces; detector and recogniser in one."""
    model = graph(
        [
            node("ReduceMean", "x", "level", axes=[2, 3], keepdims=0),
            node("MatMul", "level first", "wide"),
            node("MatMul", "wide second", "narrow"),
            node("MatMul", "narrow third", "embedding"),
            node("Reshape", "level column", "faces"),
            node("MatMul", "faces row", "rows"),
            node("MatMul", "columns rows", "boxes"),
        ],
        {"x": _DIMS},
        {"embedding": ["N", _EMBEDDING], "boxes": ["N", 20, _CELLS]},
        {"first": weights(3, _EMBEDDING, seed=seed), "second": weights(_EMBEDDING, _WIDE),
         "third": weights(_WIDE, _EMBEDDING), "column": [-1, 3, 1], "row": weights(1, _CELLS),
         "columns": weights(20, 3)},
    )  # fmt: skip
    content: bytes = model.SerializeToString()
    return content


def _painter() -> bytes:
    """Adds the mean of the source."""
    model = graph(
        [
            node("ReduceMean", "source", "mean", axes=[1], keepdims=1),
            node("Reshape", "mean column", "light"),
            node("Add", "x light", "y"),
        ],
        {"x": _DIMS, "source": ["N", _EMBEDDING]}, {"y": _DIMS}, {"column": [-1, 1, 1, 1]},
    )  # fmt: skip
    content: bytes = model.SerializeToString()
    return content


BODY = _net(0)
OTHER = _net(1)
PAINTER = _painter()
SHA256 = hashlib.sha256(BODY).hexdigest()
CRC32 = f"{zlib.crc32(BODY):08x}"

_CROP = ImageInput(
    name="x", layout="nchw", size=(_SIDE, _SIDE), colour="rgb", mean=(0, 0, 0), std=(1, 1, 1)
)


def detector(**changes: Any) -> ModelSpec:
    """Its licence is open, and no digest of its file is known."""
    spec = ModelSpec(
        name="finder", kind="detector", family="yolo_face", file="finder_1.onnx", licence="MIT",
        terms="open", vendor="Someone", year=2023, image=_CROP, release="v3",
        outputs=("boxes",),
    )  # fmt: skip
    return replace(spec, **changes)


def recogniser(**changes: Any) -> ModelSpec:
    """Not for commerce."""
    spec = ModelSpec(
        name="knower", kind="recogniser", family="arcface", file="knower.onnx",
        licence="Knower-Licence", terms="non-commercial", vendor="Face Lab", image=_CROP,
        template="arcface_112_v2", outputs=("embedding",),
    )  # fmt: skip
    return replace(spec, **changes)


def swapper(**changes: Any) -> ModelSpec:
    """It needs the recogniser, and its terms are restricted."""
    spec = ModelSpec(
        name="painter", kind="swapper", family="generator", file="painter_128.onnx",
        licence="Painter-RAIL", terms="restricted", vendor="Paint Lab", image=_CROP,
        result=ImageOutput(mean=(0, 0, 0), std=(255, 255, 255)), template="arcface_128",
        source=SourceInput(name="source", form="embedding", recogniser="knower"),
    )  # fmt: skip
    return replace(spec, **changes)


def embedded() -> ModelSpec:
    """One that comes with ffswap."""
    return get("face_landmark")
