"""Models and files for the tests of the store: small, and known by their digests."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from typing import Any

from ffswap.models import ModelSpec, get
from ffswap.models.spec import ImageInput, ImageOutput, SourceInput
from tests.models.graphs import graph, node, weights

__all__ = ["BODY", "CRC32", "OTHER", "SHA256", "detector", "embedded", "recogniser", "swapper"]


def _net(seed: int) -> bytes:
    """An ONNX file of 1 MB, which is read in several pieces."""
    model = graph(
        [node("MatMul", "x w", "y")], {"x": ["N", 500]}, {"y": ["N", 500]},
        {"w": weights(500, 500, seed=seed)},
    )  # fmt: skip
    content: bytes = model.SerializeToString()
    return content


BODY = _net(0)
OTHER = _net(1)
SHA256 = hashlib.sha256(BODY).hexdigest()
CRC32 = f"{zlib.crc32(BODY):08x}"

_CROP = ImageInput(
    name="x", layout="nchw", size=(112, 112), colour="rgb", mean=(0, 0, 0), std=(1, 1, 1)
)


def detector(**changes: Any) -> ModelSpec:
    """Its licence is open, and no digest of its file is known."""
    spec = ModelSpec(
        name="finder", kind="detector", family="yunet", file="finder_1.onnx", licence="MIT",
        terms="open", vendor="Someone", year=2023, image=_CROP, release="v3",
    )  # fmt: skip
    return replace(spec, **changes)


def recogniser(**changes: Any) -> ModelSpec:
    """Not for commerce."""
    spec = ModelSpec(
        name="knower", kind="recogniser", family="arcface", file="knower.onnx",
        licence="Knower-Licence", terms="non-commercial", vendor="Face Lab", image=_CROP,
        template="arcface_112_v2",
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
