"""The embedded swapper: a portrait's features under the target's light, without a generator.

Per frame, in order (`plan`): the target's face is unrolled into texture space; its light is what
is left after a wide blur over the skin; strength of features, colour and sharpness are compared
with the source's; proportions move a little towards the source's. Then, in any order (`paint`):
the source's features are lit with the target's light, warped onto the mesh and blended into the
planes. The target keeps its eyes, its inner mouth, its outline, the folds of its own smile, and
whatever covers the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ...carriers import F32, Faces, Frames, State
from ...errors import InternalError
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import Pose, smoothstep
from ...ops import cpu
from ...options import MeshSwapOptions
from .expression import fold_region, fold_share, target_folds
from .glasses import GLASSES_SIDE, Glasses
from .light import Appearance, in_frame, read_appearance, read_sharpness, unroll
from .memory import SHAPE_TIME_S, FaceMemory
from .render import Paint, paint_face
from .source import SHARPNESS_SIDE, SHARPNESS_SIGMAS, SIDES, MeshSource
from .texture import TextureSpace

__all__ = ["MeshSwapper"]

LIGHT_SIDE = SIDES[0]

LARGEST_MOVE_CM = 1.2
"""The change of shape moves nothing further than this, on an average face."""

FACING = (0.03, 0.3)
"""Cosine to the camera between which the swap fades out around the turned side of a head."""

HAIR = (0.45, 0.9)
"""Distance from the light of the face (log luma and Cb) between which hair counts as such."""

COVER_SIDE = 128
"""Side of the picture in which what lies before a face is drawn to be looked up, pixels."""

SMALLEST_SHARE = 0.1
"""A face of which less than this lies in the frame is left alone."""


@dataclass(frozen=True)
class _Look:
    """One face in one frame, read but not remembered."""

    appearance: Appearance
    facing: F32
    pose: Pose
    shape: F32
    fine: F32
    face_px: float


class MeshSwapper:
    """Puts one source over faces. Passive; `plan` is called in order, `paint` from any thread.

    Args:
        source: the face to put on.
        options: how.
    """

    def __init__(self, source: MeshSource, options: MeshSwapOptions) -> None:
        self._source, self._options = source, options
        self._memory: dict[int, FaceMemory] = {}
        self._glasses = Glasses(source.space(GLASSES_SIDE))
        self._hair = _hair_region(source.space(LIGHT_SIDE))
        self._fold_region = fold_region(source.space(LIGHT_SIDE))

    def state(self) -> State:
        """What the next frames depend on."""
        return {"memory": [[track, asdict(one)] for track, one in self._memory.items()]}

    def restore(self, state: State) -> None:
        """Go on after the frames that gave this state."""
        self._memory = {track: FaceMemory(**one) for track, one in state["memory"]}

    def plan(
        self, frames: Frames, faces: Faces, covers: Sequence[Sequence[F32]] = ()
    ) -> list[list[Paint]]:
        """What will be painted into each of the frames; reads them, changes nothing.

        Args:
            frames: the next n frames of the clip.
            faces: to be painted over.
            covers: n lists of polygons (k, 2), luma pixels, that lie before the faces: hands. They
                are neither painted nor taken for skin.
        """
        plans: list[list[Paint]] = [[] for _ in range(len(frames))]
        if len(faces) and faces.mesh is None:
            raise InternalError("the mesh swapper was given faces without a mesh")
        meshes = np.zeros((0, 468, 3), np.float32) if faces.mesh is None else faces.mesh
        for row in range(len(faces)):
            i, track = int(faces.frame[row]), int(faces.track[row])
            if faces.fresh[row]:
                self._memory.pop(track, None)
            mesh = meshes[row]
            before = _before_face(covers[i], mesh) if covers else []
            look = self._look(frames, i, mesh, self._memory.get(track), before)
            if look is not None:
                paint = self._plan_face(frames, i, mesh, track, look)
                plans[i].append(replace(paint, covers=tuple(before)))
        now = frames.seconds(len(frames) - 1)
        self._memory = {t: m for t, m in self._memory.items() if now - m.seen_s < SHAPE_TIME_S}
        return plans

    def paint(self, frames: Frames, i: int, paints: list[Paint]) -> None:
        """Paint the faces of frame `i`, the hindmost (narrowest) first, in place."""
        for paint in sorted(paints, key=lambda p: p.face_px):
            paint_face(self._source, frames, i, paint)

    def _look(
        self,
        frames: Frames,
        i: int,
        mesh: F32,
        memory: FaceMemory | None,
        covers: Sequence[F32],
    ) -> _Look | None:
        """Read a face; None where too little of it lies in the frame.

        What covered it in the frame before must not be taken for light; in a first frame glasses
        are looked for and the face is read again without them.
        """
        source, colour = self._source, frames.colour
        space = source.space(LIGHT_SIDE)
        face_px = max(fm.cheek_width(mesh), float(np.ptp(mesh[:, 1])) * 0.6)
        seen = in_frame(space.places(mesh[:, :2]), frames.width, frames.height)
        if seen.sum() < SMALLEST_SHARE * space.inside.sum():
            return None
        seen = seen * _uncovered(space, mesh, covers)
        at = source.space(GLASSES_SIDE).places(mesh[:, :2])
        fine = unroll(frames.planes[i], frames.format, colour, at, face_px)
        facing = source.mesh.facing(mesh)
        own = source.texture(LIGHT_SIDE, colour.kr, colour.kb)
        ycc = cpu.resize(fine, LIGHT_SIDE, LIGHT_SIDE)
        if memory is not None:
            seen = seen * (1 - cpu.resize(memory.cover, LIGHT_SIDE, LIGHT_SIDE))
        appearance = read_appearance(space, own, ycc, facing, seen)
        if memory is None and self._options.keep_occluders:
            detail = appearance.fine_detail(fine)
            worn = self._glasses.evidence(detail) * self._glasses.cover(detail)
            if worn.any():
                seen = seen * (1 - cpu.resize(worn, LIGHT_SIDE, LIGHT_SIDE))
                appearance = read_appearance(space, own, ycc, facing, seen)
        pose = source.mesh.pose(mesh)
        return _Look(appearance, facing, pose, source.mesh.to_canonical(mesh, pose), fine, face_px)

    def _plan_face(self, frames: Frames, i: int, mesh: F32, track: int, look: _Look) -> Paint:
        colour, now = frames.colour, frames.seconds(i)
        share = fold_share(self._source.shape, look.shape)
        memory = self._memory.get(track)
        if memory is None:
            memory = self._remember(frames, i, mesh, look, share)
            self._memory[track] = memory
            cover = memory.cover = self._cover(memory, look)
        else:
            memory.follow(now, look.appearance, look.shape, share)
            if memory.look_is_due(now):
                memory.look(now, *self._look_closer(frames, i, mesh, look))
            cover = self._cover(memory, look)
        memory.follow_cover(now, cover)
        light = memory.light.copy()
        detail = np.ascontiguousarray(look.appearance.detail[..., 0])
        light[..., 0] += np.float32(memory.folds) * target_folds(detail, self._fold_region)
        turned = smoothstep(self._source.space(LIGHT_SIDE).spread(look.facing), *FACING)
        opacity = cpu.resize(turned.astype(np.float32), GLASSES_SIDE, GLASSES_SIDE)
        shift = self._shift(memory.shape, look.pose)
        return Paint(
            mesh=mesh,
            shift=shift,
            field=self._source.space(LIGHT_SIDE).spread(shift),
            face_px=look.face_px,
            light=light,
            opacity=opacity * (1 - memory.cover),
            contrast=memory.contrast,
            saturation=memory.saturation,
            folds=memory.folds,
            sigma=self._sigma(memory, colour.kr, colour.kb),
        )

    def _remember(self, frames: Frames, i: int, mesh: F32, look: _Look, folds: float) -> FaceMemory:
        now = frames.seconds(i)
        sharpness, glasses = self._look_closer(frames, i, mesh, look)
        return FaceMemory(
            seen_s=now,
            light=look.appearance.light,
            contrast=look.appearance.contrast,
            saturation=look.appearance.saturation,
            shape=look.shape,
            folds=folds,
            cover=np.zeros((GLASSES_SIDE, GLASSES_SIDE), np.float32),
            sharpness=sharpness,
            glasses=glasses,
            looked_s=now,
        )

    def _look_closer(self, frames: Frames, i: int, mesh: F32, look: _Look) -> tuple[float, float]:
        """Sharpness, and belief in glasses."""
        space = self._source.space(SHARPNESS_SIDE)
        sharpness = read_sharpness(
            space, frames.planes[i], frames.format, frames.colour, mesh[:, :2]
        )
        glasses = 0.0
        if self._options.keep_occluders:
            glasses = self._glasses.evidence(look.appearance.fine_detail(look.fine))
        return sharpness, glasses

    def _cover(self, memory: FaceMemory, look: _Look) -> F32:
        """(m, m) 0..1: glasses, and hair over the forehead and at the rim."""
        cover = np.zeros((GLASSES_SIDE, GLASSES_SIDE), np.float32)
        if not self._options.keep_occluders:
            return cover
        hair = (smoothstep(look.appearance.off, *HAIR) * self._hair).astype(np.float32)
        if hair.any():
            hair = cpu.blur(cpu.dilate(hair, 1), 1.3)
            cover = cpu.resize(hair, GLASSES_SIDE, GLASSES_SIDE)
        if memory.glasses > 0.02:
            worn = self._glasses.cover(look.appearance.fine_detail(look.fine))
            cover = np.maximum(cover, np.float32(memory.glasses) * worn)
        return np.asarray(np.clip(cover, 0, 1), np.float32)

    def _sigma(self, memory: FaceMemory, kr: float, kb: float) -> float:
        """Blur, in texels of `SHARPNESS_SIDE`, that makes the source as soft as the target."""
        own = self._source.sharpness(kr, kb)
        wanted = min(memory.sharpness / memory.contrast * 1.1, own[0])
        return float(np.interp(-wanted, [-v for v in own], SHARPNESS_SIGMAS))

    def _shift(self, mean_shape: F32, pose: Pose) -> F32:
        """(468, 2) pixels by which the source's proportions move the target's vertices."""
        source = self._source
        move = source.mesh.smooth_shape(source.shape - mean_shape) * self._options.shape
        move = np.clip(move, -LARGEST_MOVE_CM, LARGEST_MOVE_CM)
        scale, rotation, _ = pose
        return np.asarray((scale * (move @ rotation.T))[:, :2], np.float32)


def _before_face(polygons: Sequence[F32], mesh: F32) -> list[F32]:
    """Those that may lie before the face: whose box meets the face's."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    return [p for p in polygons if (p.max(0) > low).all() and (p.min(0) < high).all()]


def _uncovered(space: TextureSpace, mesh: F32, polygons: Sequence[F32]) -> F32:
    """(n, n) float32, 0 where one of the polygons lies before the face, else 1."""
    if not polygons:
        return np.ones((space.side, space.side), np.float32)
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    zoom = np.float32(COVER_SIDE / float((high - low).max()))
    picture = cpu.polygons((COVER_SIDE, COVER_SIDE), [((p - low) * zoom, 255) for p in polygons])
    x, y = space.places(((mesh[:, :2] - low) * zoom).astype(np.float32))
    return np.asarray(1 - cpu.read_at(picture, x, y) / np.float32(255), np.float32)


def _hair_region(space: TextureSpace) -> F32:
    """(n, n) where hair may fall over the face: the forehead above the brows, and the rim."""
    brow = space.mesh.xyz[list(fm.RIGHT_BROW), 1].max()
    forehead = smoothstep(space.height, brow + 0.1, brow + 0.9)
    rim = 1 - smoothstep(space.oval_distance, 0.6, 1.6)
    return np.asarray(np.maximum(forehead, rim) * space.skin, np.float32)
