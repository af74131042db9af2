"""One NVIDIA GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..closing import Closing
from ..errors import DeviceError
from .driver import call, driver
from .memory import DeviceArray
from .stream import Stream

__all__ = ["Device", "DeviceInfo", "driver_release"]

_KERNEL_MODULE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """What a device is.

    Attributes:
        index: as in ``cuda:N``.
        name: as NVIDIA gives it.
        compute_capability: (major, minor).
        memory_bytes: all of it.
        driver: (major, minor) of the CUDA version that the driver speaks.
        driver_release: the driver's own version, such as ``580.159.04``; None where it is not said.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: tuple[int, int]
    driver_release: str | None = None

    @property
    def driver_major(self) -> int:
        """First number of the driver's own version, or else of its CUDA version."""
        return int(self.driver_release.split(".")[0]) if self.driver_release else self.driver[0]


def driver_release(text: str) -> str | None:
    """The version in what the kernel says about its NVIDIA module, or None."""
    found = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None


def _ask_kernel() -> str | None:
    try:
        return driver_release(_KERNEL_MODULE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None  # not Linux, or hidden from this container


class Device(Closing):
    """A GPU, and its primary context, which other CUDA libraries of the process use as well.

    Opening it makes the context current in the calling thread; other threads call `activate`.

    Args:
        index: 0 or more.

    Raises:
        DeviceError: there is no driver, or no such GPU.
    """

    def __init__(self, index: int = 0) -> None:
        call("cuInit", 0)
        count = int(call("cuDeviceGetCount"))
        if not 0 <= index < count:
            allowed = ", ".join(f"cuda:{one}" for one in range(count)) or "none is here"
            raise DeviceError(f"there is no GPU cuda:{index}; allowed: {allowed}")
        self._device = call("cuDeviceGet", index)
        self._set_flags()
        self._context: Any = call("cuDevicePrimaryCtxRetain", self._device)
        try:
            self.activate()
            self.info = self._describe(index)
        except DeviceError:
            self.close()
            raise

    def _set_flags(self) -> None:
        # A thread that waits for the device sleeps: decoder and encoder need the cores.
        blocking = int(driver().CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC)
        try:
            call("cuDevicePrimaryCtxSetFlags", self._device, blocking)
        except DeviceError as error:
            # Another library was first: its choice stands, and only costs a core while waiting.
            if "PRIMARY_CONTEXT_ACTIVE" not in error.message:
                raise

    def _describe(self, index: int) -> DeviceInfo:
        attributes = driver().CUdevice_attribute
        capability = [
            int(call("cuDeviceGetAttribute", getattr(attributes, name), self._device))
            for name in (
                "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
                "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
            )
        ]
        version = int(call("cuDriverGetVersion"))
        return DeviceInfo(
            index=index,
            name=call("cuDeviceGetName", 256, self._device).split(b"\0")[0].decode(),
            compute_capability=(capability[0], capability[1]),
            memory_bytes=int(call("cuDeviceTotalMem", self._device)),
            driver=(version // 1000, version % 1000 // 10),
            driver_release=_ask_kernel(),
        )

    @property
    def name(self) -> str:
        """As in the ``device`` option: ``cuda:0``."""
        return f"cuda:{self.info.index}"

    def activate(self) -> None:
        """Make its context current in the calling thread."""
        call("cuCtxSetCurrent", self._context)

    def stream(self, *, urgent: bool = False) -> Stream:
        """A new stream; the caller closes it.

        Args:
            urgent: its work is begun before that of other streams.
        """
        return Stream(urgent=urgent)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """A new array with whatever was in memory; the caller closes it.

        Raises:
            DeviceError: the device has not enough memory.
        """
        return DeviceArray(shape, np.dtype(dtype), self.name)

    def free_bytes(self) -> int:
        """Memory that nobody uses at the moment."""
        return int(call("cuMemGetInfo")[0])

    def close(self) -> None:
        """Give the context back, after everything that was made on it; closing twice is allowed."""
        if self._context is not None:
            call("cuDevicePrimaryCtxRelease", self._device)
            self._context = None
