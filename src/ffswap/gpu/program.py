"""Our kernels: compiled for one GPU when they are first needed, kept on disk, loaded once, launched.

The files of `kernels/` are CUDA C++ that includes nothing but the headers beside them. NVRTC compiles
them to cubins: code of one GPU, which a driver does not compile again and never calls too new.

    crop-sm_90-0123456789abcdef.cubin    SHA-256 of the code, then the code

The name has a digest of everything that changes the code, so what lies under a name never becomes
wrong; a file that is not what its first bytes say is compiled again.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import threading
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..closing import Closing
from ..errors import DeviceError, InternalError, OutputError
from ..files import PendingFile, write_error
from .device import Device
from .driver import call
from .memory import DeviceArray
from .nvrtc import compile_cubin, nvrtc_version, supported_archs
from .stream import Stream

if TYPE_CHECKING:
    from importlib.abc import Traversable  # elsewhere from Python 3.14 on

__all__ = ["PARAMETER_BYTES", "Kernel", "Programs", "compile_program"]

PARAMETER_BYTES = 4096
"""What the parameters of a kernel may take in all (CUDA's limit before 12.1, and on older GPUs)."""

_SLOT_BYTES = (
    8  # a parameter starts at a multiple of this, as its fields need; the driver copies it
)
_SUFFIX, _HEADER_SUFFIX = ".cu", ".cuh"
# No contraction into fused multiply-adds: OpenCV on the CPU, our reference, has none either.
_OPTIONS = ("--fmad=false", "-std=c++17")
_DIGEST_BYTES = hashlib.sha256().digest_size
_KEY_LETTERS = 16  # 64 bits of the key: two sources never meet there by chance
_ASKS_PARAMETERS = (12, 4)  # CUDA of the first driver that says what parameters a kernel has


class _Source:
    """A program's text with all that decides what NVRTC makes of it."""

    def __init__(self, program: str, folder: Traversable) -> None:
        self.program = program
        try:
            self._text = (folder / f"{program}{_SUFFIX}").read_text("utf-8")
        except FileNotFoundError as error:
            raise InternalError(
                f"there is no program {program!r}: no file {error.filename}"
            ) from error
        self._headers = {
            one.name: one.read_text("utf-8")
            for one in sorted(folder.iterdir(), key=lambda one: one.name)
            if one.name.endswith(_HEADER_SUFFIX)
        }

    def compile(self, arch: str) -> bytes:
        return compile_cubin(
            self._text,
            name=f"{self.program}{_SUFFIX}",
            headers=self._headers,
            options=_options(arch),
        )

    def file_name(self, arch: str) -> str:
        major, minor = nvrtc_version()
        headers = (part for header in self._headers.items() for part in header)
        key = _digest([self._text, *headers, *_options(arch), f"NVRTC {major}.{minor}"])
        return f"{self.program}-{arch}-{key[:_KEY_LETTERS]}.cubin"


def _options(arch: str) -> list[str]:
    return [f"--gpu-architecture={arch}", *_OPTIONS]


def _digest(parts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = part.encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def _packaged() -> Traversable:
    return resources.files(__package__) / "kernels"


def compile_program(program: str, arch: str, *, sources: Traversable | None = None) -> bytes:
    """Compile a file of kernels; needs neither a GPU nor a driver.

    Args:
        program: name of the file, without ``.cu``.
        arch: such as ``sm_90``.
        sources: folder of the file and of the headers that it may include; ours if not given.

    Returns:
        A cubin.

    Raises:
        DeviceError: NVRTC is not installed.
        InternalError: there is no such file, or it does not compile: the message has NVRTC's log.
    """
    return _Source(program, sources or _packaged()).compile(arch)


class _Pack:
    """The parameters of one launch, laid out as the driver reads them.

    Args:
        sizes: of the parameters, in bytes.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        slots = [-(-size // _SLOT_BYTES) * _SLOT_BYTES for size in sizes]
        self._buffer = (ctypes.c_uint8 * sum(slots))()
        starts = np.cumsum([0, *slots[:-1]], dtype=np.uint64)
        self._pointers = starts + np.uint64(ctypes.addressof(self._buffer))
        self.address = int(self._pointers.ctypes.data)
        """Where the driver finds the addresses of the parameters."""
        layout = "".join(f"{size}s{slot - size}x" for size, slot in zip(sizes, slots, strict=True))
        self._layout = struct.Struct(f"={layout}")

    def write(self, values: list[bytes]) -> None:
        """Put the parameters in."""
        self._layout.pack_into(self._buffer, 0, *values)


class _Packs(threading.local):
    """A thread's own packs by sizes: the driver reads one while other threads run."""

    def __init__(self) -> None:
        self.by_sizes: dict[tuple[int, ...], _Pack] = {}


class Kernel:
    """A kernel of a loaded program. Made by `Programs.kernel`; may be used by several threads.

    Args:
        name: for messages: program and kernel.
        function: as the driver gives it.
        parameters: sizes of its parameters in bytes, or None where the driver does not say them.
    """

    def __init__(self, name: str, function: Any, parameters: tuple[int, ...] | None) -> None:
        self.name = name
        self._function = function
        self._parameters = parameters
        self._packs = _Packs()

    def __repr__(self) -> str:
        return f"Kernel({self.name})"

    def launch(
        self,
        stream: Stream,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *args: DeviceArray | np.generic | np.ndarray[Any, Any],
        shared_bytes: int = 0,
    ) -> None:
        """Start it behind the work that is on a stream; returns at once.

        Args:
            stream: to put it on.
            grid: number of blocks: one to three numbers, x first.
            block: threads of a block: one to three numbers, x first.
            args: the kernel's parameters. Arrays on the device go as their addresses; NumPy scalars
                and arrays of no dimension, also structured ones (``align=True``), go by value. They
                may be changed as soon as this returns.
            shared_bytes: dynamic shared memory of a block, up to 49152.

        Raises:
            DeviceError: it cannot be launched so, or something before it failed.
            InternalError: the arguments do not fit the kernel's parameters, or `Programs` is closed.
        """
        if self._function is None:
            raise InternalError(f"the program of {self!r} is closed")
        values = []
        for arg in args:
            if isinstance(arg, DeviceArray):
                if not arg.pointer:
                    raise InternalError(f"{self!r} was given a closed array: {arg!r}")
                values.append(arg.pointer.to_bytes(8, "little"))
            elif isinstance(arg, (np.generic, np.ndarray)) and not arg.ndim:
                values.append(arg.tobytes())
            else:
                raise InternalError(f"{self!r} takes no {type(arg).__name__}: {arg!r}")
        sizes = tuple(map(len, values))
        pack = self._packs.by_sizes.get(sizes) or self._prepare(sizes)
        pack.write(values)
        wide, high, deep = (*grid, 1, 1)[:3]
        x, y, z = (*block, 1, 1)[:3]
        try:
            call(
                "cuLaunchKernel", self._function, wide, high, deep, x, y, z, shared_bytes,
                stream.raw, pack.address, 0,
            )  # fmt: skip
        except DeviceError as error:
            raise DeviceError(
                f"{error.message} in {self!r} with grid {grid}, block {block}", hint=error.hint
            ) from error

    def _prepare(self, sizes: tuple[int, ...]) -> _Pack:
        if self._parameters is not None and sizes != self._parameters:
            raise InternalError(
                f"{self!r} has parameters of {list(self._parameters)} bytes, not {list(sizes)}"
            )
        if sum(sizes) > PARAMETER_BYTES:
            raise InternalError(
                f"{self!r}: parameters of {sum(sizes)} bytes; allowed: {PARAMETER_BYTES}"
            )
        return self._packs.by_sizes.setdefault(sizes, _Pack(sizes))

    def forget(self) -> None:
        """Its program is unloaded: it cannot be launched any more."""
        self._function = None


class Programs(Closing):
    """Our programs, loaded on one device. May be used by several threads.

    The device's context is current in the threads that use it. Nothing is compiled or loaded before
    it is asked for, so ask for kernels before the first frame.

    Args:
        device: to run them.
        cache: folder for compiled programs, shared by any number of processes; made if it is
            missing. None: nothing is kept.
        sources: folder of the programs; ours if not given.

    Attributes:
        arch: what is compiled for, such as ``sm_90``.
        cache_error: why a compiled program could not be kept, if one could not: it is used all the
            same, and compiled again by the next run.
    """

    def __init__(
        self, device: Device, cache: Path | None = None, *, sources: Traversable | None = None
    ) -> None:
        self._device = device
        self._cache = cache
        self._sources = sources or _packaged()
        self._lock = threading.Lock()
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str], Kernel] = {}
        major, minor = device.info.compute_capability
        self.arch = f"sm_{major}{minor}"
        self.cache_error: OutputError | None = None

    def kernel(self, program: str, name: str) -> Kernel:
        """A kernel, ready to be launched; the same object each time.

        Args:
            program: name of the file, without ``.cu``.
            name: of the kernel in it.

        Raises:
            DeviceError: NVRTC is not installed or too old for the device, or the driver cannot load
                the program.
            InternalError: there is no such kernel, or it does not compile.
        """
        with self._lock:
            found = self._kernels.get((program, name))
            if found is None:
                found = self._kernels[program, name] = self._look_up(program, name)
            return found

    def _look_up(self, program: str, name: str) -> Kernel:
        if program not in self._modules:
            self._modules[program] = call("cuModuleLoadData", self._code(program))
        try:
            function = call("cuModuleGetFunction", self._modules[program], name.encode())
        except DeviceError as error:
            if "NOT_FOUND" not in error.message:
                raise
            raise InternalError(f"there is no kernel {name!r} in {program}{_SUFFIX}") from error
        return Kernel(f"{program}.{name}", function, self._parameters(function))

    def _parameters(self, function: Any) -> tuple[int, ...] | None:
        if self._device.info.driver < _ASKS_PARAMETERS:
            return None
        sizes: list[int] = []
        while True:
            try:
                sizes.append(int(call("cuFuncGetParamInfo", function, len(sizes))[1]))
            except DeviceError as error:  # how the driver says that there are no more
                if "INVALID_VALUE" not in error.message:
                    raise
                return tuple(sizes)

    def _code(self, program: str) -> bytes:
        source = _Source(program, self._sources)
        if self._cache is None:
            return self._compile(source)
        file = self._cache / source.file_name(self.arch)
        return _kept(file) or self._keep(file, self._compile(source))

    def _compile(self, source: _Source) -> bytes:
        known = supported_archs()
        if self.arch not in known:
            raise DeviceError(
                f"NVRTC {'.'.join(map(str, nvrtc_version()))} cannot compile for {self.arch} "
                f"({self._device.info.name}); allowed: {', '.join(known)}",
                hint="pip install --upgrade the package of NVRTC, or use another GPU",
            )
        return source.compile(self.arch)

    def _keep(self, file: Path, code: bytes) -> bytes:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            pending = PendingFile(file, overwrite=True)
            try:
                pending.temporary.write_bytes(hashlib.sha256(code).digest() + code)
                pending.commit()
            finally:
                pending.discard()
        except OutputError as error:
            self.cache_error = error
        except OSError as error:
            self.cache_error = write_error(error, file)
        return code

    def close(self) -> None:
        """Unload everything, after the work that uses it; closing twice is allowed."""
        with self._lock:
            for kernel in self._kernels.values():
                kernel.forget()
            self._kernels.clear()
            while self._modules:
                call("cuModuleUnload", self._modules.popitem()[1])


def _kept(file: Path) -> bytes | None:
    """What was kept in a file; None if it is missing, cannot be read, or is damaged."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None
