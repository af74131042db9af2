"""What a net is fed: layout, colour order, mean and std from its specification."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from ffswap.engines import OrtCpuSession, Session, TensorSpec
from ffswap.engines.session import check_feeds
from ffswap.errors import InternalError
from ffswap.geometry.similarity import similarity
from ffswap.models import get
from ffswap.stages.feed import SharedNet, face_crops, net_input, run_rows
from tests.known_answers import TEMPLATES, face_points, frames_with, restorer, restorer_spec
from tests.stages.face_scenes import FORMATS, to_planes


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


class Rows:
    """Adds the constant to each row; remembers how many rows came at a time.

    Args:
        batch: of the input, -1: free.
        constant: shape of the second input, None: there is none.
    """

    def __init__(self, batch: int = -1, constant: tuple[int, ...] | None = None) -> None:
        self.batches: list[int] = []
        self.inputs = {"x": TensorSpec("x", np.dtype(np.float32), (batch, -1))}
        if constant is not None:
            self.inputs["weight"] = TensorSpec("weight", np.dtype(np.float64), constant)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        check_feeds("rows", self.inputs, feeds)
        self.batches.append(len(feeds["x"]))
        weight = feeds.get("weight", np.zeros(1)).reshape(-1, 1).astype(np.float32)
        return {"y": feeds["x"] + weight, "z": feeds["x"][:, :1] * 2}


@pytest.mark.parametrize(
    ("batch", "count", "width", "want"),
    [
        (-1, 1, 4, [1]), (-1, 16, 4, [16]), (-1, 37, 4, [16, 16, 5]), (1, 3, 4, [1, 1, 1]),
        (-1, 5, 3 * 512 * 512, [4, 1]), (-1, 2, 3 * 1024 * 1024, [1, 1]),
    ],
)  # fmt: skip
def test_rows_are_run_as_many_at_a_time_as_the_net_and_its_memory_allow(batch, count, width, want):
    session = Rows(batch)
    x = np.arange(count, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    out = run_rows(cast(Session, session), {"x": x})
    assert session.batches == want
    assert np.array_equal(out["y"], x)
    assert np.array_equal(out["z"], x[:, :1] * 2)


@pytest.mark.parametrize("shape", [(1,), (-1,), ()])
def test_a_constant_has_the_type_and_shape_that_the_net_asks_for(shape):
    session = Rows(constant=shape)
    rows = {"x": np.zeros((18, 2), np.float32)}
    out = run_rows(cast(Session, session), rows, {"weight": 0.25})
    assert (out["y"] == 0.25).all()
    assert session.batches == [16, 2]


def test_a_constant_that_the_net_has_not_is_refused():
    with pytest.raises(InternalError, match="not the constant 'weight'"):
        run_rows(cast(Session, Rows()), {"x": np.zeros((2, 2), np.float32)}, {"weight": 0.25})


def test_several_threads_take_turns_at_a_shared_net():
    spec = restorer_spec(16)
    busy = threading.Semaphore(1)

    class OneAtATime(OrtCpuSession):
        def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            assert busy.acquire(blocking=False)
            out = super().run(feeds)
            busy.release()
            return out

    with OneAtATime(restorer(spec), name="net") as session:
        net = SharedNet(session, spec)
        crops = np.random.default_rng(1).random((3, 3, 16, 16), np.float32)
        with ThreadPoolExecutor(4) as threads:
            outs = list(threads.map(lambda _: net(crops), range(40)))
    assert all(np.array_equal(out, outs[0]) for out in outs)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_with_a_value_that_is_no_number_is_none_as_a_whole(value):
    spec = restorer_spec(16)
    crops = np.zeros((3, 3, 16, 16), np.float32)
    crops[1, 2, 5, 7] = value
    with OrtCpuSession(restorer(spec), name="net") as session:
        out = SharedNet(session, spec)(crops)
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[[0, 2]]).all()


def test_crops_of_faces_are_those_of_their_frames():
    fmt = FORMATS["yuv444p16le"]
    levels = (40, 120, 200)
    pictures = [np.full((60, 80, 3), level, np.uint8) for level in levels]
    frames = frames_with([to_planes(picture, fmt) for picture in pictures], fmt)
    matrices = similarity(
        np.stack([face_points(40, 30, 30, 10.0 * k) for k in range(4)]),
        TEMPLATES["arcface_128"],
        32,
    )
    where = np.array([2, 0, 1, 2])
    crops = face_crops(frames, where, matrices, 32)
    assert crops.shape == (4, 3, 32, 32)
    want = np.array(levels)[where] / 255
    assert np.abs(crops - want[:, None, None, None]).max() < 1e-3
