"""A run with a reader, a writer and a swap of the test's own: order, errors, cancelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ffswap.carriers import Colour, Frames, PixelFormat
from ffswap.errors import CancelledError
from ffswap.pipeline import run as module
from ffswap.pipeline.run import ClipRun, batch_frames
from ffswap.stages.face_swap import FrameCounts


class Fakes:
    """Reader, writer and swap in one, over batches of one frame.

    Args:
        batches: how many.
        paint: what painting a batch does besides.
    """

    def __init__(self, batches: int, paint: Callable[[int], object] = lambda _: None) -> None:
        self.batches, self.on_paint = batches, paint
        self.counts = FrameCounts()
        self.read = 0
        self.written: list[int] = []
        self.looked: list[int] = []

    def __iter__(self) -> Iterator[Frames]:
        for i in range(self.batches):
            self.read += 1
            plane = np.zeros((2, 2), np.uint8)
            yield Frames(
                [(plane, plane, plane)], PixelFormat("yuv444p", 8, 0, 0), Colour(),
                np.array([i], np.int64), Fraction(1, 25), i,
            )  # fmt: skip

    def look(self, frames: Frames) -> list[Any]:
        self.looked.append(frames.index)
        self.counts.frames += 1
        return [[]]

    def paint(self, frames: Frames, plans: list[Any]) -> None:
        assert plans == [[]]
        self.on_paint(frames.index)
        frames.planes[0][0][:] = frames.index

    def write(self, frames: Frames) -> None:
        assert (frames.planes[0][0] == frames.index % 256).all(), "not painted yet"
        self.written.append(frames.index)

    @property
    def frames_written(self) -> int:
        return len(self.written)


def a_run(fakes: Any, **more: Any) -> ClipRun:
    return ClipRun(fakes, fakes, fakes, threads=3, **more)


def test_frames_are_looked_at_and_written_in_order_whatever_painting_takes():
    fakes = Fakes(30, lambda i: time.sleep(0.02 if i % 3 == 0 else 0))
    run = a_run(fakes)
    run.run()
    assert fakes.looked == fakes.written == list(range(30))
    assert set(run.stage_fps()) == {"decode", "track", "paint", "encode"}


def test_painting_may_take_longer_than_a_tick():
    """On Python 3.10 a future's time-out is not the builtin one."""
    fakes = Fakes(2, lambda _: time.sleep(2.5 * module.TICK_S))
    a_run(fakes).run()
    assert fakes.written == [0, 1]


def fail(error: Exception) -> Callable[[int], None]:
    def paint(i: int) -> None:
        if i == 3:
            raise error

    return paint


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("disk"), MemoryError()])
def test_an_error_of_painting_reaches_the_caller(error):
    """A time-out of the painter's own must not be taken for one of waiting."""
    fakes = Fakes(100, fail(error))
    watchdog = threading.Event()
    timer = threading.Timer(5, watchdog.set)
    timer.start()
    try:
        with pytest.raises(type(error)):
            a_run(fakes, cancel=watchdog).run()
    finally:
        timer.cancel()
        timer.join()
    assert fakes.written == [0, 1, 2]


def test_cancelling_stops_soon_and_is_told():
    cancel = threading.Event()

    def paint(i: int) -> None:
        if i == 5:
            cancel.set()
        time.sleep(0.01)

    fakes = Fakes(1000, paint)
    with pytest.raises(CancelledError):
        a_run(fakes, cancel=cancel).run()
    assert fakes.read < 200


def test_memory_is_bounded_when_the_writer_is_slow():
    fakes = Fakes(40)
    most = 0
    write = fakes.write

    def slow(frames: Frames) -> None:
        nonlocal most
        most = max(most, fakes.read - len(fakes.written))
        time.sleep(0.005)
        write(frames)

    fakes.write = slow  # type: ignore[method-assign]
    a_run(fakes).run()
    # Two queues of two, one batch in the hands of each of decoder, look and encoder.
    assert most <= 2 * module.QUEUE_BATCHES + 3


def test_progress_counts_up_to_the_end():
    events: list[Any] = []
    fakes = Fakes(12, lambda _: time.sleep(0.03))
    a_run(fakes, total=12, progress=events.append).run()
    assert events[-1].frames == events[-1].total == 12
    assert [e.frames for e in events] == sorted(e.frames for e in events)
    assert events[-1].eta_s in (0.0, None)


def test_batches_shrink_with_large_frames():
    assert batch_frames(320, 180) == 8
    assert batch_frames(1920, 1080) == 8
    assert batch_frames(3840, 2160) == 2
    assert batch_frames(7680, 4320) == batch_frames(30000, 30000) == 1
