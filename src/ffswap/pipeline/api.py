"""The one call that does everything: `swap`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

from ..carriers import Plane
from ..errors import CancelledError, OptionError, OutputError, OutputExistsError
from ..files import PendingFile
from ..locks import open_to_others
from ..media import (
    ClipInfo,
    Picture,
    choose,
    foresee,
    picture_frames,
    picture_from_frames,
    probe,
    read_picture,
    write_picture,
)
from ..ops import cpu
from ..options import SwapOptions
from ..stages.face_swap import FaceSwap
from ..stages.net_paint import SKIPPED
from .chain import Cast, Chain
from .clips import ClipJob, at_once
from .devices import Folders, Workplace, Workplaces
from .disclosure import Sealer, check_sidecar, claim_of, open_label, open_sealer
from .facts import facts_of
from .report import ProgressCallback, SwapReport
from .segments import in_segments, worth_it

__all__ = ["check_output", "open_places", "swap", "swap_at", "tune_process"]

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may hold the interpreter while another waits. With Python's 5 ms a decoder that
needs it for microseconds waits behind a computing thread again and again."""

PathLike: TypeAlias = "str | os.PathLike[str]"


def swap(
    source: PathLike | None,
    target: PathLike,
    output: PathLike,
    *,
    options: SwapOptions | None = None,
    models: PathLike | None = None,
    catalog: PathLike | None = None,
    engines: PathLike | None = None,
    kernels: PathLike | None = None,
    progress: ProgressCallback | None = None,
    cancel: threading.Event | None = None,
    notify: Callable[[str], None] | None = None,
) -> SwapReport:
    """Put the face of a photo into a video or a picture.

    Keeps no state between calls; several may run at once in one process.

    Args:
        source: a picture with the face, or a folder of pictures of it; None: only the people of
            the options get a face.
        target: a video or a picture.
        output: what is written; its suffix names the format. It appears when it is complete.
        options: how; the defaults suit most.
        models: folder of the user's model files; None: only the models that come with ffswap.
        catalog: TOML file with models of the user's own, or None.
        engines: folder with TensorRT engines that `build_engines` wrote; None: there are none.
        kernels: folder in which compiled kernels of a GPU are kept; None: they are compiled anew.
        progress: called in this thread a few times a second.
        cancel: set it from another thread to stop the run.
        notify: called in this thread, before the work starts, with each sentence about what the output
            will lack of the target; the warnings of the report hold them as well.

    Returns:
        What was done. `SwapReport.complete` is False when the target was cut short.

    Raises:
        FfswapError: one of its branches, see `ffswap.errors`; the output was not written then.
        KeyboardInterrupt: passed on after cleaning up.
    """
    with open_places(options, models, catalog, engines, kernels) as places:
        return swap_at(
            places, source, target, output, progress=progress, cancel=cancel, notify=notify
        )


def open_places(
    options: SwapOptions | None,
    models: PathLike | None,
    catalog: PathLike | None,
    engines: PathLike | None,
    kernels: PathLike | None,
) -> Workplaces:
    """Where swaps with these options are done; for the arguments see `swap`. Nothing is loaded yet."""
    options = options or SwapOptions()
    kept = (None if one is None else Path(one) for one in (models, catalog, engines, kernels))
    folders = Folders(**dict(zip(("models", "catalog", "engines", "kernels"), kept, strict=True)))
    # What is no picture is refused before anything is loaded, and not decoded again then.
    read = lru_cache(maxsize=2 * len(options.people) + 2)(
        partial(read_picture, limits=options.limits)
    )
    return Workplaces(options, folders, read)


def swap_at(
    places: Workplaces,
    source: PathLike | None,
    target: PathLike,
    output: PathLike,
    *,
    progress: ProgressCallback | None = None,
    cancel: threading.Event | None = None,
    notify: Callable[[str], None] | None = None,
) -> SwapReport:
    """One swap at a place that may serve further ones; see `swap`."""
    options = places.options
    photo, target, output = None if source is None else Path(source), Path(target), Path(output)
    photos = _photos(photo, options)
    for path in photos.values():
        if not path.is_dir():
            places.read(path)
    info = probe(target, options.limits)
    check_output({**photos, "target": target}, output, options.overwrite)
    check_sidecar(output, options.credentials, overwrite=options.overwrite)
    if notify is not None and not info.is_picture:
        for sentence in foresee(target, output, options.encode, options.limits):
            notify(sentence)
    sealer, notes = open_sealer(options.credentials, target, cancel)
    with places.at(info) as place:
        cast, warnings = place.chain.cast(photo)
        warnings = (*place.notes, *warnings, *notes, *_shared(places.folders.models))
        files = {**photos, "target": target, **_own_files(place.chain, options)}
        job = _Job(place, cast, info, output, options, sealer, files)
        if info.is_picture:
            return job.picture(warnings, cancel)
        return job.clip(warnings, progress, cancel)


def _photos(source: Path | None, options: SwapOptions) -> dict[str, Path]:
    """All photos of the user by what they are."""
    photos = {} if source is None else {"source": source}
    if options.reference is not None:
        photos["reference"] = Path(options.reference)
    for person in options.people:
        photos[f"source {person.source}"] = Path(person.source)
        photos[f"reference {person.reference}"] = Path(person.reference)
    return photos


def _own_files(chain: Chain, options: SwapOptions) -> dict[str, Path]:
    """Models and the font of the user by what they are."""
    files = {f"model {name}": path for name, path in chain.files.items()}
    if options.label is not None and options.label.font is not None:
        files["the font"] = Path(options.label.font)
    return files


def _shared(models: Path | None) -> tuple[str, ...]:
    """A warning where others may have put files into the folder of models."""
    why = None if models is None else open_to_others(models)
    return () if why is None else (f"{why}: the models there may be somebody else's",)


def tune_process() -> None:
    """Settings of the whole process that suit a run; for programs that do nothing else.

    OpenCV uses one thread per call (the pipeline has threads of its own), and threads hand the
    interpreter over sooner.
    """
    cpu.set_threads(1)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    os.environ.setdefault("SVT_LOG", "1")  # or the AV1 encoder prints pages of settings on stderr


def check_output(inputs: Mapping[str, Path], output: Path, overwrite: bool) -> None:
    """Say what cannot work before any work is done; the writers check again."""
    if not os.path.lexists(output) or os.path.isdir(output):
        return
    for name, path in inputs.items():
        if path.is_dir() and output.resolve().parent == path.resolve():
            raise OutputError(
                f"the output lies in the folder of the {name}, and is one of its files",
                file=output, hint="name another file",
            )  # fmt: skip
        if os.path.exists(output) and os.path.samefile(output, path):
            raise OutputError(
                f"the output is the {name} itself", file=output, hint="name another file"
            )
    if not overwrite:
        raise OutputExistsError(
            "the output exists already", file=output, hint="use --overwrite to replace it"
        )


class _Job:
    """One target and all that is known about it."""

    def __init__(
        self,
        place: Workplace,
        cast: Cast,
        info: ClipInfo,
        output: Path,
        options: SwapOptions,
        sealer: Sealer,
        files: Mapping[str, Path],
    ) -> None:
        self._files = files
        self._chain, self._cast, self._info, self._output = place.chain, cast, info, output
        self._options, self._place, self._sealer = options, place, sealer
        self._label = open_label(options.label)
        self._swap = self._chain.swap(cast, self._label)

    def _seal(self, file: PendingFile) -> None:
        claim = claim_of(self._chain, self._swap, labelled=self._label is not None)
        self._sealer(file, claim)

    def clip(
        self,
        warnings: Sequence[str],
        progress: ProgressCallback | None,
        cancel: threading.Event | None,
    ) -> SwapReport:
        info, options, swap = self._info, self._options, self._swap
        plan = choose(self._output, info, options.encode)
        job = ClipJob(
            info=info, output=self._output, plan=plan, options=options, swap=swap, seal=self._seal,
            progress=progress, cancel=cancel, room=self._place.room,
        )  # fmt: skip
        if worth_it(job):
            used = {"device": self._place.device, "model": self._chain.model}
            used |= {f"model of the kind {kind}": name for kind, name in self._chain.models.items()}
            used |= {f"runtime of {name}": one for name, one in self._chain.runtimes.items()}
            done = in_segments(job, facts_of(self._files, options, plan, used, cancel))
        else:
            done = at_once(job)
        summary = done.summary
        notes = [*warnings, *done.warnings, *self._notes()]
        counts, skipped = swap.counts, swap.skipped
        if counts.frames_without_face == counts.frames:
            notes.append(_nothing_swapped(swap.tracks, options))
        return SwapReport(
            output=str(self._output),
            frames=done.frames,
            frames_without_face=counts.frames_without_face,
            faces=counts.faces - sum(skipped.values()),
            faces_skipped=skipped,
            tracks=swap.tracks,
            missing_frames=summary.missing_frames,
            corrupt_frames=summary.corrupt_frames,
            seconds=done.seconds,
            fps=done.frames / done.seconds,
            model=self._chain.model,
            model_reason=self._chain.model_reason,
            models=self._chain.models,
            device=self._place.device,
            runtimes=self._chain.runtimes,
            encoder=plan.name,
            pixel_format=plan.pix_fmt,
            stage_fps=done.stage_fps,
            segments=done.segments,
            resumed_frames=done.resumed_frames,
            temporary_bytes=done.temporary_bytes,
            credentials=self._sealer.signature,
            warnings=tuple(dict.fromkeys(notes)),
        )

    def picture(self, warnings: Sequence[str], cancel: threading.Event | None) -> SwapReport:
        options = self._options
        _refuse_clip_options(options)
        target = read_picture(self._info.path, options.limits)
        swap = self._swap
        begun = time.perf_counter()
        result = _swap_picture(swap, target)
        swap.check()
        if cancel is not None and cancel.is_set():
            raise CancelledError("the run was stopped; the output was not written")
        quality = options.encode.quality
        write_picture(
            self._output, result, quality=quality, overwrite=options.overwrite, seal=self._seal
        )
        seconds = time.perf_counter() - begun
        counts, skipped = swap.counts, swap.skipped
        found = [*warnings, *target.warnings, *self._notes()]
        if not counts.faces:
            found.append(_nothing_swapped(swap.tracks, options))
        return SwapReport(
            output=str(self._output),
            frames=1,
            frames_without_face=counts.frames_without_face,
            faces=counts.faces - sum(skipped.values()),
            faces_skipped=skipped,
            tracks=swap.tracks,
            missing_frames=0,
            corrupt_frames=0,
            seconds=seconds,
            fps=1 / seconds,
            model=self._chain.model,
            model_reason=self._chain.model_reason,
            models=self._chain.models,
            device=self._place.device,
            runtimes=self._chain.runtimes,
            encoder=self._output.suffix.lower().lstrip("."),
            pixel_format="rgb24" if result.alpha is None else "rgba",
            credentials=self._sealer.signature,
            warnings=tuple(dict.fromkeys(found)),
        )

    def _notes(self) -> list[str]:
        label = () if self._label is None else self._label.notes
        return [*_left_out(self._swap), *label]


def _left_out(swap: FaceSwap) -> list[str]:
    """What was to be done to faces and was not, in words."""
    told = []
    if skipped := swap.skipped:
        why = "; ".join(f"{count}: {SKIPPED[reason]}" for reason, count in skipped.items())
        told.append(f"{_faces(sum(skipped.values()))} not swapped ({why})")
    if swap.unrestored:
        told.append(f"{_faces(swap.unrestored)} not restored: {SKIPPED['values']}")
    return told


def _faces(count: int) -> str:
    return "1 face was" if count == 1 else f"{count} faces were"


def _nothing_swapped(tracks: int, options: SwapOptions) -> str:
    """Why the target is unchanged."""
    if not tracks:
        return "no face was found in the target; it is unchanged"
    wanted = f"--faces {options.faces}"
    if options.people or options.reference is not None:
        wanted = f"the people asked for, at a distance below {options.reference_distance:g}"
    return f"{_faces(tracks)} found in the target, none of them is {wanted}; it is unchanged"


def _swap_picture(swap: FaceSwap, target: Picture) -> Picture:
    """The picture with its faces swapped; pixels outside them are bit-identical."""
    frames = picture_frames(target)
    before: list[Plane] = [plane.copy() for plane in frames.planes[0]]
    swap.paint(frames, swap.look(frames))
    return picture_from_frames(target, before, frames)


def _refuse_clip_options(options: SwapOptions) -> None:
    given = {
        "--start": options.start,
        "--end": options.end,
        "--encoder": options.encode.encoder,
        "--preset": options.encode.preset,
        "--bitrate": options.encode.bitrate,
        "--pix-fmt": options.encode.pix_fmt,
    }
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"{name} is for clips; the target is a picture")
