"""A driver with one GPU, of which nothing but its description can be had."""

from __future__ import annotations

import enum
from typing import Any


class CUctx_flags(enum.IntEnum):  # noqa: N801  the driver's own name
    CU_CTX_SCHED_BLOCKING_SYNC = 4


class CUdevice_attribute(enum.IntEnum):  # noqa: N801
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


_ANSWERS: dict[str, tuple[Any, ...]] = {
    "cuDeviceGetCount": (1,),
    "cuDeviceGet": (0,),
    "cuDevicePrimaryCtxRetain": (7,),
    "cuDeviceGetAttribute": (9,),
    "cuDriverGetVersion": (12020,),
    "cuDeviceGetName": (b"Fake GPU\0",),
    "cuDeviceTotalMem": (1 << 30,),
}


def __getattr__(name: str) -> Any:
    if not name.startswith("cu"):
        raise AttributeError(name)
    return lambda *_: (0, *_ANSWERS.get(name, ()))
