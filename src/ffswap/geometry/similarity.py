"""The turn, scale and shift that lay a face's five points on a template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from ..errors import InternalError

__all__ = ["is_alignable", "similarity"]

F64 = NDArray[np.float64]

LEAST_SPREAD_PX = 0.5
"""Root mean square distance of five points from their middle: that of a face 3 pixels high, of which
nothing could be seen in a crop."""

LEAST_LIKENESS = 0.3
"""Of five points with `FRONTAL`, 0 to 1. A face from the front has 0.95 and more, one seen from the
side 0.7, a mirrored one 0.1 and less: no turn lays that on a template, and the crop that fits it best
shows half the frame."""

FRONTAL: F64 = np.array([[-1, -1], [1, -1], [0, 0], [-0.85, 1], [0.85, 1]], np.float64)
"""Eyes, nose and mouth as all templates have them, roughly; only used to tell a face from a muddle."""


def similarity(
    points: F32 | F64, template: F32 | F64, size: float, pixel_aspect: float = 1.0
) -> F64:
    """The similarities (turn, one scale, shift; no mirroring) with the least sum of squared distances.

    Pixels that are not square are made so first, so that the crop shows the face as it is.

    The published procedure asks OpenCV's estimateAffinePartial2D with a threshold of 100 pixels,
    within which all five points lie: the same matrix, found by trials.

    Args:
        points: (n, 5, 2), pixels; faces for which `is_alignable` is true.
        template: (5, 2), in units of the crop's side.
        size: side of the crop, pixels.
        pixel_aspect: width of a pixel of the points by its height.

    Returns:
        (n, 2, 3) float64, from pixels of the points to pixels of the crop.

    Raises:
        InternalError: five points are one and the same, are not finite, or fit so badly that the
            best scale is 0: such a face must be dropped before.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
    patterns (1991), in closed form for two dimensions.
    """
    given = np.asarray(points, np.float64) * (pixel_aspect, 1.0)
    wanted = np.asarray(template, np.float64) * size
    if not np.isfinite(given).all():
        raise InternalError("points of a face that are not finite cannot be aligned")
    from_middle = given - given.mean(1, keepdims=True)
    target = wanted - wanted.mean(0)
    spread = (from_middle**2).sum((1, 2))
    if not (spread > 0).all():
        raise InternalError("points of a face that are one and the same cannot be aligned")
    along = (from_middle * target).sum((1, 2)) / spread
    across = from_middle[..., 0] * target[:, 1] - from_middle[..., 1] * target[:, 0]
    turned = across.sum(1) / spread
    if not ((along != 0) | (turned != 0)).all():
        raise InternalError("points of a face that fit the template in no size cannot be aligned")
    matrix = np.empty((len(given), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = along
    matrix[:, 0, 1], matrix[:, 1, 0] = -turned, turned
    matrix[:, :, 2] = wanted.mean(0) - np.einsum("nij,nj->ni", matrix[:, :, :2], given.mean(1))
    matrix[:, :, 0] *= pixel_aspect
    return matrix


def is_alignable(points: F32 | F64) -> NDArray[np.bool_]:
    """Which faces can be laid on a template: their points are finite, apart, and not mirrored.

    A detector or a landmark net may err in any frame of a clip; what is not alignable is no face
    and must be dropped.

    Args:
        points: (n, 5, 2), pixels: eyes, nose tip, mouth corners.

    Returns:
        (n,) bool.
    """
    given = np.asarray(points, np.float64)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(given).all((1, 2)))
    given = np.where(finite[:, None, None], given, 0.0)
    z = (given - given.mean(1, keepdims=True)) @ np.array([1, 1j])
    w = (FRONTAL - FRONTAL.mean(0)) @ np.array([1, 1j])
    spread = np.sqrt((np.abs(z) ** 2).mean(1))
    # The magnitude of a complex correlation does not change with turn and scale.
    likeness = np.abs(z @ w.conj()) / (len(w) * np.sqrt((np.abs(w) ** 2).mean()))
    return np.asarray(finite & (spread >= LEAST_SPREAD_PX) & (likeness >= LEAST_LIKENESS * spread))
