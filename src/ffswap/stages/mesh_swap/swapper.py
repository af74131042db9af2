"""The embedded swapper: a portrait's features under the target's light, without a generator.

Per frame, in order (`plan`): the target's face is unrolled into texture space; its light is what
is left after a wide blur over the skin; strength of features, colour and sharpness are compared
with the source's; proportions move a little towards the source's. Then, in any order (`paint`):
the source's features are lit with the target's light, warped onto the mesh and blended into the
planes. The target keeps its eyes, its inner mouth, its outline, and whatever covers the face.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...carriers import F32, Faces, Frames
from ...geometry import face_mesh as fm
from ...geometry.face_mesh import smoothstep
from ...options import MeshSwapOptions
from .light import in_frame, read_appearance, read_sharpness, unroll
from .render import Paint, paint_face
from .source import SHARPNESS_SIDE, SHARPNESS_SIGMAS, SIDES, MeshSource

__all__ = ["MeshSwapper"]

LIGHT_SIDE = SIDES[0]

LIGHT_TIME_S = 0.12
"""Time constant of the running means of light, contrast and colour."""

COVER_TIME_S = 0.045
"""Of what covers the face: hands are quick."""

SHAPE_TIME_S = 2.0
"""Of the target's mean shape: long enough for its expressions to cancel out."""

SHARPNESS_EVERY_S = 0.3
SHARPNESS_TIME_S = 0.9

LARGEST_MOVE_CM = 1.2
"""The change of shape moves nothing further than this, on an average face."""

FACING = (0.03, 0.3)
"""Cosine to the camera between which the swap fades out around the turned side of a head."""


@dataclass
class _Memory:
    """What is remembered of one track."""

    seen_s: float
    started_s: float
    light: F32
    contrast: float
    saturation: float
    cover: F32
    shape: F32
    sharpness: float | None = None
    sharpness_s: float = field(default=-np.inf)
    frames: int = 0


class MeshSwapper:
    """Puts one source over faces. Passive; `plan` is called in order, `paint` from any thread.

    Args:
        source: the face to put on.
        options: how.
    """

    name = "mesh"

    def __init__(self, source: MeshSource, options: MeshSwapOptions) -> None:
        self._source, self._options = source, options
        self._memory: dict[int, _Memory] = {}

    def plan(self, frames: Frames, faces: Faces) -> list[list[Paint]]:
        """What will be painted into each of the frames; reads them, changes nothing."""
        plans: list[list[Paint]] = [[] for _ in range(len(frames))]
        for row in range(len(faces)):
            i = int(faces.frame[row])
            track = int(faces.track[row])
            if faces.fresh[row]:
                self._memory.pop(track, None)
            paint = self._plan_face(frames, i, faces.mesh[row], track)
            if paint is not None:
                plans[i].append(paint)
        if len(faces):
            now = frames.seconds(len(frames) - 1)
            self._memory = {t: m for t, m in self._memory.items() if now - m.seen_s < SHAPE_TIME_S}
        return plans

    def paint(self, frames: Frames, i: int, paints: list[Paint]) -> None:
        """Paint the faces of frame `i`, the hindmost (narrowest) first, in place."""
        for paint in sorted(paints, key=lambda p: p.face_px):
            paint_face(self._source, frames, i, paint)

    def _plan_face(self, frames: Frames, i: int, mesh: F32, track: int) -> Paint | None:
        source, colour = self._source, frames.colour
        now = frames.seconds(i)
        space = source.space(LIGHT_SIDE)
        own = source.texture(LIGHT_SIDE, colour.kr, colour.kb)
        a, b = fm.CHEEK_TO_CHEEK
        face_px = float(np.linalg.norm(mesh[a, :2] - mesh[b, :2]))
        face_px = max(face_px, float(np.ptp(mesh[:, 1])) * 0.6)
        at = space.places(mesh[:, :2])
        seen = in_frame(at, frames.width, frames.height)
        if seen.sum() < 0.1 * space.inside.sum():
            return None
        ycc = unroll(frames.planes[i], frames.format, colour, at, face_px)
        facing = source.mesh.facing(mesh)
        look = read_appearance(space, own, ycc, facing, seen)
        cover = np.zeros((LIGHT_SIDE, LIGHT_SIDE), np.float32)
        shape = source.mesh.to_canonical(mesh)
        memory = self._memory.get(track)
        if memory is None:
            memory = _Memory(now, now, look.light, look.contrast, look.saturation, cover, shape)
            self._memory[track] = memory
        else:
            self._remember(memory, now, look.light, look.contrast, look.saturation, cover, shape)
        memory.frames += 1
        if memory.sharpness is None or now - memory.sharpness_s >= SHARPNESS_EVERY_S:
            self._read_sharpness(memory, frames, i, mesh, now)
        opacity = smoothstep(space.spread(facing), *FACING) * (1 - memory.cover)
        return Paint(
            mesh=mesh,
            shift=self._shift(memory.shape, mesh),
            face_px=face_px,
            light=memory.light,
            opacity=opacity.astype(np.float32),
            contrast=memory.contrast,
            saturation=memory.saturation,
            sigma=self._sigma(memory, colour.kr, colour.kb),
        )

    def _remember(
        self,
        memory: _Memory,
        now: float,
        light: F32,
        contrast: float,
        saturation: float,
        cover: F32,
        shape: F32,
    ) -> None:
        dt = max(now - memory.seen_s, 0.0)
        gain = 1 - np.exp(-dt / LIGHT_TIME_S)
        memory.light = (memory.light + np.float32(gain) * (light - memory.light)).astype(np.float32)
        memory.contrast += gain * (contrast - memory.contrast)
        memory.saturation += gain * (saturation - memory.saturation)
        fast = np.float32(1 - np.exp(-dt / COVER_TIME_S))
        memory.cover = (memory.cover + fast * (cover - memory.cover)).astype(np.float32)
        # A plain mean at first, a running one later.
        slow = np.float32(max(1 / (memory.frames + 1), 1 - np.exp(-dt / SHAPE_TIME_S)))
        memory.shape = (memory.shape + slow * (shape - memory.shape)).astype(np.float32)
        memory.seen_s = now

    def _read_sharpness(
        self, memory: _Memory, frames: Frames, i: int, mesh: F32, now: float
    ) -> None:
        space = self._source.space(SHARPNESS_SIDE)
        value = read_sharpness(space, frames.planes[i], frames.format, frames.colour, mesh[:, :2])
        if memory.sharpness is None:
            memory.sharpness = value
        else:
            gain = 1 - np.exp(-(now - memory.sharpness_s) / SHARPNESS_TIME_S)
            memory.sharpness += gain * (value - memory.sharpness)
        memory.sharpness_s = now

    def _sigma(self, memory: _Memory, kr: float, kb: float) -> float:
        """Blur, in texels of `SHARPNESS_SIDE`, that makes the source as soft as the target."""
        own = self._source.sharpness(kr, kb)
        wanted = min((memory.sharpness or 0.0) / memory.contrast * 1.1, own[0])
        return float(np.interp(-wanted, [-v for v in own], SHARPNESS_SIGMAS))

    def _shift(self, mean_shape: F32, mesh: F32) -> F32:
        """(468, 2) pixels by which the source's proportions move the target's vertices."""
        source = self._source
        move = source.mesh.smooth_shape(source.shape - mean_shape) * self._options.shape
        move = np.clip(move, -LARGEST_MOVE_CM, LARGEST_MOVE_CM)
        scale, rotation, _ = source.mesh.pose(mesh)
        return np.asarray((scale * (move @ rotation.T))[:, :2], np.float32)
