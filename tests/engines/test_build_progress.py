"""Which of TensorRT's nested phases is told of, and how often."""

from __future__ import annotations

import pytest

from ffswap.engines._build_progress import Phases


class Told:
    """What was told, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []
        self.now_s = 0.0
        self.phases = Phases(lambda *event: self.events.append(event), lambda: self.now_s)

    def step(self, name: str, index: int) -> None:
        """A second later, a step."""
        self.now_s += 1
        self.phases.step(name, index)


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_phase_with_the_most_steps_is_told(told):
    told.phases.start("engine", 6)
    told.phases.start("subgraph", 1)
    told.phases.start("layers", 120)
    told.phases.start("kernel", 2)
    told.step("kernel", 0)
    told.phases.finish("kernel")
    told.step("layers", 36)
    assert told.events == [("engine", 0, 6), ("layers", 0, 120), ("layers", 37, 120)]


def test_of_equals_it_is_the_innermost(told):
    told.phases.start("outer", 4)
    told.phases.start("inner", 4)
    assert told.events == [("outer", 0, 4), ("inner", 0, 4)]


def test_after_a_phase_the_one_around_it_goes_on(told):
    told.phases.start("engine", 6)
    told.step("engine", 1)
    told.phases.start("layers", 120)
    told.phases.finish("layers")  # before its last step
    told.phases.finish("engine")
    assert told.events == [("engine", 0, 6), ("engine", 2, 6), ("layers", 0, 120), ("engine", 2, 6)]


def test_steps_are_told_no_faster_than_ten_times_a_second_but_for_the_last(told):
    told.phases.start("layers", 100)
    for index in range(100):
        told.now_s += 0.03
        told.phases.step("layers", index)
    done = [event[1] for event in told.events]
    assert (done[0], done[-1]) == (0, 100)
    assert len(done) < 30
    assert done == sorted(set(done))


def test_steps_never_go_back_and_never_beyond_the_end(told):
    told.phases.start("layers", 4)
    for index in (2, 0, 9):  # from several threads
        told.step("layers", index)
    told.step("unknown", 1)
    assert told.events == [("layers", 0, 4), ("layers", 3, 4), ("layers", 4, 4)]
