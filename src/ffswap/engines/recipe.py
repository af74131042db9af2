"""Recipes: which engines to build and how, as TOML files; see engines/README.md."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputMissingError, OptionError
from ..files import PathLike, read_table
from ..options.build import LARGEST_BATCH, MAX_OPT_LEVEL, BuildOptions, Precision
from .manifest import GateLimits
from .observe import METHODS, Method
from .quantise import WeightScales

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ModelRecipe", "Profiles", "Recipe", "load_recipe"]

Profiles = Literal["each", "range"]

_ALLOWED = {
    "name": "at least one character",
    "file": "the name of an ONNX file, ending in .onnx, beside the recipe or absolute",
    "precision": " or ".join(get_args(Precision)),
    "batches": f"one or more sizes from 1 to {LARGEST_BATCH} in ascending order, such as "
    "[1, 4, 8, 16]",
    "profiles": " or ".join(get_args(Profiles)),
    "opt_level": f"0 to {MAX_OPT_LEVEL}",
    "workspace_gb": "more than 0 (GiB)",
    "keep_fp32": "a list of different names of nodes",
    "half_io": "true or false",
    "unbatched": "a list of different names of inputs",
    "tactics": 'a list of different names, such as ["JIT_CONVOLUTIONS"]',
    "shapes": "for each input a list of whole numbers, 1 or more, without the batch, such as "
    "input = [3, 640, 640]",
    "samples": "the name of a NumPy archive, ending in .npz, beside the recipe or absolute",
    "ranges": "for each input its lowest and its highest value, such as source = [-3.0, 3.0]",
    "relative_l2": "more than 0, at most 1",
    "psnr_db": "0 to 200 (decibels)",
    "row": "more than 0, at most 1",
    "ssim": "0 to 1",
    "identity": "0 to 2",
    "spread_db": "0 to 200 (decibels)",
    "int8_ranges": " or ".join(METHODS),
    "int8_weights": " or ".join(get_args(WeightScales)),
    "int8_fences": "true or false",
    "keep_fp16": "a list of different names of nodes",
}
"""What each key may be, for messages."""

_GATE = ("relative_l2", "psnr_db", "row")
_GATE_INT8 = (*_GATE, "ssim", "identity", "spread_db")
_SET = ("precision", "batches", "profiles", "opt_level", "workspace_gb")
_MODEL = (
    "file", *_SET, "keep_fp32", "half_io", "unbatched", "tactics", "shapes", "ranges", "samples", "gate",
    "gate_int8", "int8_ranges", "int8_weights", "int8_fences", "keep_fp16",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """How the engine of one model is built. The defaults are for a file without a recipe.

    Attributes:
        name: of the model in the catalogue; with a file, the name that its engine gets.
        file: an ONNX file; None: the model is one of the catalogue.
        precision: ``fp16``, ``fp32`` or ``int8``.
        batches: sizes that the engine serves, ascending, each 1 to 1024.
        profiles: ``each``: tuned for each batch size; ``range``: one profile for all.
        opt_level: how long TensorRT searches for the best kernels, 0 to 5; None: as long as ffswap
            finds best.
        workspace_gb: device memory that the build may use for trying kernels, in GiB; None: all.
        keep_fp32: names of nodes that stay in FP32, besides those that have to.
        half_io: inputs and outputs are float16, too.
        unbatched: names of inputs without a batch: one value for all rows.
        tactics: names of TensorRT's sources of tactics that may be used; none: its own choice.
        shapes: of a row of an input whose dimensions are free, by name, without the batch.
        ranges: lowest and highest value of an input, by name, for samples that are drawn.
        samples: a NumPy archive with rows for every input, by name, to use in place of drawn ones.
        gate: how far results may be from the net's own.
        gate_int8: the same for INT8.
        int8_ranges: how INT8 ranges are read out of what was seen; None: the way that proves best.
        int8_weights: INT8 scales of kernels: one for each output ``channel``, or one for the whole
            ``tensor``; None: what is quicker on the TensorRT that builds.
        int8_fences: convolutions that are fed by a Resize become INT8, too: they, and those that are
            fed by a Pad, get a factor in front of the rounding that TensorRT cannot move it across.
        keep_fp16: names of convolutions that stay in FP16 where others become INT8.

    Raises:
        OptionError: a value is not allowed.
    """

    name: str
    file: Path | None = None
    precision: Precision = "fp16"
    batches: tuple[int, ...] = (1, 4, 8, 16)
    profiles: Profiles = "each"
    opt_level: int | None = None
    workspace_gb: float | None = None
    keep_fp32: tuple[str, ...] = ()
    half_io: bool = False
    unbatched: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: Path | None = None
    gate: GateLimits = field(default_factory=GateLimits)
    gate_int8: GateLimits = field(default_factory=GateLimits.for_int8)
    int8_ranges: Method | None = None
    int8_weights: WeightScales | None = None
    int8_fences: bool = False
    keep_fp16: tuple[str, ...] = ()

    @property
    def limits(self) -> GateLimits:
        """Those of its precision."""
        return self.gate_int8 if self.precision == "int8" else self.gate

    def __post_init__(self) -> None:
        batches = self.batches
        gigabytes = self.workspace_gb
        checks = {
            "name": bool(self.name),
            "file": self.file is None or self.file.suffix.lower() == ".onnx",
            "samples": self.samples is None or self.samples.suffix.lower() == ".npz",
            "precision": self.precision in get_args(Precision),
            "batches": BuildOptions.are_batches(batches) and batches[-1] <= LARGEST_BATCH,
            "profiles": self.profiles in get_args(Profiles),
            "opt_level": self.opt_level is None or 0 <= self.opt_level <= MAX_OPT_LEVEL,
            "workspace_gb": gigabytes is None or (gigabytes > 0 and math.isfinite(gigabytes)),
            "keep_fp32": _distinct(self.keep_fp32),
            "int8_ranges": self.int8_ranges in (None, *METHODS),
            "int8_weights": self.int8_weights in (None, *get_args(WeightScales)),
            "keep_fp16": _distinct(self.keep_fp16),
            "unbatched": _distinct(self.unbatched),
            "tactics": _distinct(self.tactics),
            "shapes": all(shape and min(shape) >= 1 for shape in self.shapes.values()),
            "ranges": all(
                low < high and math.isfinite(high - low) for low, high in self.ranges.values()
            ),
        }
        for name, ok in checks.items():
            if not ok:
                raise _refused(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A set of engines.

    Attributes:
        name: of the file, without its ending.
        models: at least one, in the order of the file.
    """

    name: str
    models: tuple[ModelRecipe, ...]


def _distinct(names: tuple[str, ...]) -> bool:
    return all(names) and len(set(names)) == len(names)


def _refused(key: str, value: object) -> OptionError:
    shown = str(value) if isinstance(value, Path) else value
    shown = list(shown) if isinstance(shown, tuple) else shown
    return OptionError(f"{key} is {shown!r}; allowed: {_ALLOWED[key]}")


class _WrongTypeError(Exception):
    """A value is not of the type that its key wants."""


def _typed(*kinds: type) -> Callable[[object], Any]:
    def convert(value: object) -> Any:
        if type(value) not in kinds:  # exact: true is an int to Python
            raise _WrongTypeError
        return value

    return convert


def _list(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    def convert_all(value: object) -> Any:
        if not isinstance(value, list):
            raise _WrongTypeError
        return tuple(convert(one) for one in value)

    return convert_all


def _by_input(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    def convert_all(value: object) -> Any:
        if not isinstance(value, dict):
            raise _WrongTypeError
        return {name: convert(one) for name, one in value.items()}

    return convert_all


def _pair(value: object) -> Any:
    pair = _list(_number)(value)
    if len(pair) != 2:
        raise _WrongTypeError
    return pair


def _number(value: object) -> float:
    return float(_typed(int, float)(value))


_text, _whole = _typed(str), _typed(int)
_CONVERT: dict[str, Callable[[object], Any]] = {
    "file": _text,
    "precision": _text,
    "batches": _list(_whole),
    "profiles": _text,
    "opt_level": _whole,
    "workspace_gb": _number,
    "keep_fp32": _list(_text),
    "half_io": _typed(bool),
    "unbatched": _list(_text),
    "tactics": _list(_text),
    "shapes": _by_input(_list(_whole)),
    "ranges": _by_input(_pair),
    "samples": _text,
    "relative_l2": _number,
    "psnr_db": _number,
    "row": _number,
    "ssim": _number,
    "identity": _number,
    "spread_db": _number,
    "int8_ranges": _text,
    "int8_weights": _text,
    "int8_fences": _typed(bool),
    "keep_fp16": _list(_text),
}


def load_recipe(path: PathLike) -> Recipe:
    """Read a recipe.

    Args:
        path: of a TOML file.

    Returns:
        The recipe, with everything that it leaves out filled in.

    Raises:
        InputMissingError: there is no such file.
        OptionError: it is not TOML, or a key or a value is not allowed; the message names file,
            table and key.
    """
    file = Path(path)
    try:
        return _recipe(file, _tables(file))
    except OptionError as error:
        raise OptionError(error.message, file=file, hint=error.hint) from error


def _tables(file: Path) -> dict[str, Any]:
    try:
        tables: dict[str, Any] = tomllib.loads(read_table(file).decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputMissingError(
            "no such recipe", file=file, hint="a recipe is a TOML file such as engines/default.toml"
        ) from error
    except OSError as error:
        raise OptionError(f"the recipe cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, nested without end
        raise OptionError(f"the recipe is not TOML: {error}") from error
    return tables


# Tables of limits, the keys that each may have, and what makes limits of them.
_LIMITS: dict[str, tuple[tuple[str, ...], Callable[..., GateLimits]]] = {
    "gate": (_GATE, GateLimits),
    "gate_int8": (_GATE_INT8, GateLimits.for_int8),
}


def _recipe(file: Path, tables: dict[str, Any]) -> Recipe:
    _check_keys(tables, ("set", *_LIMITS, "models"), "the recipe")
    shared = _values(_table(tables, "set", "[set]"), _SET, "[set]")
    with _said_of("[set]"):
        ModelRecipe(name="set", **shared)
    limits = {name: _limits(tables, name, f"[{name}]", {}) for name in _LIMITS}
    models = _table(tables, "models", "[models]")
    if not models:
        raise OptionError("the recipe names no models", hint="add a table [models.NAME]")
    return Recipe(
        name=file.stem,
        models=tuple(_model(file, name, models, shared, limits) for name in models),
    )


def _limits(
    parent: dict[str, Any], name: str, place: str, shared: dict[str, Any]
) -> dict[str, Any]:
    """What a table of limits says, over what is shared."""
    allowed, make = _LIMITS[name]
    found = {**shared, **_values(_table(parent, name, place), allowed, place)}
    with _said_of(place):
        make(**found)
    return found


def _model(
    file: Path,
    name: str,
    models: dict[str, Any],
    shared: dict[str, Any],
    limits: dict[str, dict[str, Any]],
) -> ModelRecipe:
    place = f"[models.{name}]"
    table = _table(models, name, place)
    gates: dict[str, Any] = {
        kind: make(**_limits(table, kind, f"[models.{name}.{kind}]", limits[kind]))
        for kind, (_, make) in _LIMITS.items()
    }
    own = _values(table, _MODEL, place)
    own.update({key: file.parent / own[key] for key in ("file", "samples") if key in own})
    with _said_of(place):
        return ModelRecipe(name=name, **{**shared, **own}, **gates)


@contextmanager
def _said_of(place: str) -> Iterator[None]:
    """Name the table in an error about a value."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{place} {error.message}", hint=error.hint) from error


def _table(parent: dict[str, Any], key: str, place: str) -> dict[str, Any]:
    table = parent.get(key, {})
    if not isinstance(table, dict):
        raise OptionError(f"{place} is {table!r}; allowed: a table")
    return table


def _check_keys(table: dict[str, Any], allowed: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            raise OptionError(
                f"{place} has a key {key!r}; allowed: {', '.join(allowed)}",
                hint=f"did you mean {near[0]}?" if near else None,
            )


def _values(table: dict[str, Any], allowed: tuple[str, ...], place: str) -> dict[str, Any]:
    """What a table says, each value of the type that its key wants; tables of limits aside."""
    _check_keys(table, allowed, place)
    found = {}
    for key, value in table.items():
        if key in _LIMITS:
            continue
        try:
            found[key] = _CONVERT[key](value)
        except _WrongTypeError as error:
            raise OptionError(f"{place} {key} is {value!r}; allowed: {_ALLOWED[key]}") from error
    return found
