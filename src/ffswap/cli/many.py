"""`ffswap swap` with many files: `SOURCE TARGET... -o DIR`, and `--jobs FILE`."""

from __future__ import annotations

import glob
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputMissingError, OptionError, OutputWriteError
from .errors import ExitCode, as_typed, described
from .folders import engine_folder, kernel_folder, models_folder, own_catalogue
from .messages import Told, note, result_json, show, table
from .progress import make_display
from .reports import count
from .signals import StopSignals
from .streams import STREAM

if TYPE_CHECKING:
    from ..options import SwapOptions
    from ..pipeline.many import FileResult, Job, ManyReport
    from ..pipeline.report import ProgressCallback

__all__ = ["planned", "run_many"]

MOST_LINES = 5
"""Bad lines of a file with jobs that one message names."""

_KEYS = ("source", "target", "output")
_HEAD = ("TARGET", "STATE", "FRAMES", "FACES", "FRAMES/S", "")


def planned(
    names: list[str], folder: Path | None, jobs: Path | None, form: str | None
) -> list[dict[str, str]]:
    """What is to be done to which files; the folder of outputs is made.

    Args:
        names: SOURCE and TARGETs, or nothing.
        folder: of outputs, or None.
        jobs: a file with jobs, or None.
        form: of a stream; there is none with many files.

    Raises:
        OptionError: names or options do not go together, or lines of the file are wrong.
        InputMissingError: the file is not there, or no file has a name of that pattern.
        OutputWriteError: the folder cannot be made.
    """
    if form is not None:
        raise OptionError("--format is for OUTPUT '-'; a file has its format from its suffix")
    if jobs is not None:
        if folder is not None or names:
            more = "-o" if folder is not None else "names of files"
            raise OptionError(f"--jobs and {more} were given; allowed: one of them")
        return _lines(jobs)
    if folder is None or len(names) < 2:
        raise OptionError(
            "-o was given without SOURCE and TARGET; allowed: SOURCE TARGET... -o DIR",
            hint="only in a file for --jobs is the source left out",
        )
    source, *patterns = names
    if STREAM in names:
        raise OptionError("a file is '-'; allowed with -o: files only")
    targets = list(dict.fromkeys(one for pattern in patterns for one in _expanded(pattern)))
    _make(folder, targets)
    return [
        {"source": source, "target": one, "output": str(folder / Path(one).name)} for one in targets
    ]


def _expanded(pattern: str) -> list[str]:
    """The files that a pattern names; a name that exists is no pattern."""
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    found = sorted(one for one in glob.glob(pattern, recursive=True) if not os.path.isdir(one))
    if not found:
        raise InputMissingError("no file has such a name", file=pattern)
    return found


def _make(folder: Path, targets: list[str]) -> None:
    suffixes = {Path(one).suffix.lower() for one in targets} - {""}
    if not folder.is_dir() and (folder.exists() or folder.suffix.lower() in suffixes):
        raise OptionError(
            f"-o is {str(folder)!r}, which is a file or looks like one; allowed: a folder",
            hint="one file is written with SOURCE TARGET OUTPUT, without -o",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputWriteError(
            f"the folder cannot be made: {error.strerror}", file=folder
        ) from error


def _lines(file: Path) -> list[dict[str, str]]:
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise InputMissingError(f"cannot be read: {error.strerror}", file=file) from error
    jobs, wrong = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            jobs.append(_job(line))
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    if wrong:
        more = f"; and {len(wrong) - MOST_LINES} more" * (len(wrong) > MOST_LINES)
        raise OptionError("; ".join(wrong[:MOST_LINES]) + more, file=file, hint="nothing was done")
    if not jobs:
        raise OptionError("--jobs names a file without a job in it", file=file)
    return jobs


def _job(line: bytes) -> dict[str, str]:
    """A job without what it leaves out.

    Raises:
        ValueError: what is wrong with it.
    """
    try:
        job = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(job, dict):
        raise ValueError("it is no JSON object")
    if unknown := sorted(set(job) - set(_KEYS)):
        raise ValueError(f"{unknown[0]!r} is not known; allowed: {', '.join(_KEYS)}")
    job = {key: value for key, value in job.items() if (key, value) != ("source", None)}
    for key in _KEYS:
        value = job.get(key)
        if key not in job and key != "source":
            raise ValueError(f"{key} is missing")
        if key in job and not (isinstance(value, str) and value.strip() and "\0" not in value):
            raise ValueError(f"{key} is {value!r}; allowed: the name of a file")
        if value == STREAM:
            raise ValueError(f"{key} is '-'; allowed: a file")
    return job


class _Watch:
    """Shows the progress of each file, and says at once what went wrong with it."""

    def __init__(self, total: int, mode: str, told: Told, *, quiet: bool) -> None:
        self._total, self._mode, self._told, self._quiet = total, mode, told, quiet
        self._target, self._shown, self._hints = "", ExitStack(), set[str]()

    def begin(self, number: int, job: Job) -> ProgressCallback | None:
        self._target = os.fspath(job.target)
        if not (self._quiet or self._mode == "none"):
            note("progress", f"file {number + 1} of {self._total}: {self._target}")
        return self._shown.enter_context(make_display(self._mode, quiet=self._quiet))

    def notify(self, sentence: str) -> None:
        self._told(f"{self._target}: {sentence}")

    def end(self, number: int, result: FileResult) -> None:  # noqa: ARG002  `ManyWatch` gives it
        self.close()
        self._target = os.fspath(result.job.target)
        if result.error is not None:
            error = as_typed(result.error)
            about = "" if error.file == self._target else f"{self._target}: "
            note("error", about + str(error))
            if error.hint is not None and error.hint not in self._hints:
                self._hints.add(error.hint)
                note("hint", error.hint)
        elif result.report is not None:
            for warning in result.report.warnings:
                self.notify(warning)

    def close(self) -> None:
        """Take down what is shown."""
        self._shown.close()


def run_many(
    jobs: list[dict[str, str]],
    options: SwapOptions,
    folders: tuple[Path | None, Path | None],
    progress: str,
    told: Told,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do all, and tell what became of them.

    Args:
        jobs: as `planned`.
        options: for all of them.
        folders: of models and of engines, as given.
        progress: how it is shown.
        told: prints warnings.
        as_json: print one object on stdout.
        quiet: print errors only, and what `as_json` prints.

    Returns:
        The exit code.
    """
    make_display(progress, quiet=quiet)  # refuses what is no display before nets are loaded
    # Imported when it is run: --help needs neither FFmpeg nor the nets.
    from .. import pipeline
    from ..pipeline.many import Job

    models, engines = models_folder(folders[0]), engine_folder(folders[1])
    watch = _Watch(len(jobs), progress, told, quiet=quiet)
    with StopSignals(quiet=quiet) as signals:
        pipeline.tune_process()
        try:
            report = pipeline.swap_many(
                [Job(**job) for job in jobs], options=options, models=models, watch=watch,
                catalog=own_catalogue(models), engines=engines, kernels=kernel_folder(),
                cancel=signals.cancel,
            )  # fmt: skip
        finally:
            watch.close()
    return _tell(report, signals, as_json=as_json, quiet=quiet)


def _tell(report: ManyReport, signals: StopSignals, *, as_json: bool, quiet: bool) -> int:
    done, failed = report.count("done"), report.count("failed")
    left = report.count("not done")
    if not quiet:
        show(*table(_HEAD, map(_row, report.files)))
        show(f"{count(done, 'file')} done, {failed} failed" + f", {left} not done" * (left > 0))
    if as_json:
        files = [_as_dict(one) for one in report.files]
        result_json({"files": files, "done": done, "failed": failed, "not_done": left})
    if report.stopped:
        note(
            "error", f"stopped ({signals.name}); {done} of {count(len(report.files), 'file')} done"
        )
        note(
            "hint",
            "the same command with --resume does the others; outputs that exist are left alone",
        )
        return signals.exit_code
    if failed:
        return ExitCode.SOME_FAILED
    whole = all(one.report is None or one.report.complete for one in report.files)
    return ExitCode.OK if whole else ExitCode.CUT_SHORT


def _row(one: FileResult) -> tuple[str, ...]:
    target, report = os.fspath(one.job.target), one.report
    if report is None:
        return (target, one.state, "", "", "", "" if one.error is None else one.error.message)
    state = one.state if report.complete else "cut short"
    numbers = (str(report.frames), str(report.faces), f"{report.fps:.1f}")
    return (target, state, *numbers, report.output)


def _as_dict(one: FileResult) -> dict[str, Any]:
    source = None if one.job.source is None else os.fspath(one.job.source)
    return {
        "source": source,
        "target": os.fspath(one.job.target),
        "output": os.fspath(one.job.output),
        "state": one.state,
        "report": None if one.report is None else one.report.as_dict(),
        "error": None if one.error is None else described(as_typed(one.error)),
    }
