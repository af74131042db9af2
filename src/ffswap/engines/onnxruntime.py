"""Sessions of ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FfswapError, InputMissingError, InternalError, MachineError, OptionError
from .session import TensorSpec, check_feeds

__all__ = ["OrtCpuSession"]

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


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MachineError(
            f"ONNX Runtime cannot be loaded: {error}", hint="pip install onnxruntime"
        ) from error
    return onnxruntime


def _library_errors() -> tuple[type[Exception], ...]:
    """Every error class of the binding; which there are depends on its version."""
    from onnxruntime.capi import onnxruntime_pybind11_state as binding

    found = [v for v in vars(binding).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*found, RuntimeError)


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


class OrtCpuSession:
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

    def __init__(
        self, model: bytes | str | os.PathLike[str], *, threads: int = 1, name: str | None = None
    ) -> None:
        if threads < 1:
            raise OptionError(f"threads is {threads}; allowed: 1 or more")
        if isinstance(model, bytes):
            source: bytes | str = model
            self._name = name or "model"
        else:
            if not Path(model).is_file():
                raise InputMissingError("no such model file", file=model)
            source = os.fspath(model)
            self._name = name or Path(model).name
        if not source:
            raise InternalError(f"{self._name} cannot be loaded: it is empty")
        runtime = _import_runtime()
        self._errors = _library_errors()
        self._runtime = f"ONNX Runtime {runtime.__version__}"
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session: Any = None
        try:
            session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise _translate(error, f"{self._name} cannot be loaded", _FILE_FAULTS) from error
        self._inputs = _tensor_specs(self._name, session.get_inputs())
        self._outputs = _tensor_specs(self._name, session.get_outputs())
        self._session = session

    def __repr__(self) -> str:
        specs = [*self._inputs.values(), "->", *self._outputs.values()]
        return f"OrtCpuSession({self._name}, {' '.join(str(spec) for spec in specs)})"

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the graph's order."""
        return self._outputs

    @property
    def device(self) -> str:
        """``cpu``."""
        return "cpu"

    @property
    def runtime(self) -> str:
        """``ONNX Runtime`` and its version."""
        return self._runtime

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Session.run`."""
        if self._session is None:
            raise InternalError(f"{self._name} is closed")
        check_feeds(self._name, self._inputs, feeds)
        try:
            results = self._session.run(list(self._outputs), dict(feeds))
        except self._errors as error:
            raise _translate(error, f"{self._name} failed", _CALL_FAULTS) from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Free the net; closing twice is allowed."""
        self._session = None

    def __enter__(self) -> OrtCpuSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
