"""Running a swap over a clip: decoder, compute and encoder side by side.

    decode ──Frames──> load ──> look ──Frames, plan───> paint ──> unload, finish ──> encode
           └─packets of other streams, in their place in the order ────────────────────┘

Each arrow is a bounded queue, so memory does not depend on the clip's length. `look` must see the
frames in order; painting need not: the encoder takes the painted batches in the order in which
they were looked at. `load` puts frames where they are worked on, such as the memory of a GPU, and
`unload` brings back what has changed; on the CPU there is neither. What is done to painted frames
on the host (`finish`) belongs to painting there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ..carriers import FrameBatch, Frames, State
from ..errors import CancelledError
from ..media import ClipReader, CopiedPackets, ReaderMark, SegmentBreak
from ..stages.face_swap import FaceSwap, SwapPlan
from ..stages.mark import Unpainted
from .machine import find_cpu
from .report import ProgressCallback, ProgressEvent
from .threads import Channel, Crew, StoppedError, Stopwatch

__all__ = ["ClipRun", "Room", "SegmentEnd", "Writer", "batch_frames", "painters"]

QUEUE_BATCHES = 3
"""Batches that wait between two workers: enough to cover a worker's hiccup; more only take memory.
Measured on two cores at 360p: 2 and 4 differ by less than the noise of 5 %."""

BATCH_PIXELS = 16 << 20
LARGEST_BATCH = 8
"""Frames travel in batches of at most this many, fewer when they are large: a batch of 8-bit
4:2:0 then takes at most 25 MB."""

MOST_PAINTERS = 4


TICK_S = 0.1
RATE_WINDOW_S = 5.0
"""The rate that is shown is that of the last seconds."""


@dataclass(frozen=True)
class SegmentEnd:
    """A `SegmentBreak` whose frames before it were looked at, and none after it.

    Attributes:
        mark: of the break.
        state: what `look` remembers there.
    """

    mark: ReaderMark
    state: State


Job: TypeAlias = "Future[Frames] | CopiedPackets | SegmentEnd"
Item: TypeAlias = "FrameBatch | CopiedPackets | SegmentBreak"
Read: TypeAlias = "Frames | CopiedPackets | SegmentBreak"


class Writer(Protocol):
    """Takes what a run has made, in the order of the clip."""

    @property
    def frames_written(self) -> int:
        """Frames that it has taken so far."""

    def write(self, item: Frames | CopiedPackets) -> None:
        """Take the next item."""


class Room(Protocol):
    """Where frames are worked on, if that is not the host's memory."""

    @property
    def painters(self) -> int:
        """Batches that can be painted at the same time."""

    @property
    def finishers(self) -> int:
        """Batches that can be brought back at the same time."""

    def load(self, frames: Frames) -> FrameBatch:
        """Start to bring frames there. Called by one thread, in order."""

    def unload(self, frames: FrameBatch) -> Frames:
        """Bring back what was painted, into the frames that were loaded, and wait for it. Called by
        several threads."""


def batch_frames(width: int, height: int) -> int:
    """Frames per batch for frames of this size."""
    return max(1, min(LARGEST_BATCH, BATCH_PIXELS // max(1, width * height)))


def painters(threads: int | None) -> int:
    """Threads that paint: as many as were asked for or there are cores, up to `MOST_PAINTERS`."""
    return max(1, min(MOST_PAINTERS, threads or find_cpu().usable_cores))


@dataclass
class ClipRun:
    """One clip on its way from reader to writer.

    Attributes:
        reader: gives frames and packets.
        writer: takes them.
        swap: changes the frames.
        threads: cores that painting may use; None: all.
        total: frames expected, or None.
        progress: told how far the run has come, from the calling thread.
        cancel: when set, the run stops with `CancelledError`.
        room: where frames are worked on; None: where the reader puts them.
        end_segment: called between the frames of two segments, in the thread of the encoder.
        before: frames of the clip that an earlier run has done.
    """

    reader: ClipReader
    writer: Writer
    swap: FaceSwap
    threads: int | None = None
    total: int | None = None
    progress: ProgressCallback | None = None
    cancel: threading.Event | None = None
    room: Room | None = None
    end_segment: Callable[[SegmentEnd], None] | None = None
    before: int = 0
    _watches: Mapping[str, Stopwatch] = field(init=False)

    def __post_init__(self) -> None:
        stages = ["decode", "track", "paint", "encode"]
        self._painters, self._finishers = painters(self.threads), 1
        self._jobs = QUEUE_BATCHES
        if self.room is not None:
            self._painters, self._finishers = self.room.painters, self.room.finishers
            self._jobs = self._painters + self._finishers + 1  # all of them have work
            stages += ["load", "finish"]
        self._watches = {name: Stopwatch() for name in stages}
        self._recent: deque[tuple[float, int]] = deque()

    def run(self) -> None:
        """Until the writer has taken everything (it is not finished here).

        Raises:
            CancelledError: `cancel` was set.
            FfswapError: whatever a stage raised first.
        """
        crew = Crew()
        decoded: Channel[Read] = Channel(QUEUE_BATCHES, crew.stop)
        loaded: Channel[Item] = Channel(QUEUE_BATCHES, crew.stop)
        jobs: Channel[Job] = Channel(self._jobs, crew.stop)
        self._start = time.perf_counter()
        with ExitStack() as pools:
            pool = pools.enter_context(ThreadPoolExecutor(self._painters, "ffswap-paint"))
            finishers = pools.enter_context(ThreadPoolExecutor(self._finishers, "ffswap-finish"))
            crew.start("decode", lambda: self._decode(decoded))
            source: Iterable[Item] = decoded
            if (room := self.room) is not None:
                source = loaded
                crew.start("load", lambda: self._load(room, decoded, loaded))
            crew.start("track", lambda: self._look(source, jobs, pool, finishers))
            crew.start("encode", lambda: self._encode(jobs, crew.stop))
            try:
                crew.wait(self._tick, TICK_S)
            finally:
                finishers.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
        self._send()

    def stage_fps(self) -> dict[str, float]:
        """For each stage, frames by the time that its threads were at work."""
        frames = self.swap.counts.frames - self.before
        return {name: frames / w.seconds for name, w in self._watches.items() if w.seconds > 0}

    def _decode(self, out: Channel[Read]) -> None:
        items = iter(self.reader)
        while True:
            with self._watches["decode"].running():
                item = next(items, None)
            if item is None:
                break
            out.put(item)
        out.end()

    def _load(self, room: Room, items: Channel[Read], out: Channel[Item]) -> None:
        for item in items:
            if isinstance(item, (CopiedPackets, SegmentBreak)):
                out.put(item)
                continue
            with self._watches["load"].running():
                frames = room.load(item)
            out.put(frames)
        out.end()

    def _look(
        self,
        items: Iterable[Item],
        jobs: Channel[Job],
        pool: ThreadPoolExecutor,
        finishers: ThreadPoolExecutor,
    ) -> None:
        for item in items:
            if isinstance(item, CopiedPackets):
                jobs.put(item)
                continue
            if isinstance(item, SegmentBreak):
                jobs.put(SegmentEnd(item.mark, self.swap.state(item.mark.frames)))
                continue
            with self._watches["track"].running():
                plan = self.swap.look(item)
            if (room := self.room) is None:
                assert isinstance(item, Frames)
                jobs.put(pool.submit(self._paint, item, plan))
            else:
                painted = pool.submit(self._paint_there, item, plan)
                jobs.put(finishers.submit(self._finish, room, item, plan, painted))
        jobs.end()

    def _paint(self, frames: Frames, plan: SwapPlan) -> Frames:
        with self._watches["paint"].running():
            self.swap.paint(frames, plan)
        return frames

    def _paint_there(self, frames: FrameBatch, plan: SwapPlan) -> list[Unpainted]:
        with self._watches["paint"].running():
            return self.swap.paint_faces(frames, plan)

    def _finish(
        self, room: Room, item: FrameBatch, plan: SwapPlan, painted: Future[list[Unpainted]]
    ) -> Frames:
        unpainted = painted.result()
        with self._watches["finish"].running():
            frames = room.unload(item)
            self.swap.finish(frames, plan, unpainted)
        return frames

    def _encode(self, jobs: Channel[Job], stop: threading.Event) -> None:
        for job in jobs:
            item = job if isinstance(job, (CopiedPackets, SegmentEnd)) else _result(job, stop)
            with self._watches["encode"].running():
                if not isinstance(item, SegmentEnd):
                    self.writer.write(item)
                elif self.end_segment is not None:
                    self.end_segment(item)

    def _tick(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("the run was stopped; the output was not written")
        self._send()

    def _send(self) -> None:
        if self.progress is None:
            return
        now, frames = time.perf_counter(), self.writer.frames_written
        self._recent.append((now, frames))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        then, before = self._recent[0]
        fps = (frames - before) / (now - then) if now > then else 0.0
        left = None if self.total is None else max(self.total - frames, 0)
        self.progress(
            ProgressEvent(
                frames=frames,
                total=self.total,
                faces=self.swap.counts.faces,
                seconds=now - self._start,
                fps=fps,
                eta_s=left / fps if left is not None and fps > 0 else None,
            )
        )


def _result(job: Future[Frames], stop: threading.Event) -> Frames:
    """The painted frames, unless the run is stopped while they are awaited."""
    while True:
        if stop.is_set():
            raise StoppedError
        # Not `result(timeout)`: its time-out could not be told from one that the job raised.
        if wait([job], TICK_S).done:
            return job.result()
