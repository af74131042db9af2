"""What a calibration set is selected by, and the rows of the nets that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..carriers import F32
from ..closing import Closing
from ..engines import Binding, Session, TensorSpec
from ..engines.calibration import CalibrationRows
from ..geometry.diverse import DiverseSet
from ..geometry.face_traits import POSES, SKIN_TONES, place, pose_group, skin_group
from ..stages.identify import distance

__all__ = ["GROUPS", "Coverage", "FaceSeen", "People", "RowPool", "Tap", "coverage"]

LIGHTS, _LIGHT_EDGES = ("dim", "medium", "bright"), (35.0, 65.0)  # L* of the skin
SIZES, _SIZE_EDGES = ("below 64 px", "64 to 255 px", "256 px and more"), (64.0, 256.0)
SHARPNESS, _SHARP_EDGES = (
    ("soft", "medium", "sharp"),
    (-8.0, -5.0),
)  # see `geometry.face_traits.sharpness`

# How far two faces are apart in each of these makes 1 of the distance that rows are chosen by: about
# half of what separates two groups. A stranger's unit embedding is 1.4 away, the same person's 0.9.
_SCALES = (15.0, 20.0, 15.0, 1.0, 15.0, 2.0)  # ITA, yaw, pitch, log2 of the size, L*, sharpness
_PERSON_WEIGHT = 2.0

SAME_PERSON = 0.3
"""Distance of embeddings below which faces are one person's; that of FaceFusion's face selector."""
MOST_PEOPLE = 1024
"""That are told apart; whoever comes later counts as who is most alike. Bounds memory."""

LARGEST_POOL_BYTES = 448 << 20
"""Of the rows of one net: nets with large pictures keep fewer rows."""


@dataclass(frozen=True, kw_only=True)
class FaceSeen:
    """One face of one frame.

    Attributes:
        light: L* of the skin, 0 to 100.
        ita: individual typology angle, degrees.
        sharp: see `geometry.face_traits.sharpness`.
        yaw: degrees, positive to the right of the picture.
        pitch: degrees, positive upwards.
        face_px: height of its box, pixels.
        person: number.
        embedding: (d,) float32 of norm 1; zeros where nobody knows people again.
        picture: (S, S, 3) uint8 RGB, the aligned crop.
    """

    light: float
    ita: float
    sharp: float
    yaw: float
    pitch: float
    face_px: float
    person: int
    embedding: F32
    picture: NDArray[np.uint8]

    @property
    def features(self) -> F32:
        """(6 + d,) float32, whose distances say how different two faces are."""
        size = np.log2(max(self.face_px, 1.0))
        own = (self.ita, self.yaw, self.pitch, size, self.light, self.sharp)
        scaled = np.asarray(own, np.float32) / np.asarray(_SCALES, np.float32)
        return np.concatenate([scaled, np.float32(_PERSON_WEIGHT) * self.embedding])

    def groups(self) -> dict[str, str]:
        """The name of its group by the kind."""
        return {
            "skin tone": SKIN_TONES[skin_group(self.ita)],
            "pose": POSES[pose_group(self.yaw, self.pitch)],
            "light": LIGHTS[place(self.light, _LIGHT_EDGES)],
            "size": SIZES[place(self.face_px, _SIZE_EDGES)],
            "sharpness": SHARPNESS[place(self.sharp, _SHARP_EDGES)],
        }


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many of the kept faces belong to a group.

    Attributes:
        kind: such as ``skin tone``.
        name: of the group.
        rows: of it.
    """

    kind: str
    name: str
    rows: int


GROUPS: Mapping[str, Sequence[str]] = {
    "skin tone": SKIN_TONES, "pose": POSES, "light": LIGHTS, "size": SIZES, "sharpness": SHARPNESS,
}  # fmt: skip


def coverage(faces: Sequence[FaceSeen]) -> tuple[Coverage, ...]:
    """Of every group of every kind."""
    seen = [face.groups() for face in faces]
    return tuple(
        Coverage(kind=kind, name=name, rows=sum(one[kind] == name for one in seen))
        for kind, names in GROUPS.items()
        for name in names
    )


class People:
    """Numbers people in the order in which they are first seen."""

    def __init__(self) -> None:
        self._first: list[F32] = []

    def number(self, embedding: F32) -> int:
        """Of the person whose first embedding is nearest, or a new one.

        Args:
            embedding: (d,) float32 of norm 1.
        """
        if self._first:
            apart = distance(np.stack(self._first), embedding)
            if apart.min() < SAME_PERSON or len(self._first) == MOST_PEOPLE:
                return int(apart.argmin())
        self._first.append(embedding)
        return len(self._first) - 1


class Tap(Closing):
    """A session that remembers what it was given; fulfils `Session`.

    Args:
        session: is run; it is closed with this one.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given: list[dict[str, NDArray[Any]]] = []

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """See `Session.inputs`."""
        return self._session.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """See `Session.outputs`."""
        return self._session.outputs

    @property
    def buckets(self) -> tuple[int, ...]:
        """See `Session.buckets`."""
        return self._session.buckets

    @property
    def device(self) -> str:
        """See `Session.device`."""
        return self._session.device

    @property
    def runtime(self) -> str:
        """See `Session.runtime`."""
        return self._session.runtime

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        self._given.append(dict(feeds))
        return self._session.run(feeds)

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> Binding:
        """See `Session.bind`; what a binding reads is not remembered."""
        return self._session.bind(batch, buffers)

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()

    def take(self) -> dict[str, NDArray[Any]]:
        """What it was given since the last time, row after row; empty: nothing."""
        given, self._given = self._given, []
        names = given[0] if given else {}
        return {name: np.concatenate([one[name] for one in given]) for name in names}


@dataclass
class RowPool:
    """The rows of one net that are kept.

    Attributes:
        model: name of the net.
        onnx_sha256: fingerprint of its file.
        count: rows at the most; fewer where they would take more than `LARGEST_POOL_BYTES`.
    """

    model: str
    onnx_sha256: str
    count: int
    faces: list[FaceSeen] = field(default_factory=list)
    _rows: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    _set: DiverseSet | None = None

    def offer(self, face: FaceSeen, row: Mapping[str, NDArray[Any]]) -> None:
        """Take a row, or not; see `DiverseSet`.

        Args:
            face: that it is about.
            row: inputs without an axis for rows.
        """
        if not all(np.isfinite(array).all() for array in row.values()):
            return
        if self._set is None:
            size = sum(array.nbytes for array in row.values())
            self.count = max(2, min(self.count, LARGEST_POOL_BYTES // max(1, size)))
            self._set = DiverseSet(self.count)
        place = self._set.offer(face.features)
        if place is None:
            return
        kept = {name: np.array(array) for name, array in row.items()}
        if place == len(self.faces):
            self.faces.append(face)
            self._rows.append(kept)
        else:
            self.faces[place], self._rows[place] = face, kept

    def rows(self) -> CalibrationRows:
        """All that was kept; there is at least one."""

        def column(name: str, dtype: type) -> NDArray[Any]:
            return np.array([getattr(face, name) for face in self.faces], dtype)

        ita, yaw, pitch = (column(name, np.float32) for name in ("ita", "yaw", "pitch"))
        return CalibrationRows(
            model=self.model,
            onnx_sha256=self.onnx_sha256,
            inputs={name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]},
            skin=SKIN_TONES,
            pose=POSES,
            group_skin=np.array([skin_group(one.ita) for one in self.faces], np.int64),
            group_pose=np.array([pose_group(one.yaw, one.pitch) for one in self.faces], np.int64),
            person=column("person", np.int64),
            face_px=column("face_px", np.float32),
            ita=ita,
            yaw=yaw,
            pitch=pitch,
        )
