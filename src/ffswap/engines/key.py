"""What an engine is: everything that changes its bytes, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InternalError, OptionError
from ._plain import to_plain

__all__ = ["DRAWN", "SCHEMA", "EngineKey", "GpuTarget", "KeyInput", "require", "safe_name"]

SCHEMA = 2
"""Goes up whenever the same key could mean other bytes, or a manifest other fields."""

DRAWN = "drawn"
"""Samples that were drawn at random, not given."""

KeyInput = tuple[str, str, tuple[int, ...]]
"""Name, dtype and shape of an input, -1 for the batch."""

# Characters of a model's name in names of files: with precision, digest and the ending of a
# temporary file it stays far below the 255 bytes that file systems allow.
_NAME = 64
_DIGEST = 16  # hexadecimal digits of a key's digest in names of files: 64 bits
_LISTED = 3  # names in a message, before "and 5 more"

_SHA256 = re.compile("[0-9a-f]{64}")
_PRODUCTS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}


def require(ok: bool, what: str, value: object) -> None:
    """Refuse a value that only a fault of our own can have made."""
    if not ok:
        raise InternalError(f"{what} is {value!r}")


def safe_name(name: str) -> str:
    """A model's name as part of a file's name, on any file system."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-")[:_NAME] or "model"


@dataclass(frozen=True, kw_only=True)
class GpuTarget:
    """A GPU that an engine is built for.

    Attributes:
        name: as NVIDIA gives it; empty: any that has this capability, for an engine that was built
            ahead of time.
        capability: compute capability; given as ``8.9`` or ``sm89``, kept as ``8.9``.

    Raises:
        OptionError: the capability is neither.
    """

    name: str
    capability: str

    def __post_init__(self) -> None:
        match = re.fullmatch(r"sm([1-9]\d*)(\d)|([1-9]\d*)\.(\d)", self.capability)
        if match is None:
            raise OptionError(
                f"{self.capability!r} is no compute capability; allowed: as in sm89 or 8.9"
            )
        major, minor = (one for one in match.groups() if one is not None)
        object.__setattr__(self, "capability", f"{major}.{minor}")

    def covers(self, here: GpuTarget) -> bool:
        """Whether an engine for this target runs on that GPU."""
        return self == here or (not self.name and self.capability == here.capability)

    def __str__(self) -> str:
        return f"{self.name} ({self.capability})" if self.name else f"any GPU of {self.capability}"


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that changes the bytes of a plan.

    Attributes:
        model: name by which it is asked for.
        product: ``tensorrt`` or ``tensorrt_rtx``.
        version: of the product, in full, such as ``8.6.0``.
        gpus: that it is built for.
        driver_major: first number of the driver's version, or None where it was built ahead of time.
        platform: such as ``linux-x86_64``.
        onnx_sha256: fingerprint of the graph, 64 hexadecimal digits.
        inputs: name, dtype and shape of each, in the graph's order, -1 for the batch.
        batches: sizes that it serves, ascending.
        profiles: ``each``: a profile for each batch size; ``range``: one for all.
        precision: ``fp16``, ``fp32`` or ``int8``.
        half_io: inputs and outputs are float16, too.
        islands: names of nodes that the recipe keeps in FP32.
        samples: digest of the sample inputs that islands were chosen with, or ``drawn``.
        calibration: digest of the rows of an INT8 engine and of what a recipe says about INT8; or
            empty.
        opt_level: 0 to 5, or None for the product's own choice.
        workspace_bytes: device memory for trying kernels, or None for all.
        flags: names of further flags of the build, sorted; never their numbers, which moved.
        schema: of key and manifest.
    """

    model: str
    product: str
    version: str
    gpus: tuple[GpuTarget, ...]
    driver_major: int | None
    platform: str
    onnx_sha256: str
    inputs: tuple[KeyInput, ...]
    batches: tuple[int, ...]
    profiles: str
    precision: str
    half_io: bool
    islands: tuple[str, ...] = ()
    samples: str = DRAWN
    calibration: str = ""
    opt_level: int | None = None
    workspace_bytes: int | None = None
    flags: tuple[str, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        require(bool(self.model), "the name of a model", self.model)
        require(len(self.gpus) > 0, "the GPUs of an engine", self.gpus)
        require(re.fullmatch("[a-z0-9]+", self.precision) is not None, "precision", self.precision)
        require(_SHA256.fullmatch(self.onnx_sha256) is not None, "onnx_sha256", self.onnx_sha256)
        require(self.batches == tuple(sorted(set(self.batches))), "batches", self.batches)
        require(self.flags == tuple(sorted(set(self.flags))), "flags", self.flags)

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, 64 hexadecimal digits; the same on every machine."""
        text = json.dumps(to_plain(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{safe_name(self.model)}-{self.precision}-{self.digest[:_DIGEST]}"

    @property
    def runtime(self) -> str:
        """For people: ``TensorRT 8.6.0``."""
        return f"{_PRODUCTS.get(self.product, self.product)} {self.version}"

    def difference(self, here: EngineKey) -> tuple[str, ...]:
        """Why an engine of this key cannot be used where one of key `here` is asked for.

        An engine that was built ahead of time for a compute capability serves every GPU that has
        it, with any driver; everything else must be equal.

        Returns:
            Sentences, what matters most first; none: it can be used.
        """
        return tuple(
            sentence(self, here)
            for name, sentence in _SENTENCES.items()
            if not self._serves(here, name)
        )

    def _serves(self, here: EngineKey, name: str) -> bool:
        """Whether this field alone allows an engine of this key where `here` is asked for."""
        if getattr(self, name) == getattr(here, name):
            return True
        if name == "gpus":
            # Engines for any GPU of a capability are asked for by exactly what they are for.
            return all(one.name and any(own.covers(one) for own in self.gpus) for one in here.gpus)
        if name == "driver_major":
            return self.driver_major is None
        return (
            name == "version" and self.product != here.product
        )  # the product's sentence says both


def _names(names: Sequence[str]) -> str:
    if len(names) > _LISTED:
        return f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} more"
    return ", ".join(names) or "none"


def _inputs(key: EngineKey) -> str:
    shown = []
    for name, dtype, shape in key.inputs:
        dims = ", ".join("N" if dim == -1 else str(dim) for dim in shape)
        shown.append(f"{name}: {dtype} ({dims})")
    return _names(shown)


def _gpus(built: EngineKey, here: EngineKey) -> str:
    verb = "on" if all(one.name for one in built.gpus) else "for"
    own, other = (_names([str(one) for one in key.gpus]) for key in (built, here))
    return f"GPU: built {verb} {own}, here is {other}"


def _version(built: EngineKey, here: EngineKey) -> str:
    same = built.product == here.product
    return f"{built.runtime}, here is {here.version if same else here.runtime}"


def _asked(
    what: str, shown: Callable[[EngineKey], object]
) -> Callable[[EngineKey, EngineKey], str]:
    """A sentence for a field that is chosen, not found."""
    return lambda built, here: f"{what} {shown(built)}, asked for is {shown(here)}"


def _size(count: int | None) -> str:
    return "without limit" if count is None else f"of {count / (1 << 30):g} GiB"


# By field, in the order in which people want to know.
_SENTENCES: dict[str, Callable[[EngineKey, EngineKey], str]] = {
    "schema": lambda built, here: (
        f"made by another version of ffswap (schema {built.schema}, this one has {here.schema})"
    ),
    "model": _asked("model", lambda key: key.model),
    "product": _version,
    "version": _version,
    "gpus": _gpus,
    "driver_major": lambda built, here: (
        f"driver {built.driver_major}, here is "
        f"{'none' if here.driver_major is None else here.driver_major}"
    ),
    "platform": lambda built, here: f"built on {built.platform}, here is {here.platform}",
    "onnx_sha256": lambda _built, _here: "the ONNX file has changed",
    "inputs": _asked("inputs", _inputs),
    "precision": _asked("precision", lambda key: key.precision),
    "batches": _asked("batch sizes", lambda key: _names([str(one) for one in key.batches])),
    "profiles": _asked("profiles", lambda key: key.profiles),
    "half_io": _asked("inputs and outputs in", lambda key: "FP16" if key.half_io else "FP32"),
    "islands": _asked("kept in FP32:", lambda key: _names(key.islands)),
    "samples": lambda _built, _here: "its FP32 nodes were chosen with other samples",
    "calibration": lambda _built, _here: "its INT8 ranges come from another calibration set",
    "opt_level": _asked(
        "optimisation level", lambda key: "default" if key.opt_level is None else key.opt_level
    ),
    "workspace_bytes": _asked("workspace", lambda key: _size(key.workspace_bytes)),
    "flags": _asked("flags", lambda key: _names(key.flags)),
}
