"""The gate: what it measures, what it lets through, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ffswap.engines.gate import Group, check_limits, measure, reference_rows
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


PICTURES = {"x": np.random.default_rng(4).normal(size=(6, 3, 16, 16)).astype(np.float32)}
HALVES = (
    Group(kind="skin", name="dark", rows=(0, 2, 4)),
    Group(kind="skin", name="light", rows=(1, 3, 5)),
    Group(kind="pose", name="front", rows=(0, 1, 2, 3, 4, 5)),
)


def unfair(feeds):
    """Noise in every picture, ten times as much in those of the group "dark"."""
    outputs = fp32(feeds)
    for row, x in enumerate(feeds["x"]):
        (which,) = (k for k in range(6) if np.array_equal(x, PICTURES["x"][k]))
        noise = np.random.default_rng(which).normal(size=outputs["image"][row].shape)
        outputs["image"][row] += noise * (0.01 if which % 2 else 0.1)
    return outputs


def judged(candidate, **options):
    wanted = reference_rows(fp32, PICTURES, rows=6)
    return measure(candidate, wanted, PICTURES, (1, 4), where="engine", groups=HALVES, **options)


def test_all_rows_that_are_asked_for_are_compared():
    assert len(reference_rows(fp32, PICTURES)["image"]) == 4
    assert judged(fp16).samples == 6


def test_groups_are_measured_each_for_itself():
    figures = judged(unfair)
    found = {(one.kind, one.name, one.output): one for one in figures.groups}
    assert len(found) == 6
    dark, light = (found["skin", name, "image"] for name in ("dark", "light"))
    assert dark.rows == light.rows == 3
    assert light.mean_db - dark.mean_db == pytest.approx(20, abs=1)
    assert dark.below_db == pytest.approx(10, abs=0.5)
    assert light.below_db == pytest.approx(-dark.below_db)
    assert found["pose", "front", "image"].below_db == pytest.approx(0)
    assert found["pose", "front", "image"].worst_db == dark.worst_db == figures.outputs[0].psnr_db
    assert found["skin", "dark", "vector"].mean_db == 200


def test_a_group_that_is_served_worse_is_named():
    limits = GateLimits(relative_l2=1, psnr_db=0, row=1, spread_db=6)
    with pytest.raises(
        QualityError, match=r"image of the group skin 'dark' has .* below the mean"
    ) as caught:
        check_limits(judged(unfair), limits, "net")
    assert "light" not in caught.value.message
    assert check_limits(judged(unfair), GateLimits(relative_l2=1, psnr_db=0, row=1), "net").passed


def test_pictures_without_their_structure_are_refused():
    figures = judged(unfair)
    picture, vector = figures.outputs
    assert vector.ssim is None
    assert picture.ssim is not None
    assert 0.5 < picture.ssim < 0.999
    limits = GateLimits(relative_l2=1, psnr_db=0, row=1, ssim=0.999)
    with pytest.raises(
        QualityError, match=r"image has a structural similarity of 0\.\d+ with FP32"
    ):
        check_limits(figures, limits, "net")


def test_another_face_is_refused():
    """The recogniser sees the mean colour of a picture."""

    def recogniser(pictures):
        return pictures.mean(axis=(2, 3)) + np.eye(3)[0]

    def green(feeds):
        outputs = fp32(feeds)
        outputs["image"][:, 1] += 0.5
        return outputs

    same, other = judged(fp16, recogniser=recogniser), judged(green, recogniser=recogniser)
    assert judged(green).identity is None
    assert same.identity is not None
    assert same.identity < 1e-6
    assert other.identity is not None
    assert other.identity > 0.05
    limits = GateLimits(relative_l2=1, psnr_db=0, row=1, identity=0.05)
    assert check_limits(same, limits, "net").passed
    with pytest.raises(
        QualityError, match=r"a face is 0\.\d+ from the same face in FP32, allowed 0.05"
    ):
        check_limits(other, limits, "net")
