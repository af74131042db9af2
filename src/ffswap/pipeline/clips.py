"""One clip from input to output, and what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files import Seal
from ..media import ClipInfo, ClipReader, ClipWriter, EncoderPlan, ReaderMark, ReadSummary
from ..options import SwapOptions
from ..stages.face_swap import FaceSwap
from .report import ProgressCallback
from .run import ClipRun, Room, SegmentEnd, Writer, batch_frames

__all__ = ["ClipDone", "ClipJob", "at_once"]


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """What is to be done to a clip.

    Attributes:
        info: of the clip.
        output: what is written.
        plan: how it is encoded.
        options: of the run.
        swap: a fresh one.
        seal: done last to the output.
        progress: see `swap`.
        cancel: see `swap`.
        room: where frames are worked on, or None; see `ClipRun`.
    """

    info: ClipInfo
    output: Path
    plan: EncoderPlan
    options: SwapOptions
    swap: FaceSwap
    seal: Seal
    progress: ProgressCallback | None = None
    cancel: threading.Event | None = None
    room: Room | None = None

    def reader(
        self, *, segment_s: float | None = None, mark: ReaderMark | None = None
    ) -> ClipReader:
        """A reader of the clip; see there."""
        info, options = self.info, self.options
        return ClipReader(
            info.path, start=options.start, end=options.end, threads=options.threads,
            batch_frames=batch_frames(info.width, info.height), segment_s=segment_s, mark=mark,
        )  # fmt: skip

    def writer(self, reader: ClipReader) -> ClipWriter:
        """The writer of the output."""
        options = self.options
        return ClipWriter(
            self.output, reader, self.plan, overwrite=options.overwrite, threads=options.threads,
            seal=self.seal,
        )  # fmt: skip

    def run(
        self,
        reader: ClipReader,
        writer: Writer,
        *,
        end_segment: Callable[[SegmentEnd], None] | None = None,
        before: int = 0,
    ) -> Mapping[str, float]:
        """Send the frames of the reader through the swap to the writer; see `ClipRun`.

        Returns:
            The rate of each stage alone.
        """
        run = ClipRun(
            reader, writer, self.swap, threads=self.options.threads, total=reader.expected_frames,
            progress=self.progress, cancel=self.cancel, room=self.room, end_segment=end_segment, before=before,
        )  # fmt: skip
        run.run()
        return run.stage_fps()


@dataclass(frozen=True, kw_only=True)
class ClipDone:
    """What became of a clip.

    Attributes:
        frames: written.
        summary: of what was read.
        warnings: of reader and writer.
        seconds: that it took, interruptions left out.
        stage_fps: rate of each stage alone.
        segments: that it was done in.
        resumed_frames: of the frames, those that an earlier run had done.
        temporary_bytes: that lay beside the output at the most, besides the output itself.
    """

    frames: int
    summary: ReadSummary
    warnings: Sequence[str]
    seconds: float
    stage_fps: Mapping[str, float] = field(default_factory=dict)
    segments: int = 1
    resumed_frames: int = 0
    temporary_bytes: int = 0


def at_once(job: ClipJob) -> ClipDone:
    """Do a clip without anything that a later run could go on from.

    Raises:
        FfswapError: the output was not written.
    """
    with job.reader() as reader, job.writer(reader) as writer:
        begun = time.perf_counter()
        stage_fps = job.run(reader, writer)
        job.swap.check()
        writer.finish()
        seconds = time.perf_counter() - begun
        return ClipDone(
            frames=writer.frames_written,
            summary=reader.summary,
            warnings=(*reader.summary.warnings, *writer.warnings),
            seconds=seconds,
            stage_fps=stage_fps,
        )
