"""A clip in segments: each in a file of its own with a journal beside them, joined at the end.

The frames go through one run without a stop. Between two segments what the stages remember is taken
down, after the last frame of one has been looked at and before the first of the next, and written when
all before it is painted and encoded. A run that goes on starts from there with what was taken down, so
it makes the same frames as one that was not interrupted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..carriers import Frames, State
from ..errors import CancelledError, FfswapError, MediaError
from ..media import (
    ClipReader,
    CopiedPackets,
    ReaderMark,
    ReadSummary,
    SegmentEncoder,
    dropped_frames,
    join,
)
from .clips import ClipDone, ClipJob
from .journal import Facts, Journal, work_folder
from .run import SegmentEnd
from .state_file import packed, unpacked

__all__ = ["in_segments", "worth_it"]

_RESUME = "give the same command with --resume to go on where it stopped"


def worth_it(job: ClipJob) -> bool:
    """Whether a clip is done in segments: it is long, or an earlier run has begun to do so."""
    if work_folder(job.output).exists():
        return True
    least_s, info = 2 * job.options.segment_s, job.info
    if not least_s:
        return False
    if job.options.start is None and job.options.end is None:
        return info.duration_s is None or info.duration_s > least_s
    with job.reader() as reader:
        frames = reader.expected_frames
    return frames is None or not info.rate or frames / info.rate > least_s


def in_segments(job: ClipJob, facts: Facts) -> ClipDone:
    """Do a clip, or what an interrupted run has left to do of it.

    Args:
        job: the clip.
        facts: what its frames depend on.

    Raises:
        FfswapError: the output was not written; what is finished stays for a later run.
    """
    with Journal(job.output, facts, job.options.unfinished) as journal:
        try:
            done = _Segments(job, journal).run()
        except FfswapError as error:
            if journal.records:
                error.hint = f"{error.hint}; {_RESUME}" if error.hint else _RESUME
            raise
        journal.remove()
        return done


class _Segments:
    """The run of one clip: takes frames as a writer does."""

    def __init__(self, job: ClipJob, journal: Journal) -> None:
        self._job, self._journal = job, journal
        self._encoder: SegmentEncoder | None = None
        self._reader: ClipReader | None = None
        self._identity = _identity(job.info.path)
        self._begun = time.perf_counter()
        self._before_s = journal.records[-1].seconds if journal.records else 0.0
        self._stage_fps: Mapping[str, float] = {}

    @property
    def frames_written(self) -> int:
        """Frames that were encoded, by earlier runs too."""
        now = 0 if self._encoder is None else self._encoder.frames_written
        return sum(record.file.frames for record in self._journal.records) + now

    def write(self, item: Frames | CopiedPackets) -> None:
        """Encode frames; the other streams come when the segments are joined."""
        if isinstance(item, CopiedPackets):
            return
        if self._encoder is None:
            assert self._reader is not None
            job, records = self._job, self._journal.records
            self._encoder = SegmentEncoder(
                self._journal.next_file, job.output, self._reader, job.plan,
                threads=job.options.threads, last=records[-1].file.last if records else None,
            )  # fmt: skip
        self._encoder.write(item)

    def end_segment(self, end: SegmentEnd) -> None:
        """Finish a segment and tell of it in the journal."""
        counted = self._job.swap.counted(end.mark.frames)
        self._finish(end.mark, {"state": end.state, "counted": counted}, None)

    def _finish(self, mark: ReaderMark | None, state: State, summary: ReadSummary | None) -> None:
        encoder = self._encoder
        assert encoder is not None
        file = encoder.finish()
        self._encoder = None
        told = None if summary is None else asdict(summary)
        self._journal.add(file, mark, packed(state), self._seconds(), told)

    def _seconds(self) -> float:
        return self._before_s + time.perf_counter() - self._begun

    def run(self) -> ClipDone:
        """Whatever is left to do."""
        records, swap = self._journal.records, self._job.swap
        resumed = self.frames_written
        mark = None
        if records:
            state = unpacked(self._journal.state())
            swap.restore(state["state"], state["counted"])
            mark = records[-1].mark
        if not records or mark is not None:
            self._encode(mark)
        summary = ReadSummary.of(records[-1].summary or {})
        swap.check()
        warnings = self._join()
        dropped = sum(record.file.dropped for record in records)
        return ClipDone(
            frames=self.frames_written,
            summary=summary,
            warnings=(
                *summary.warnings,
                *warnings,
                *([dropped_frames(dropped)] if dropped else []),
            ),
            seconds=self._seconds(),
            stage_fps=self._stage_fps,
            segments=len(records),
            resumed_frames=resumed,
            temporary_bytes=self._journal.peak_bytes,
        )

    def _encode(self, mark: ReaderMark | None) -> None:
        job, swap = self._job, self._job.swap
        with job.reader(segment_s=job.options.segment_s or None, mark=mark) as reader:
            with job.writer(reader):
                pass  # what cannot be written is found out before there is any work to lose
            self._reader = reader
            try:
                self._stage_fps = job.run(
                    reader, self, end_segment=self.end_segment, before=0 if mark is None else mark.frames
                )  # fmt: skip
                end = swap.counts.frames
                last = {"state": swap.state(end), "counted": swap.counted(end)}
                self._finish(None, last, reader.summary)
            finally:
                self._reader = None
                if self._encoder is not None:
                    self._encoder.abandon()
                    self._encoder = None

    def _join(self) -> tuple[str, ...]:
        job, journal = self._job, self._journal
        if _identity(job.info.path) != self._identity:
            raise MediaError("was changed while it was read", file=job.info.path)
        with job.reader() as reader, job.writer(reader) as writer:
            journal.begins(writer.temporary)
            files = [record.file for record in journal.records]
            for _ in join(journal.folder, files, reader, writer):
                if job.cancel is not None and job.cancel.is_set():
                    raise CancelledError("the run was stopped; the output was not written")
            writer.finish()
            return writer.warnings


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that was there before; None: there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
