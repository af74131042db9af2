"""The one door to the CUDA driver: every call goes through one checker."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from ..errors import DeviceError

__all__ = ["call", "driver"]

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


def driver() -> ModuleType:
    """The driver module of cuda-python.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise DeviceError(
            f"cuda-python cannot be loaded: {error}",
            hint="pip install 'ffswap[cu13]' (or ffswap[cu12] for a driver of CUDA 12)",
        ) from error


def call(name: str, *args: Any) -> Any:
    """Call a function of the driver.

    Args:
        name: of the function, such as ``cuMemAlloc``.
        args: as cuda-python takes them.

    Returns:
        None, the one value, or the tuple of values that the function gives besides its status.

    Raises:
        DeviceError: cuda-python or the driver is not here, or the call failed; the message has the
            driver's name for the failure and its explanation.
    """
    module = driver()
    try:
        code, *values = getattr(module, name)(*args)
    except RuntimeError as error:  # the bindings find no driver library on this machine
        raise DeviceError(f"there is no NVIDIA driver on this machine ({error})") from error
    if int(code) != 0:
        status, text = module.cuGetErrorString(code)
        meaning = text.decode() if int(status) == 0 and text else "no explanation"
        hint = "is another program using the GPU? nvidia-smi shows it"
        raise DeviceError(
            f"{name}: {code.name} ({meaning})", hint=hint if code.name == _OUT_OF_MEMORY else None
        )
    if len(values) > 1:
        return tuple(values)
    return values[0] if values else None
