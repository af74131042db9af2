"""What TensorRT measured in earlier builds: one file, shared by builds and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import OutputError
from ..files import PendingFile

__all__ = ["load", "save"]

# It is held for a read and a write of some megabytes; whoever holds it longer hangs.
_LOCK_TIMEOUT_S = 30


def _lock(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", timeout=_LOCK_TIMEOUT_S)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def load(path: Path, config: Any) -> tuple[bool, tuple[str, ...]]:
    """Give earlier measurements to a build; without usable ones it starts from none.

    Args:
        path: the file; it may be missing.
        config: TensorRT's builder configuration.

    Returns:
        Whether there were some that can be used, and warnings.
    """
    warnings: tuple[str, ...] = ()
    try:
        with _lock(path):
            data = _read(path)
    except OSError as error:  # filelock's time-out is one, too
        data, warnings = b"", (f"the timing cache {path} was not read: {error}",)
    if data:
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return True, warnings
        warnings = (f"the timing cache {path} is damaged or from another TensorRT or GPU",)
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False, warnings


def save(path: Path, config: Any) -> tuple[str, ...]:
    """Add the measurements of a finished build to the file.

    What other builds have put there in the meantime is kept; what is damaged is replaced.

    Args:
        path: the file.
        config: of the build.

    Returns:
        Warnings: without the file the next build is only slower.
    """
    cache = config.get_timing_cache()
    if cache is None:
        return ()
    try:
        with _lock(path):
            other = config.create_timing_cache(_read(path))
            if other is not None:
                cache.combine(other, False)
            pending = PendingFile(path, overwrite=True)
            try:
                pending.temporary.write_bytes(memoryview(cache.serialize()))
                pending.commit()
            finally:
                pending.discard()
    except (OSError, OutputError) as error:
        return (f"the timing cache {path} was not written: {error}",)
    return ()
