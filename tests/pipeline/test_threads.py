"""Channels, crews and stopwatches: bounded, stopped together, nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ffswap.pipeline.threads import Channel, Crew, StoppedError, Stopwatch

SOON = 5.0
"""Seconds: far more than anything here takes, so that a failure does not hang."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test ends with the threads that it began with."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads do."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def nothing() -> None:
    """A tick."""


def test_items_come_in_order_and_then_the_end():
    channel: Channel[int] = Channel(5, threading.Event())
    for i in range(4):
        channel.put(i)
    channel.end()
    assert list(channel) == [0, 1, 2, 3]


def test_none_and_other_false_items_travel_too():
    channel: Channel[object] = Channel(5, threading.Event())
    for item in (None, 0, False, ()):
        channel.put(item)
    channel.end()
    assert list(channel) == [None, 0, False, ()]


def test_a_channel_is_bounded():
    crew, put = Crew(), []
    channel: Channel[int] = Channel(2, crew.stop)

    def produce() -> None:
        for i in range(6):
            channel.put(i)
            put.append(i)
        channel.end()

    crew.start("produce", produce)
    until(lambda: len(put) == 2)
    time.sleep(0.12)
    assert put == [0, 1]
    items = iter(channel)
    assert next(items) == 0
    until(lambda: len(put) == 3)
    time.sleep(0.06)
    assert put == [0, 1, 2]
    assert list(items) == [1, 2, 3, 4, 5]
    crew.wait(nothing, 0.01)


def test_stop_wakes_a_waiting_producer_and_consumer():
    stop, left = threading.Event(), []
    full: Channel[int] = Channel(1, stop)
    full.put(0)
    empty: Channel[int] = Channel(1, stop)

    def waits(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with pytest.raises(StoppedError):
                work()
            left.append(work)

        return run

    works = [lambda: full.put(1), full.end, lambda: next(iter(empty))]
    threads = [threading.Thread(target=waits(w)) for w in works]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert left == []
    stop.set()
    for thread in threads:
        thread.join(SOON)
    assert len(left) == 3


def test_after_stop_nothing_more_is_handed_over():
    stop = threading.Event()
    channel: Channel[int] = Channel(3, stop)
    channel.put(1)
    stop.set()
    with pytest.raises(StoppedError):
        channel.put(2)
    with pytest.raises(StoppedError):
        next(iter(channel))


def test_a_crew_runs_in_named_threads_and_waits_for_all():
    crew, names = Crew(), []

    def work() -> None:
        time.sleep(0.3)
        names.append(threading.current_thread().name)

    crew.start("a", work)
    crew.start("b", work)
    ticks: list[int] = []
    crew.wait(lambda: ticks.append(1), 0.01)
    assert sorted(names) == ["ffswap-a", "ffswap-b"]
    assert len(ticks) >= 2
    assert crew.stop.is_set()


def test_the_first_error_is_raised_in_the_caller_and_stops_the_others():
    crew = Crew()
    channel: Channel[int] = Channel(1, crew.stop)
    ended = []

    def consume() -> None:
        try:
            list(channel)
        except StoppedError:
            ended.append("consume")
            raise

    def second() -> None:
        crew.stop.wait(SOON)
        raise KeyError("later")

    def first() -> None:
        time.sleep(0.03)
        raise ValueError("first")

    for name, work in (("consume", consume), ("second", second), ("first", first)):
        crew.start(name, work)
    with pytest.raises(ValueError, match="first"):
        crew.wait(nothing, 0.01)
    assert ended == ["consume"]


def test_being_stopped_is_not_an_error_of_its_own():
    crew = Crew()

    def work() -> None:
        raise StoppedError

    crew.start("work", work)
    crew.wait(nothing, 0.01)


def test_even_an_exit_of_a_worker_reaches_the_caller():
    crew = Crew()

    def work() -> None:
        raise SystemExit(3)

    crew.start("work", work)
    with pytest.raises(SystemExit):
        crew.wait(nothing, 0.01)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_in_tick_stops_the_workers_first(error):
    crew, ended = Crew(), []
    channel: Channel[int] = Channel(1, crew.stop)

    def work() -> None:
        try:
            list(channel)
        finally:
            time.sleep(0.05)
            ended.append(True)

    crew.start("one", work)
    crew.start("two", work)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            raise error

    with pytest.raises(error):
        crew.wait(tick, 0.005)
    assert ended == [True, True]


def test_a_crew_of_none():
    Crew().wait(nothing, 0.01)


def test_a_stopwatch_adds_up_over_threads_and_errors():
    watch = Stopwatch()

    def work() -> None:
        with watch.running():
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def fails() -> None:
        with watch.running():
            time.sleep(0.05)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert 0.2 <= watch.seconds < 2
