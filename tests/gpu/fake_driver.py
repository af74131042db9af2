"""A CUDA driver that does nothing but keep books: what is allocated, recorded, waited for, launched."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from ffswap.gpu import Device
from ffswap.gpu import driver as door

GRANULE = 1 << 20  # between two addresses that it gives


@dataclass
class Launch:
    """What a kernel was started with."""

    function: int
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    stream: int
    values: list[bytes]


@dataclass
class FakeCuda:
    """A driver of one GPU; used in place of the module of cuda-python.

    Attributes:
        module: the real one, for names of codes and flags.
        memory_bytes: that can be allocated.
        version: as the driver gives that of its CUDA.
        parameters: sizes of the parameters of every kernel.
        fails: codes by the name of the function that fails.
    """

    module: Any
    memory_bytes: int = 1 << 34
    version: int = 13000
    parameters: tuple[int, ...] = ()
    fails: dict[str, Any] = field(default_factory=dict)
    allocated: dict[int, int] = field(default_factory=dict)
    pinned: dict[int, Any] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)  # events whose work is not done
    events: set[int] = field(default_factory=set)
    waits: list[tuple[int, int]] = field(default_factory=list)  # (stream, event)
    records: list[tuple[int, int]] = field(default_factory=list)  # (event, stream)
    images: list[bytes] = field(default_factory=list)  # of programs that were loaded
    unloaded: int = 0
    launches: list[Launch] = field(default_factory=list)
    handles: int = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            return getattr(self.module, name)
        if name in self.fails:
            return lambda *_: (self.fails[name],)
        return lambda *_: (self.module.CUresult.CUDA_SUCCESS, 0)

    def _result(self, name: str, *values: Any) -> tuple[Any, ...]:
        time.sleep(0)  # as the real one lets other threads run
        return (self.fails.get(name, self.module.CUresult.CUDA_SUCCESS), *values)

    def _handle(self) -> int:
        self.handles += 1
        return self.handles

    def cuDeviceGetCount(self):  # noqa: N802  the driver's own names, here and below
        return self._result("cuDeviceGetCount", 1)

    def cuDeviceGetName(self, *_):  # noqa: N802
        return self._result("cuDeviceGetName", b"Fake GPU\0")

    def cuDeviceGetAttribute(self, attribute, _):  # noqa: N802
        return self._result("cuDeviceGetAttribute", 9 if attribute.name.endswith("MAJOR") else 0)

    def cuDriverGetVersion(self):  # noqa: N802
        return self._result("cuDriverGetVersion", self.version)

    def cuGetErrorString(self, _):  # noqa: N802
        return (0, b"as told")

    def cuMemGetInfo(self):  # noqa: N802
        free = self.memory_bytes - sum(self.allocated.values())
        return self._result("cuMemGetInfo", free, self.memory_bytes)

    def cuMemAlloc(self, size):  # noqa: N802
        if sum(self.allocated.values()) + size > self.memory_bytes:
            return (self.module.CUresult.CUDA_ERROR_OUT_OF_MEMORY,)
        pointer = self._handle() * GRANULE
        self.allocated[pointer] = size
        return self._result("cuMemAlloc", pointer)

    def cuMemFree(self, pointer):  # noqa: N802
        del self.allocated[pointer]
        return self._result("cuMemFree")

    def cuMemHostAlloc(self, size, _):  # noqa: N802
        buffer = ctypes.create_string_buffer(b"\xff" * size, size)
        self.pinned[ctypes.addressof(buffer)] = buffer
        return self._result("cuMemHostAlloc", ctypes.addressof(buffer))

    def cuMemFreeHost(self, pointer):  # noqa: N802
        del self.pinned[pointer]
        return self._result("cuMemFreeHost")

    def cuStreamCreate(self, _):  # noqa: N802
        return self._result("cuStreamCreate", self._handle())

    def cuEventCreate(self, _):  # noqa: N802
        event = self._handle()
        self.events.add(event)
        return self._result("cuEventCreate", event)

    def cuEventDestroy(self, event):  # noqa: N802
        self.events.remove(event)
        return self._result("cuEventDestroy")

    def cuEventRecord(self, event, stream):  # noqa: N802
        self.records.append((event, stream))
        self.busy.add(event)
        return self._result("cuEventRecord")

    def cuEventQuery(self, event):  # noqa: N802
        codes = self.module.CUresult
        return (
            self._result("cuEventQuery")
            if event not in self.busy
            else (codes.CUDA_ERROR_NOT_READY,)
        )

    def cuStreamWaitEvent(self, stream, event, _):  # noqa: N802
        self.waits.append((stream, event))
        return self._result("cuStreamWaitEvent")

    def cuModuleLoadData(self, image):  # noqa: N802
        self.images.append(image)
        return self._result("cuModuleLoadData", self._handle())

    def cuModuleUnload(self, _):  # noqa: N802
        self.unloaded += 1
        return self._result("cuModuleUnload")

    def cuModuleGetFunction(self, _, name):  # noqa: N802
        if name not in self.images[-1]:  # an ELF file has the names of its kernels
            return (self.module.CUresult.CUDA_ERROR_NOT_FOUND,)
        return self._result("cuModuleGetFunction", self._handle())

    def cuFuncGetParamInfo(self, _, index):  # noqa: N802
        if index >= len(self.parameters):
            return (self.module.CUresult.CUDA_ERROR_INVALID_VALUE,)
        return self._result("cuFuncGetParamInfo", 0, self.parameters[index])

    def cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, _):  # noqa: N802
        time.sleep(0)  # it reads while other threads run
        pointers = ctypes.cast(parameters, ctypes.POINTER(ctypes.c_uint64))
        values = [ctypes.string_at(pointers[i], size) for i, size in enumerate(self.parameters)]
        self.launches.append(Launch(function, (gx, gy, gz), (bx, by, bz), shared, stream, values))
        return self._result("cuLaunchKernel")


def install(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> FakeCuda:
    """Put a fake in place of the driver."""
    fake = FakeCuda(pytest.importorskip("cuda.bindings.driver"), **settings)
    monkeypatch.setattr(door, "driver", lambda: fake)
    # Modules that ask for flags have the function under their own name.
    monkeypatch.setattr("ffswap.gpu.device.driver", lambda: fake)
    monkeypatch.setattr("ffswap.gpu.stream.driver", lambda: fake)
    return fake


def fake_device(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[FakeCuda, Device]:
    """A device of a fake driver, compute capability 9.0, with the driver."""
    return install(monkeypatch, **settings), Device()
