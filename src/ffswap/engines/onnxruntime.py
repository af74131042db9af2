"""Sessions of ONNX Runtime, on the CPU and on NVIDIA GPUs."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..errors import (
    DeviceError,
    FfswapError,
    InputMissingError,
    InternalError,
    MachineError,
    OptionError,
)
from ..gpu import Device, Stream
from ._host import HostRunner
from .session import TensorSpec, check_buffers, check_feeds

__all__ = [
    "OrtBinding",
    "OrtCpuSession",
    "OrtCudaSession",
    "import_runtime",
    "library_errors",
]

ModelSource = bytes | str | os.PathLike[str]

_NO_SPINNING = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
# Refuses a net that is not on the GPU as a whole.
_ONE_DEVICE = {"session.disable_cpu_ep_fallback": "1"}
_LOG_ERRORS_ONLY = 3  # ONNX Runtime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

# Which of the library's errors are faults of the file, and which of our call. Any other means that
# this version of it cannot run the net (1.18 calls an unknown opset an InvalidArgument, 1.32 a
# Fail) or that the machine has run out of memory.
_FILE_FAULTS = ("InvalidProtobuf", "NoModel")
_CALL_FAULTS = ("InvalidArgument",)


def import_runtime() -> Any:
    """The module of ONNX Runtime.

    Raises:
        MachineError: it is not installed, or cannot be loaded.
    """
    # From 1.32 on the wheels for Linux tell their maker of every use unless this is set when they
    # are loaded: an id in the user's cache and in the folder for temporary files, and events over HTTPS.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MachineError(
            f"ONNX Runtime cannot be loaded: {error}", hint="pip install onnxruntime"
        ) from error
    return onnxruntime


def library_errors() -> tuple[type[Exception], ...]:
    """Every error class of the binding; which there are depends on its version."""
    from onnxruntime.capi import onnxruntime_pybind11_state as binding

    found = [v for v in vars(binding).values() if isinstance(v, type) and issubclass(v, Exception)]
    # A message that quotes bytes of a damaged file is no text for the binding itself.
    return (*found, RuntimeError, UnicodeDecodeError)


def _translate(error: Exception, what: str, ours: tuple[str, ...]) -> FfswapError:
    kind = InternalError if type(error).__name__ in ours else MachineError
    return kind(f"{what}: {str(error).strip()}")


def _tensor_specs(model: str, arguments: list[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for argument in arguments:
        if argument.type not in _DTYPES:
            raise InternalError(f"{model}: {argument.name} is a {argument.type}")
        # A free dimension has a name, or None.
        shape = tuple(dim if isinstance(dim, int) else -1 for dim in argument.shape)
        specs[argument.name] = TensorSpec(argument.name, np.dtype(_DTYPES[argument.type]), shape)
    return specs


def _source(model: ModelSource, name: str | None) -> tuple[bytes | str, str]:
    """What ONNX Runtime takes, and the name for messages."""
    if isinstance(model, bytes):
        source: bytes | str = model
        name = name or "model"
    else:
        if not Path(model).is_file():
            raise InputMissingError("no such model file", file=model)
        source = os.fspath(model)
        name = name or Path(model).name
    if not source:
        raise InternalError(f"{name} cannot be loaded: it is empty")
    return source, name


class OrtBinding:
    """Buffers bound to a net of ONNX Runtime; fulfils `Binding`.

    Attributes:
        batch: rows of every buffer.
    """

    def __init__(self, session: _OrtSession, batch: int, buffers: Mapping[str, Any]) -> None:
        if batch < 1:
            raise InternalError(f"{session.name}: batch {batch}; allowed: 1 or more")
        specs = {**session.inputs, **session.outputs}
        check_buffers(session.name, specs, batch, buffers, session.device)
        self.batch = batch
        self._session = session
        self._buffers = dict(buffers)  # kept alive: only their addresses are bound
        self._io: Any = session.new_io_binding()
        for names, bind in (
            (session.inputs, self._io.bind_input),
            (session.outputs, self._io.bind_output),
        ):
            for name in names:
                self._bind(bind, name)

    def _bind(self, bind: Any, name: str) -> None:
        kind, _, index = self._session.device.partition(":")
        buffer = self._buffers[name]
        address = buffer.ctypes.data if kind == "cpu" else buffer.pointer
        bind(name, kind, int(index or 0), buffer.dtype, list(buffer.shape), address)

    def enqueue(self, stream: Stream | None) -> None:
        """Start one run; see `Binding.enqueue`."""
        if self._io is None:
            raise InternalError(f"the binding of {self._session.name} is closed")
        if self._session.copies_inputs:
            if stream is not None:
                stream.synchronize()
            for name in self._session.inputs:
                self._bind(self._io.bind_input, name)
        self._session.run_bound(self._io, stream)

    def close(self) -> None:
        """Let go of the buffers; closing twice is allowed."""
        self._io = None
        self._buffers.clear()


class _OrtSession(Closing):
    """What the sessions of both devices have in common.

    Attributes:
        copies_inputs: binding an input copies it, so each run binds them anew.
    """

    copies_inputs = False

    def __init__(
        self, model: ModelSource, *, name: str | None, threads: int, providers: list[Any]
    ) -> None:
        source, self.name = _source(model, name)
        runtime = import_runtime()
        self._errors = library_errors()
        self._runtime = f"ONNX Runtime {runtime.__version__}"
        self._session: Any = None
        try:
            session = self._load(source, threads, providers)
        except self._errors as error:
            raise _translate(error, f"{self.name} cannot be loaded", _FILE_FAULTS) from error
        self._inputs = _tensor_specs(self.name, session.get_inputs())
        self._outputs = _tensor_specs(self.name, session.get_outputs())
        self._session = session
        self._run_options = runtime.RunOptions()

    def _load(
        self,
        source: bytes | str,
        threads: int,
        providers: list[Any],
        entries: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """ONNX Runtime's own session."""
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        for name, value in {**_NO_SPINNING, **entries}.items():
            options.add_session_config_entry(name, value)
        return runtime.InferenceSession(source, options, providers=providers)

    def __repr__(self) -> str:
        specs = [*self._inputs.values(), "->", *self._outputs.values()]
        kind = type(self).__name__
        return f"{kind}({self.name}, {' '.join(str(spec) for spec in specs)})"

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self._outputs

    @property
    def buckets(self) -> tuple[int, ...]:
        """None: it takes any batch."""
        return ()

    @property
    def device(self) -> str:
        """Where it runs."""
        raise NotImplementedError

    @property
    def runtime(self) -> str:
        """``ONNX Runtime`` and its version."""
        return self._runtime

    def bind(self, batch: int, buffers: Mapping[str, Any]) -> OrtBinding:
        """Fix the buffers of one batch size; see `Session.bind`."""
        return OrtBinding(self, batch, buffers)

    def new_io_binding(self) -> Any:
        """ONNX Runtime's own object for a set of buffers."""
        return self._opened().io_binding()

    def run_bound(self, io: Any, stream: Stream | None) -> None:
        """Run the net on bound buffers."""
        self._check_stream(stream)
        try:
            self._opened().run_with_iobinding(io, self._run_options)
        except self._errors as error:
            raise _translate(error, f"{self.name} failed", _CALL_FAULTS) from error

    def _check_stream(self, stream: Stream | None) -> None:
        raise NotImplementedError

    def _opened(self) -> Any:
        if self._session is None:
            raise InternalError(f"{self.name} is closed")
        return self._session

    def close(self) -> None:
        """Free the net; closing twice is allowed."""
        self._session = None


class OrtCpuSession(_OrtSession):
    """A net on the CPU through ONNX Runtime; fulfils `Session`.

    The threads of ONNX Runtime do not spin while they wait: the cores belong to decoder and
    encoder then.

    Args:
        model: the ONNX file: its bytes, or where it is.
        threads: threads that work on one operator, 1 or more.
        name: for messages; the default is the file's name.

    Raises:
        OptionError: `threads` is not allowed.
        InputMissingError: there is no such file.
        InternalError: the file is not an ONNX model.
        MachineError: ONNX Runtime is not installed or this version cannot run the model.
    """

    def __init__(self, model: ModelSource, *, threads: int = 1, name: str | None = None) -> None:
        if threads < 1:
            raise OptionError(f"threads is {threads}; allowed: 1 or more")
        super().__init__(model, name=name, threads=threads, providers=["CPUExecutionProvider"])

    @property
    def device(self) -> str:
        """``cpu``."""
        return "cpu"

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Session.run`."""
        session = self._opened()
        check_feeds(self.name, self._inputs, feeds)
        try:
            results = session.run(list(self._outputs), dict(feeds))
        except self._errors as error:
            raise _translate(error, f"{self.name} failed", _CALL_FAULTS) from error
        return dict(zip(self._outputs, results, strict=True))

    def _check_stream(self, stream: Stream | None) -> None:
        if stream is not None:
            raise InternalError(f"{self.name} runs on the CPU, which has no streams")


class OrtCudaSession(_OrtSession):
    """A net on an NVIDIA GPU through ONNX Runtime, on a stream of ours; fulfils `Session`.

    Bound buffers are read and written in device memory; ONNX Runtime does not wait for the device.
    The exception is a net with nodes that ONNX Runtime has for the CPU only: its inputs may be read
    there, and each run waits for the stream first.

    Args:
        model: the ONNX file: its bytes, or where it is.
        device: its context must be current in the thread.
        stream: everything runs on it.
        name: for messages; the default is the file's name.

    Raises:
        InputMissingError: there is no such file.
        InternalError: the file is not an ONNX model.
        DeviceError: this ONNX Runtime cannot use CUDA.
        MachineError: ONNX Runtime is not installed or this version cannot run the model.
    """

    def __init__(
        self, model: ModelSource, *, device: Device, stream: Stream, name: str | None = None
    ) -> None:
        self._device, self._stream = device, stream
        runtime = import_runtime()
        if hasattr(runtime, "preload_dlls"):
            # CUDA and cuDNN from wheels lie where the loader does not look. What is not found is
            # printed; the provider's own error says it better.
            with contextlib.redirect_stdout(io.StringIO()):
                runtime.preload_dlls()
        provider = {
            "device_id": str(device.info.index),
            "user_compute_stream": str(stream.handle),
            "do_copy_in_default_stream": "1",
            # Searching all algorithms takes seconds for every new shape; this is as fast after it.
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        super().__init__(
            model, name=name, threads=1, providers=[("CUDAExecutionProvider", provider)]
        )
        # The library falls back to the CPU on its own; a request that cannot be met is an error.
        if "CUDAExecutionProvider" not in self._session.get_providers():
            self.close()
            raise DeviceError(
                "this ONNX Runtime cannot use CUDA",
                hint="pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._host = HostRunner(self, device, stream)

    def _load(
        self,
        source: bytes | str,
        threads: int,
        providers: list[Any],
        entries: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """ONNX Runtime's own session; notes whether it is spread over GPU and CPU."""
        with contextlib.suppress(*self._errors):
            return super()._load(source, threads, providers, {**entries, **_ONE_DEVICE})
        # ONNX Runtime copies what a node on the CPU reads when it is bound, and not again.
        self.copies_inputs = True
        return super()._load(source, threads, providers, entries)

    @property
    def device(self) -> str:
        """Such as ``cuda:0``."""
        return self._device.name

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Session.run`."""
        return self._host.run(feeds)

    def _check_stream(self, stream: Stream | None) -> None:
        if stream is not self._stream:
            raise InternalError(f"{self.name} was made for another stream")

    def close(self) -> None:
        """Free the net and the buffers of `run`; closing twice is allowed."""
        if self._session is not None and hasattr(self, "_host"):
            self._host.close()
        super().close()
