"""Crops of several kinds, dark ones among them, and how light OpenCV says that they are."""

from __future__ import annotations

import cv2
import numpy as np


def crops_of_all_kinds(side: int) -> np.ndarray:
    """Noise of several brightnesses, a photo-like one with soft light, black, white, pure colours."""
    rng = np.random.default_rng(2)
    noise = [rng.uniform(0, top, (3, side, side)) for top in (1, 0.5, 0.2, 0.1, 0.03)]
    light = cv2.GaussianBlur(rng.uniform(0, 1, (side, side, 3)), (0, 0), side / 12)
    soft = ((light - light.min()) / np.ptp(light)).transpose(2, 0, 1)
    plain = [np.full((3, side, side), v) for v in (0.0, 1.0, 70.9 / 255)]
    colours = [np.eye(3)[k][:, None, None] * np.linspace(0, 1, side)[None, None] for k in range(3)]
    colours = [np.broadcast_to(c, (3, side, side)) for c in colours]
    return np.stack([*noise, soft, soft * 0.25, *plain, *colours]).astype(np.float32)


def reference_mean(crop: np.ndarray) -> float:
    """The mean that `ops.contrast.lift_dark` compares."""
    codes = np.round(crop[::-1].transpose(1, 2, 0) * 255).astype(np.uint8)
    return float(cv2.cvtColor(np.ascontiguousarray(codes), cv2.COLOR_RGB2LAB)[..., 0].mean())
