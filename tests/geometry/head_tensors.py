"""Tensors of the published detectors, made from known faces, for the tests of decoders and stages.

The encoders follow the description of each format, one face and one number at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ffswap.carriers import F32

Size: TypeAlias = tuple[int, int]

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Face:
    """What is put into the tensors.

    Attributes:
        box: left, top, right, bottom, pixels.
        points: five of them.
        score: 0 to 1.
        stride: of the grid that finds it, for those that have several.
    """

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float
    stride: int = 8


def face_at(x: float, y: float, w: float, h: float, score: float, stride: int = 8) -> Face:
    """Points at odd places of the box."""
    shares = ((0.31, 0.4), (0.71, 0.37), (0.52, 0.61), (0.36, 0.83), (0.68, 0.79))
    points = tuple((x + a * w, y + b * h) for a, b in shares)
    return Face((x, y, x + w, y + h), points, score, stride)


def home(face: Face, size: Size) -> tuple[int, int, int]:
    """(column, row, index) of the cell in which the middle of a face lies."""
    columns, rows = size[0] // face.stride, size[1] // face.stride
    left, top, right, bottom = face.box
    column = int(min(max((left + right) / 2 // face.stride, 0), columns - 1))
    row = int(min(max((top + bottom) / 2 // face.stride, 0), rows - 1))
    return column, row, row * columns + column


def yolo_face(faces: Sequence[Face], size: Size = (640, 640)) -> list[F32]:
    """Candidates spread over the 8400; each point has a confidence that must not matter."""
    count = sum((size[0] // s) * (size[1] // s) for s in STRIDES)
    tensor = np.zeros((20, count), np.float32)
    for k, face in enumerate(faces):
        left, top, right, bottom = face.box
        at = (k * 4001 + 17) % count
        tensor[0:4, at] = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        tensor[4, at] = face.score
        for j, (x, y) in enumerate(face.points):
            tensor[5 + 3 * j : 8 + 3 * j, at] = [x, y, 0.9 - 0.2 * j]
    return [tensor]


def scrfd(faces: Sequence[Face], size: Size = (640, 640)) -> list[F32]:
    """Every other face in the second anchor of its cell."""
    cells = [(size[0] // s) * (size[1] // s) for s in STRIDES]
    tensors = [np.zeros((2 * n, k), np.float32) for k in (1, 4, 10) for n in cells]
    for number, face in enumerate(faces):
        which, s = STRIDES.index(face.stride), face.stride
        column, row, cell = home(face, size)
        ax, ay, anchor = column * s, row * s, 2 * cell + number % 2
        left, top, right, bottom = face.box
        tensors[which][anchor] = face.score
        distances = [ax - left, ay - top, right - ax, bottom - ay]
        tensors[3 + which][anchor] = np.array(distances) / s
        tensors[6 + which][anchor] = [v / s for x, y in face.points for v in (x - ax, y - ay)]
    return tensors


def yunet(faces: Sequence[Face], size: Size = (640, 640)) -> list[F32]:
    """The score as a product of two."""
    cells = [(size[0] // s) * (size[1] // s) for s in STRIDES]
    tensors = [np.zeros((n, k), np.float32) for k in (1, 1, 4, 10) for n in cells]
    for face in faces:
        which, s = STRIDES.index(face.stride), face.stride
        column, row, cell = home(face, size)
        left, top, right, bottom = face.box
        tensors[which][cell], tensors[3 + which][cell] = 0.98, face.score / 0.98
        tensors[6 + which][cell] = [
            (left + right) / 2 / s - column,
            (top + bottom) / 2 / s - row,
            np.log((right - left) / s),
            np.log((bottom - top) / s),
        ]
        tensors[9 + which][cell] = [
            v for x, y in face.points for v in (x / s - column, y / s - row)
        ]
    return tensors


ENCODERS: dict[str, Callable[[Sequence[Face], Size], list[F32]]] = {
    "yolo_face": yolo_face,
    "scrfd": scrfd,
    "yunet": yunet,
}
