"""What a crop and five points tell of a face: light, tone of the skin, sharpness, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32

__all__ = [
    "POSES",
    "SKIN_TONES",
    "light_and_ita",
    "place",
    "pose_angles",
    "pose_group",
    "sharpness",
    "skin_group",
]

SKIN_TONES = ("dark", "brown", "tan", "intermediate", "light", "very light")
"""Classes of the individual typology angle, from the lowest. Source: Chardon et al. 1991, Del Bino et al.
2006."""

_TONE_EDGES = (-30.0, 10.0, 28.0, 41.0, 55.0)  # degrees, between the classes

POSES = ("front", "left", "right", "up", "down")
"""Left and right are those of the picture."""

_TURNED_DEG, _NODDED_DEG = 20.0, 15.0
# Beyond these a face is not from the front: the net's template fits it no longer well.

# Eyes, nose tip and mouth corners of a mean adult, in mm: x to the right of the picture, y down, z
# towards the camera; from the distances of ANSUR II (eyes 63 mm apart, nose 22 mm before them).
_HEAD = np.array(
    [[-31.5, -35, 0], [31.5, -35, 0], [0, 5, 22], [-25, 35, -2], [25, 35, -2]], np.float64
)

# sRGB to XYZ by the white of D65: IEC 61966-2-1, divided by (0.9505, 1, 1.089).
_XYZ = np.array(
    [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]], np.float64
)

# In a crop by the points arcface_112_v2: cheeks, nose and the skin below the eyes; left, top,
# right and bottom by its side. Eyes, brows and mouth lie outside.
_SKIN_BOXES = ((0.22, 0.54, 0.42, 0.72), (0.42, 0.48, 0.58, 0.68), (0.58, 0.54, 0.78, 0.72))
# Highlights and shadows, beard and nostrils: what is darker or lighter than these is left out.
_TRIMMED_PERCENT = (20.0, 90.0)


def light_and_ita(crop: F32) -> tuple[float, float]:
    """How light the skin of a face is, and its individual typology angle.

    The angle is atan2(L* - 50, b*) of the middle of the skin, as it looks in the picture: the colour of
    the light counts as the skin's.

    Args:
        crop: (3, S, S) float32 RGB, sRGB, 0 to 1, aligned to the points arcface_112_v2.

    Returns:
        L*, 0 to 100, and the angle in degrees, -90 to 90.
    """
    side = crop.shape[-1]
    parts = [
        crop[
            :, round(top * side) : round(bottom * side), round(left * side) : round(right * side)
        ].reshape(3, -1)
        for left, top, right, bottom in _SKIN_BOXES
    ]
    rgb = np.concatenate(parts, 1).astype(np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ @ linear
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness, yellow = 116 * root[1] - 16, 200 * (root[1] - root[2])
    low, high = np.percentile(lightness, _TRIMMED_PERCENT)
    kept = (lightness >= low) & (lightness <= high)
    light, blue_yellow = float(np.median(lightness[kept])), float(np.median(yellow[kept]))
    # Skin is yellow; under blue light b* is not, and the angle would jump to the other side.
    return light, float(np.degrees(np.arctan2(light - 50, max(blue_yellow, 1e-3))))


def sharpness(crop: F32) -> float:
    """Logarithm (base 2) of the mean square of the second differences of a crop's green, by its variance.

    Args:
        crop: (3, S, S) float32 RGB, 0 to 1.
    """
    green = crop[1].astype(np.float64)
    middle = green[1:-1, 1:-1]
    edges = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:] - 4 * middle
    least = (1 / 255) ** 2 / 12  # what rounding to 8 bits adds
    return float(np.log2((np.mean(edges**2) + least) / (middle.var() + least)))


def pose_angles(points: F32) -> tuple[float, float]:
    """Yaw and pitch of a face from five points: the turn of a mean head under a parallel projection.

    A linear map from the head to the picture is fitted and made a turn with one scale; from five points
    it is right to about 10 degrees.

    Args:
        points: (5, 2) float32, eyes, nose tip, mouth corners, pixels that are square.

    Returns:
        Degrees: yaw, positive where the face looks to the right of the picture; pitch, positive
        upwards. -90 to 90.
    """
    head = _HEAD - _HEAD.mean(0)
    seen = np.asarray(points, np.float64) - np.asarray(points, np.float64).mean(0)
    fitted: NDArray[np.float64] = np.linalg.lstsq(head, seen, rcond=None)[0].T
    left, scale, right = np.linalg.svd(fitted, full_matrices=False)
    if not scale[1] > 0:
        return 0.0, 0.0
    rows = left @ right
    # Roll in the picture's plane is taken out: the eyes then lie level.
    turn = np.arctan2(rows[1, 0], rows[0, 0])
    cos, sin = np.cos(turn), np.sin(turn)
    rows = np.array([[cos, sin], [-sin, cos]]) @ rows
    forward = np.array([rows[0, 2], rows[1, 2]])
    yaw, pitch = np.degrees(np.arcsin(np.clip(forward, -1, 1)))
    return float(yaw), float(-pitch)


def pose_group(yaw: float, pitch: float) -> int:
    """Place in `POSES`; a face that is turned and nods belongs where it is further off."""
    if abs(yaw) <= _TURNED_DEG and abs(pitch) <= _NODDED_DEG:
        return 0
    if abs(yaw) / _TURNED_DEG >= abs(pitch) / _NODDED_DEG:
        return 1 if yaw < 0 else 2
    return 3 if pitch > 0 else 4


def skin_group(ita: float) -> int:
    """Place in `SKIN_TONES` of an individual typology angle, degrees."""
    return place(ita, _TONE_EDGES)


def place(value: float, edges: Sequence[float]) -> int:
    """How many of the ascending edges lie at or below a value."""
    return int(np.searchsorted(np.asarray(edges), value, side="right"))
