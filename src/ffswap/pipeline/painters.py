"""What paints a face, put together from options: the mesh swapper, or a generator with its masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..carriers import F32, Faces
from ..engines import Session
from ..errors import InternalError, OptionError
from ..geometry.crop_masks import AREAS
from ..geometry.face_mesh import FaceMesh
from ..media import Picture, picture_frames
from ..models import ModelSpec, canonical_mesh
from ..options import MaskKind, ModelOptions, SwapOptions
from ..stages.face_swap import FacePainter
from ..stages.feed import SharedNet
from ..stages.identify import Recogniser, mean_embedding, source_picture, source_vector
from ..stages.masks import FaceMasks
from ..stages.mesh_swap import MeshSource, MeshSwapper, MeshSwappers
from ..stages.net_paint import CropPainter
from ..stages.net_swap import NetSwapper
from ..stages.on_gpu.brush import DeviceBrush
from ..stages.restore import Restorer
from .net import Net
from .nets import Nets

__all__ = [
    "MeshPainter",
    "NetPainter",
    "Painter",
    "Photo",
    "open_painter",
    "open_recogniser",
    "open_restorer",
]

MOST_BOOST_PX = 1024
"""Up to here sides are listed in a message; larger ones are allowed, and seldom worth their time."""

FACE_REGIONS = (
    "skin", "left-eyebrow", "right-eyebrow", "left-eye", "right-eye", "glasses", "nose", "mouth",
    "upper-lip", "lower-lip",
)  # fmt: skip
"""Labels that make up a face. Source: FaceFusion 3.8.1, face_masker.py."""


Paints: TypeAlias = Callable[[Sequence[F32]], CropPainter]
"""Makes a swapper from a row of the source input for each person."""


@dataclass(frozen=True)
class Photo:
    """A picture and the faces in it, the largest first; there is at least one."""

    picture: Picture
    faces: Faces
    name: str


def largest(photos: Sequence[Photo]) -> tuple[Photo, tuple[str, ...]]:
    """The photo with the highest face, and a note if there was a choice."""
    best = max(photos, key=lambda photo: float(np.ptp(photo.faces.box[0, 1::2])))
    if len(photos) == 1:
        return best, ()
    return best, (f"{best.name} is used of {len(photos)} photos: its face is the largest",)


class Painter(Protocol):
    """Makes swappers out of the photos of people."""

    @property
    def names(self) -> Mapping[str, str]:
        """Model by kind."""

    def source(self, photos: Sequence[Photo]) -> tuple[Any, tuple[str, ...]]:
        """The face in photos of one person, and what the user should know about it."""

    def swapper(self, sources: Sequence[Any]) -> FacePainter:
        """A fresh swapper for one clip or picture; a source's place is its person's number."""


class MeshPainter:
    """The embedded swapper.

    Args:
        options: of the run.
    """

    def __init__(self, options: SwapOptions) -> None:
        self._options = options
        self.names: Mapping[str, str] = {}
        mesh = canonical_mesh()
        weights = np.zeros(len(mesh.vertices), np.float32)
        weights[mesh.procrustes_index] = mesh.procrustes_weight
        self._mesh = FaceMesh(mesh.vertices, mesh.uv, mesh.triangles, weights)

    def source(self, photos: Sequence[Photo]) -> tuple[MeshSource, tuple[str, ...]]:
        """See `Painter.source`; of several photos the one with the highest face is used."""
        best, notes = largest(photos)
        if best.faces.mesh is None:
            raise OptionError(
                "the embedded swapper needs the face mesh",
                hint="leave --landmarker out, or choose another --model",
            )
        rgb = best.picture.rgb.astype(np.float32) / np.float32(255)
        return MeshSource(self._mesh, rgb, best.faces.mesh[0]), notes

    def swapper(self, sources: Sequence[Any]) -> MeshSwappers:
        """See `Painter.swapper`."""
        return MeshSwappers([MeshSwapper(one, self._options.mesh) for one in sources])


@dataclass(frozen=True, kw_only=True)
class NetPainter:
    """A generator.

    Attributes:
        paints: makes swappers from the sources.
        spec: of it.
        template: (5, 2) float32, points that faces are aligned to.
        recogniser: makes embeddings; None: the source is a picture.
        converter: of embeddings, or None.
        matrix: of embeddings, or None.
        portrait: (5, 2) float32, points that the portrait is aligned to, where the source is one.
    """

    paints: Paints
    spec: ModelSpec
    template: F32
    recogniser: Recogniser | None
    converter: Session | None
    matrix: F32 | None
    portrait: F32 | None
    names: Mapping[str, str] = field(default_factory=dict)

    def source(self, photos: Sequence[Photo]) -> tuple[F32, tuple[str, ...]]:
        """See `Painter.source`; embeddings of several photos are averaged."""
        source = self.spec.source
        if source is None:
            raise InternalError(f"{self.spec.name} has no source")
        if self.portrait is not None:
            best, notes = largest(photos)
            frames, points = picture_frames(best.picture), best.faces.points[0]
            return source_picture(frames, 0, points, source, self.portrait), notes
        if self.recogniser is None:
            raise InternalError(f"{self.spec.name} has no recogniser")
        embedding = mean_embedding([embedding_of(self.recogniser, photo) for photo in photos])
        return source_vector(embedding, source, self.converter, self.matrix), ()

    def swapper(self, sources: Sequence[Any]) -> CropPainter:
        """See `Painter.swapper`."""
        return self.paints(sources)


def embedding_of(recogniser: Recogniser, photo: Photo) -> F32:
    """(d,) raw embedding of the largest face in a photo."""
    frames = picture_frames(photo.picture)
    (embedding,) = recogniser(frames, np.zeros(1, np.int64), photo.faces.points[:1])
    return np.asarray(embedding, np.float32)


def open_recogniser(nets: Nets, name: str | None) -> Recogniser:
    """Load a recogniser; without a name the first that is installed.

    Raises:
        ModelError: it is not installed, or none is.
    """
    net = nets.choose(name or "auto", "recogniser", "knowing people again (--reference, --map)")
    return Recogniser(nets.open(net), net.spec, _template(nets, net.spec))


def open_painter(
    nets: Nets, net: Net, options: ModelOptions, recogniser: Recogniser | None
) -> NetPainter:
    """Load a generator and what it needs.

    Args:
        nets: the models at hand.
        net: the generator.
        options: masks and pixel boost.
        recogniser: one that is loaded already; used if it is the one that the generator needs.

    Raises:
        OptionError: the pixel boost is no multiple of the net's size, or a mask's names are wrong.
        ModelError: what it needs is not installed, or a file is not what it should be.
    """
    spec, source = net.spec, net.spec.source
    if source is None:
        raise InternalError(f"{spec.name} has no source")
    boost = _boost(spec, options.pixel_boost)
    names = {}
    if source.recogniser is None:
        recogniser = None
    else:
        names["recogniser"] = source.recogniser
        if recogniser is None or recogniser.name != source.recogniser:
            recogniser = open_recogniser(nets, source.recogniser)
    converter = None
    if source.converter is not None:
        names["converter"] = source.converter
        converter = nets.open(nets.find(source.converter, "converter"))
    masks, mask_names = _open_masks(nets, options)
    paints, matrix = _open_generator(nets, net, masks, boost)
    portrait = None if source.template is None else nets.catalog.template(source.template)
    return NetPainter(
        paints=paints, spec=spec, template=_template(nets, spec), recogniser=recogniser,
        converter=converter, matrix=matrix, portrait=portrait, names={**names, **mask_names},
    )  # fmt: skip


def _open_generator(
    nets: Nets, net: Net, masks: FaceMasks, boost: int
) -> tuple[Paints, F32 | None]:
    """What makes swappers of a generator, and its matrix for embeddings."""
    spec, template, room = net.spec, _template(nets, net.spec), nets.room
    if room is None:
        session, matrix = nets.open_with_matrix(net)

        def on_host(sources: Sequence[F32]) -> CropPainter:
            return NetSwapper(session, spec, template, sources, masks, boost=boost)

        return on_host, matrix
    net = nets.compared(net)
    source = spec.source
    if source is None:
        raise InternalError(f"{spec.name} has no source")
    name, loaded = source.name, room.painting_nets(net)
    in_use: list[DeviceBrush] = []

    def on_device(sources: Sequence[F32]) -> CropPainter:
        while in_use:  # one at a time uses the nets: that of the clip before is done with them
            in_use.pop().close()
        in_use.append(room.brush(loaded, spec, masks, boost, {name: np.concatenate(sources)}))
        return CropPainter(in_use[0], template)

    return on_device, net.matrix


def open_restorer(nets: Nets, options: ModelOptions) -> CropPainter:
    """Load the restorer that the options name.

    Raises:
        OptionError: there is no restorer of that name.
        ModelError: it is not installed, or its file is not what it should be.
    """
    net = nets.find(options.restorer or "", "restorer")
    template = _template(nets, net.spec)
    kinds: list[MaskKind] = ["box"]
    occluders = []
    if "occlusion" in options.masks:
        kinds.append("occlusion")
        occluders.append(_occluder(nets, options))
    masks = FaceMasks(kinds, blur=options.mask_blur, occluders=occluders)
    if nets.room is not None:
        loaded = nets.room.painting_nets(nets.compared(net))
        brush = nets.room.brush(loaded, net.spec, masks)
        return CropPainter(brush, template, opacity=options.restore_blend)
    return Restorer(nets.open(net), net.spec, template, options.restore_blend, masks)


def _occluder(nets: Nets, options: ModelOptions) -> SharedNet:
    return nets.open_shared(nets.choose(options.occluder, "occluder", "--mask occlusion"))


def _template(nets: Nets, spec: ModelSpec) -> F32:
    if spec.template is None:
        raise InternalError(f"{spec.name} has no template")
    return nets.catalog.template(spec.template)


def _boost(spec: ModelSpec, side: int | None) -> int:
    """Side of the crop by that of the net."""
    if side is None:
        return 1
    if side % spec.size:
        allowed = ", ".join(str(n * spec.size) for n in range(1, 2 + MOST_BOOST_PX // spec.size))
        raise OptionError(
            f"--pixel-boost is {side}; allowed for {spec.name}: multiples of {spec.size}, such as "
            f"{allowed}"
        )
    return side // spec.size


def _open_masks(nets: Nets, options: ModelOptions) -> tuple[FaceMasks, dict[str, str]]:
    names: dict[str, str] = {}

    occluders, parser, regions = [], None, options.regions
    if "occlusion" in options.masks:
        occluders.append(_occluder(nets, options))
        names["occluder"] = occluders[0].spec.name
    if "region" in options.masks:
        parser = nets.open_shared(nets.choose(options.parser, "parser", "--mask region"))
        names["parser"] = parser.spec.name
        regions = regions or tuple(one for one in FACE_REGIONS if one in parser.spec.classes)
        if unknown := set(regions) - set(parser.spec.classes):
            raise OptionError(
                f"regions are {', '.join(sorted(unknown))}; {parser.spec.name} knows: "
                f"{', '.join(parser.spec.classes)}"
            )
    areas = options.areas or tuple(AREAS)
    if unknown := set(areas) - set(AREAS):
        raise OptionError(f"areas are {', '.join(sorted(unknown))}; allowed: {', '.join(AREAS)}")
    masks = FaceMasks(
        options.masks, blur=options.mask_blur, padding=options.mask_padding,
        occluders=occluders, parser=parser, regions=regions, areas=areas,
    )  # fmt: skip
    return masks, names
