"""Crops of frames in device memory, straight into the input of a net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...carriers import I64, FrameBatch
from ...errors import InternalError
from ...geometry import affine
from ...gpu import DeviceArray, Programs, Stream
from .. import cpu
from .frames import DeviceFrames
from .reading import READING, pack_readings

__all__ = ["BLOCK", "MOST_CROPS", "CropReader", "NetForm", "on_chroma"]

MOST_CROPS = 16
"""Of one launch: their maps go with the kernel's parameters, of which there may be 4096 bytes."""

BLOCK = (32, 8)
"""Threads of a block: a warp writes 32 neighbours of a row, 8 rows share what they read."""

_CROP = np.dtype(
    [("frame", np.int32), ("size", np.int32, 2), ("luma", READING), ("chroma", READING)], align=True
)
_FORM = np.dtype(
    [
        ("width", np.int32), ("height", np.int32), ("boost", np.int32), ("rows_last", np.int32),
        ("half", np.int32), ("repeat", np.int32), ("channel", np.int32, 3), ("unit", np.float32),
        ("mean", np.float32, 3), ("scale", np.float32, 3),
    ],
    align=True,
)  # fmt: skip


class _Image(Protocol):
    """What of `models.ImageInput` is asked here; parts above this one know that."""

    @property
    def layout(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


@dataclass(frozen=True, kw_only=True)
class NetForm:
    """How a net wants its picture; by default plain RGB, 0 to 1.

    A value v of 0 to 1 goes in as ``(v * unit - mean) / std``.

    Attributes:
        layout: order of the axes; the batch is always first.
        colour: order of the colours.
        mean: per colour, in the order of `colour`.
        std: the same; not zero.
        unit: what mean and std take for white.
    """

    layout: str = "nchw"
    colour: str = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: float = 1.0

    @classmethod
    def of(cls, image: _Image) -> NetForm:
        """What a net with this `models.ImageInput` asks for."""
        return cls(
            layout=image.layout, colour=image.colour, mean=image.mean, std=image.std, unit=255.0
        )

    def shape(self, n: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Of n pictures."""
        return (n, 3, height, width) if self.layout == "nchw" else (n, height, width, 3)

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(width, height) of pictures of this shape.

        Raises:
            InternalError: it is not that of pictures of this form.
        """
        if len(shape) == 4:
            height, width = shape[2:] if self.layout == "nchw" else shape[1:3]
            if self.shape(shape[0], width, height) == tuple(shape):
                return width, height
        raise InternalError(f"pictures of the form {self.layout} in an array of shape {shape}")


class CropReader:
    """Reads crops of frames into the input of a net. Passive; for one thread per stream.

    The values are those of `ops.cpu.crop_rgb`, as `stages.feed.picture_input` gives them to a net.

    Args:
        programs: where the kernels are.
    """

    def __init__(self, programs: Programs) -> None:
        self._kernel = programs.kernel("crop", "crop")

    def __call__(
        self,
        frames: DeviceFrames,
        where: I64,
        matrices: NDArray[np.float64],
        out: DeviceArray,
        form: NetForm,
        stream: Stream,
        *,
        windows: I64 | None = None,
        pad_black: bool = False,
        boost: int = 1,
    ) -> None:
        """Start to fill a net's input with crops.

        Args:
            frames: on the device, written before on this stream.
            where: (n,) index into `frames` of each crop.
            matrices: (n, 2, 3), from luma pixels to pixels of the crop.
            out: (n * boost**2, ...) of the form, float32 or float16; the tiles of a crop follow one
                another as in `geometry.crop_masks.split_boost`.
            form: what the values mean.
            stream: of the work.
            windows: (n, 2) width and height of the part of a crop, from its top left corner, that is
                read; the rest is black. None: all of it.
            pad_black: what lies outside the frame is black; else it repeats the edge.
            boost: crops are this many times larger than the net's input.

        Raises:
            InternalError: the array has another shape or type.
        """
        width, height = form.size(out.shape)
        if out.shape[0] != len(where) * boost**2 or out.dtype not in (np.float32, np.float16):
            raise InternalError(f"{len(where)} crops of boost {boost} do not go into {out!r}")
        full = np.array([width * boost, height * boost], np.int64)
        sizes = np.broadcast_to(full, (len(where), 2)) if windows is None else windows
        crops = _pack(frames, where, matrices, sizes)
        packed = _pack_form(form, width, height, out.dtype, pad_black=pad_black, boost=boost)
        for start in range(0, len(where), MOST_CROPS):
            count = min(MOST_CROPS, len(where) - start)
            table = np.zeros((), np.dtype([("each", _CROP, MOST_CROPS)], align=True))
            table["each"][:count] = crops[start : start + count]
            rows = count * boost**2
            self._kernel.launch(
                stream,
                (-(-width // BLOCK[0]), -(-height // BLOCK[1]), rows),
                BLOCK,
                frames.descriptor(),
                table,
                packed,
                out.rows(start * boost**2, start * boost**2 + rows),
            )


def on_chroma(frames: FrameBatch, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 3) matrices from luma pixels to the same from chroma pixels."""
    return affine.compose(matrices, affine.invert(cpu.chroma_matrix(frames.format)))


def _pack(
    frames: DeviceFrames, where: I64, matrices: NDArray[np.float64], sizes: I64
) -> NDArray[Any]:
    packed = np.zeros(len(where), _CROP)
    packed["frame"], packed["size"] = where, sizes
    packed["luma"] = pack_readings(matrices, sizes, (frames.height, frames.width))
    chroma = frames.format.chroma_shape(frames.height, frames.width)
    packed["chroma"] = pack_readings(on_chroma(frames, matrices), sizes, chroma)
    return packed


def _pack_form(
    form: NetForm, width: int, height: int, dtype: np.dtype[Any], *, pad_black: bool, boost: int
) -> NDArray[Any]:
    order = [0, 1, 2] if form.colour == "rgb" else [2, 1, 0]
    mean, std = np.asarray(form.mean, np.float32), np.asarray(form.std, np.float32)
    values = (
        width, height, boost, form.layout == "nhwc", dtype == np.float16, not pad_black, order,
        form.unit, mean[order], (1 / std)[order],
    )  # fmt: skip
    return np.array(values, _FORM)
