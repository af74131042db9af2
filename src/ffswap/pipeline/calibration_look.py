"""Looking at frames for a calibration set: what each net of a swap is given, and for which face."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32, Faces, Frames
from ..engines import Session
from ..errors import NoFaceError, OptionError
from ..geometry.face_traits import light_and_ita, pose_angles, sharpness
from ..geometry.similarity import is_alignable, similarity
from ..media import read_picture
from ..models.onnx_files import fingerprint, load_onnx
from ..options import CalibrateOptions, ModelOptions, SwapOptions
from ..options.calibrate import LEAST_ROWS
from ..stages.feed import face_crops, net_input
from ..stages.identify import Recogniser, source_picture, source_vector
from .calibration_faces import FaceSeen, People, RowPool, Tap, coverage
from .finder import open_finder
from .net import Net
from .nets import Nets
from .painters import NetPainter, Photo, open_painter, open_recogniser
from .preferences import EMBEDDED_SWAPPER

__all__ = ["Collector", "TappedNets"]

_THUMB_PX = 112
_TEMPLATE = "arcface_112_v2"
_Given: TypeAlias = "dict[str, dict[str, NDArray[Any]]]"

# Faces of others that wait to be sources; the last of another person is taken.
_WAITING_SOURCES = 64
# Crops that cover less of the frame than this show nothing of a face, as in `stages.net_paint`.
_LEAST_FACE_PX = 8.0


class TappedNets(Nets):
    """Nets on the CPU; those from files remember what they are given.

    Attributes:
        taps: by the name of the model.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.taps: dict[str, Tap] = {}

    def open_with_matrix(self, net: Net) -> tuple[Session, F32 | None]:
        """See `Nets.open_with_matrix`."""
        session, matrix = super().open_with_matrix(net)
        if net.file is None:
            return session, matrix
        self.taps[net.spec.name] = Tap(session)
        return self.taps[net.spec.name], matrix


class Collector:
    """Looks at frames, and keeps rows of all nets.

    Args:
        nets: the models at hand.
        options: of what is collected.
        photos: of sources.
    """

    def __init__(self, nets: TappedNets, options: CalibrateOptions, photos: Sequence[Path]) -> None:
        asked = nets.best_swapper()[0] if options.model == "auto" else options.model
        if asked == EMBEDDED_SWAPPER:
            raise OptionError(
                "the embedded swapper is no net, and needs no calibration",
                hint="name a swapper from a file: --model NAME (`ffswap models list`)",
            )
        models = ModelOptions(
            swapper=asked, detector=options.detector, landmarker=options.landmarker
        )
        net = nets.find(asked, "swapper")
        self._finder = open_finder(nets, SwapOptions(models=models))
        self._painter: NetPainter = open_painter(nets, net, models, None)
        self._recogniser, self._limits = self._painter.recogniser, options.limits
        if self._recogniser is None and nets.installed("recogniser"):
            self._recogniser = open_recogniser(nets, None)
        self.detector = self._finder.names["detector"]
        self._taps, self._template = dict(nets.taps), nets.catalog.template(_TEMPLATE)
        self._taps.pop(net.spec.name, None)  # it is not run
        self._pools = {
            name: RowPool(model=name, onnx_sha256=_digest(nets, name), count=options.count)
            for name in self._taps
        }
        file = nets.files[net.spec.name]
        own = file.stem if Path(asked) == file else net.spec.name  # as `build-engine` calls it
        self.swapper = RowPool(
            model=own, onnx_sha256=_digest(nets, net.spec.name), count=options.count
        )
        self._people, self._clip, self.frames, self.faces = People(), 0, 0, 0
        self._waiting: deque[tuple[int, F32]] = deque(maxlen=_WAITING_SOURCES)
        self._sources = deque(self._painter.source([self._photo(path)])[0] for path in photos)

    @property
    def filled(self) -> list[RowPool]:
        """Those with rows, the swapper's first."""
        return [one for one in (self.swapper, *self._pools.values()) if one.faces]

    @property
    def persons(self) -> int | None:
        """Among the rows of the swapper; None: nobody was told apart."""
        people = {face.person for face in self.swapper.faces}
        return None if self._recogniser is None else len(people)

    def _photo(self, path: Path) -> Photo:
        picture = read_picture(path, self._limits)
        faces = self._finder.in_picture(picture)
        if not len(faces):
            raise NoFaceError("no face was found in this picture", file=path)
        return Photo(picture, faces, str(path))

    def next_clip(self) -> None:
        """The frames that come belong to another file."""
        self._clip += 1

    def look(self, frames: Frames) -> None:
        """Take what a frame is good for.

        Args:
            frames: one frame.
        """
        self.frames += 1
        self._taken()
        faces = self._finder.tracker()(frames)
        looked = self._taken()
        spec = self._painter.spec
        kept = np.flatnonzero(is_alignable(faces.points))
        if not len(kept):
            return
        matrices = similarity(
            faces.points[kept], self._painter.template, spec.size, frames.pixel_aspect
        )
        sides = spec.size / np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
        kept, matrices = kept[sides >= _LEAST_FACE_PX], matrices[sides >= _LEAST_FACE_PX]
        if not len(kept):
            return
        self.faces += len(kept)
        where = np.zeros(len(kept), np.int64)
        seen = self._described(frames, faces.rows(kept))
        known = self._taken()
        crops = face_crops(frames, where, matrices, spec.size)
        for k, (row, face) in enumerate(zip(kept.tolist(), seen, strict=True)):
            if face is None:
                continue
            source = self._source_for(frames, faces.points[row], face)
            picture = net_input(crops[k : k + 1], spec)
            assert spec.source is not None
            inputs = {**picture, spec.source.name: source}
            self.swapper.offer(face, {name: rows[0] for name, rows in inputs.items()})
            self._offer(looked, row, len(faces), face)
            self._offer(known, k, len(kept), face)
            self._offer(self._taken(), 0, 1, face)
        self._offer_frame(looked, [face for face in seen if face is not None])

    def _described(self, frames: Frames, faces: Faces) -> list[FaceSeen | None]:
        """What is known of faces; None: its embedding is no number."""
        where = np.zeros(len(faces), np.int64)
        square = faces.points * np.asarray([frames.pixel_aspect, 1], np.float32)
        matrices = similarity(faces.points, self._template, _THUMB_PX, frames.pixel_aspect)
        crops = face_crops(frames, where, matrices, _THUMB_PX)
        embeddings = self._embeddings(frames, faces)
        found: list[FaceSeen | None] = []
        for crop, points, box, raw in zip(crops, square, faces.box, embeddings, strict=True):
            norm = float(np.linalg.norm(raw))
            if not np.isfinite(norm):
                found.append(None)
                continue
            unit = raw if norm == 0 else np.asarray(raw / norm, np.float32)
            light, ita = light_and_ita(crop)
            yaw, pitch = pose_angles(points)
            person = self._clip if self._recogniser is None else self._people.number(unit)
            picture = np.round(np.clip(crop, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            found.append(
                FaceSeen(
                    light=light, ita=ita, sharp=sharpness(crop), yaw=yaw, pitch=pitch,
                    face_px=float(box[3] - box[1]), person=person, embedding=unit, picture=picture,
                )
            )  # fmt: skip
        return found

    def _embeddings(self, frames: Frames, faces: Faces) -> F32:
        recogniser: Recogniser | None = self._recogniser
        if recogniser is None:
            return np.zeros((len(faces), 1), np.float32)
        found = recogniser(frames, np.zeros(len(faces), np.int64), faces.points)
        bad = ~(np.linalg.norm(found, axis=1) > 0)
        found[bad] = np.nan
        return found

    def _source_for(self, frames: Frames, points: F32, face: FaceSeen) -> F32:
        """What the swapper gets as the source of a face: (1, ...) float32."""
        if self._sources:
            self._sources.rotate(-1)
            return self._sources[0]
        painter, spec = self._painter, self._painter.spec.source
        assert spec is not None
        if painter.portrait is not None:
            own = source_picture(frames, 0, points, spec, painter.portrait)
        else:
            own = source_vector(face.embedding, spec, painter.converter, painter.matrix)
        others = [one for person, one in self._waiting if person != face.person]
        before = [one for _, one in self._waiting]
        self._waiting.append((face.person, own))
        return (others or before or [own])[-1]

    def _taken(self) -> _Given:
        """What each net was given since the last time."""
        return {name: tap.take() for name, tap in self._taps.items()}

    def _offer(self, given: _Given, row: int, count: int, face: FaceSeen) -> None:
        """A row of each net that was given one for each of so many faces."""
        for name, inputs in given.items():
            fits = all(len(rows) == count for rows in inputs.values())
            if inputs and fits and name != self.detector:
                self._pools[name].offer(face, {n: rows[row] for n, rows in inputs.items()})

    def _offer_frame(self, looked: _Given, seen: Sequence[FaceSeen]) -> None:
        """The picture that the detector saw, for the largest face in it."""
        given = looked.get(self.detector)
        if given and seen:
            largest = max(seen, key=lambda face: face.face_px)
            first = {name: rows[0] for name, rows in given.items()}
            self._pools[self.detector].offer(largest, first)

    def missing(self) -> Iterator[str]:
        """What the set lacks, in sentences."""
        rows = len(self.swapper.faces)
        if rows < LEAST_ROWS:
            yield (
                f"{rows} rows are too few for INT8, which needs {LEAST_ROWS} or more: give more clips"
                ", or use this set together with others"
            )
        if self.persons == 1:
            yield "there is one person only: ranges and gate say little about others"
        if self.persons is None:
            yield "people are not told apart: no recogniser is installed"
        absent: dict[str, list[str]] = {}
        for one in coverage(self.swapper.faces):
            if not one.rows:
                absent.setdefault(one.kind, []).append(one.name)
        for kind, names in absent.items():
            yield f"there are no faces of the {kind} {', '.join(names)}"
        if self._pools.get(self.detector) is not None and self._pools[self.detector].faces:
            yield f"the rows of {self.detector} are whole frames: that is what a detector is shown"


def _digest(nets: Nets, name: str) -> str:
    """What a set says of the file of a net; see `CalibrationRows`."""
    return fingerprint(load_onnx(nets.files[name]))
