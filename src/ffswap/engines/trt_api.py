"""The one door to TensorRT: finds the module, and says what this version of it can do.

TensorRT 8.6, 10, 11 and TensorRT for RTX differ in what they offer, not in what we want of them. So
every question is asked of the module itself (is there such a flag, such a method) and never of its
version number. What each of them has: docs/support.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Literal, get_args

from ..errors import EngineError

__all__ = ["Logger", "Product", "TrtApi", "installed_products", "load_api", "preferred_product"]

Product = Literal["tensorrt", "tensorrt_rtx"]

_EXTRAS: dict[Product, str] = {"tensorrt": "trt-cu13", "tensorrt_rtx": "rtx-cu13"}
# Opset 17 is the newest that the parser of 8.6 knows; later parsers judge for themselves.
_OPSET_OF_WEAK_ONLY = 17


@dataclass(frozen=True)
class TrtApi:
    """One product of TensorRT, and what it can do.

    Attributes:
        module: the imported Python module.
        product: ``tensorrt`` or ``tensorrt_rtx``.
        version: the full one, such as ``8.6.0`` or ``1.7.1.116``.
        strong_typing: types of tensors are the ones of the ONNX graph.
        weak_typing: a flag allows FP16, and layers can be told otherwise.
        compute_capabilities: can build for GPUs that are not here.
        progress_monitor: tells how far a build has come.
        timing_cache: measurements can be kept from build to build.
        max_opset: newest ONNX opset that the parser takes, or None if only it can tell.
    """

    module: Any
    product: Product
    version: str
    strong_typing: bool
    weak_typing: bool
    compute_capabilities: bool
    progress_monitor: bool
    timing_cache: bool
    max_opset: int | None

    @property
    def name(self) -> str:
        """For people: ``TensorRT 8.6.0``, ``TensorRT for RTX 1.7.1.116``."""
        words = "TensorRT" if self.product == "tensorrt" else "TensorRT for RTX"
        return f"{words} {self.version}"

    def network_flags(self) -> int:
        """The flags of a network with an explicit batch and, where there is such a thing, strong typing.

        Their bits moved between versions, so they are asked for by name.
        """
        names = self.module.NetworkDefinitionCreationFlag
        found = (getattr(names, name, None) for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"))
        return sum(1 << int(flag) for flag in found if flag is not None)

    def init_plugins(self, logger: Any) -> None:
        """Register the plugins that come with the library, once for the process."""
        if hasattr(self.module, "init_libnvinfer_plugins"):
            self.module.init_libnvinfer_plugins(logger, "")


def installed_products() -> dict[Product, str]:
    """Products whose module is found, with the distribution's version or ``?``; nothing is imported."""
    found: dict[Product, str] = {}
    for product in get_args(Product):
        if any(importlib.util.find_spec(name) for name in _modules(product)):
            found[product] = next(iter(_distributions(product).values()), "?")
    return found


def _modules(product: Product) -> tuple[str, str]:
    # The bindings alone, without their front end, are the same module.
    return product, f"{product}_bindings"


def _distributions(product: Product) -> dict[str, str]:
    """Installed distributions of a product's bindings and libraries, with their versions."""
    stem = product.replace("_", "-")
    found = {}
    for cuda in ("", "-cu12", "-cu13"):
        for part in ("", "-bindings", "-libs"):
            try:
                found[f"{stem}{cuda}{part}"] = metadata.version(f"{stem}{cuda}{part}")
            except metadata.PackageNotFoundError:
                continue
    return found


def _refuse_both_cudas(product: Product) -> None:
    names = _distributions(product)
    cudas = {cuda for cuda in ("cu12", "cu13") if any(f"-{cuda}" in name for name in names)}
    if len(cudas) > 1:
        stem = product.replace("_", "-")
        raise EngineError(
            f"{stem} is installed for CUDA 12 and for CUDA 13 at once, and both are one module; "
            f"installed: {', '.join(sorted(names))}",
            hint="make a new environment with one of the two, or: pip uninstall "
            + " ".join(sorted(names)),
        )


def preferred_product() -> Product:
    """TensorRT if it is installed, or if nothing is, else TensorRT for RTX; nothing is imported."""
    installed = installed_products()
    return "tensorrt" if "tensorrt" in installed or not installed else "tensorrt_rtx"


def load_api(product: Product | None = None) -> TrtApi:
    """Import TensorRT.

    Args:
        product: which one; None: TensorRT if it is installed, else TensorRT for RTX.

    Raises:
        EngineError: it is not installed, cannot be loaded, or is there for two CUDAs at once.
    """
    chosen = preferred_product() if product is None else product
    if chosen not in installed_products():
        raise EngineError(
            f"{chosen} is not installed",
            hint=f"pip install 'ffswap[{_EXTRAS[chosen]}]'"
            + (" (or ffswap[rtx-cu13])" if chosen == "tensorrt" else ""),
        )
    _refuse_both_cudas(chosen)
    module = _import(chosen)
    weak = hasattr(module.BuilderFlag, "FP16")
    # Where there is no weak typing any more, its opposite need not have a name.
    strong = hasattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or not weak
    return TrtApi(
        module=module,
        product=chosen,
        version=module.__version__,
        strong_typing=strong,
        weak_typing=weak,
        compute_capabilities=hasattr(module.IBuilderConfig, "set_compute_capability"),
        progress_monitor=hasattr(module, "IProgressMonitor"),
        # TensorRT for RTX has the calls, but they do nothing since 1.2.
        timing_cache=chosen == "tensorrt",
        max_opset=None if strong else _OPSET_OF_WEAK_ONLY,
    )


def _import(product: Product) -> Any:
    reasons = []
    for name in _modules(product):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library that it needs is missing
            reasons.append(f"{name}: {error}")
    raise EngineError(
        f"{product} is installed but cannot be loaded: {'; '.join(reasons)}",
        hint="is the NVIDIA driver new enough for it? `ffswap doctor` shows what is here",
    )


# Messages that are kept; a build says a few, and only the newest explain a failure.
_KEPT = 1000


@cache
def _collector(module: Any) -> tuple[Any, deque[tuple[int, str, str]]]:
    """What TensorRT takes as its logger, and the (number, severity, message) that it has heard.

    There is one for the process: TensorRT tells everything to the first logger that it was given.
    """
    heard: deque[tuple[int, str, str]] = deque(maxlen=_KEPT)
    numbers = itertools.count()
    levels = module.ILogger.Severity
    kept = {
        levels.INTERNAL_ERROR: "error",
        levels.ERROR: "error",
        levels.WARNING: "warning",
    }

    class Collector(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in kept:
                heard.append((next(numbers), kept[severity], message))

    return Collector(), heard


class Logger:
    """Hears what a library of TensorRT says; the errors explain a call that returned None.

    Attributes:
        handle: what TensorRT takes as its logger.
    """

    def __init__(self, api: TrtApi) -> None:
        self.handle, self._heard = _collector(api.module)
        self._first = self._heard[-1][0] + 1 if self._heard else 0

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """(severity, message) of all errors and warnings since it was made, by anyone in the process."""
        return tuple((level, text) for number, level, text in self._heard if number >= self._first)

    def errors(self) -> str:
        """The messages of all errors, in order, each once."""
        return "; ".join(dict.fromkeys(text for level, text in self.lines if level == "error"))

    def warnings(self) -> tuple[str, ...]:
        """The warnings, in order, each once."""
        return tuple(dict.fromkeys(text for level, text in self.lines if level == "warning"))
