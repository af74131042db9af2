"""Thumbnails of the luma planes of frames in device memory, as `ops.thumbnails` makes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InternalError
from ...gpu import DeviceArray, Stream
from ...gpu.program import Programs
from ..thumbnails import THUMBNAIL, thumbnail_step

__all__ = ["ThumbnailMaker"]

NEGLIGIBLE = 1e-3
"""A share of a sample that OpenCV leaves out of an area mean."""

TAP = np.dtype(
    [
        ("first", np.int32),
        ("count", np.int32),
        ("start", np.float32),
        ("middle", np.float32),
        ("end", np.float32),
    ],
    align=True,
)
TAPS = np.dtype(
    [
        ("step", np.int32),
        ("whole", np.int32),
        ("columns", TAP, THUMBNAIL[0]),
        ("rows", TAP, THUMBNAIL[1]),
    ],
    align=True,
)
"""The structs Tap and Taps of thumbnail.cu."""

_Weights = tuple[int, list[float]]


class ThumbnailMaker:
    """Thumbnails of the frames of one clip.

    They equal those of `ops.thumbnails` wherever the plane is shrunk. Of planes of less than 32 x 18
    samples they are off by at most one code value.

    Args:
        programs: the kernels of the device.
        width: of the luma plane, samples.
        height: of the luma plane, samples.
        depth: bits of a sample; above 8 a sample has two bytes.
    """

    def __init__(self, programs: Programs, width: int, height: int, depth: int) -> None:
        self._dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
        self._kernel = programs.kernel("thumbnail", f"thumbnails_{8 * self._dtype.itemsize}")
        self._taps = _taps(width, height)
        self._row_bytes = width * self._dtype.itemsize

    def __call__(
        self,
        luma: int,
        pitch: int,
        frame_bytes: int,
        n: int,
        thumbnails: DeviceArray,
        stream: Stream,
    ) -> None:
        """Start to make the thumbnails of n frames.

        Args:
            luma: address of the first frame's luma plane.
            pitch: from row to row, bytes.
            frame_bytes: from frame to frame, bytes.
            n: frames.
            thumbnails: (n or more, 18, 32), uint8, or uint16 for more than 8 bits.
            stream: of the work.

        Raises:
            InternalError: `thumbnails` is too small or of another type, or the pitch is too small.
        """
        shape = thumbnails.shape
        good = thumbnails.dtype == self._dtype and shape[1:] == THUMBNAIL[::-1] and shape[0] >= n
        if not good or pitch < self._row_bytes:
            raise InternalError(f"{n} thumbnails of rows of {pitch} bytes into {thumbnails!r}")
        self._kernel.launch(
            stream, (n,), THUMBNAIL, np.uint64(luma), np.uint64(frame_bytes), np.int32(pitch),
            self._taps, thumbnails,
        )  # fmt: skip


def _taps(width: int, height: int) -> NDArray[Any]:
    """Which samples make each pixel, and with which weights: those of OpenCV's cv2.resize."""
    taps = np.zeros((), TAPS)
    step = thumbnail_step(width, height)
    sizes = tuple(-(-size // step) for size in (width, height))
    taps["step"] = step
    pairs = tuple(zip(sizes, THUMBNAIL, strict=True))
    grows = [size < out for size, out in pairs]
    both = all(size <= out for size, out in pairs)
    if not any(grows) and not any(size % out for size, out in pairs):
        taps["whole"] = math.prod(size // out for size, out in pairs)
    for field, (size, out) in zip(("columns", "rows"), pairs, strict=True):
        for k in range(out):
            if both or any(grows):
                first, weights = _between(k, size, out, centred=both)
            else:
                first, weights = _area(k, size, out)
            middle = weights[1] if len(weights) > 2 else 0
            taps[field][k] = (first, len(weights), weights[0], middle, weights[-1])
    return taps


def _area(k: int, size: int, out: int) -> _Weights:
    """Shrinking: the share of each sample in pixel k of `out`.

    Source: OpenCV 5.0, computeResizeAreaTab of resize.cpp.
    """
    scale = size / out
    low, high = k * scale, k * scale + scale
    cell = min(scale, size - low)
    last = min(math.floor(high), size - 1)
    first = min(math.ceil(low), last)
    weights = [1 / cell] * (last - first)
    if first - low > NEGLIGIBLE:
        weights.insert(0, (first - low) / cell)
        first -= 1
    if high - last > NEGLIGIBLE:
        weights.append(min(high - last, 1.0, cell) / cell)
    return first, weights


def _between(k: int, size: int, out: int, *, centred: bool) -> _Weights:
    """Growing: two neighbours, between the centres of samples or, if one axis shrinks, by overlap."""
    scale = size / out
    if centred:
        at = (k + 0.5) * scale - 0.5
        first = math.floor(at)
        share = at - first
    else:
        first = math.floor(k * scale)
        share = max((k + 1) - (first + 1) / scale, 0.0) % 1
    if first < 0 or first >= size - 1:
        first, share = min(max(first, 0), size - 1), 0.0
    return first, [1 - share, share] if share else [1.0]
