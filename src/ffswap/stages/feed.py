"""From crops in RGB 0..1 to what a net takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32
from ..models import ModelSpec

__all__ = ["net_input"]


def net_input(crops: Sequence[F32], spec: ModelSpec) -> dict[str, F32]:
    """The feeds of a net with one picture input.

    Args:
        crops: n arrays (3, size, size) float32 RGB, 0 to 1.
        spec: the net's layout, colour order, mean and std.
    """
    image = spec.image
    order = slice(None) if image.colour == "rgb" else slice(None, None, -1)
    mean = np.asarray(image.mean, np.float32)[:, None, None]
    scale = (1 / np.asarray(image.std, np.float32))[:, None, None]
    batch = np.stack([(crop[order] * 255 - mean) * scale for crop in crops])
    if image.layout == "nhwc":
        batch = batch.transpose(0, 2, 3, 1)
    return {image.name: np.ascontiguousarray(batch, np.float32)}
