"""Engines on an NVIDIA GPU: built, compared, run plainly and as graphs, on one stream and on two.

Without a GPU these tests are skipped; FFSWAP_REQUIRE_GPU=1 makes that a failure. FFSWAP_TACTICS names
the sources of tactics to build with, where TensorRT's own choice does not work.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest

from ffswap.engines import OrtCpuSession, OrtCudaSession
from ffswap.engines.tensorrt import TrtEngine, TrtSession
from ffswap.engines.trt_api import installed_products, load_api
from ffswap.errors import EngineError, InternalError, QualityError
from ffswap.gpu import Event, Scratch
from ffswap.models.onnx_files import save_onnx
from ffswap.options import BuildOptions
from ffswap.pipeline.engine_shelf import list_engines, verify_engines
from ffswap.pipeline.engines import build_engines
from tests.engines.replica_recipes import write_recipe
from tests.gpu.real_gpu import open_gpu
from tools.replicas import FAMILIES, make

pytestmark = pytest.mark.gpu

REQUIRED = os.environ.get("FFSWAP_REQUIRE_GPU") == "1"
TACTICS = [name for name in os.environ.get("FFSWAP_TACTICS", "").split(",") if name]
BATCHES = (1, 3, 4)


@pytest.fixture(scope="module")
def device():
    with open_gpu() as found:
        yield found


@pytest.fixture(scope="module")
def store(device, tmp_path_factory):  # noqa: ARG001
    if "tensorrt" not in installed_products():
        if REQUIRED:
            pytest.fail("TensorRT is not installed")
        pytest.skip("TensorRT is not installed")
    return tmp_path_factory.mktemp("engines")


def build(store, family, more="", **options):
    recipe = write_recipe(store, family, tactics=TACTICS, more=more)
    return build_engines([], BuildOptions(**options), folder=store, recipe=recipe).engines[0]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_builds_and_passes_the_gate(store, family):
    report = build(store, family)
    gate = report.manifest.gate
    assert report.status == "built"
    assert gate is not None
    assert gate.passed
    assert gate.where == "engine"
    assert build(store, family).status == "there"


class Opened:
    """An engine of a replica with everything that it needs."""

    def __init__(self, store, device, stack, **options):
        report = build(store, "inswapper_128", batches=BATCHES, **options)
        self.device, self.stack, self.key = device, stack, report.manifest.key
        self.plan = Path(report.plan).read_bytes()
        self.engine = self.load()

    def load(self, plan=None):
        return self.stack.enter_context(
            TrtEngine(
                self.plan if plan is None else plan,
                api=load_api("tensorrt"),
                device=self.device,
                batches=BATCHES,
                name="inswapper",
            )
        )

    def session(self):
        stream, scratch = self.device.stream(), Scratch()
        self.stack.callback(stream.close)
        self.stack.callback(scratch.close)
        return self.stack.enter_context(TrtSession(self.engine, stream=stream, scratch=scratch))

    def buffers(self, session, batch):
        specs = {**session.inputs, **session.outputs}
        found = {
            name: self.device.empty(spec.with_batch(batch), spec.dtype)
            for name, spec in specs.items()
        }
        for buffer in found.values():
            self.stack.callback(buffer.close)
        return found


@pytest.fixture
def opened(store, device):
    with ExitStack() as stack:
        yield Opened(store, device, stack)


def feeds_for(session, batch, seed=1):
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(size=spec.with_batch(batch)).astype(spec.dtype)
        for name, spec in session.inputs.items()
    }


def enqueue_and_read(session, binding, buffers, feeds):
    stream = session.stream
    for name, array in feeds.items():
        buffers[name].copy_from(array, stream)
    for name in session.outputs:
        buffers[name].fill_bytes(0xFF, stream)  # NaN: an output that is not written shows
    binding.enqueue(stream)
    results = {}
    for name, spec in session.outputs.items():
        results[name] = np.empty(spec.with_batch(binding.batch), spec.dtype)
        buffers[name].copy_to(results[name], stream)
    stream.synchronize()
    return results


@pytest.mark.parametrize("batch", BATCHES)
def test_a_captured_graph_gives_what_plain_runs_give(opened, batch):
    session = opened.session()
    buffers = opened.buffers(session, batch)
    binding = session.bind(batch, buffers)
    feeds = feeds_for(session, batch)
    plain = enqueue_and_read(session, binding, buffers, feeds)
    assert not binding.captured
    binding.capture()
    assert binding.captured
    for seed in (1, 2):
        feeds = feeds_for(session, batch, seed)
        again = enqueue_and_read(session, binding, buffers, feeds)
        whole = session.run(feeds)
        for name, array in again.items():
            assert np.isfinite(array).all()
            np.testing.assert_array_equal(array, whole[name])
        if seed == 1:
            np.testing.assert_array_equal(again["output"], plain["output"])


def test_run_pads_and_splits_batches(opened):
    session = opened.session()
    feeds = feeds_for(session, 9)
    whole = session.run(feeds)["output"]
    assert len(whole) == 9
    for row in range(9):
        alone = session.run({name: array[row : row + 1] for name, array in feeds.items()})
        np.testing.assert_allclose(whole[row], alone["output"][0], atol=5e-3)


def test_two_contexts_on_two_streams_do_not_disturb_each_other(opened):
    sessions = [opened.session(), opened.session()]
    wanted, runs = [], []
    for seed, session in enumerate(sessions):
        buffers = opened.buffers(session, 4)
        binding = session.bind(4, buffers)
        feeds = feeds_for(session, 4, seed)
        wanted.append(enqueue_and_read(session, binding, buffers, feeds)["output"])
        binding.capture()
        runs.append((session, binding, buffers))
    errors = []

    def work(index):
        try:
            opened.device.activate()
            session, binding, buffers = runs[index]
            got = np.empty_like(wanted[index])
            for _ in range(50):
                binding.enqueue(session.stream)
                buffers["output"].copy_to(got, session.stream)
                session.stream.synchronize()
                np.testing.assert_array_equal(got, wanted[index])
        except BaseException as error:  # noqa: BLE001  told in the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_sessions_on_one_stream_share_their_scratch(opened):
    stream, scratch = opened.device.stream(), Scratch()
    opened.stack.callback(stream.close)
    opened.stack.callback(scratch.close)
    sessions = [
        opened.stack.enter_context(TrtSession(opened.engine, stream=stream, scratch=scratch))
        for _ in range(2)
    ]
    for session in sessions:
        session.run(feeds_for(session, 4))
    assert scratch.nbytes == max(opened.engine.scratch_bytes(batch) for batch in BATCHES)


def test_half_inputs_and_outputs_agree_with_float_ones(store, device):
    report = build(store, "inswapper_128", more="half_io = true", batches=(2,))
    key = report.manifest.key
    assert key.half_io
    with ExitStack() as stack:
        one = Opened(store, device, stack)
        session = one.session()
        feeds = {name: array.astype(np.float16) for name, array in feeds_for(session, 2).items()}
        wide = session.run({name: array.astype(np.float32) for name, array in feeds.items()})
        engine = stack.enter_context(
            TrtEngine(
                Path(report.plan).read_bytes(),
                api=load_api("tensorrt"),
                device=device,
                batches=(2,),
                name="half",
            )
        )
        stream, scratch = device.stream(), Scratch()
        stack.callback(stream.close)
        stack.callback(scratch.close)
        half = stack.enter_context(TrtSession(engine, stream=stream, scratch=scratch))
        assert {spec.dtype for spec in half.inputs.values()} == {np.dtype(np.float16)}
        got = half.run(feeds)["output"]
        assert got.dtype == np.float16
        apart = np.linalg.norm(got.astype(np.float32) - wide["output"])
        assert apart < 0.05 * np.linalg.norm(wide["output"])  # as far as the gate lets either be


def test_a_damaged_plan_is_not_loaded(opened):
    with pytest.raises(EngineError, match="inswapper cannot be loaded"):
        opened.load(opened.plan[: len(opened.plan) // 2])
    with pytest.raises(EngineError, match="inswapper cannot be loaded"):
        opened.load(b"no plan at all" * 100)


def test_a_binding_is_used_on_its_own_stream_and_batch_only(opened):
    session, other = opened.session(), opened.session()
    buffers = opened.buffers(session, 4)
    binding = session.bind(4, buffers)
    with pytest.raises(InternalError, match="bound for another stream"):
        binding.enqueue(other.stream)
    with pytest.raises(InternalError, match="batch 2; it was built for 1, 3, 4"):
        session.bind(2, buffers)
    with pytest.raises(InternalError, match="binds float32"):
        session.bind(3, buffers)


def test_a_stream_works_on_after_a_capture_that_failed(device):
    stream = device.stream()
    buffer = device.empty((1024,), np.uint8)

    def breaks(_):
        buffer.fill_bytes(7, stream)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stream.capture(breaks)
    buffer.fill_bytes(9, stream)
    got = np.zeros(1024, np.uint8)
    buffer.copy_to(got, stream)
    stream.synchronize()
    assert (got == 9).all()
    buffer.close()
    stream.close()


def test_a_stream_that_waits_for_an_event_reads_what_was_written_before_it(device):
    size = 1 << 28  # long enough to be still being written when the reader comes
    writer, reader, event = device.stream(), device.stream(), Event()
    buffer, got = device.empty((size,), np.uint8), np.empty(size, np.uint8)
    for value in (1, 2, 3):
        for filling in (255, 254, value):
            buffer.fill_bytes(filling, writer)
        reader.wait(writer.record(event))
        buffer.copy_to(got, reader)
        reader.synchronize()
        assert (got == value).all()
    for one in (buffer, event, writer, reader):
        one.close()


def test_the_store_lists_and_verifies_what_was_built(store):
    build(store, "inswapper_128", batches=BATCHES)
    states = {one.entry.model: one.state for one in list_engines(store)}
    assert states["inswapper_128"] == "ok"
    verified = verify_engines(store, ("inswapper_128",))
    assert [one.problem for one in verified] == [None] * len(verified)
    assert {one.checked for one in verified} == {"run"}


def test_embedded_nets_are_built_and_verified_against_fp32(store):
    recipe = store / "embedded.toml"
    tactics = f"tactics = {TACTICS}\n" if TACTICS else ""
    recipe.write_text(f"[models.face_landmark]\nbatches = [1, 4]\n{tactics}")
    if load_api().version.startswith("8."):
        # It makes a row of a batch of four with wrong values there; docs/support.md says so.
        with pytest.raises(QualityError, match="a row in a batch differs"):
            build_engines([], BuildOptions(), folder=store, recipe=recipe)
        assert not list(store.glob("face_landmark*.plan"))
        return
    report = build_engines([], BuildOptions(), folder=store, recipe=recipe)
    gate = report.engines[0].manifest.gate
    assert gate is not None
    assert {one.checked for one in verify_engines(store, ("face_landmark",))} == {"fp32"}


@pytest.mark.parametrize("family", ["inswapper_128", "arcface_w600k_r50"])
def test_onnx_runtime_on_the_gpu_agrees_with_the_cpu(device, family, tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    path = tmp_path / "net.onnx"
    save_onnx(make(family), path)
    stream = device.stream()
    with (
        OrtCpuSession(path, threads=4) as cpu,
        OrtCudaSession(path, device=device, stream=stream) as gpu,
    ):
        feeds = {
            name: np.random.default_rng(5).normal(size=spec.with_batch(1)).astype(spec.dtype)
            for name, spec in cpu.inputs.items()
        }
        want, got = cpu.run(feeds), gpu.run(feeds)
        for name in want:
            # ONNX Runtime uses TF32 on this provider.
            np.testing.assert_allclose(got[name], want[name], atol=2e-2 * np.abs(want[name]).max())
    stream.close()


def test_nodes_that_onnx_runtime_has_for_the_cpu_only_see_new_inputs(device, tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    path = tmp_path / "net.onnx"
    save_onnx(determinant_net(), path)
    stream = device.stream()
    with OrtCudaSession(path, device=device, stream=stream) as gpu:
        assert gpu.copies_inputs
        for seed in (1, 2):
            feeds = feeds_for(gpu, 5, seed)
            want = np.abs(np.linalg.det(feeds["x"]))
            np.testing.assert_allclose(gpu.run(feeds)["y"], want, rtol=1e-4)
    stream.close()


def determinant_net():
    value = onnx.helper.make_tensor_value_info
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Det", ["x"], ["d"], "det"),
                onnx.helper.make_node("Abs", ["d"], ["y"], "abs"),
            ],
            "net",
            [value("x", onnx.TensorProto.FLOAT, ["N", 3, 3])],
            [value("y", onnx.TensorProto.FLOAT, ["N"])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=9,
    )
