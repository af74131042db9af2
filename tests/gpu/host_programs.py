"""Stands in for the device: kernels run on the CPU, "device" arrays are NumPy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.host_kernels import HostProgram


class _Array:
    """What the wrappers use of a `gpu.DeviceArray`."""

    device = "cuda:0"

    def __init__(self, array: Any) -> None:
        self.array = np.ascontiguousarray(array)
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes
        self.pointer = self.array.ctypes.data

    @classmethod
    def full(cls, shape: tuple[int, ...], dtype: Any, byte: int = 0xA5) -> _Array:
        """With a pattern that a kernel must not rely on."""
        array = np.empty(shape, dtype)
        array.view(np.uint8)[...] = byte
        return cls(array)

    def rows(self, start: int, stop: int) -> _Array:
        return _Array(self.array[start:stop])

    def fill_bytes(self, value: int, stream: object) -> None:
        assert stream is STREAM
        self.array.view(np.uint8)[...] = value


class HostKernel:
    """Forwards a launch to a kernel that was compiled for the CPU."""

    def __init__(self, program: HostProgram, name: str) -> None:
        self.program, self.name = program, name

    def launch(
        self,
        stream: object,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *args: Any,
        shared_bytes: int = 0,
    ) -> None:
        assert stream is STREAM
        assert shared_bytes == 0
        assert all(isinstance(a, (_Array, np.generic, np.ndarray)) for a in args)
        assert sum(np.asarray(a).nbytes for a in args if not isinstance(a, _Array)) <= 4096
        plain = [a.array if isinstance(a, _Array) else a for a in args]
        self.program.launch(self.name, grid, block, *plain)


class _Programs:
    """What the wrappers use of `gpu.program.Programs`: each file is compiled once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: dict[str, HostProgram] = {}

    def kernel(self, program: str, name: str) -> HostKernel:
        if program not in self._programs:
            self._programs[program] = HostProgram(program, self._folder)
        return HostKernel(self._programs[program], name)


STREAM: Any = object()
"""The only stream of this device."""

HostArray: Any = _Array
HostPrograms: Any = _Programs
"""The wrappers are annotated with the device's own types, which these stand in for."""
