"""A calibration set of smooth noise for a net, to measure what INT8 engines cost and gain.

    python -m tools.random_set SET NET.onnx [--rows 32]

It says nothing about quality: a real set holds faces. Pictures are low-frequency noise from 0 to 1, and
everything else is drawn from the normal distribution and divided by its norm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffswap.engines.calibration import CalibrationRows, write_set
from ffswap.models.graph import TensorInfo, inputs_of
from ffswap.models.onnx_files import fingerprint, load_onnx

__all__ = ["main", "random_rows"]

# Samples of noise along a side, with values between them interpolated.
_KNOTS = 9
_PICTURE_RANK = 4


def random_rows(path: Path, rows: int, *, name: str | None = None) -> CalibrationRows:
    """Rows for every input of a net that has a batch.

    Args:
        path: of its ONNX file.
        rows: how many.
        name: of the net; None: that of the file.
    """
    net, random = load_onnx(path), np.random.default_rng(0)
    place = np.arange(rows)
    angle = np.zeros(rows, np.float32)
    return CalibrationRows(
        model=name or path.stem,
        onnx_sha256=fingerprint(net),
        inputs={one.name: _drawn(one, rows, random) for one in inputs_of(net)},
        skin=("even", "odd"),
        pose=("front",),
        group_skin=place % 2,
        group_pose=0 * place,
        person=place,
        face_px=angle + 128,
        ita=angle,
        yaw=angle,
        pitch=angle,
    )


def _drawn(info: TensorInfo, rows: int, random: np.random.Generator) -> NDArray[Any]:
    shape = (rows, *info.shape[1:])
    if len(shape) != _PICTURE_RANK:
        values = random.normal(size=shape)
        lengths = np.linalg.norm(values.reshape(rows, -1), axis=1)
        unit: NDArray[np.float32] = (values / lengths[:, None]).astype(np.float32)
        return unit
    knots = random.random((*shape[:2], _KNOTS, _KNOTS))
    for axis in (2, 3):
        at = np.linspace(0, _KNOTS - 1, shape[axis])
        low = np.minimum(at.astype(int), _KNOTS - 2)
        weight = (at - low).reshape([-1 if k == axis else 1 for k in range(_PICTURE_RANK)])
        first, second = np.take(knots, low, axis), np.take(knots, low + 1, axis)
        knots = first * (1 - weight) + second * weight
    picture: NDArray[np.float32] = knots.astype(np.float32)
    return picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the set.

    Args:
        arguments: of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.random_set", description=__doc__)
    parser.add_argument("set", type=Path, help="folder to write")
    parser.add_argument("net", type=Path, help="ONNX file")
    parser.add_argument("--rows", type=int, default=32)
    args = parser.parse_args(arguments)
    print(write_set(args.set, [random_rows(args.net, args.rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
