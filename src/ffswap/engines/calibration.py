"""Calibration sets: real inputs of nets, and what is known of each face, as files to look at and delete.

SET/
    set.json        schema; for each net its model, digest, file, rows and names of the groups
    MODEL.npz       NumPy archive, not compressed: one array for each input, and one for each
                    thing that is known of the rows; the first axis of all is the row
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError, InputMissingError, InternalError, ModelError, OutputWriteError
from ..files import PathLike, PendingFile, check_input, write_error
from ._plain import from_plain, to_plain
from .key import safe_name

__all__ = [
    "KNOWN",
    "SET_FILE",
    "SET_SCHEMA",
    "CalibrationRows",
    "merge_rows",
    "read_set",
    "write_set",
]

SET_SCHEMA = 1
"""Goes up whenever older programs could take a set for something that it is not."""

SET_FILE = "set.json"

KNOWN = ("group_skin", "group_pose", "person", "face_px", "ita", "yaw", "pitch")
"""What is known of each row; see `CalibrationRows`. No input may have such a name."""

_WHOLE = frozenset(KNOWN[:3])
_ALLOWED = "a calibration set: a folder with set.json and an .npz for each net"
# Of set.json, bytes: a few hundred for each net; more is something else.
_LARGEST_JSON = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class CalibrationRows:
    """Rows of one net's inputs, each from a face that was really seen.

    Attributes:
        model: name of the net.
        onnx_sha256: `fingerprint` of its ONNX file as it was read, 64 hexadecimal digits.
        inputs: arrays of numbers by the net's own names, the row first, finite.
        skin: names of the groups of skin tone.
        pose: names of the groups of pose.
        group_skin: int64 (N), index of each row in `skin`.
        group_pose: int64 (N), index in `pose`.
        person: int64 (N), the same number for the same person.
        face_px: float32 (N), height of the face in the frame, pixels.
        ita: float32 (N), individual typology angle of the skin, degrees.
        yaw: float32 (N), degrees, positive where the face looks to the right of the picture.
        pitch: float32 (N), degrees, positive upwards.

    Raises:
        ModelError: an array is missing, of another length, not finite, or out of its range.
    """

    model: str
    onnx_sha256: str
    inputs: Mapping[str, NDArray[Any]]
    skin: tuple[str, ...]
    pose: tuple[str, ...]
    group_skin: NDArray[np.int64]
    group_pose: NDArray[np.int64]
    person: NDArray[np.int64]
    face_px: NDArray[np.float32]
    ita: NDArray[np.float32]
    yaw: NDArray[np.float32]
    pitch: NDArray[np.float32]

    def __post_init__(self) -> None:
        _require(bool(self.model), "it names no model")
        found = _SHA256.fullmatch(self.onnx_sha256) is not None
        _require(found, f"onnx_sha256 is {self.onnx_sha256[:80]!r}; allowed: 64 hexadecimal digits")
        _require(len(self.inputs) > 0, "it holds no inputs")
        for name in self.inputs:
            _require(name not in KNOWN, f"an input is called {name!r}, as what is known of rows")
        for name, array in self.arrays().items():
            kinds = "iu" if name in _WHOLE else "f" if name in KNOWN else "fiub"
            _require(
                array.dtype.kind in kinds and array.ndim >= 1,
                f"{name} is {array.dtype} {array.shape}; allowed: rows of "
                + ("whole numbers" if kinds == "iu" else "numbers"),
            )
            _require(
                len(array) == len(self) > 0,
                f"{name} has {len(array)} rows, the others {len(self)}; allowed: as many, 1 or more",
            )
            _require(
                name not in KNOWN or array.ndim == 1,
                f"{name} has the shape {array.shape}; allowed: one number a row",
            )
            finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
            _require(finite, f"{name} holds values that are not finite")
        for name, names in (("group_skin", self.skin), ("group_pose", self.pose)):
            groups = getattr(self, name)
            _require(
                groups.min() >= 0 and groups.max() < len(names),
                f"{name} is from {groups.min()} to {groups.max()}; allowed: 0 to {len(names) - 1}, "
                "the names that set.json has for it",
            )

    def __len__(self) -> int:
        return len(self.person)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that goes into the archive, by name."""
        return {**self.inputs, **{name: getattr(self, name) for name in KNOWN}}

    @property
    def digest(self) -> str:
        """SHA-256 of names, types, shapes and values, 64 hexadecimal digits."""
        found = hashlib.sha256(f"{self.onnx_sha256} {self.skin} {self.pose}".encode())
        for name, array in sorted(self.arrays().items()):
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Groups:
    skin: tuple[str, ...]
    pose: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What set.json says of a net."""

    model: str
    file: str
    onnx_sha256: str
    count: int
    groups: _Groups


@dataclass(frozen=True, kw_only=True)
class _Set:
    schema: int
    nets: tuple[_Entry, ...]


def _require(ok: bool, fault: str) -> None:
    if not ok:
        raise ModelError(f"is no calibration set as it should be: {fault}")


def write_set(folder: PathLike, nets: Sequence[CalibrationRows]) -> Path:
    """Write a calibration set; set.json is written last, so a set without it is not complete.

    Args:
        folder: is made if it is missing; it may not hold a set yet.
        nets: one for each net, 1 or more.

    Returns:
        The folder.

    Raises:
        OutputExistsError: there is a set already.
        OutputWriteError: it cannot be written.
    """
    place = Path(folder)
    files = [f"{safe_name(one.model)}.npz" for one in nets]
    if not nets or len(set(files)) < len(files):
        raise InternalError(f"nets of a calibration set: {[one.model for one in nets]}")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputWriteError("is a file, not a folder", file=place) from error
    except OSError as error:
        raise write_error(error, place) from error
    entries = tuple(
        _Entry(
            model=one.model,
            file=file,
            onnx_sha256=one.onnx_sha256,
            count=len(one),
            groups=_Groups(skin=one.skin, pose=one.pose),
        )
        for one, file in zip(nets, files, strict=True)
    )
    text = json.dumps(to_plain(_Set(schema=SET_SCHEMA, nets=entries)), indent=1, ensure_ascii=False)
    for one, file in zip(nets, files, strict=True):
        archive = io.BytesIO()
        np.savez(archive, **one.arrays())  # type: ignore[arg-type]  # names are never its options
        _write(place / file, archive.getbuffer())
    _write(place / SET_FILE, text.encode())
    return place


def _write(file: Path, data: bytes | memoryview) -> None:
    pending = PendingFile(file, overwrite=False)
    try:
        pending.temporary.write_bytes(data)
        pending.commit()
    except OSError as error:
        raise write_error(error, file) from error
    finally:
        pending.discard()


def read_set(folder: PathLike, model: str) -> CalibrationRows:
    """The rows of one net, all checked.

    Args:
        folder: of the set.
        model: name of the net.

    Raises:
        InputMissingError: there is no such folder, or it has no set.json or no archive.
        ModelError: it is damaged, or holds nothing for this net.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputMissingError(f"is no folder; give {_ALLOWED}", file=place)
    listed = check_input(place / SET_FILE, _ALLOWED, ModelError)
    try:
        entries = _entries(listed)
    except EngineError as error:
        raise ModelError(
            f"is no list of a calibration set: {error.message}", file=listed
        ) from error
    found = [one for one in entries if one.model == model]
    if not found:
        there = ", ".join(one.model for one in entries)
        raise ModelError(
            f"was made for {there}; here it is used for {model}", file=place,
            hint=f"make a calibration set for {model}",
        )  # fmt: skip
    (entry, *_) = found
    if Path(entry.file).name != entry.file:
        raise ModelError(f"names the file {entry.file!r}; allowed: one beside it", file=listed)
    archive = check_input(place / entry.file, _ALLOWED, ModelError)
    arrays = _arrays(archive)
    if missing := [name for name in KNOWN if name not in arrays]:
        raise ModelError(f"has no array {missing[0]!r}", file=archive)
    known = {name: arrays.pop(name) for name in KNOWN}
    try:
        rows = CalibrationRows(
            model=model, onnx_sha256=entry.onnx_sha256, inputs=arrays, skin=entry.groups.skin,
            pose=entry.groups.pose, **known,
        )  # fmt: skip
    except ModelError as error:
        raise ModelError(error.message, file=archive) from error
    if len(rows) != entry.count:
        raise ModelError(f"has {len(rows)} rows, its list says {entry.count}", file=archive)
    return rows


def _entries(file: Path) -> tuple[_Entry, ...]:
    if file.stat().st_size > _LARGEST_JSON:
        raise EngineError(f"it has {file.stat().st_size} bytes; allowed: {_LARGEST_JSON}")
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"it cannot be read ({error})") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SET_SCHEMA:
        raise EngineError(f"it has schema {schema!r}, this ffswap reads {SET_SCHEMA}")
    found: _Set = from_plain(_Set, data, "the list")
    return found.nets


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive; nothing in it may take more room than the file itself."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = {}
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise ModelError(f"{info.filename} is compressed; allowed: not", file=file)
                with archive.open(info) as member:
                    found[info.filename.removesuffix(".npy")] = _array(member, info.file_size)
            return found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"is no NumPy archive of arrays ({error})", file=file) from error


def _array(member: Any, size: int) -> NDArray[Any]:
    """One array, if its header says as many bytes as follow."""
    version = np.lib.format.read_magic(member)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"an array of version {version}")
    shape, in_columns, dtype = read[version](member)
    values = member.read(size)
    if dtype.hasobject or dtype.itemsize * int(np.prod(shape, dtype=np.int64)) != len(values):
        raise ValueError(f"{dtype} {shape} in {len(values)} bytes")
    array = np.frombuffer(values, dtype)
    return array.reshape(shape, order="F" if in_columns else "C")


def merge_rows(sets: Sequence[CalibrationRows]) -> CalibrationRows:
    """All rows of several sets of one net; persons of different sets count as different.

    Raises:
        ModelError: the sets are for different files of the net, or have different inputs.
    """
    first = sets[0]
    for other in sets[1:]:
        if other.onnx_sha256 != first.onnx_sha256:
            raise ModelError(f"the calibration sets of {first.model} are for different files of it")
        shapes = [{n: a.shape[1:] for n, a in one.inputs.items()} for one in (first, other)]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"the calibration sets of {first.model} have different inputs: {shapes[0]} and "
                f"{shapes[1]}"
            )
    skin = tuple(dict.fromkeys(name for one in sets for name in one.skin))
    pose = tuple(dict.fromkeys(name for one in sets for name in one.pose))
    persons, start = [], 0
    for one in sets:
        _, numbers = np.unique(one.person, return_inverse=True)
        persons.append(numbers.astype(np.int64) + start)
        start += int(numbers.max()) + 1
    return CalibrationRows(
        model=first.model,
        onnx_sha256=first.onnx_sha256,
        inputs={n: np.concatenate([one.inputs[n] for one in sets]) for n in first.inputs},
        skin=skin,
        pose=pose,
        group_skin=_renumbered([(one.skin, one.group_skin) for one in sets], skin),
        group_pose=_renumbered([(one.pose, one.group_pose) for one in sets], pose),
        person=np.concatenate(persons),
        **{n: np.concatenate([getattr(one, n) for one in sets]) for n in KNOWN[3:]},
    )


def _renumbered(
    groups: Sequence[tuple[Sequence[str], NDArray[np.int64]]], names: Sequence[str]
) -> NDArray[np.int64]:
    """Indices in `names` of groups that are indices in names of their own."""
    return np.concatenate(
        [np.array([names.index(name) for name in own], np.int64)[index] for own, index in groups]
    )
