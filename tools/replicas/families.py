"""The families: what each stands for, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import onnx

from . import detectors, identity, landmarkers, masks, picture_swappers, restorers, swappers
from .builder import GraphBuilder

__all__ = ["FAMILIES", "Family", "Size", "make"]

Size = Literal["small", "full"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One published file that a replica stands for.

    Attributes:
        stands_for: the kind of net, in a few words.
        build: fills a builder; its flag asks for the full architecture.
        opset: of the replica. Known of hyperswap and crossface (15); the others are of the usual
            ones of their years, so that all of 11 to 17 are met.
        full: whether there is a full architecture.
    """

    stands_for: str
    build: Callable[[GraphBuilder, bool], None]
    opset: int
    full: bool = False


def _family(
    stands_for: str, build: Callable[[GraphBuilder, bool], None], opset: int, *, full: bool = False
) -> Family:
    return Family(stands_for=stands_for, build=build, opset=opset, full=full)


FAMILIES = {
    "yoloface_8n": _family("detector, YOLOv8n-pose", detectors.yoloface, 17, full=True),
    "scrfd_2.5g": _family("detector, 9 outputs without a batch axis", detectors.scrfd, 11),
    "retinaface_10g": _family("detector, free height and width", detectors.retinaface, 11),
    "yunet_2023_mar": _family("detector, depthwise, 12 outputs", detectors.yunet, 11),
    "2dfan4": _family("landmarker, hourglasses, ArgMax inside", landmarkers.fan, 13, full=True),
    "peppa_wutz": _family("landmarker, depthwise", landmarkers.peppa_wutz, 12),
    "fan_68_5": _family("5 points to 68, perceptron", landmarkers.fan_68_5, 17, full=True),
    "arcface_w600k_r50": _family("recogniser, IResNet-50", identity.arcface, 11, full=True),
    "crossface_simswap": _family("converter of embeddings", identity.crossface, 15),
    "inswapper_128": _family("swapper, AdaIN in primitives", swappers.inswapper, 11, full=True),
    "hyperswap_1a_256": _family("swapper, float16 inside", swappers.hyperswap, 15),
    "simswap_256": _family("swapper, style in the middle", swappers.simswap, 12),
    "ghost_1_256": _family("swapper, AEI-Net", swappers.ghost, 13),
    "hififace_unofficial_256": _family("swapper, AdaIN by operator", swappers.hififace, 16),
    "uniface_256": _family("swapper, source is a picture", picture_swappers.uniface, 14),
    "blendswap_256": _family("swapper, recogniser inside", picture_swappers.blendswap, 14),
    "xseg_1": _family("occluder, channels last", masks.xseg, 13),
    "bisenet_resnet_18": _family("parser, 19 classes", masks.bisenet, 12),
    "gfpgan_1.4": _family("restorer, computed kernels", restorers.gfpgan, 11, full=True),
    "codeformer": _family("restorer, attention and codebook", restorers.codeformer, 16),
}
"""By the stem of the published file's name."""


def make(family: str, size: Size = "small", *, seed: int = 0) -> onnx.ModelProto:
    """Build a replica: random weights, and the published names, types and operators.

    Args:
        family: a key of `FAMILIES`.
        size: ``small`` has few channels and small maps; ``full`` has the published shapes.
        seed: of the weights; the same seed gives the same bytes.

    Raises:
        ValueError: no such family, or it has no full architecture.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; allowed: {', '.join(FAMILIES)}")
    entry = FAMILIES[family]
    if size not in ("small", "full") or (size == "full" and not entry.full):
        allowed = "small, full" if entry.full else "small"
        raise ValueError(f"size of {family} is {size!r}; allowed: {allowed}")
    builder = GraphBuilder(family, opset=entry.opset, seed=seed)
    entry.build(builder, size == "full")
    return builder.model
