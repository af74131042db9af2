"""What a net made of crops goes back into frames in device memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...carriers import I64
from ...errors import InternalError
from ...geometry import affine, sampling
from ...gpu import DeviceArray, Programs, Stream
from .crop import BLOCK, on_chroma
from .frames import DeviceFrames
from .reading import READING, pack_readings

__all__ = ["MOST_FACES", "Paster", "touched"]

MOST_FACES = 16
"""Of one launch: what is said about them goes with the kernel's parameters (at most 4096 bytes)."""

F64 = NDArray[np.float64]

_PART = np.dtype([("bounds", np.int32, 4), ("reading", READING)], align=True)
_FACE = np.dtype(
    [
        ("frame", np.int32), ("row", np.int32), ("mask", np.int32), ("opacity", np.float32),
        ("part", _PART, 2),
    ],
    align=True,
)  # fmt: skip
_PICTURE = np.dtype(
    [
        ("side", np.int32), ("boost", np.int32), ("half", np.int32), ("std", np.float32, 3),
        ("mean", np.float32, 3),
    ],
    align=True,
)  # fmt: skip


class _Result(Protocol):
    """What of `models.ImageOutput` is asked here; parts above this one know that."""

    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


class Paster:
    """Lays pictures of a net over the frames that its crops came from. Passive.

    The values are those of `ops.paste.paste_crop`, with the picture as `stages.net_paint` reads it.

    Args:
        programs: where the kernels are.
    """

    def __init__(self, programs: Programs) -> None:
        self._kernel = programs.kernel("paste", "paste")

    def __call__(
        self,
        frames: DeviceFrames,
        where: I64,
        matrices: F64,
        picture: DeviceArray,
        masks: DeviceArray,
        sound: DeviceArray,
        result: _Result,
        stream: Stream,
        *,
        opacity: NDArray[np.float32] | None = None,
        boost: int = 1,
    ) -> I64:
        """Start to paste; faces of one frame are laid over it in the order given.

        Args:
            frames: on the device, written before on this stream; edited in place.
            where: (n,) index into `frames` of each face.
            matrices: (n, 2, 3), from luma pixels to pixels of the crop; they can be inverted.
            picture: (n * boost**2, 3, s, s) float32 or float16 RGB, tiles as in
                `geometry.crop_masks.split_boost`; the crop has S = s * boost pixels a side.
            masks: (n, S, S) or (1, S, S) float32, 0 (the frame) to 1 (the picture).
            sound: (n,) int32; where it is 0 the frame stays as it is: see `Soundness`.
            result: what the values of the picture mean.
            stream: of the work.
            opacity: (n,) by which the masks are multiplied, 0 to 1; None: 1.
            boost: see above.

        Returns:
            (n, 4) the rectangles that may have changed, as `RegionDownload` takes them.

        Raises:
            InternalError: an array has another shape or type.
        """
        n = len(where)
        side = picture.shape[-1]
        _check(n, picture, masks, side, boost)
        if sound.shape != (n,) or sound.dtype != np.int32:
            raise InternalError(f"{sound!r} does not say which of {n} faces are sound")
        faces, parts = _pack(frames, where, matrices, side * boost)
        faces["row"] = np.arange(n) * boost**2
        faces["mask"] = np.arange(n) if masks.shape[0] > 1 else 0
        faces["opacity"] = 1 if opacity is None else opacity
        std, mean = (np.asarray(part, np.float32) / 255 for part in (result.std, result.mean))
        told = np.array((side, boost, picture.dtype == np.float16, std, mean), _PICTURE)
        for rows in _rounds(where):
            table = np.zeros((), np.dtype([("each", _FACE, MOST_FACES)], align=True))
            table["each"][: len(rows)] = faces[rows]
            width, height = (parts[:, rows, 2:] - parts[:, rows, :2]).reshape(-1, 2).max(0).tolist()
            if width and height:
                self._kernel.launch(
                    stream,
                    (-(-width // BLOCK[0]), -(-height // BLOCK[1]), 2 * len(rows)),
                    BLOCK,
                    frames.descriptor(),
                    table,
                    told,
                    picture,
                    masks,
                    sound,
                )
        return touched(frames, parts)


def touched(frames: DeviceFrames, parts: I64) -> I64:
    """Rectangles that hold parts of all planes.

    Args:
        frames: of which they are.
        parts: (2, n, 4) left, top, right, bottom, in samples of luma and of chroma; all 0: nothing.

    Returns:
        (n, 4) in luma samples: left and top on the grid of the chroma samples, right and bottom there
        or at the frame's end; all 0: nothing.
    """
    fmt = frames.format
    step = np.array([1 << fmt.log2_chroma_w, 1 << fmt.log2_chroma_h])
    ends = np.array([frames.width, frames.height])
    inside = (parts[..., 2:] > parts[..., :2]).all(-1, keepdims=True)
    scale = np.stack([np.ones(2, np.int64), step])[:, None]
    low = np.where(inside, parts[..., :2] * scale, ends).min(0) // step * step
    high = np.where(inside, parts[..., 2:] * scale, 0).max(0)
    high = np.minimum(-(-high // step) * step, ends)
    return np.where(inside.any(0), np.concatenate([low, high], 1), 0)


def _check(n: int, picture: DeviceArray, masks: DeviceArray, side: int, boost: int) -> None:
    if picture.shape != (n * boost**2, 3, side, side) or picture.dtype not in (
        np.float32, np.float16,
    ):  # fmt: skip
        raise InternalError(f"{n} faces of boost {boost} are not in {picture!r}")
    whole = side * boost
    if masks.dtype != np.float32 or masks.shape not in ((n, whole, whole), (1, whole, whole)):
        raise InternalError(f"masks of {n} crops of {whole} pixels are not in {masks!r}")


def _pack(frames: DeviceFrames, where: I64, matrices: F64, side: int) -> tuple[NDArray[Any], I64]:
    """(n,) faces for the kernel, and (2, n, 4) what they reach of luma and of chroma."""
    faces = np.zeros(len(where), _FACE)
    faces["frame"] = where
    chroma = frames.format.chroma_shape(frames.height, frames.width)
    grids = ((matrices, (frames.height, frames.width)), (on_chroma(frames, matrices), chroma))
    parts = []
    for k, (to_crop, shape) in enumerate(grids):
        back = affine.invert(to_crop)
        bounds = sampling.reach(back, side, shape)
        back[:, :, 2] -= bounds[:, :2]
        sizes = bounds[:, 2:] - bounds[:, :2]
        faces["part"]["bounds"][:, k] = np.concatenate([bounds[:, :2], sizes], 1)
        faces["part"]["reading"][:, k] = pack_readings(back, sizes, (side, side))
        parts.append(bounds)
    return faces, np.stack(parts)


def _rounds(where: I64) -> Iterator[list[int]]:
    """Rows that may be pasted at once: no two of one frame, each frame's in order."""
    rounds: list[list[int]] = []
    before: dict[int, int] = {}
    for row, frame in enumerate(where.tolist()):
        turn = before.get(frame, 0)
        before[frame] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(row)
    for rows in rounds:
        for start in range(0, len(rows), MOST_FACES):
            yield rows[start : start + MOST_FACES]
