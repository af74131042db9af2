"""Sessions of TensorRT: plans loaded on a device, run with bound buffers, plainly or as captured graphs.

One engine holds the weights and may serve several streams. Each stream has a session of its own with
a scratch of its own, and each binding has an execution context of its own: contexts that run at the
same time share nothing that they write to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..errors import DeviceError, EngineError, InternalError
from ..gpu import Device, Graph, Scratch, Stream
from ._host import HostRunner
from .session import TensorSpec, check_buffers
from .trt_api import Logger, TrtApi

__all__ = ["TrtBinding", "TrtEngine", "TrtSession"]

# NumPy's names of TensorRT's types; which of them there are depends on the version.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


class TrtEngine(Closing):
    """A plan, loaded on a device.

    Args:
        plan: what the build gave, as private bytes.
        api: the TensorRT that built it.
        device: its context must be current in the thread.
        batches: the batch sizes that it was built for, ascending.
        name: for messages.
        unbatched: inputs that are not rows of a batch.

    Attributes:
        inputs: by name, in the graph's order; the batch is -1.
        outputs: the same.

    Raises:
        EngineError: TensorRT cannot load it: built by another version or for another GPU, damaged,
            or too little memory on the device; or it does not serve these batches.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        api: TrtApi,
        device: Device,
        batches: tuple[int, ...],
        name: str,
        unbatched: Collection[str] = (),
    ) -> None:
        self.api, self.device, self.batches, self.name = api, device, batches, name
        self._unbatched = frozenset(unbatched)
        self.logger = Logger(api)
        api.init_plugins(self.logger.handle)
        self._runtime = api.module.Runtime(self.logger.handle)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self.fault("cannot be loaded", hint="ffswap build-engine --force builds it again")
        self._profiles = {batch: self._find_profile(batch) for batch in batches}
        specs = [self._spec(name) for name in self._names()]
        modes = api.module.TensorIOMode
        self.inputs, self.outputs = (
            {spec.name: spec for spec in specs if self._engine.get_tensor_mode(spec.name) == mode}
            for mode in (modes.INPUT, modes.OUTPUT)
        )

    def fault(self, what: str, *, hint: str | None = None) -> EngineError:
        """The error for a call that failed, with what TensorRT said about it."""
        said = self.logger.errors() or "no explanation"
        self.logger = Logger(self.api)  # what was said is not said again of the next failure
        return EngineError(f"{self.name} {what} ({self.api.name}: {said})", hint=hint)

    def _names(self) -> list[str]:
        return [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]

    def _spec(self, name: str) -> TensorSpec:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise EngineError(f"{self.name}: {name} is a {kind}, which ffswap does not know")
        shape = tuple(self._engine.get_tensor_shape(name))
        if len(self.batches) == 1 and shape[:1] == self.batches and name not in self._unbatched:
            shape = (-1, *shape[1:])  # built for one batch alone: the graph itself has its size
        return TensorSpec(name, np.dtype(_DTYPES[kind]), shape)

    def _find_profile(self, batch: int) -> int:
        """The optimisation profile that serves a batch, preferably the one tuned for it."""
        module, engine = self.api.module, self._engine
        dynamic = [
            name
            for name in self._names()
            if engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
            and -1 in tuple(engine.get_tensor_shape(name))
        ]
        if not dynamic:
            return 0
        fitting = []
        for profile in range(engine.num_optimization_profiles):
            shapes = engine.get_tensor_profile_shape(dynamic[0], profile)
            least, best, most = (next(iter(shape)) for shape in shapes)
            if least <= batch <= most:
                fitting.append((abs(best - batch), profile))
        if not fitting:
            raise EngineError(f"{self.name} was not built for batches of {batch}")
        return min(fitting)[1]

    def scratch_bytes(self, batch: int) -> int:
        """Scratch memory that a run needs, in bytes."""
        engine = self._engine
        if hasattr(engine, "get_device_memory_size_for_profile_v2"):
            return int(engine.get_device_memory_size_for_profile_v2(self._profiles[batch]))
        if hasattr(engine, "device_memory_size_v2"):
            return int(engine.device_memory_size_v2)
        return int(engine.device_memory_size)

    def new_context(self, batch: int, stream: Stream, scratch: Scratch) -> Any:
        """An execution context for one batch size, with its working memory in `scratch`."""
        engine = self._engine
        context = self._bare_context()
        if context is None:
            raise self.fault("cannot be prepared to run")
        profile = self._profiles[batch]
        if engine.num_optimization_profiles > 1 and not context.set_optimization_profile_async(
            profile, stream.handle
        ):
            raise self.fault(f"refuses its profile {profile}")
        for spec in self.inputs.values():
            if not context.set_input_shape(spec.name, spec.with_batch(batch)):
                raise self.fault(f"refuses batches of {batch}")
        size = self.scratch_bytes(batch)
        address = scratch.address(size)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(address, size)
        else:
            context.device_memory = address
        return context

    def _bare_context(self) -> Any:
        """A context without memory, or None."""
        module, engine = self.api.module, self._engine
        if not hasattr(module, "ExecutionContextAllocationStrategy"):
            return engine.create_execution_context_without_device_memory()
        strategy = module.ExecutionContextAllocationStrategy.USER_MANAGED
        specialisation = getattr(module, "DynamicShapesKernelSpecializationStrategy", None)
        if specialisation is None:
            return engine.create_execution_context(strategy)
        # TensorRT for RTX compiles kernels for the shapes that it meets; else it would do so in the
        # background, and a captured graph would keep the slow ones for good.
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = specialisation.EAGER
        return engine.create_execution_context(config)

    def close(self) -> None:
        """Free the weights, after all sessions; closing twice is allowed."""
        self._engine = None


class TrtBinding:
    """Buffers bound to an execution context; fulfils `Binding`.

    Attributes:
        batch: rows of every buffer.
    """

    def __init__(self, session: TrtSession, batch: int, buffers: Mapping[str, Any]) -> None:
        engine = session.engine
        if batch not in engine.batches:
            allowed = ", ".join(map(str, engine.batches))
            raise InternalError(f"{engine.name}: batch {batch}; it was built for {allowed}")
        specs = {**engine.inputs, **engine.outputs}
        check_buffers(engine.name, specs, batch, buffers, session.device)
        self.batch = batch
        self._session = session
        self._buffers = dict(buffers)  # kept alive: TensorRT holds their addresses only
        self._graph: Graph | None = None
        self._context: Any = engine.new_context(batch, session.stream, session.scratch)
        for name, buffer in buffers.items():
            if not self._context.set_tensor_address(name, buffer.pointer):
                raise engine.fault(f"refuses the buffer of {name}")

    @property
    def captured(self) -> bool:
        """Whether a graph runs instead of single kernels."""
        return self._graph is not None

    def capture(self) -> None:
        """Record the work once as a CUDA graph, which `enqueue` then launches in one call.

        The buffers are read and written by the run that comes before the recording.

        Raises:
            EngineError: this net cannot be captured; `enqueue` works on as before.
        """
        stream = self._session.stream
        if self._context is None:
            raise InternalError(f"the binding of {self._session.engine.name} is closed")
        if hasattr(self._context, "is_stream_capturable") and not (
            self._context.is_stream_capturable(stream.handle)
        ):
            raise self._session.engine.fault("cannot be captured as a graph")
        self._run(stream)  # TensorRT settles what depends on shapes at the first run
        stream.synchronize()
        try:
            graph = stream.capture(self._run)
        except DeviceError as error:
            raise EngineError(
                f"{self._session.engine.name} cannot be captured as a graph: {error.message}"
            ) from error
        if self._graph is not None:
            self._graph.close()
        self._graph = graph

    def enqueue(self, stream: Stream | None) -> None:
        """Start one run; see `Binding.enqueue`."""
        if self._context is None:
            raise InternalError(f"the binding of {self._session.engine.name} is closed")
        if stream is not self._session.stream:
            raise InternalError(f"{self._session.engine.name} was bound for another stream")
        if self._graph is not None:
            self._graph.launch(stream)
        else:
            self._run(stream)

    def _run(self, stream: Stream) -> None:
        if not self._context.execute_async_v3(stream.handle):
            raise self._session.engine.fault("failed")

    def close(self) -> None:
        """Free the context and the graph, after what is on the stream; closing twice is allowed."""
        if self._context is not None:
            self._session.stream.synchronize()
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None
        self._buffers.clear()


class TrtSession(Closing):
    """A TensorRT engine on one stream; fulfils `Session`.

    Args:
        engine: stays the caller's, and may serve other streams as well.
        stream: everything runs on it.
        scratch: shared by all sessions on this stream, and by none on another.
    """

    def __init__(self, engine: TrtEngine, *, stream: Stream, scratch: Scratch) -> None:
        self.engine, self.stream, self.scratch = engine, stream, scratch
        scratch.reserve(max(engine.scratch_bytes(batch) for batch in engine.batches))
        self._bindings: list[TrtBinding] = []
        self._host = HostRunner(self, engine.device, stream)
        self._closed = False

    def __repr__(self) -> str:
        specs = [*self.inputs.values(), "->", *self.outputs.values()]
        return f"TrtSession({self.engine.name}, {' '.join(str(spec) for spec in specs)})"

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self.engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self.engine.outputs

    @property
    def buckets(self) -> tuple[int, ...]:
        """The batch sizes that it was built for."""
        return self.engine.batches

    @property
    def device(self) -> str:
        """Such as ``cuda:0``."""
        return self.engine.device.name

    @property
    def runtime(self) -> str:
        """``TensorRT`` or ``TensorRT for RTX``, and its version."""
        return self.engine.api.name

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Session.run`."""
        if self._closed:
            raise InternalError(f"{self.engine.name} is closed")
        return self._host.run(feeds)

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> TrtBinding:
        """Fix the buffers of one batch size; see `Session.bind`."""
        if self._closed:
            raise InternalError(f"{self.engine.name} is closed")
        binding = TrtBinding(self, batch, buffers)
        self._bindings.append(binding)
        return binding

    def close(self) -> None:
        """Free all bindings; engine, stream and scratch stay. Closing twice is allowed."""
        self._host.close()
        for binding in self._bindings:
            binding.close()
        self._bindings.clear()
        self._closed = True
