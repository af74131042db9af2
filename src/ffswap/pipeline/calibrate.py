"""Calibration sets: the real inputs of a swap's nets, collected from clips and kept as different as can be."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..carriers import Frames
from ..engines.calibration import SET_FILE, write_set
from ..errors import (
    CancelledError,
    InputMissingError,
    MediaError,
    NoFaceError,
    OptionError,
    OutputExistsError,
)
from ..files import PathLike, write_error
from ..media import ClipReader, encode_png, is_picture_name, picture_frames, read_picture
from ..models import load_catalog
from ..models.store import ModelStore
from ..options import CalibrateOptions
from .calibration_faces import Coverage, FaceSeen, RowPool, coverage
from .calibration_look import Collector, TappedNets
from .machine import find_cpu

__all__ = ["SHEET_FILE", "CalibrationReport", "NetRows", "calibrate"]

SHEET_FILE = "faces.png"
"""The contact sheet in a set."""

FRAMES_PER_ROW = 1.25
"""Frames that are looked at for each row that is wanted: enough to choose from, and of a clip of ten
minutes few beside what decoding it costs."""
_UNKNOWN_STEP = 25  # frames, where a clip does not say how many it has: about one a second

_SHEET_COLUMNS = 16


@dataclass(frozen=True, kw_only=True)
class NetRows:
    """What a set holds for a net.

    Attributes:
        model: its name.
        rows: kept.
        frames: whether each row is a picture of a whole frame, and not of a face.
    """

    model: str
    rows: int
    frames: bool


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """What was collected.

    Attributes:
        folder: of the set.
        nets: that it has rows for; the swapper first.
        frames: looked at.
        faces: found in them.
        persons: among the rows of the swapper; None: nobody was told apart.
        coverage: of the rows of the swapper.
        warnings: what is missing, and files that were left out, in sentences.
        seconds: that it took.
    """

    folder: str
    nets: tuple[NetRows, ...]
    frames: int
    faces: int
    persons: int | None
    coverage: tuple[Coverage, ...]
    warnings: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return asdict(self)


def calibrate(
    clips: Sequence[PathLike],
    output: PathLike,
    options: CalibrateOptions | None = None,
    *,
    sources: Sequence[PathLike] = (),
    models_folder: PathLike | None = None,
    catalog: PathLike | None = None,
    tell: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
) -> CalibrationReport:
    """Collect a calibration set from clips.

    Args:
        clips: videos, pictures, and folders of such.
        output: folder of the set; appears when all is done.
        options: of what is collected.
        sources: photos whose faces are put in, in turn; none: the faces of the clips, each on another
            person where there is one.
        models_folder: the user's model files, or None.
        catalog: the user's own catalogue, or None.
        tell: is called when a file begins.
        cancel: ends it when it is set.

    Raises:
        OutputExistsError: there is something already.
        OutputWriteError: it cannot be written.
        InputMissingError: a file is not there, or a folder is empty.
        MediaError: none of the files can be read.
        NoFaceError: there is no face in them, or none in a photo.
        OptionError: the swapper comes with ffswap, or models do not go together.
        ModelError: a model is not installed, or its file is not what it should be.
        CancelledError: `cancel` was set.
    """
    options, begun = options or CalibrateOptions(), time.perf_counter()
    place = Path(output)
    _check_output(place, overwrite=options.overwrite)
    files = _files(clips)
    with ExitStack() as stack:
        store = None if models_folder is None else ModelStore(Path(models_folder))
        threads = options.threads or find_cpu().usable_cores
        nets = TappedNets(
            load_catalog(None if catalog is None else Path(catalog)), store, threads, stack
        )
        collector = Collector(nets, options, [Path(one) for one in sources])
        warnings = _read_all(files, collector, options, tell, cancel)
    _write(place, collector.filled)
    return CalibrationReport(
        folder=str(place),
        nets=tuple(
            NetRows(model=one.model, rows=len(one.faces), frames=one.model == collector.detector)
            for one in collector.filled
        ),
        frames=collector.frames,
        faces=collector.faces,
        persons=collector.persons,
        coverage=coverage(collector.swapper.faces),
        warnings=(*warnings, *collector.missing()),
        seconds=time.perf_counter() - begun,
    )


def _read_all(
    files: Sequence[Path],
    collector: Collector,
    options: CalibrateOptions,
    tell: Callable[[str], None] | None,
    cancel: threading.Event | None,
) -> list[str]:
    """Look at all files; warnings about those that were left out.

    Raises:
        MediaError: none can be read.
        NoFaceError: there is no face in them.
        CancelledError: `cancel` was set.
    """
    wanted = max(1, round(options.count * FRAMES_PER_ROW / len(files)))
    warnings: list[str] = []
    for number, file in enumerate(files, 1):
        if tell is not None:
            tell(f"file {number} of {len(files)}: {file}")
        collector.next_clip()
        try:
            for frames in _frames(file, wanted, options):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("stopped; the calibration set was not written")
                collector.look(frames)
        except MediaError as error:
            if len(files) == 1 or (len(warnings) == len(files) - 1 and not collector.frames):
                raise
            warnings.append(f"{file}: left out from there on, it {error.message}")
    if not collector.swapper.faces:
        raise NoFaceError(
            f"no face was found in {collector.frames} frames of {len(files)} files",
            file=files[0] if len(files) == 1 else None,
            hint="give clips in which faces are well seen",
        )
    return warnings


def _frames(file: Path, wanted: int, options: CalibrateOptions) -> Iterator[Frames]:
    """Single frames of a file at equal distances, about as many as are wanted."""
    if is_picture_name(file):
        yield picture_frames(read_picture(file, options.limits))
        return
    with ClipReader(file, threads=options.threads, batch_frames=1, limits=options.limits) as reader:
        expected = reader.expected_frames
        step = _UNKNOWN_STEP if expected is None else max(1, expected // wanted)
        taken = 0
        for item in reader:
            if isinstance(item, Frames):
                if taken % step == 0:
                    yield item
                taken += 1


def _files(clips: Sequence[PathLike]) -> list[Path]:
    """The files that were named, and those in folders that were named."""
    found: list[Path] = []
    for clip in map(Path, clips):
        if not clip.is_dir():
            found.append(clip)
            continue
        inside = sorted(
            one for one in clip.iterdir() if one.is_file() and not one.name.startswith(".")
        )
        if not inside:
            raise InputMissingError("there are no files in this folder", file=clip)
        found += inside
    if not found:
        raise OptionError("no clip was given", hint="--from VIDEO or --from FOLDER")
    for file in found:
        if not file.exists():
            raise InputMissingError("is not there", file=file)
    return found


def _check_output(place: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is there, unless it is a set that may go."""
    if not place.exists():
        return
    if not overwrite:
        raise OutputExistsError(
            "is there already", file=place, hint="choose another name, or say --overwrite"
        )
    if not (place / SET_FILE).is_file():
        raise OutputExistsError(
            "is no calibration set, and is not replaced", file=place, hint="choose another name"
        )


def _write(place: Path, pools: Sequence[RowPool]) -> None:
    """Write the set beside its place, and give it its name when it is complete."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as folder:
            fresh = Path(folder) / "set"
            write_set(fresh, [one.rows() for one in pools])
            (fresh / SHEET_FILE).write_bytes(encode_png(_sheet(pools[0].faces)))
            if place.exists():
                shutil.move(place, Path(folder) / "before")
            fresh.rename(place)
    except OSError as error:
        raise write_error(error, place) from error


def _sheet(faces: Sequence[FaceSeen]) -> Any:
    """All faces beside each other, ordered by the tone of their skin."""
    side = len(faces[0].picture)
    ordered = sorted(faces, key=lambda face: (face.ita, face.yaw))
    rows = -(-len(ordered) // _SHEET_COLUMNS)
    sheet = np.zeros((rows * side, _SHEET_COLUMNS * side, 3), np.uint8)
    for k, face in enumerate(ordered):
        top, left = k // _SHEET_COLUMNS * side, k % _SHEET_COLUMNS * side
        sheet[top : top + side, left : left + side] = face.picture
    return sheet
