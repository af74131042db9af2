"""Opens built engines, and compares them with the net in FP32."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..engines.fp16_reference import Fp16Reference
from ..engines.gate import REFERENCE_ROWS, Arrays, Group, Recogniser, measure, reference_rows
from ..engines.key import EngineKey
from ..engines.manifest import GateFigures
from ..engines.tensorrt import TrtEngine, TrtSession
from ..engines.trt_api import TrtApi
from ..gpu import Device, Scratch
from ..models.onnx_files import Graph
from .engine_graph import Fp32Nets

__all__ = ["compare", "fixed", "fp32_rows", "gate_feeds", "noise_for", "open_engine"]


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


def gate_feeds(samples: Arrays, key: EngineKey) -> Arrays:
    """Samples as both sides of a comparison get them: with values that FP16 inputs can have."""
    if not key.half_io:
        return samples
    return {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in samples.items()
    }


def fp32_rows(
    graph: Graph,
    feeds: Arrays,
    key: EngineKey,
    nets: Fp32Nets,
    *,
    rows: int = REFERENCE_ROWS,
    unbatched: Collection[str] | None = None,
) -> Arrays:
    """What the net gives in FP32; see `reference_rows`.

    Args:
        graph: the net in FP32.
        feeds: of `gate_feeds`.
        key: of the engine.
        nets: runs it.
        rows: the most that are computed.
        unbatched: inputs that have no rows; None: those of the engine.

    Raises:
        QualityError: values are not finite.
    """
    apart = fixed(key) if unbatched is None else unbatched
    return reference_rows(partial(nets.run, graph), feeds, unbatched=apart, rows=rows)


def compare(
    session: TrtSession | None,
    artefact: Graph,
    wanted: Arrays,
    feeds: Arrays,
    key: EngineKey,
    cores: int,
    *,
    check: Callable[[], None] = lambda: None,
    unbatched: Collection[str] | None = None,
    groups: Sequence[Group] = (),
    recogniser: Recogniser | None = None,
    watch: Callable[[int, Arrays], None] = lambda _row, _outputs: None,
) -> GateFigures:
    """Compare an engine, or the graph that it was built from, with the net in FP32.

    Args:
        session: the engine; None: it cannot run here, and the graph stands for it.
        artefact: what was built.
        wanted: what `fp32_rows` gave.
        feeds: of `gate_feeds`, at least as many rows as the largest batch.
        key: of the engine.
        cores: for the graph on the CPU.
        check: is called before each run, and may raise to end the comparison.
        unbatched: inputs that have no rows; None: those of the engine.
        groups: of the rows of `wanted`.
        recogniser: looks at outputs that are pictures.
        watch: is told of each run, counted from 0, what came out; the first ones are of the rows of
            `wanted`, each alone.

    Raises:
        QualityError: values are not finite.
    """
    apart = fixed(key) if unbatched is None else unbatched
    judge = partial(measure, unbatched=apart, groups=groups, recogniser=recogniser)
    runs = itertools.count()
    if session is None:
        graph16 = Fp16Reference(artefact, threads=cores)

        def candidate(feeds: Arrays) -> Arrays:
            check()
            outputs = graph16.run(feeds)
            watch(next(runs), outputs)
            return outputs

        # Rows of a batch say nothing about the engine here, and take minutes on a large net.
        figures = judge(candidate, wanted, feeds, (1,), where="reference")
        outputs = tuple(replace(one, row_error=None) for one in figures.outputs)
        return replace(figures, outputs=outputs)
    specs = session.inputs

    def engine(feeds: Arrays) -> Arrays:
        check()
        # TensorRT takes float32 where a graph has float64.
        outputs = session.run({name: a.astype(specs[name].dtype) for name, a in feeds.items()})
        watch(next(runs), outputs)
        return outputs

    return judge(engine, wanted, feeds, key.batches, where="engine")


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
