"""Putting the stages of a swap together from models and options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..carriers import F32
from ..engines import Session
from ..errors import DeviceError, InputMissingError, NoFaceError, OptionError
from ..media import Picture, is_picture_name, read_picture
from ..models import ModelSpec, load_catalog
from ..models.store import ModelStore
from ..options import FaceChoice, SwapOptions
from ..stages.choose import FaceChooser
from ..stages.face_swap import FaceSwap
from ..stages.hands import HandTracker
from ..stages.identify import Recogniser, mean_embedding
from ..stages.label import Label
from ..stages.mark import FaceMarker
from ..stages.match import PeopleMatcher
from ..stages.net_paint import CropPainter
from .finder import FaceFinder, open_finder
from .machine import find_cpu
from .nets import Nets
from .painters import (
    MeshPainter,
    Painter,
    Photo,
    embedding_of,
    open_painter,
    open_recogniser,
    open_restorer,
)
from .preferences import EMBEDDED_SWAPPER
from .room import GpuRoom

__all__ = ["Cast", "Chain", "open_chain"]

ReadPicture: TypeAlias = Callable[[Path], Picture]

PALM_DETECTOR = "palm_detection"
HAND_LANDMARKER = "hand_landmark"


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who gets which face.

    Attributes:
        sources: of the painter; those of the named people come first, in the order of `references`.
        references: (p, d) float32 unit embeddings of the named people, or None.
        others: number of the source for the faces that are chosen by size or place, or None.
    """

    sources: Sequence[Any]
    references: F32 | None
    others: int | None


class Chain:
    """Loaded nets, and the swaps that can be made with them.

    Args:
        finder: finds faces.
        painter: changes them.
        hands: sessions and specs of the palm and the hand net; None: hands are painted over.
        recogniser: knows people again; None: nobody is named.
        restorers: work over painted faces.
        options: of the run.
        model: name of the swapper, and why this one.
        names: of further models, by kind.
        read: reads a photo.
    """

    def __init__(
        self,
        finder: FaceFinder,
        painter: Painter,
        hands: tuple[Session, ModelSpec, Session, ModelSpec] | None,
        recogniser: Recogniser | None,
        restorers: Sequence[CropPainter],
        options: SwapOptions,
        model: tuple[str, str],
        names: Mapping[str, str],
        read: ReadPicture,
    ) -> None:
        self.finder, self._painter, self._hands = finder, painter, hands
        self._recogniser, self._restorers, self._options = recogniser, restorers, options
        self._read = read
        self.model, self.model_reason = model
        self.files: Mapping[str, Path] = {}
        """Files of the user's that models come from, by the name of the model."""
        self.models = {**finder.names, **painter.names, **names, "swapper": self.model}
        self.runtimes: Mapping[str, str] = {}

    def cast(self, source: Path | None) -> tuple[Cast, tuple[str, ...]]:
        """Read all photos: of the faces to put in, and of the people who are named.

        Args:
            source: the face for the chosen faces or for `SwapOptions.reference`; None: only the
                people of the options get one.

        Returns:
            Who gets which face, and what the user should know about the photos.

        Raises:
            InputMissingError: a photo is not there.
            NoFaceError: there is no face in one.
            OptionError: nobody is named, and there is no source.
        """
        options = self._options
        pairs = [(Path(one.source), Path(one.reference)) for one in options.people]
        if source is not None and options.reference is not None:
            pairs.insert(0, (source, Path(options.reference)))
        elif options.reference is not None:
            raise OptionError(
                "a reference was given, and no source to put on that person",
                hint="name SOURCE, or say --map SOURCE=REFERENCE",
            )
        _check_people([path for _, path in pairs])
        notes = _unused(options)
        sources = [self._source(photo, notes) for photo, _ in pairs]
        others = None
        if source is not None and options.reference is None:
            others = len(sources)
            sources.append(self._source(source, notes))
        if not sources:
            raise OptionError("no source was given", hint="name a photo of the face to put in")
        references = self._references([path for _, path in pairs], notes)
        cast = Cast(sources=sources, references=references, others=others)
        return cast, tuple(dict.fromkeys(notes))

    def _references(self, paths: Sequence[Path], notes: list[str]) -> F32 | None:
        if not paths or self._recogniser is None:
            return None
        rows = [
            mean_embedding(
                [embedding_of(self._recogniser, one) for one in self._photos(path, notes)]
            )
            for path in paths
        ]
        return np.stack(rows).astype(np.float32)

    def _source(self, path: Path, notes: list[str]) -> Any:
        prepared, more = self._painter.source(self._photos(path, notes))
        notes += more
        return prepared

    def _photos(self, path: Path, notes: list[str]) -> list[Photo]:
        """The photos of one person: a picture, or all in a folder."""
        if not path.is_dir():
            return [self._photo(path, notes)]
        files = sorted(one for one in path.iterdir() if one.is_file() and is_picture_name(one))
        if not files:
            raise InputMissingError(
                "there are no pictures in this folder",
                file=path,
                hint="give a photo, or a folder with photos of one person",
            )
        photos = []
        for file in files:
            try:
                photos.append(self._photo(file, notes))
            except NoFaceError as error:
                last = error
                notes.append(f"{file}: left out, {error.message}")
        if not photos:
            raise NoFaceError(
                f"no face was found in any of the {len(files)} pictures of this folder",
                file=path, hint=last.hint,
            )  # fmt: skip
        return photos

    def _photo(self, path: Path, notes: list[str]) -> Photo:
        picture = self._read(path)
        notes += picture.warnings
        faces = self.finder.in_picture(picture)
        if not len(faces):
            height, width = picture.rgb.shape[:2]
            raise NoFaceError(
                f"no face was found in this picture of {width}x{height} pixels",
                file=path,
                hint="give a sharp portrait that shows one face from the front, "
                "at least 64 pixels high",
            )
        if len(faces) > 1:
            notes.append(f"{path}: {len(faces)} faces were found; the largest is used")
        return Photo(picture, faces, str(path))

    def swap(self, cast: Cast, label: Label | None = None) -> FaceSwap:
        """A fresh swap, for one clip or picture.

        Args:
            cast: who gets which face.
            label: a fresh one, or None.
        """
        people = None
        if cast.references is not None and self._recogniser is not None:
            people = PeopleMatcher(
                self._recogniser, cast.references, self._options.reference_distance
            )
        return FaceSwap(
            self.finder.tracker(),
            FaceChooser(FaceChoice.parse(self._options.faces)),
            [self._painter.swapper(cast.sources), *(one.fresh() for one in self._restorers)],
            None if self._hands is None else HandTracker(*self._hands),
            people=people,
            others=cast.others,
            label=label,
            marker=FaceMarker(),
        )


def _check_people(references: Sequence[Path]) -> None:
    """Refuse two faces for one person.

    Raises:
        OptionError: a reference is named twice.
    """
    twice = [one for k, one in enumerate(references) if one in references[:k]]
    if twice:
        raise OptionError(
            f"two faces go on the person of {twice[0]}; allowed: one for each reference",
            hint="name each reference once; several photos of one face go into a folder",
        )


def _unused(options: SwapOptions) -> list[str]:
    """What was asked for and changes nothing, in words."""
    default, notes = SwapOptions(), []
    if options.reference_distance != default.reference_distance and not (
        options.people or options.reference is not None
    ):
        notes.append("--reference-distance changes nothing without --reference or --map")
    if options.models.restore_blend != default.models.restore_blend and (
        options.models.restorer is None
    ):
        notes.append("--blend changes nothing without --restore")
    return notes


def _check_together(options: SwapOptions, model: str, finder: FaceFinder) -> None:
    """Refuse models and masks that do not go together, before photos are read.

    Raises:
        OptionError: they do not.
    """
    landmarker, default = options.models.landmarker, SwapOptions().models
    if finder.embedded_detector and options.models.detector_angles != default.detector_angles:
        raise OptionError(
            "--detector-angles is for detectors of your own; the embedded one finds turned faces",
            hint="leave it out, or choose another --detector",
        )
    if model != EMBEDDED_SWAPPER:
        if "area" in options.models.masks and not finder.has_68_points:
            raise OptionError(
                f"--mask area needs 68 points of a face; --landmarker is {landmarker!r}",
                hint="choose a landmarker that finds them, such as --landmarker 2dfan4",
            )
        return
    for option, name in (("--mask", "masks"), ("--pixel-boost", "pixel_boost")):
        if getattr(options.models, name) != getattr(default, name):
            raise OptionError(
                f"{option} is for swappers of your own; this run uses the embedded one",
                hint=f"leave {option} out, or choose another --model",
            )
    if finder.mesh is None:
        raise OptionError(
            f"the embedded swapper needs the face mesh; --landmarker is {landmarker!r}",
            hint="leave --landmarker out, or choose another --model",
        )


@contextmanager
def open_chain(
    options: SwapOptions,
    models: Path | None = None,
    catalog: Path | None = None,
    read: ReadPicture = read_picture,
    room: GpuRoom | None = None,
) -> Iterator[Chain]:
    """Load what a swap with these options needs; freed at the end of the block.

    Args:
        options: of the run.
        models: folder of the user's model files, which need not exist; None: there is none.
        catalog: the user's own catalogue, which adds to that of ffswap, or None.
        read: reads a photo; one that remembers what it has read spares a second decoding.
        room: the GPU that nets on whole frames run on; None: all run on the CPU.

    Raises:
        DeviceError: something here cannot run on the GPU.
        EngineError: there is no engine of a model.
        OptionError: a model of that name or kind is not known, or models do not go together.
        ModelError: a model is not installed, or its file is not what it should be.
    """
    with ExitStack() as stack:
        threads = options.threads or find_cpu().usable_cores
        store = None if models is None else ModelStore(models)
        nets = Nets(load_catalog(catalog), store, threads, stack, room)
        asked = options.models.swapper
        model = nets.best_swapper() if asked == "auto" else (asked, "it was asked for")
        finder = open_finder(nets, options)
        recogniser = None
        if options.people or options.reference is not None:
            recogniser = open_recogniser(nets, None)
        painter: Painter
        _check_together(options, model[0], finder)
        if model[0] == EMBEDDED_SWAPPER:
            if room is not None:
                raise DeviceError(
                    f"the embedded swapper computes on the CPU; asked for was {room.device.name}",
                    hint="use --device cpu, or choose another --model (`ffswap models list`)",
                )
            painter = MeshPainter(options)
        else:
            net = nets.find(model[0], "swapper")
            model = (net.spec.name, model[1])
            painter = open_painter(nets, net, options.models, recogniser)
        restorers, names = [], {}
        if recogniser is not None:
            names["recogniser"] = recogniser.name
        if options.models.restorer is not None:
            restorers.append(open_restorer(nets, options.models))
            names["restorer"] = restorers[0].name
        hands = None
        if options.mesh.keep_occluders:
            palms = nets.find(PALM_DETECTOR, "hand_detector")
            points = nets.find(HAND_LANDMARKER, "hand_landmarker")
            hands = (nets.open(palms), palms.spec, nets.open(points), points.spec)
        chain = Chain(finder, painter, hands, recogniser, restorers, options, model, names, read)
        if room is not None:
            chain.runtimes = dict(room.runtimes)
        chain.files = nets.files
        yield chain
