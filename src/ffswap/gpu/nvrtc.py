"""The one door to NVRTC, NVIDIA's compiler of kernels: every call goes through one checker."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from ..errors import DeviceError, InternalError
from .driver import EXTRA_HINT

__all__ = ["compile_cubin", "nvrtc", "nvrtc_version", "supported_archs"]


def nvrtc() -> ModuleType:
    """The NVRTC module of cuda-python.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        return importlib.import_module("cuda.bindings.nvrtc")
    except ImportError as error:
        raise DeviceError(f"NVRTC cannot be loaded: {error}", hint=EXTRA_HINT) from error


def _call(name: str, *args: Any) -> tuple[Any, ...]:
    """Call a function of NVRTC; what it gives besides its status."""
    module = nvrtc()
    try:
        code, *values = getattr(module, name)(*args)
    except RuntimeError as error:  # the bindings find no library of NVRTC
        raise DeviceError(f"NVRTC cannot be loaded: {error}", hint=EXTRA_HINT) from error
    if code:
        raise InternalError(f"{name}: {code.name}")
    return tuple(values)


def nvrtc_version() -> tuple[int, int]:
    """(major, minor) of NVRTC.

    Raises:
        DeviceError: it is not installed.
    """
    major, minor = _call("nvrtcVersion")
    return int(major), int(minor)


def supported_archs() -> list[str]:
    """What NVRTC can compile for, such as ``sm_90``.

    Raises:
        DeviceError: it is not installed.
    """
    return [f"sm_{number}" for number in _call("nvrtcGetSupportedArchs")[0]]


def compile_cubin(
    source: str, *, name: str, headers: Mapping[str, str], options: Sequence[str]
) -> bytes:
    """Compile kernels to the code of a GPU; needs neither a GPU nor a driver.

    Args:
        source: CUDA C++.
        name: that messages give to the source.
        headers: what the source may include: names and texts.
        options: of NVRTC.

    Returns:
        A cubin: an ELF file.

    Raises:
        DeviceError: NVRTC is not installed.
        InternalError: the source does not compile; the message has NVRTC's log.
    """
    texts = [text.encode() for text in headers.values()]
    names = [header.encode() for header in headers]
    (program,) = _call(
        "nvrtcCreateProgram", source.encode(), name.encode(), len(names), texts, names
    )
    try:
        try:
            _call("nvrtcCompileProgram", program, len(options), [one.encode() for one in options])
        except InternalError as error:
            raise InternalError(f"{error.message}\n{_log(program)}") from error
        cubin = bytearray(_call("nvrtcGetCUBINSize", program)[0])
        _call("nvrtcGetCUBIN", program, cubin)
    finally:
        _call("nvrtcDestroyProgram", program)
    return bytes(cubin)


def _log(program: Any) -> str:
    log = bytearray(_call("nvrtcGetProgramLogSize", program)[0])
    _call("nvrtcGetProgramLog", program, log)
    return log.rstrip(b"\0 \n").decode(errors="replace")
