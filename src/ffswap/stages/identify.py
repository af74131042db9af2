"""Who a face is: embeddings, how far apart they are, and what a swapper is told of its source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..carriers import F32, I64, Frames
from ..engines import Session
from ..errors import InternalError, ModelError
from ..geometry.similarity import similarity
from ..models import ModelSpec
from ..models.spec import SourceInput
from .feed import MAX_BATCH, SharedNet, face_crops, picture_input, run_rows

__all__ = ["Recogniser", "distance", "mean_embedding", "source_picture", "source_vector"]


class Recogniser:
    """A net that makes embeddings of faces. Passive; several threads may use it.

    Args:
        session: of the net.
        spec: what it wants and gives.
        template: (5, 2) where the five points belong in its crop, in units of the crop's side.
    """

    def __init__(self, session: Session, spec: ModelSpec, template: F32) -> None:
        self._net, self._template = SharedNet(session, spec), template
        self.name = spec.name
        """Of the model."""

    def __call__(self, frames: Frames, where: I64, points: F32) -> F32:
        """The embeddings of faces, as the net gives them (their norms are not 1).

        Args:
            frames: n frames.
            where: (m,) int64, index into `frames` of each face.
            points: (m, 5, 2) float32, eyes, nose tip, mouth corners, pixels, of faces for which
                `geometry.similarity.is_alignable` is true.

        Returns:
            (m, d) float32; d is 512 for the nets of the catalogue. NaN where the net's answer was
            no number.
        """
        size = self._net.size
        matrices = similarity(points, self._template, size, frames.pixel_aspect)
        rows = [
            self._net(face_crops(frames, where[at : at + MAX_BATCH], part, size))
            for at in range(0, len(where), MAX_BATCH)
            for part in [matrices[at : at + MAX_BATCH]]
        ]
        if not rows:
            return np.zeros((0, 512), np.float32)
        return np.concatenate(rows).reshape(len(where), -1)


def _unit(embedding: F32) -> F32:
    """Embeddings (..., d) of norm 1.

    Raises:
        ModelError: one is 0 or not finite.
    """
    norm = np.linalg.norm(embedding, axis=-1, keepdims=True)
    if not (np.isfinite(norm) & (norm > 0)).all():
        raise ModelError(
            "an embedding of a face has no direction: its norm is 0 or not a number",
            hint="verify the file of the recogniser",
        )
    return np.asarray(embedding / norm, np.float32)


def mean_embedding(embeddings: Sequence[F32]) -> F32:
    """One embedding of a person from several photos.

    Each counts the same, whatever its norm: the mean of the unit vectors, made a unit vector
    again. Swappers and comparisons use the direction only, so one photo's embedding stays what
    it was to them.

    Args:
        embeddings: one or more (d,) float32.

    Returns:
        (d,) float32 of norm 1.

    Raises:
        ModelError: an embedding is 0 or not finite, or they cancel each other.
    """
    return _unit(np.mean([_unit(one) for one in embeddings], axis=0))


def distance(one: F32, two: F32) -> F32:
    """How different two embeddings are: ``(1 - cos) / 2``, 0 (the same) to 1 (opposite).

    Args:
        one: (..., d) float32.
        two: (..., d) float32; the leading axes are broadcast.

    Returns:
        (...) float32. FaceFusion takes less than 0.3 for the same person.

    Raises:
        ModelError: an embedding is 0 or not finite.
    """
    cosine = (_unit(one) * _unit(two)).sum(-1)
    return np.asarray((1 - cosine) / 2, np.float32)


def source_vector(
    embedding: F32, source: SourceInput, converter: Session | None, matrix: F32 | None
) -> F32:
    """What a swapper's source input gets of an embedding; see `SourceInput` for the rules.

    Args:
        embedding: (d,) float32, of the recogniser that the swapper asks for.
        source: of the swapper.
        converter: session of the model that `source.converter` names; None if it names none.
        matrix: (d, d) float32 from the swapper's file if `source.projected`, else None.

    Returns:
        (1, d) float32.

    Raises:
        InternalError: converter or matrix are missing or too many, or the form is not embedding.
        ModelError: the embedding is 0 or not finite, or the matrix has another size.
    """
    if source.form != "embedding":
        raise InternalError(f"the source input {source.name!r} takes a picture")
    if (source.converter is None) != (converter is None):
        raise InternalError(f"source input {source.name!r}: converter missing, or one too many")
    if source.projected != (matrix is not None):
        raise InternalError(f"source input {source.name!r}: matrix missing, or one too many")
    vector = np.asarray(embedding, np.float32).reshape(1, -1)
    if source.unit_before:
        vector = _unit(vector)
    if matrix is not None:
        if matrix.shape[0] != vector.shape[1]:
            raise ModelError(
                f"the swapper's matrix is {' x '.join(map(str, matrix.shape))}, but the "
                f"recogniser's embedding has {vector.shape[1]} values",
                hint=f"the swapper wants the recogniser {source.recogniser}",
            )
        vector = np.asarray(vector @ matrix, np.float32)
    if converter is not None:
        (name,) = converter.inputs
        vector = next(iter(run_rows(converter, {name: vector}).values()))
    return _unit(vector) if source.unit_after else np.asarray(vector, np.float32)


def source_picture(
    frames: Frames, where: int, points: F32, source: SourceInput, template: F32
) -> F32:
    """What a swapper's source input gets of a portrait.

    Args:
        frames: with the portrait.
        where: index into `frames`.
        points: (5, 2) float32 of the face, pixels.
        source: of the swapper, of the form ``picture``.
        template: (5, 2) where the points belong, in units of the crop's side.

    Returns:
        (1, 3, height, width) float32 (or the layout that the input asks for).

    Raises:
        InternalError: the input takes an embedding, or a picture that is not square.
    """
    image = source.image
    if image is None or image.size[0] != image.size[1]:
        raise InternalError(f"the source input {source.name!r} takes no square picture")
    size = image.size[0]
    matrices = similarity(points[None], template, size, frames.pixel_aspect)
    return picture_input(face_crops(frames, np.array([where], np.int64), matrices, size), image)
