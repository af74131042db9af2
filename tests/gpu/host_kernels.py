"""Runs kernel files on the CPU, compiled by the machine's C++ compiler."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KERNELS = Path(__file__).parents[2] / "src/ffswap/gpu/kernels"
_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')


class HostProgram:
    """A kernel file compiled for the CPU.

    Args:
        name: of the file, without its suffix.
        folder: where the library is written.
    """

    def __init__(self, name: str, folder: Path) -> None:
        compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            pytest.skip("no C++ compiler: kernels cannot be run on the CPU")
        source = KERNELS / f"{name}.cu"
        names = _KERNEL.findall(source.read_text(encoding="utf-8"))
        assert names, f"no kernel in {source}"
        wrapped = "".join(
            f'extern "C" void run_{one}(void **v, const unsigned *g, const unsigned *b) {{\n'
            f"    on_host::launch([](void **w) {{ on_host::call({one}, w); }}, v, g, b);\n}}\n"
            for one in names
        )
        unit, library = folder / f"{name}.cpp", folder / f"{name}.so"
        unit.write_text(f'#include "cuda_on_host.h"\n#include "{source}"\n{wrapped}')
        subprocess.run(
            [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-w",
             f"-I{_HERE}", f"-I{KERNELS}", "-o", library, unit],
            check=True,
        )  # fmt: skip
        self._library = ctypes.CDLL(str(library))

    def launch(self, name: str, grid: Sequence[int], block: Sequence[int], *args: Any) -> None:
        """Run a kernel to its end.

        Args:
            name: of the kernel.
            grid: blocks, up to three dimensions.
            block: threads of a block, up to three dimensions.
            args: arrays of one dimension or more go as pointers, scalars and arrays of none by value.
        """
        kept, pointers = [], []
        for arg in args:
            array = np.asarray(arg)
            if array.ndim:
                assert array.flags.c_contiguous
                array = np.array(array.ctypes.data, np.uint64)
            kept.append(array)
            pointers.append(array.ctypes.data)
        values = (ctypes.c_void_p * len(pointers))(*pointers)
        three = ctypes.c_uint * 3
        sizes = [three(*size, *[1] * (3 - len(size))) for size in (grid, block)]
        getattr(self._library, f"run_{name}")(values, *sizes)
