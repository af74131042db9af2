"""Batches of detector tensors with known and with random candidates, and what the reference says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ffswap.carriers import F32
from ffswap.geometry import boxes, heads
from ffswap.geometry.boxes import Detections
from ffswap.ops.cuda.detect import VALUES, HeadDecoder, detections_of
from tests.geometry.head_tensors import ENCODERS, STRIDES, Face, face_at

SIZE = (320, 224)
FAMILIES = sorted(ENCODERS)


def reference(family: str, tensors: list[F32], score: float, iou: float) -> Detections:
    """What the CPU pipeline keeps of one picture."""
    wide = [t.astype(np.float32) for t in tensors]
    if family == "yolo_face":
        found = heads.decode_yolo_face(wide[0], score)
    elif family == "scrfd":
        found = heads.decode_scrfd(wide, SIZE, score)
    else:
        found = heads.decode_yunet(wide, SIZE, score)
    return boxes.non_maximum_suppression(found, iou)


def crowd(seed: int, count: int) -> list[Face]:
    """Faces of all sizes, many of them over one another, some with the same score."""
    rng = np.random.default_rng(seed)
    faces = []
    for _ in range(count):
        x, y, side = rng.uniform(0, 260), rng.uniform(0, 170), rng.uniform(12, 70)
        score = float(rng.choice([0.55, 0.7, 0.9, rng.uniform(0.3, 1)]))
        faces.append(face_at(x, y, side, 1.2 * side, score, int(rng.choice(STRIDES))))
    return faces


def batch(family: str, pictures: list[list[Face]]) -> list[F32]:
    """Tensors of several pictures, with a batch axis."""
    parts = [ENCODERS[family](faces, SIZE) for faces in pictures]
    return [np.stack(same) for same in zip(*parts, strict=True)]


def compare(got: Detections, want: Detections, *, exact: bool) -> None:
    """The same faces in the same order; YuNet's exponential may differ in the last bits."""
    assert len(got) == len(want)
    np.testing.assert_array_equal(got.score, want.score)
    close: Callable[[Any, Any], None] = np.testing.assert_array_equal
    if not exact:
        # Four units in the last place of a float32, of the value and of the 320 pixels about it.
        def close(a, b):
            np.testing.assert_allclose(a, b, rtol=5e-7, atol=1.2e-4)

    close(got.box, want.box)
    close(got.points, want.points)


def decode(
    decoder: HeadDecoder,
    tensors: list[Any],
    n: int,
    make: Callable[[tuple[int, ...], Any], Any],
    fetch: Callable[[Any], Any],
    stream: Any,
) -> tuple[Any, list[Detections]]:
    """Counts and faces of a batch, on whatever device `make` and `fetch` speak of."""
    counts, rows = make((n,), np.int32), make((n, decoder.faces, VALUES), np.float32)
    scratch = make((decoder.scratch_bytes(n),), np.uint8)
    decoder(tensors, n, counts, rows, scratch, stream)
    numbers = fetch(counts)
    return numbers, detections_of(numbers, fetch(rows))
