"""The one door to the CUDA driver: every call goes through one checker."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from ..errors import DeviceError

__all__ = ["EXTRA_HINT", "call", "driver", "is_done"]

EXTRA_HINT = "pip install 'ffswap[cu13]' (or ffswap[cu12] for a driver of CUDA 12)"
"""What to do where a part of CUDA's Python layer is missing."""

_MODULE = "cuda.bindings.driver"
_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_NOT_READY = "CUDA_ERROR_NOT_READY"


def driver() -> ModuleType:
    """The driver module of cuda-python.

    Raises:
        DeviceError: it is not installed.
    """
    loaded = sys.modules.get(_MODULE)  # asked at every launch of a kernel: an import costs more
    if loaded is not None:
        return loaded
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        raise DeviceError(f"cuda-python cannot be loaded: {error}", hint=EXTRA_HINT) from error


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
    answer = _ask(name, args)
    if answer[0]:
        raise _failure(name, answer[0])
    if len(answer) == 1:
        return None
    return answer[1] if len(answer) == 2 else answer[1:]


def is_done(name: str, *args: Any) -> bool:
    """Call a function of the driver that answers whether work is done, such as ``cuEventQuery``.

    Raises:
        DeviceError: as `call`.
    """
    code = _ask(name, args)[0]
    if code and code.name != _NOT_READY:
        raise _failure(name, code)
    return not code


def _ask(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Status and values, as cuda-python gives them."""
    module = driver()
    try:
        answer: tuple[Any, ...] = getattr(module, name)(*args)
    except RuntimeError as error:  # the bindings find no driver library on this machine
        raise DeviceError(f"there is no NVIDIA driver on this machine ({error})") from error
    return answer


def _failure(name: str, code: Any) -> DeviceError:
    status, text = driver().cuGetErrorString(code)
    meaning = text.decode() if int(status) == 0 and text else "no explanation"
    hint = "is another program using the GPU? nvidia-smi shows it"
    return DeviceError(
        f"{name}: {code.name} ({meaning})", hint=hint if code.name == _OUT_OF_MEMORY else None
    )
