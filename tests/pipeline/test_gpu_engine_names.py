"""An engine of a file with names of its own, run on an NVIDIA GPU under those of the catalogue.

Without a GPU it is skipped; FFSWAP_REQUIRE_GPU=1 makes that a failure.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest

from ffswap.engines.store import EngineStore
from ffswap.engines.trt_api import installed_products, load_api
from ffswap.gpu import Scratch
from ffswap.models import get
from ffswap.options import BuildOptions
from ffswap.pipeline.engine_open import Engines
from ffswap.pipeline.engines import build_engines
from ffswap.pipeline.net import Net
from tests import known_answers as known
from tests.gpu.real_gpu import open_gpu
from tests.pipeline.exported_names import exported
from tests.pipeline.neural_models import with_matrix

pytestmark = pytest.mark.gpu

REQUIRED = os.environ.get("FFSWAP_REQUIRE_GPU") == "1"
SWAPPER = "inswapper_128"


@pytest.fixture
def device():
    if not installed_products() and not REQUIRED:
        pytest.skip("TensorRT is not installed")
    with open_gpu() as found:
        yield found


@pytest.fixture
def swapper(tmp_path: Path) -> Path:
    """It paints a colour that tells the source, and gives what it painted a second time."""
    data = with_matrix(known.painter(get(SWAPPER), 1))
    path = exported(tmp_path / f"{SWAPPER}.onnx", data)
    model = onnx.load(path)
    more = onnx.helper.make_tensor_value_info("made", onnx.TensorProto.FLOAT, [1, 3, 128, 128])
    model.graph.output.append(more)
    onnx.save(model, path)
    return path


def test_it_is_built_found_and_run_under_the_names_of_the_catalogue(device, swapper, tmp_path):
    store = tmp_path / "store"
    build_engines([str(swapper)], BuildOptions(batches=(1, 2)), folder=store)
    rng = np.random.default_rng(3)
    feeds = {
        "target": rng.uniform(0, 1, (2, 3, 128, 128)).astype(np.float32),
        "source": rng.normal(0, 512**-0.5, (2, 512)).astype(np.float32),
    }
    wanted = known.painted(feeds["source"])[:, :, None, None]
    with ExitStack() as stack:
        stream, scratch = device.stream(), Scratch()
        stack.callback(stream.close)
        stack.callback(scratch.close)
        engines = Engines(EngineStore(store), load_api(), device)
        opened = stack.enter_context(engines.open(Net(spec=get(SWAPPER), file=swapper), None))
        session = stack.enter_context(opened.session(stream=stream, scratch=scratch))
        (name,) = session.outputs
        assert set(session.inputs) == set(feeds)
        got = session.run(feeds)[name]
        assert np.abs(got - wanted).max() < 0.01
        specs = {**session.inputs, **session.outputs}
        buffers = {key: device.empty(spec.with_batch(2), spec.dtype) for key, spec in specs.items()}
        for buffer in buffers.values():
            stack.callback(buffer.close)
        binding = session.bind(2, buffers)
        stack.callback(binding.close)
        for key, array in feeds.items():
            buffers[key].copy_from(array, stream)
        binding.enqueue(stream)
        again = np.empty_like(got)
        buffers[name].copy_to(again, stream)
        stream.synchronize()
        np.testing.assert_array_equal(again, got)
