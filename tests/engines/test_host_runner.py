"""How a batch goes through a net that knows some batch sizes only."""

from __future__ import annotations

import pytest

from ffswap.engines._host import split


@pytest.mark.parametrize(
    ("batch", "buckets", "parts"),
    [
        (3, (), [(3, 3)]),
        (1, (1, 4, 8), [(1, 1)]),
        (2, (1, 4, 8), [(4, 2)]),
        (8, (1, 4, 8), [(8, 8)]),
        (9, (1, 4, 8), [(8, 8), (1, 1)]),
        (23, (4, 8), [(8, 8), (8, 8), (8, 7)]),
        (1, (16,), [(16, 1)]),
    ],
)
def test_a_batch_is_split_into_buckets(batch, buckets, parts):
    assert split(batch, buckets) == parts
    assert sum(rows for _, rows in parts) == batch
