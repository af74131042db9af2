"""Opens built engines, and compares them with the net in FP32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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

__all__ = ["compare", "fixed", "noise_for", "open_engine"]


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
                plan.read_bytes(),
                api=api,
                device=device,
                batches=key.batches,
                unbatched=fixed(key),
                name=key.model,
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
    *,
    check: Callable[[], None] = lambda: None,
) -> GateFigures:
    """Compare an engine, or the graph that it was built from, with the net in FP32.

    Args:
        session: the engine; None: it cannot run here, and the graph stands for it.
        artefact: what was built.
        graph: the net in FP32.
        samples: rows for every input, at least as many as the largest batch.
        key: of the engine.
        cores: for the net on the CPU.
        check: is called before each run, and may raise to end the comparison.

    Raises:
        QualityError: values are not finite.
    """
    feeds = dict(samples)
    if key.half_io:  # both sides get the values that FP16 inputs can have
        for name, array in samples.items():
            if array.dtype == np.float32:
                feeds[name] = array.astype(np.float16)
    with fp32_runner(graph, cores, key.model) as fp32:

        def reference(feeds: Arrays) -> Arrays:
            check()
            return fp32(feeds)

        if session is None:
            graph16 = Fp16Reference(artefact, threads=cores)

            def candidate(feeds: Arrays) -> Arrays:
                check()
                return graph16.run(feeds)

            # Rows of a batch say nothing about the engine here, and take minutes on a large net.
            figures = measure(
                candidate, reference, feeds, (1,), where="reference", unbatched=fixed(key)
            )
            outputs = tuple(replace(one, row_error=None) for one in figures.outputs)
            return replace(figures, outputs=outputs)

        def engine(feeds: Arrays) -> Arrays:
            check()
            # TensorRT takes float32 where a graph has float64.
            specs = session.inputs
            return session.run({name: a.astype(specs[name].dtype) for name, a in feeds.items()})

        return measure(engine, reference, feeds, key.batches, where="engine", unbatched=fixed(key))


def fixed(key: EngineKey) -> frozenset[str]:
    """Inputs that are not rows of a batch: one value for all rows, or all of a net for one row."""
    return frozenset(name for name, _, shape in key.inputs if shape[:1] != (-1,))


def noise_for(key: EngineKey, session: TrtSession) -> Arrays:
    """Rows of noise for an engine whose net is not at hand: -1 to 1, and ones for whole numbers."""
    generator = np.random.default_rng(0)
    samples = {}
    for spec in session.inputs.values():
        shape = spec.with_batch(key.batches[-1])
        noise = generator.uniform(-1, 1, shape) if spec.dtype.kind == "f" else np.ones(shape)
        samples[spec.name] = noise.astype(spec.dtype)
    return samples
