"""Pictures through a net: in what batches, and what comes out in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.carriers import F32
from ffswap.stages.feed import MAX_BATCH, PictureNet, run_rows
from tests.stages.fake_nets import FakeNet, spec_of


def picture(value: float, height: int = 4, width: int = 6) -> F32:
    return np.full((3, height, width), value / 255, np.float32)


def net_of(**how: Any) -> FakeNet:
    """Gives the picture's value, and a table of three rows with it."""

    def answer(row: F32) -> Sequence[F32]:
        return row[0, 0], np.outer([1, 2, 3], row[0, 0, :1]).astype(np.float32)

    return FakeNet(answer, **how)


SPEC = spec_of("detector", "yunet", size=(6, 4), std=1.0)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 40])
@pytest.mark.parametrize(("rows", "batched"), [(-1, True), (1, True), (1, False)])
def test_every_picture_has_its_row_whatever_batch_a_net_takes(count, rows, batched):
    net = net_of(rows=rows, batched=batched)
    values, tables = PictureNet(net, SPEC)(picture(k) for k in range(count))
    assert np.abs(values.reshape(count, 6) - np.arange(count)[:, None]).max() < 1e-3
    assert tables.shape == (count, 3, 1)
    assert np.abs(tables[:, 2, 0] - 3 * np.arange(count)).max() < 1e-3
    full, left = divmod(count, MAX_BATCH)
    assert net.batches == ([1] * count if rows == 1 else [16] * full + [left] * (left > 0))


def test_outputs_are_those_of_the_specification_in_its_order():
    swapped = replace(SPEC, outputs=("second", "first"))
    tables, values = PictureNet(net_of(), swapped)([picture(7)])
    assert tables.shape == (1, 3, 1)
    assert values.shape == (1, 6)
    (only,) = PictureNet(net_of(), replace(SPEC, outputs=("second",)))([picture(7)])
    assert only.shape == (1, 3, 1)


def test_no_more_pictures_are_made_than_a_run_takes():
    made: list[int] = []
    net = net_of()

    def pictures() -> Iterator[F32]:
        for k in range(40):
            made.append(k)
            assert len(made) <= sum(net.batches) + MAX_BATCH
            yield picture(k)

    PictureNet(net, SPEC)(pictures())
    assert len(made) == 40


@pytest.mark.parametrize("batched", [False, True])
def test_rows_of_a_net_of_one_row_get_a_batch_axis_if_they_have_none(batched):
    feeds = {"input": np.stack([picture(1), picture(2)])}
    got = run_rows(net_of(rows=1, batched=batched), feeds)
    assert (got["first"].shape, got["second"].shape) == ((2, 6), (2, 3, 1))


def test_what_is_the_same_for_all_rows_goes_with_each():
    class Weighted(FakeNet):
        def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            assert {name: len(array) for name, array in feeds.items()} == {"input": 1, "weight": 1}
            return {"sum": feeds["input"] + feeds["weight"]}

    feeds = {"input": np.arange(3, dtype=np.float32)[:, None], "weight": np.array([0.5])}
    got = run_rows(Weighted(lambda _: (), rows=1), feeds)
    assert got["sum"].tolist() == [[0.5], [1.5], [2.5]]


def test_tables_that_mix_the_rows_of_pictures_are_read_one_by_one():
    class Mixing(FakeNet):
        """As the published export flattens: cells first, then pictures."""

        def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            self.batches.append(len(feeds["input"]))
            cells = np.arange(4, dtype=np.float32)[:, None]
            return {"table": (feeds["input"][:, 0, 0, 0] + 10 * cells).reshape(-1, 1)}

    net = Mixing(lambda _: ())
    (tables,) = PictureNet(net, replace(SPEC, outputs=("table",)))(picture(k) for k in range(3))
    assert tables.shape == (3, 4, 1)
    for k in range(3):
        np.testing.assert_allclose(tables[k, :, 0], k + 10 * np.arange(4), atol=1e-3)
    assert net.batches == [3, 1, 1, 1]
