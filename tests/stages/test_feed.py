"""What a net is fed: layout, colour order, mean and std from its specification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ffswap.models import get
from ffswap.stages.feed import net_input


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_every_specification(layout, colour):
    image = replace(
        get("face_landmark").picture, layout=layout, colour=colour, mean=(10.0, 20.0, 30.0),
        std=(1.0, 2.0, 4.0), name="x",
    )  # fmt: skip
    spec = replace(get("face_landmark"), image=image)
    crops = [np.random.default_rng(k).random((3, 5, 5)).astype(np.float32) for k in range(2)]
    ((name, batch),) = net_input(crops, spec).items()
    assert name == "x"
    assert batch.flags.c_contiguous
    assert batch.dtype == np.float32
    for n, crop in enumerate(crops):
        for k in range(3):
            got = batch[n, k] if layout == "nchw" else batch[n, :, :, k]
            channel = crop[k] if colour == "rgb" else crop[2 - k]
            want = (channel * 255 - image.mean[k]) / image.std[k]
            assert np.abs(got - want).max() < 1e-4
