"""The door to the CUDA driver on machines without one, and what needs no device."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from ffswap.errors import DeviceError
from ffswap.gpu import Device, DeviceInfo, Scratch
from ffswap.gpu import driver as door
from ffswap.gpu.device import driver_release


def no_driver(*args):  # noqa: ARG001
    raise RuntimeError("libcuda.so.1 cannot be found")


def test_importing_it_loads_no_cuda():
    code = "import sys, ffswap.gpu, ffswap.engines; print([m for m in sys.modules if 'cuda' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_machine_without_a_driver_is_told_so(monkeypatch):
    module = pytest.importorskip("cuda.bindings.driver")
    monkeypatch.setattr(module, "cuInit", no_driver)
    with pytest.raises(DeviceError, match="there is no NVIDIA driver on this machine"):
        Device()


def test_without_cuda_python_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(DeviceError, match="cuda-python cannot be loaded") as caught:
        Device()
    assert "ffswap[cu13]" in (caught.value.hint or "")


class FakeDriver:
    """A driver with two devices, whose calls can be made to fail."""

    def __init__(self, module):
        self.module = module
        self.fails = {}

    def __getattr__(self, name):
        if name in ("CUctx_flags", "CUdevice_attribute", "CUresult"):
            return getattr(self.module, name)
        ok = self.module.CUresult.CUDA_SUCCESS
        answers = {"cuDeviceGetCount": (2,), "cuGetErrorString": (b"out of memory",)}
        answer = answers.get(name, (0,))
        return lambda *args: (self.fails.get(name, ok), *answer)  # noqa: ARG005


@pytest.fixture
def fake(monkeypatch):
    driver = FakeDriver(pytest.importorskip("cuda.bindings.driver"))
    monkeypatch.setattr(door, "driver", lambda: driver)
    return driver


def test_a_gpu_that_is_not_here_is_refused_with_those_that_are(fake):  # noqa: ARG001
    with pytest.raises(DeviceError, match="there is no GPU cuda:7; allowed: cuda:0, cuda:1"):
        Device(7)


def test_a_failed_call_names_the_function_the_code_and_the_meaning(fake):
    fake.fails["cuMemAlloc"] = fake.module.CUresult.CUDA_ERROR_OUT_OF_MEMORY
    scratch = Scratch()
    with pytest.raises(
        DeviceError, match=r"cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY \(out of memory"
    ) as caught:
        scratch.address(100)
    assert "nvidia-smi" in (caught.value.hint or "")


def test_scratch_is_one_block_of_the_largest_need(monkeypatch):
    blocks = []

    def call(name, *args):
        if name == "cuMemAlloc":
            blocks.append(args[0])
            return 4096 * len(blocks)
        blocks.remove(next(size for size in blocks))
        return None

    monkeypatch.setattr("ffswap.gpu.memory.call", call)
    scratch = Scratch()
    for need in (100, 700, 300):
        scratch.reserve(need)
    assert scratch.nbytes == 0  # nothing is taken before the first run
    assert [scratch.address(need) for need in (100, 700, 300)] == [4096, 4096, 4096]
    assert blocks == [700]
    assert scratch.address(0) == 0
    # A later, larger need leaves the address that captured graphs hold as it is.
    assert scratch.address(900) == 8192
    assert blocks == [700, 900]
    assert scratch.nbytes == 1600
    scratch.close()
    scratch.close()
    assert blocks == []
    assert scratch.nbytes == 0


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC",
            "535.104.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build",
            "580.159.04",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build",
            "540.4.0",
        ),
        ("GCC version:  gcc version 12.3.0", None),
        ("", None),
    ],
)
def test_the_version_of_the_driver_is_read_from_the_kernel(text, release):
    assert driver_release(text) == release


def test_the_first_number_of_the_driver_is_its_own_or_that_of_its_cuda():
    one = DeviceInfo(
        index=0, name="", compute_capability=(9, 0), memory_bytes=1, driver=(13, 0),
        driver_release="580.159.04",
    )  # fmt: skip
    assert one.driver_major == 580
    assert replace(one, driver_release=None).driver_major == 13
