"""Opens built engines, and compares them with the net in FP32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from ..engines.fp16_reference import Fp16Reference
from ..engines.gate import Arrays, measure
from ..engines.key import EngineKey
from ..engines.manifest import GateFigures
from ..engines.tensorrt import TrtEngine, TrtSession
from ..engines.trt_api import TrtApi
from ..gpu import Device, Scratch
from ..models.onnx_files import Graph
from .engine_graph import fp32_runner

__all__ = ["compare", "noise_for", "open_engine"]


@contextmanager
def open_engine(plan: Path, key: EngineKey, api: TrtApi, device: Device) -> Iterator[TrtSession]:
    """A session of a built engine on a stream of its own.

    Args:
        plan: the file.
        key: of the engine.
        api: the TensorRT that built it.
        device: its context must be current in the thread.

    Raises:
        EngineError: TensorRT cannot load it.
    """
    with ExitStack() as stack:
        scratch, stream = Scratch(), device.stream()
        stack.callback(stream.close)
        stack.callback(scratch.close)
        engine = stack.enter_context(
            TrtEngine(
                plan.read_bytes(), api=api, device=device, batches=key.batches, name=key.model
            )
        )
        yield stack.enter_context(TrtSession(engine, stream=stream, scratch=scratch))


def compare(
    session: TrtSession | None,
    artefact: Graph,
    graph: Graph,
    samples: Arrays,
    key: EngineKey,
    cores: int,
) -> GateFigures:
    """Compare an engine, or the graph that it was built from, with the net in FP32.

    Args:
        session: the engine; None: it cannot run here, and the graph stands for it.
        artefact: what was built.
        graph: the net in FP32.
        samples: rows for every input, at least as many as the largest batch.
        key: of the engine.
        cores: for the net on the CPU.

    Raises:
        QualityError: values are not finite.
    """
    feeds = samples
    if key.half_io:
        feeds = {
            name: array.astype(np.float16) if array.dtype == np.float32 else array
            for name, array in samples.items()
        }
    with ExitStack() as stack:
        reference = stack.enter_context(fp32_runner(graph, cores, key.model))
        if session is not None:
            return measure(session.run, reference, feeds, key.batches, where="engine")
        candidate = Fp16Reference(artefact, threads=cores).run
        return measure(candidate, reference, feeds, key.batches, where="reference")


def noise_for(key: EngineKey) -> Arrays:
    """Rows of noise for an engine whose net is not at hand: -1 to 1, and ones for whole numbers."""
    generator = np.random.default_rng(0)
    rows = key.batches[-1]
    samples = {}
    for name, dtype, shape in key.inputs:
        full = (rows, *shape[1:]) if shape[:1] == (-1,) else shape
        kind = np.dtype("float16" if key.half_io and dtype == "float32" else dtype)
        samples[name] = (
            generator.uniform(-1, 1, full).astype(kind) if kind.kind == "f" else np.ones(full, kind)
        )
    return samples
