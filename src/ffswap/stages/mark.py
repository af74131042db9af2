"""The mark of a synthetic face: put into what was painted, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Colour, Faces, Frames, Plane
from ..geometry import affine
from ..geometry.mark import MARK_POINTS, SIDE, chance, mark_pattern, mark_scores
from ..geometry.similarity import is_alignable, similarity
from ..ops import cpu, tone

__all__ = ["FaceMarker", "MarkReader", "Unpainted"]

AMPLITUDE = 1.15
"""Mean change where the mark is whole, code values of 8 bits, before rounding, which takes the small
changes away, and before `LARGEST_MEAN`."""

FULL_SIDE_PX = 320.0
"""Up to this side of the square, which is that of a face 200 pixels wide, the mark has its amplitude. In
larger faces encoders leave more of it, and the eye would see more, so that it is made weaker."""

LEAST_STRENGTH = 0.6
"""It is not made weaker than this: a face 330 pixels wide, and larger ones."""

LARGEST_MEAN = 1.0
"""Code values of 8 bits, over the painted samples of a plane of a face."""

LEAST_CHANGE = 1.0
"""Mean change by the painters, code values of 8 bits, up to which nothing is marked: a swap that changes
a face by no more than rounding leaves it as it is."""

FULL_CHANGE = 1.5
"""From this change on the mark is whole."""

CHANGE_SHARE = 1 / 15
"""Over this share of the square's side the change by the painters is averaged."""

FLAT_SIGMA = 2.0
"""What is wider than this is not looked at, samples."""

FLAT_NOISE = 0.2
"""Added to the strength of what is there, code values of 8 bits: rounding alone must not count."""

LARGEST = 3.0
"""A sample counts at most so many times the strength of its surroundings."""

MOST_TRACKS = 16
"""Faces that are summed for themselves; the rest only counts for the whole clip."""

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Unpainted:
    """The surroundings of one face before anything was painted.

    Attributes:
        frame: index into the batch.
        side_px: of the square on the face, luma pixels.
        matrix: (2, 3) from samples of the pattern to pixels of the chroma planes, less the box.
        boxes: of the luma samples at the chroma samples, and of the chroma planes.
        planes: copies of these parts of the three planes, all of one shape.
    """

    frame: int
    side_px: float
    matrix: NDArray[np.float64]
    boxes: tuple[Box, Box]
    planes: tuple[Plane, Plane, Plane]


class FaceMarker:
    """Marks painted faces. Passive, without state: any thread may use it.

    Only samples that the painters changed are changed, in the chroma planes, by one code value of 8
    bits on average. Luma stays as it was painted.
    """

    def before(self, frames: Frames, faces: Faces) -> list[Unpainted]:
        """Take down what the faces and their surroundings look like before they are painted.

        Args:
            frames: n frames.
            faces: that will be painted.
        """
        found = []
        rows = np.flatnonzero(is_alignable(faces.points))
        matrices = similarity(faces.points[rows], MARK_POINTS, SIDE, frames.pixel_aspect)
        on_chroma = cpu.chroma_matrix(frames.format)
        for row, matrix in zip(rows.tolist(), matrices, strict=True):
            back = affine.compose(on_chroma, affine.invert(matrix))
            planes = frames.planes[int(faces.frame[row])]
            boxes = _boxes(back, planes, frames)
            if boxes is None:
                continue
            luma, chroma = boxes
            back[:, 2] -= (chroma[1].start, chroma[0].start)
            y, cb, cr = planes
            copies = (y[luma].copy(), cb[chroma].copy(), cr[chroma].copy())
            side_px = SIDE / affine.scale_of(matrix)
            found.append(Unpainted(int(faces.frame[row]), side_px, back, boxes, copies))
        return found

    def mark(self, frames: Frames, unpainted: Sequence[Unpainted]) -> None:
        """Mark what has been painted since, in place.

        Args:
            frames: the same frames.
            unpainted: what `before` gave for them.
        """
        for one in unpainted:
            _mark_face(frames, one)


def _boxes(
    back: NDArray[np.float64], planes: tuple[Plane, Plane, Plane], frames: Frames
) -> tuple[Box, Box] | None:
    """The parts of luma and chroma planes that hold the square, or None where none of it is seen."""
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]], np.float64)
    at = affine.apply(back, corners)
    height, width = planes[1].shape
    low = np.maximum(np.floor(at.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(at.max(0)) + 1, (width, height)).astype(int)
    if (high <= low).any():
        return None
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    x, y = frames.format.log2_chroma_w, frames.format.log2_chroma_h
    luma = (slice(top << y, bottom << y, 1 << y), slice(left << x, right << x, 1 << x))
    return luma, (slice(top, bottom), slice(left, right))


def _mark_face(frames: Frames, one: Unpainted) -> None:
    fmt = frames.format
    step = np.float32(1 << fmt.depth - 8)
    shares = tone.chroma_shares(frames.colour)
    luma, chroma = one.boxes
    y, *planes = frames.planes[one.frame]
    parts = (y[luma], *(plane[chroma] for plane in planes))
    change = cpu.largest_difference(parts, one.planes)
    if not change.any():
        return
    share = np.clip(FULL_SIDE_PX / one.side_px, LEAST_STRENGTH, 1)
    sigma = max(0.5, CHANGE_SHARE * SIDE * affine.scale_of(one.matrix))
    seen = _weight(change, step * np.float32(max(shares)), sigma)
    weight = seen * np.float32(AMPLITUDE * share * step)
    np.copyto(weight, 0, where=change == 0)
    h, w = change.shape
    most = LARGEST_MEAN * float(step) * np.count_nonzero(change)
    for k, plane in enumerate(planes):
        pattern = np.ascontiguousarray(mark_pattern()[..., k])
        mark = cpu.sample_plane(pattern, one.matrix, (w, h), 0.0)
        mark *= weight
        total = cpu.magnitude_sum(mark)
        if total > most:
            mark *= np.float32(most / total)
        if shares[k] != 1:
            mark *= np.float32(shares[k])
        cpu.add_rounded(plane[chroma], mark, (1 << fmt.depth) - 1)


def _weight(change: Plane, step: np.float32, sigma: float) -> F32:
    """(h, w) 0 to 1: how much of the mark goes where the painters changed so much.

    Args:
        change: (h, w) code values.
        step: code values per code value of 8 bits.
        sigma: of the Gaussian mean, which is taken of a picture made smaller: it is as smooth.
    """
    factor = max(1, int(sigma / 2))
    h, w = change.shape
    small = cpu.resize(change.astype(np.float32), max(1, w // factor), max(1, h // factor))
    mean = cpu.blur(small, sigma / factor) / step
    weight = np.clip((mean - LEAST_CHANGE) / (FULL_CHANGE - LEAST_CHANGE), 0, 1)
    return np.asarray(cpu.resize(weight.astype(np.float32), w, h), np.float32)


class MarkReader:
    """Gathers the faces of a clip and says how sure it is that they are marked. Passive.

    Memory does not grow with the clip.
    """

    def __init__(self) -> None:
        self.total = np.zeros((SIDE, SIDE, 2), np.float32)
        """(SIDE, SIDE, 2) the sum of all flattened faces, see `geometry.mark.mark_scores`."""
        self._tracks: dict[int, F32] = {}
        self.faces = 0
        """Faces that were looked at, one per face and frame."""

    def look(self, frames: Frames, faces: Faces) -> None:
        """Add the faces of the next frames."""
        rows = np.flatnonzero(is_alignable(faces.points))
        matrices = similarity(faces.points[rows], MARK_POINTS, SIDE, frames.pixel_aspect)
        from_chroma = affine.invert(cpu.chroma_matrix(frames.format))
        for row, matrix in zip(rows.tolist(), matrices, strict=True):
            planes = frames.planes[int(faces.frame[row])][1:]
            on_chroma = affine.compose(matrix, from_chroma)
            flat = _flattened(planes, on_chroma, frames.format.depth, frames.colour)
            self.total += flat
            self.faces += 1
            track = int(faces.track[row])
            if track in self._tracks or len(self._tracks) < MOST_TRACKS:
                known = self._tracks.setdefault(track, np.zeros_like(flat))
                known += flat

    def chance(self) -> float:
        """Share of unmarked clips that look as much marked as this one, 0 to 1."""
        if not self.faces:
            return 1.0
        sums = [self.total]
        if len(self._tracks) > 1:
            sums += self._tracks.values()
        best = max(float(mark_scores(one)[0]) for one in sums)
        return chance(best, len(sums))


def _flattened(
    planes: Sequence[Plane], matrix: NDArray[np.float64], depth: int, colour: Colour
) -> F32:
    """(SIDE, SIDE, 2) a face's colour without what is wide, everywhere about equally strong."""
    crops = [cpu.sample_plane(plane, matrix, (SIDE, SIDE), None) for plane in planes]
    crop = np.stack(crops, -1).astype(np.float32) / np.float32(1 << depth - 8)
    if colour.is_hdr:
        crop /= np.array(tone.chroma_shares(colour), np.float32)
    crop -= cpu.blur(crop, FLAT_SIGMA)
    strength = np.sqrt(cpu.blur(crop * crop, 1.5 * FLAT_SIGMA)) + np.float32(FLAT_NOISE)
    return np.asarray(np.clip(crop / strength, -LARGEST, LARGEST), np.float32)
