"""Channels of zeros by a convolution: the same values, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ffswap.models import embedded_bytes, get, names
from ffswap.models.batch import drawn_feeds, free_batch
from ffswap.models.cleaning import clean
from ffswap.models.onnx_files import parse_onnx
from ffswap.models.padding import pad_by_convolution
from tests.models.graphs import Dims, graph, kinds, node, run

X: Mapping[str, Dims] = {"x": ["N", 3, 4, 5]}


def padded(widths, more="", **attributes):
    return graph(
        [node("Relu", "x", "r"), node("Pad", f"r widths{more}", "y", **attributes)],
        X, {"y": ["N", "C", "H", "W"]},
        {"widths": np.asarray(widths, np.int64), "zero": np.float32(0), "one": np.float32(1)},
    )  # fmt: skip


@pytest.mark.parametrize("more", ["", " zero"])
def test_appended_channels_are_zeros_and_the_others_stay(more):
    model = padded([0, 0, 0, 0, 0, 5, 0, 0], more)
    before = model.SerializeToString()
    changed = pad_by_convolution(model)
    assert kinds(changed) == ["Relu", "Conv"]
    assert model.SerializeToString() == before
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)}
    np.testing.assert_array_equal(run(changed, feeds)["y"], run(model, feeds)["y"])


@pytest.mark.parametrize(
    ("widths", "more", "attributes"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], "", {}),
        ([0, 1, 0, 0, 0, 5, 0, 0], "", {}),
        ([0, 0, 0, 0, 1, 5, 0, 0], "", {}),
        ([0, 0, 0, 0, 0, -1, 0, 0], "", {}),
        ([0, 0, 0, 0, 0, 0, 0, 0], "", {}),
        ([0, 0, 0, 0, 0, 5, 0, 0], " one", {}),
        ([0, 0, 0, 0, 0, 2, 0, 0], "", {"mode": "reflect"}),
    ],
)
def test_other_pads_stay(widths, more, attributes):
    model = padded(widths, more, **attributes)
    assert pad_by_convolution(model) is model


@pytest.mark.parametrize("name", sorted(names(embedded=True)))
def test_embedded_nets_compute_what_they_did(name):
    model = free_batch(clean(parse_onnx(embedded_bytes(get(name)), name)))
    changed = pad_by_convolution(model)
    assert "Pad" not in kinds(changed)
    feeds = drawn_feeds(model, 2, 3, {})
    want, got = run(model, feeds), run(changed, feeds)
    for output, values in want.items():
        np.testing.assert_allclose(got[output], values, rtol=1e-4, atol=1e-4)
