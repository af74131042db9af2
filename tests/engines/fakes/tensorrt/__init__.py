"""Stands for TensorRT 8.6, which cannot run without a GPU: the same calls, and nothing behind them.

The "plan" is a JSON object that tells what the build was asked for. What goes wrong is chosen by
the variable FAKE_TENSORRT, or by the name of a layer. A file named by FAKE_EVENTS gets a line for
each thing that takes long. Names, enums and return values are those of the real bindings.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import onnx

__version__ = "8.6.0"

_MODE = os.environ.get("FAKE_TENSORRT", "")
_CACHE = b"FAKE"
_EVENTS = os.environ.get("FAKE_EVENTS", os.devnull)
_STDOUT = 1  # C++ libraries do not go through sys.stdout
float32, float16, int64 = "FLOAT", "HALF", "INT64"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    TF32 = 7
    OBEY_PRECISION_CONSTRAINTS = 11


class PreviewFeature(enum.IntEnum):
    PROFILE_SHARING_0806 = 2


class TacticSource(enum.IntEnum):
    CUBLAS = 0
    CUDNN = 2
    EDGE_MASK_CONVOLUTIONS = 3
    JIT_CONVOLUTIONS = 4


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


def note(event: str) -> None:
    with open(_EVENTS, "a") as file:
        file.write(f"{event}\n")


def init_libnvinfer_plugins(logger: Any, _namespace: str) -> bool:
    logger.log(ILogger.Severity.WARNING, "plugins are there")
    logger.log(ILogger.Severity.WARNING, "plugins are there")
    os.write(_STDOUT, b"a line that a library prints\n")
    return True


class Tensor:
    def __init__(self, name: str, shape: tuple[int, ...], dtype: str = float32) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype


class Layer:
    def __init__(self, node: Any) -> None:
        self.name = node.name
        self.num_outputs = len(node.output)
        self.precision: str | None = None
        self.types: dict[int, str] = {}
        self._dtype = int64 if node.op_type == "Shape" else float32

    def get_output(self, index: int) -> Tensor:
        return Tensor(f"{self.name}:{index}", (), self._dtype)

    def set_output_type(self, index: int, dtype: str) -> None:
        self.types[index] = dtype


class Network:
    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.num_outputs = 0

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class ErrorCode(enum.IntEnum):
    UNSUPPORTED_NODE = 8


class ParserError:
    def __init__(self, node: int) -> None:
        self._node = node

    def node(self) -> int:
        return self._node

    def code(self) -> ErrorCode:
        return ErrorCode.UNSUPPORTED_NODE

    def desc(self) -> str:
        return "No importer registered"

    def func(self) -> str:
        return "parseNode"

    def line(self) -> int:
        return 7


class OnnxParser:
    def __init__(self, network: Network, _logger: Any) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def supports_operator(self, name: str) -> bool:
        return name in {"Conv", "Relu", "Shape"}

    def parse_from_file(self, path: str) -> bool:
        graph = onnx.load(path).graph
        for index, node in enumerate(graph.node):
            if not self.supports_operator(node.op_type):
                self._errors.append(ParserError(index))  # it stops at the first
                return False
        for one in graph.input:
            dims = one.type.tensor_type.shape.dim
            shape = tuple(dim.dim_value or -1 for dim in dims)
            self._network.inputs.append(Tensor(one.name, shape))
        self._network.layers = [Layer(node) for node in graph.node]
        self._network.num_outputs = len(graph.output)
        return True


class TimingCache:
    def __init__(self, names: set[str]) -> None:
        self.names = names

    def combine(self, other: TimingCache, _ignore_mismatch: bool) -> bool:
        self.names |= other.names
        return True

    def serialize(self) -> bytes:
        return _CACHE + json.dumps(sorted(self.names)).encode()


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class IBuilderConfig:
    def __init__(self) -> None:
        self.asked: dict[str, Any] = {"flags": ["TF32"], "profiles": [], "calls": []}
        self._cache: TimingCache | None = None
        self.builder_optimization_level = 3

    def set_flag(self, flag: BuilderFlag) -> None:
        self.asked["flags"].append(flag.name)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.asked["flags"].remove(flag.name)

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.asked["calls"].append([pool.name, size])

    def get_preview_feature(self, feature: PreviewFeature) -> bool:
        return [feature.name, True] in self.asked["calls"]

    def set_preview_feature(self, feature: PreviewFeature, on: bool) -> None:
        self.asked["calls"].append([feature.name, on])

    def set_tactic_sources(self, mask: int) -> bool:
        self.asked["calls"].append(["tactics", mask])
        return True

    def add_optimization_profile(self, profile: Profile) -> int:
        self.asked["profiles"].append(profile.shapes)
        return len(self.asked["profiles"]) - 1

    def create_timing_cache(self, data: bytes) -> TimingCache | None:
        if data and not data.startswith(_CACHE):
            return None
        return TimingCache(set(json.loads(data[len(_CACHE) :] or "[]")))

    def set_timing_cache(self, cache: TimingCache, _ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache


class Builder:
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        note("loaded")

    def create_network(self, flags: int) -> Network:
        assert flags == 1
        return Network()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: IBuilderConfig) -> bytes | None:
        modes = {_MODE, *(layer.name for layer in network.layers)}
        note("built")
        if "slow" in modes:
            time.sleep(1)
        while "patient" in modes and not Path(os.environ["FAKE_READY"]).exists():
            time.sleep(0.02)
        if "stubborn" in modes:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(os.environ["FAKE_READY"]).touch()
            time.sleep(600)
        if "crash" in modes:
            os.write(_STDOUT, b"stack smashed\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        if "bug" in modes:
            raise RuntimeError("something that nobody thought of")
        if "memory" in modes:
            raise MemoryError
        if _MODE.startswith("Error"):
            self._logger.log(ILogger.Severity.ERROR, _MODE)
        if "odd" in modes:
            self._logger.log(ILogger.Severity.WARNING, "this net is odd")
            self._logger.log(ILogger.Severity.ERROR, "and goes on")
        if _MODE.startswith("Error") or "nothing" in modes:
            return None
        cache = config.get_timing_cache()
        if cache is not None:
            cache.names |= {layer.name for layer in network.layers}
        return json.dumps(
            {
                **config.asked,
                "level": config.builder_optimization_level,
                "inputs": {one.name: one.shape for one in network.inputs},
                "held": {one.name: one.types for one in network.layers if one.precision == float32},
                "known": None if cache is None else sorted(cache.names),
            }
        ).encode()
