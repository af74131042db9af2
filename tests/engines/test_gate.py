"""The gate: what it measures, what it lets through, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ffswap.engines.gate import check_limits, measure, reference_rows
from ffswap.engines.manifest import GateLimits
from ffswap.errors import QualityError

SAMPLES = {"x": np.random.default_rng(3).normal(size=(4, 3, 8, 8)).astype(np.float32)}
LIMITS = GateLimits(relative_l2=0.01, psnr_db=40.0, row=0.001)


def fp32(feeds):
    """Another picture and a vector of each row."""
    x = feeds["x"]
    return {"image": np.tanh(x), "vector": x.reshape(len(x), -1)[:, :5] * 100}


def fp16(feeds):
    """The same, rounded."""
    return {
        name: array.astype(np.float16).astype(np.float32) for name, array in fp32(feeds).items()
    }


def gate(candidate, batches=(1, 2, 4), samples=SAMPLES):
    return measure(candidate, reference_rows(fp32, samples), samples, batches, where="engine")


def test_rounding_passes_and_its_figures_are_those_of_rounding():
    figures = check_limits(gate(fp16), LIMITS, "net")
    assert figures.passed
    assert figures.where == "engine"
    assert figures.repeatable
    image, vector = figures.outputs
    assert (image.output, vector.output) == ("image", "vector")
    assert 1e-5 < image.relative_l2 < 1e-3
    assert vector.psnr_db is None
    assert image.psnr_db is not None
    assert 60 < image.psnr_db < 90
    assert vector.peak == pytest.approx(np.abs(SAMPLES["x"].reshape(4, -1)[:, :5]).max() * 100)
    assert 0 < vector.worst < vector.peak * 1e-3
    assert image.row_error == 0


def test_the_net_itself_is_exact():
    figures = check_limits(gate(fp32), LIMITS, "net")
    assert [one.relative_l2 for one in figures.outputs] == [0, 0]
    assert figures.outputs[0].psnr_db == 200


def test_the_worst_sample_counts_not_the_mean():
    def one_bad_row(feeds):
        outputs = fp32(feeds)
        for row, x in enumerate(feeds["x"]):
            if np.array_equal(x, SAMPLES["x"][3]):
                outputs["vector"][row] *= 1.02
        return outputs

    figures = gate(one_bad_row)
    assert figures.outputs[1].relative_l2 == pytest.approx(0.02, rel=1e-3)
    message = re.escape("the engine of net is not good enough: vector")
    with pytest.raises(QualityError, match=message) as caught:
        check_limits(figures, LIMITS, "net")
    assert "0.02" in caught.value.message
    assert "0.01" in caught.value.message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_refused(bad):
    def broken(feeds):
        outputs = fp16(feeds)
        if len(feeds["x"]) == 4:
            outputs["image"][2, 1, 3, 3] = bad
        return outputs

    with pytest.raises(QualityError, match=r"image holds values that are not finite .*batch 4"):
        gate(broken)


def test_rows_that_mix_in_a_batch_are_found():
    def mixing(feeds):
        outputs = fp32(feeds)
        outputs["vector"] = outputs["vector"] + 0.01 * outputs["vector"].mean(axis=0)
        return outputs

    figures = gate(mixing)
    assert figures.outputs[1].row_error is not None
    assert figures.outputs[1].row_error > LIMITS.row
    limits = GateLimits(relative_l2=0.5, psnr_db=0, row=LIMITS.row)
    with pytest.raises(QualityError, match="a row in a batch differs by"):
        check_limits(figures, limits, "net")


def test_outputs_that_change_from_run_to_run_are_refused():
    generator = np.random.default_rng(0)

    def noisy(feeds):
        return {name: array + generator.normal() * 1e-5 for name, array in fp32(feeds).items()}

    with pytest.raises(QualityError, match="the same input gives different outputs"):
        check_limits(gate(noisy), LIMITS, "net")


def test_a_low_psnr_is_refused():
    def dull(feeds):
        outputs = fp32(feeds)
        outputs["image"] = outputs["image"] * 0.9
        return outputs

    limits = GateLimits(relative_l2=0.5, psnr_db=40, row=0.01)
    with pytest.raises(QualityError, match=r"image has \d\d\.\d dB against FP32, asked for 40"):
        check_limits(gate(dull), limits, "net")


def test_rows_are_compared_with_the_smallest_batch_there_is():
    sizes = []

    def no_single(feeds):
        sizes.append(len(feeds["x"]))
        return fp16(feeds)

    assert check_limits(gate(no_single, batches=(2, 4)), LIMITS, "net").passed
    assert set(sizes) == {2, 4}


def test_whole_numbers_count_by_how_many_differ():
    def ids(feeds):
        return {"ids": (feeds["x"].reshape(len(feeds["x"]), -1)[:, :10] > 0).astype(np.int64)}

    def one_wrong(feeds):
        outputs = ids(feeds)
        outputs["ids"][:, 0] ^= 1
        return {"ids": outputs["ids"].astype(np.int32)}

    figures = measure(one_wrong, reference_rows(ids, SAMPLES), SAMPLES, (1, 4), where="reference")
    assert figures.where == "reference"
    assert figures.outputs[0].relative_l2 == pytest.approx(0.1)


def test_an_output_of_zeros_has_an_absolute_error():
    def zeros(feeds):
        return {"y": np.zeros((len(feeds["x"]), 2), np.float32)}

    def small(feeds):
        return {"y": np.full((len(feeds["x"]), 2), 1e-3, np.float32)}

    figures = measure(small, reference_rows(zeros, SAMPLES), SAMPLES, (1,), where="engine")
    assert figures.outputs[0].relative_l2 == pytest.approx(1e-3 * np.sqrt(2))
