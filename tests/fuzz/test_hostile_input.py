"""Hundreds of broken and hostile files through the real program: it says what is wrong, and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.cases import Corpus

# `python -m tests.fuzz` tries any number of others.
SEED = 20
LIMIT_S = (
    300.0  # for one input, which takes a tenth of a second: ample for a machine that does much else
)
SHARE = {"clips": 170, "pictures": 70, "signed": 30, "nets": 30, "tables": 40}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus") / "seeds")


def _told(tally: Tally) -> str:
    return "\n".join(f"{one.case}: {one.what}\n{one.more[-3000:]}" for one in tally.findings)


@pytest.mark.parametrize("family", SHARE)
def test_it_ends_in_order_whatever_it_is_given(family: str, corpus: Corpus) -> None:
    cases = [partial(corpus.case, SEED, number, family) for number in range(SHARE[family])]
    tally = Campaign(limit_s=LIMIT_S).run(cases)
    assert tally.inputs == SHARE[family]
    assert not tally.findings, _told(tally)


def test_it_refuses_what_unpacks_to_very_much(corpus: Corpus) -> None:
    cases = corpus.fixed()
    tally = Campaign(limit_s=LIMIT_S).run([lambda one=one: one for one in cases])  # type: ignore[misc]
    assert tally.inputs == len(cases)
    assert not tally.findings, _told(tally)
    assert tally.peak_mb < 1500


def test_a_case_is_the_same_whenever_it_is_drawn(corpus: Corpus, tmp_path: Path) -> None:
    again = corpus.case(SEED, 7, "clips")
    assert again == corpus.case(SEED, 7, "clips")
    assert again != corpus.case(SEED + 1, 7, "clips")
    assert not list(tmp_path.iterdir())
