"""A worker that times a net in a session of ffswap: a plan in TensorRT, or an ONNX file in ONNX Runtime.

PYTHON -m benchmarks.engine_worker --plan FILE [--graph]
PYTHON -m benchmarks.engine_worker --onnx FILE [--precision fp16]
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.worker import serve
from ffswap.engines import Binding, OrtCudaSession, Session, TensorSpec
from ffswap.engines.precision import to_mixed_fp16
from ffswap.engines.tensorrt import TrtEngine, TrtSession
from ffswap.engines.trt_api import load_api
from ffswap.gpu import Device, DeviceArray, Event, Scratch
from ffswap.models.batch import free_batch
from ffswap.models.cleaning import clean
from ffswap.models.onnx_files import load_onnx

__all__ = ["EngineRunner", "OrtRunner", "TrtRunner", "feed", "main", "ort_graph"]


def feed(spec: TensorSpec, batch: int, seed: int = 0) -> NDArray[Any]:
    """What an input gets: values of 0 to 1, or rows of length one where it is a matrix."""
    rng = np.random.default_rng(seed)
    shape = spec.with_batch(batch)
    if len(shape) != 2:
        return rng.uniform(0, 1, shape).astype(spec.dtype)
    rows = rng.standard_normal(shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), spec.dtype)


def ort_graph(path: Path, precision: str) -> bytes:
    """The graph that ONNX Runtime gets: with a free batch, and in FP16 where that is asked for."""
    graph = free_batch(clean(load_onnx(path)))
    if precision == "fp16":
        graph = to_mixed_fp16(graph).model
    return bytes(graph.SerializeToString())


class EngineRunner(ABC):
    """A session on the first GPU; fulfils `benchmarks.worker.Runner`."""

    def __init__(self) -> None:
        self.device = Device(0)
        self.stream = self.device.stream()
        self._bindings: dict[int, Binding] = {}
        self._buffers: list[DeviceArray] = []

    @abstractmethod
    def load(self, batches: tuple[int, ...]) -> Session:
        """Make the session."""

    def bind(self, session: Session, batch: int, buffers: dict[str, DeviceArray]) -> Binding:
        """Fix the buffers of a batch size."""
        return session.bind(batch, buffers)

    def open(self, batches: list[int]) -> dict[str, Any]:
        """See `benchmarks.worker.Runner`; buffers of inputs and outputs count as memory, too."""
        before = self.device.free_bytes()
        start = time.perf_counter()
        session = self.load(tuple(batches))
        load_s = time.perf_counter() - start
        for batch in batches:
            buffers = {}
            for name, spec in {**session.inputs, **session.outputs}.items():
                buffers[name] = self.device.empty(spec.with_batch(batch), spec.dtype)
                if name in session.inputs:
                    content = feed(spec, batch)
                    buffers[name].copy_from(content, self.stream)
                    self.stream.synchronize()  # before `content` goes
            self._buffers.extend(buffers.values())
            self._bindings[batch] = self.bind(session, batch, buffers)
            self._bindings[batch].enqueue(self.stream)
            self.stream.synchronize()
        major, minor = self.device.info.driver
        return {
            "device": self.device.info.name,
            "versions": {
                "python": platform.python_version(),
                "runtime": session.runtime,
                "driver": f"CUDA {major}.{minor}",
            },
            "load_s": load_s,
            "ready_s": time.perf_counter() - start,
            "memory_bytes": before - self.device.free_bytes(),
        }

    def run(self, batch: int, iterations: int) -> float:
        """See `benchmarks.worker.Runner`."""
        binding = self._bindings[batch]
        first, last = Event(timing=True), Event(timing=True)
        self.stream.record(first)
        for _ in range(iterations):
            binding.enqueue(self.stream)
        self.stream.record(last).synchronize()
        spent = last.milliseconds_since(first)
        first.close()
        last.close()
        return spent


class TrtRunner(EngineRunner):
    """A plan in TensorRT.

    Args:
        plan: the file.
        graph: run captured CUDA graphs instead of enqueuing kernel by kernel.
    """

    def __init__(self, plan: Path, *, graph: bool) -> None:
        super().__init__()
        self._plan, self._graph = plan, graph
        self._api = load_api()  # importing the library is not part of loading the plan

    def load(self, batches: tuple[int, ...]) -> Session:
        """Load the plan."""
        engine = TrtEngine(
            self._plan.read_bytes(),
            api=self._api,
            device=self.device,
            batches=batches,
            name=self._plan.name,
        )
        return TrtSession(engine, stream=self.stream, scratch=Scratch())

    def bind(self, session: Session, batch: int, buffers: dict[str, DeviceArray]) -> Binding:
        """Fix the buffers, and capture the graph where one is wanted."""
        assert isinstance(session, TrtSession)
        binding = session.bind(batch, buffers)
        if self._graph:
            binding.capture()
        return binding


class OrtRunner(EngineRunner):
    """An ONNX file in ONNX Runtime's CUDA provider.

    Args:
        onnx: the float32 file.
        precision: ``fp32`` or ``fp16``.
    """

    def __init__(self, onnx: Path, *, precision: str) -> None:
        super().__init__()
        self._name, self._graph = onnx.name, ort_graph(onnx, precision)

    def load(self, batches: tuple[int, ...]) -> Session:  # noqa: ARG002
        """Make the session; it takes any batch."""
        return OrtCudaSession(self._graph, device=self.device, stream=self.stream, name=self._name)


def main() -> int:
    """Serve until the parent closes our standard input."""
    parser = argparse.ArgumentParser(description="Times a net in a session; see worker.py.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--plan", type=Path, help="run this plan in TensorRT")
    source.add_argument("--onnx", type=Path, help="run this file in ONNX Runtime")
    parser.add_argument("--graph", action="store_true", help="with --plan: as a CUDA graph")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32", help="with --onnx")
    args = parser.parse_args()
    if args.plan is not None:
        serve(TrtRunner(args.plan, graph=args.graph))
    else:
        serve(OrtRunner(args.onnx, precision=args.precision))
    return 0


if __name__ == "__main__":
    sys.exit(main())
