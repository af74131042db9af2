"""Many files with the same options: nets are loaded once, and a bad file does not end the run."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from ..errors import (
    CancelledError,
    FfswapError,
    InputMissingError,
    MachineError,
    OptionError,
    OutputError,
    OutputWriteError,
)
from ..options import SwapOptions
from .api import PathLike, check_output, open_places, swap_at
from .devices import Workplaces
from .report import ProgressCallback, SwapReport

__all__ = ["FileResult", "Job", "ManyReport", "ManyWatch", "swap_many"]

State: TypeAlias = Literal["done", "failed", "not done"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One file of many.

    Attributes:
        source: a picture with the face, or a folder of pictures of it; None: only the people of the
            options get a face.
        target: a video or a picture.
        output: what is written; its suffix names the format.
    """

    source: PathLike | None = None
    target: PathLike
    output: PathLike

    def inputs(self) -> dict[str, Path]:
        """What is read, by what it is."""
        source = {} if self.source is None else {"source": Path(self.source)}
        return {**source, "target": Path(self.target)}


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What became of a file.

    Attributes:
        job: that was to be done.
        report: what was done, or None.
        error: why it was not, or None.
    """

    job: Job
    report: SwapReport | None = None
    error: FfswapError | None = None

    @property
    def state(self) -> State:
        """``done``, ``failed``, or ``not done``: the run was stopped before or in this file."""
        if self.report is not None:
            return "done"
        return "not done" if self.error is None else "failed"


@dataclass(frozen=True, kw_only=True)
class ManyReport:
    """What became of many files.

    Attributes:
        files: one for each job, in their order.
        stopped: the run was stopped by its caller before all was tried.
    """

    files: tuple[FileResult, ...]
    stopped: bool = False

    def count(self, state: State) -> int:
        """How many files are in that state."""
        return sum(one.state == state for one in self.files)


class ManyWatch(Protocol):
    """Is told how a run over many files goes on, in the thread of `swap_many`."""

    def begin(self, number: int, job: Job) -> ProgressCallback | None:
        """A file is begun.

        Args:
            number: of the job, from 0.
            job: that is done now.

        Returns:
            What is called with its progress, or None.
        """

    def notify(self, sentence: str) -> None:
        """What the output of this file will lack; see `swap`."""

    def end(self, number: int, result: FileResult) -> None:
        """A file is done, or failed; what cannot be done is told before the first file is begun."""


class _Unwatched:
    """Nobody looks."""

    def begin(self, number: int, job: Job) -> None:
        pass

    def notify(self, sentence: str) -> None:
        pass

    def end(self, number: int, result: FileResult) -> None:
        pass


def swap_many(
    jobs: Sequence[Job],
    *,
    options: SwapOptions | None = None,
    models: PathLike | None = None,
    catalog: PathLike | None = None,
    engines: PathLike | None = None,
    kernels: PathLike | None = None,
    watch: ManyWatch | None = None,
    cancel: threading.Event | None = None,
) -> ManyReport:
    """Put faces into many videos or pictures, one after the other, with nets that are loaded once.

    Jobs whose output exists, is an input, or is the output of two jobs, and those whose files are
    not there, fail before any work is done. A job that fails does not end the run.

    Args:
        jobs: what is to be done.
        options: for all of them; see `swap`, as for the folders.
        models: folder of the user's model files.
        catalog: TOML file with models of the user's own.
        engines: folder with TensorRT engines.
        kernels: folder in which compiled kernels of a GPU are kept.
        watch: is told how it goes on.
        cancel: set it from another thread to stop the run; the file that is being done is not written.

    Returns:
        What became of each file.

    Raises:
        OptionError: there are no jobs.
        FfswapError: the nets cannot be loaded with these options, and nothing was done.
        KeyboardInterrupt: passed on after cleaning up.
    """
    if not jobs:
        raise OptionError("there are no jobs; allowed: one or more")
    watch = watch or _Unwatched()
    with open_places(options, models, catalog, engines, kernels) as places:
        found = _refused(jobs, places.options)
        results = {number: FileResult(job=jobs[number], error=found[number]) for number in found}
        for number, refused in results.items():
            watch.end(number, refused)
        stopped = False
        for number, job in enumerate(jobs):
            if number in results:
                continue
            stopped = cancel is not None and cancel.is_set()
            result = None if stopped else _done(places, number, job, watch, cancel)
            if result is None:
                stopped = True
                break
            error, before = result.error, [one.report for one in results.values()]
            if error is not None and error is places.trouble and not any(before):
                raise error
            results[number] = result
            watch.end(number, result)
    files = (results.get(number, FileResult(job=job)) for number, job in enumerate(jobs))
    return ManyReport(files=tuple(files), stopped=stopped)


def _done(
    places: Workplaces,
    number: int,
    job: Job,
    watch: ManyWatch,
    cancel: threading.Event | None,
) -> FileResult | None:
    """One file, done or failed; None: it was stopped."""
    progress = watch.begin(number, job)
    try:
        report = swap_at(
            places, job.source, job.target, job.output, progress=progress, cancel=cancel,
            notify=watch.notify,
        )  # fmt: skip
    except CancelledError:
        return None
    except FfswapError as error:
        return FileResult(job=job, error=error)
    except MemoryError:
        no_memory = MachineError("the memory of this machine is not enough", file=job.target)
        return FileResult(job=job, error=no_memory)
    return FileResult(job=job, report=report)


def _refused(jobs: Sequence[Job], options: SwapOptions) -> dict[int, FfswapError]:
    """What can be said of jobs before any work, by their number."""
    outputs = Counter(_place(job.output) for job in jobs)
    read = {_place(path): str(path) for job in jobs for path in job.inputs().values()}
    found = {}
    for number, job in enumerate(jobs):
        try:
            _check(job, options, outputs, read)
        except FfswapError as error:
            found[number] = error
    return found


def _check(
    job: Job, options: SwapOptions, outputs: Mapping[str, int], read: Mapping[str, str]
) -> None:
    inputs, output, place = job.inputs(), Path(job.output), _place(job.output)
    for what, path in inputs.items():
        if not path.exists():
            raise InputMissingError(f"no such file, which is the {what}", file=path)
    if outputs[place] > 1:
        raise OutputError(
            f"{outputs[place]} files would be written under this name", file=output,
            hint="give them other names in a file for --jobs",
        )  # fmt: skip
    if place in read:
        raise OutputError(
            "the output is an input of this run", file=output, hint="name another file"
        )
    check_output(inputs, output, options.overwrite)
    if not output.parent.is_dir():
        raise OutputWriteError("its folder does not exist", file=output)


def _place(path: PathLike) -> str:
    """The same for two names of a file."""
    return os.path.normcase(Path(path).resolve())
