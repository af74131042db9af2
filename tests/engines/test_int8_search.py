"""Ranges, and what INT8 costs in each layer: found on nets of which it is known beforehand."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from ffswap.engines._range import runs
from ffswap.engines.int8 import SWEEP_GROUPS, Int8Search
from ffswap.engines.observe import Histogram
from ffswap.errors import CancelledError, ModelError
from tests.engines.fitted_net import faces, fitted_net, outlier_net
from tests.engines.test_quantise import chain, copied


def singly(count: int, seed: int):
    found = faces(count, seed)
    return [{name: rows[k : k + 1] for name, rows in found.items()} for k in range(count)]


@cache
def answered(make):
    """Rows with what the net gives for them in FP32."""
    feeds = singly(4, seed=3)
    return tuple(zip(feeds, runs(copied(make()), feeds), strict=True))


@pytest.fixture
def search():
    with Int8Search(fitted_net(), weights="channel") as found:
        found.observe(singly(6, seed=2))
        yield found


@pytest.fixture
def with_outlier():
    with Int8Search(outlier_net(), weights="channel") as found:
        found.observe(singly(6, seed=2))
        yield found


def test_a_histogram_knows_the_largest_value_and_that_of_nearly_all():
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    one, parts = Histogram(), Histogram()
    one.add(values)
    for part in np.split(values, 10):
        parts.add(part)
    for found in (one, parts):
        assert found.largest("minmax") == np.abs(values).max()
        bin_width = 8 / 2048
        assert found.largest("percentile") == pytest.approx(
            np.quantile(np.abs(values), 0.9999), abs=2 * bin_width
        )


def test_zeros_hide_nothing():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    bare, padded, empty = Histogram(), Histogram(), Histogram()
    bare.add(values)
    padded.add(np.concatenate([values, np.zeros(5_000_000, np.float32)]))
    assert padded.largest("percentile") == bare.largest("percentile")
    assert padded.largest("entropy") == bare.largest("entropy")
    empty.add(np.zeros(10, np.float32))
    assert [empty.largest(one) for one in ("minmax", "entropy", "percentile")] == [0, 0, 0]


def test_entropy_cuts_off_what_few_values_have_and_keeps_an_even_spread():
    random = np.random.default_rng(0)
    rare, even = Histogram(), Histogram()
    rare.add(np.concatenate([random.normal(size=500_000), [60.0, -80.0]]).astype(np.float32))
    even.add(random.uniform(-5, 5, 500_000).astype(np.float32))
    assert rare.largest("minmax") == 80
    assert 2.5 < rare.largest("entropy") < 12
    assert even.largest("entropy") > 4.7


def test_the_search_computes_what_the_quantised_net_computes(search):
    for method in ("minmax", "percentile"):
        search.use(method)
        for choice in (
            search.without((), 0),
            search.without(search.sweep(answered(fitted_net)), 2),
        ):
            net = search.build(choice)
            assert sum(n.op_type == "QuantizeLinear" for n in net.graph.node) >= 2 * len(
                choice.layers
            )
            for feeds, exact in answered(fitted_net):
                want = next(runs(copied(net), [feeds], optimise=False))["output"]
                got = search.run(feeds, choice.layers)["output"]
                error = np.linalg.norm(want - exact["output"])
                assert error > 0.01
                # Sums in another order put a few values that lie between two steps on the other.
                assert np.linalg.norm(got - want) < 0.2 * error
                assert np.median(np.abs(got - want)) < 1e-6


def test_with_no_layer_in_int8_it_is_the_net_itself(search):
    search.use("minmax")
    assert search.error(answered(fitted_net), []) < 1e-6


def test_int8_of_a_fitted_net_is_nearly_the_function_that_it_was_fitted_to(search):
    methods = search.try_methods(answered(fitted_net))
    assert [one.method for one in methods] == ["minmax", "entropy", "percentile"]
    assert all(0.001 < one.error < 0.1 for one in methods)
    # The best one is in use from then on.
    every = [one.node for one in search.layers]
    assert search.error(answered(fitted_net), every) == min(one.error for one in methods)


def test_the_sweep_finds_the_layer_that_int8_breaks(with_outlier, search):
    rows = answered(outlier_net)
    with_outlier.use("minmax")
    sweep = with_outlier.sweep(rows)
    assert sorted(one.layers for one in sweep) == [
        ("plain_1",),
        ("plain_2",),
        ("summed",),
        ("wide",),
    ]
    # Its input has one channel 300 times as large as the others, which all fall on zero.
    assert sweep[0].layers == ("plain_2",)
    assert sweep[0].error > 3 * max(one.error for one in sweep[1:])
    search.use("minmax")
    usual = {one.layers: one.error for one in search.sweep(answered(fitted_net))}
    assert usual[("plain_2",)] < sweep[0].error / 3


def test_what_goes_back_is_the_costliest_and_its_share_is_counted(with_outlier):
    with_outlier.use("minmax")
    sweep = with_outlier.sweep(answered(outlier_net))
    choice = with_outlier.without(sweep, 1)
    assert choice.returned == ("plain_2",)
    assert choice.layers == ("plain_1", "summed", "wide")
    every = with_outlier.without(sweep, 0)
    assert with_outlier.error(answered(outlier_net), choice.layers) < 0.5 * with_outlier.error(
        answered(outlier_net), every.layers
    )
    # Multiplications a pixel: 3 x 3 each; first 3 to 32, three of 32 to 32, wide 32 to 64, last 1 x 1.
    total = 9 * (3 * 32 + 3 * 32 * 32 + 32 * 64) + 64 * 3
    assert every.share == pytest.approx(9 * (3 * 32 * 32 + 32 * 64) / total)
    assert choice.share == pytest.approx(9 * (2 * 32 * 32 + 32 * 64) / total)


def test_a_large_net_is_swept_by_groups_and_then_where_it_costs_most():
    count = 2 * SWEEP_GROUPS + 5
    layers = [("Conv", ["b_w"], {"pads": [1] * 4}) for _ in range(count - 1)]
    model = chain(*layers)
    runs_made = []
    with Int8Search(model, weights="tensor", check=lambda: runs_made.append(1)) as search:
        feeds = {"x": np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)}
        search.observe([feeds])
        search.use("minmax")
        rows = [(feeds, next(runs(copied(model), [feeds])))]
        runs_made.clear()
        sweep = search.sweep(rows)
        assert len(search.layers) == count
        assert sorted(n for one in sweep for n in one.layers) == sorted(
            one.node for one in search.layers
        )
        assert len(runs_made) <= SWEEP_GROUPS + 4 * 3
        alone = [one for one in sweep if len(one.layers) == 1]
        assert len(alone) >= 4 * 3 - 2
        assert sum(one.share for one in sweep) == pytest.approx(
            search.share([one.node for one in search.layers])
        )


def test_a_net_without_a_layer_for_int8_says_why():
    with pytest.raises(
        ModelError, match=r"no layer that INT8 suits, of 3 .*first: 1, channels: 1, last: 1"
    ):
        Int8Search(chain(channels=8), weights="channel")


def test_it_can_be_stopped_between_two_runs():
    def stop() -> None:
        raise CancelledError("stopped")

    with (
        Int8Search(fitted_net(), weights="channel", check=stop) as search,
        pytest.raises(CancelledError),
    ):
        search.observe(singly(2, seed=0))


def test_a_tensor_that_is_always_zero_has_a_scale():
    model = chain(("Mul", ["zero"], {}))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), "f4"), "zero"))
    with Int8Search(model, weights="channel") as search:
        feeds = {"x": np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)}
        search.observe([feeds])
        search.use("entropy")
        assert 0 < search.scales["m0"] < 1e-5
        assert not search.run(feeds, ["b"])["output"].any()
