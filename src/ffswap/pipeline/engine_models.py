"""Which models engines are built of: those of a recipe, by name or by file, with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..engines.recipe import ModelRecipe, Recipe
from ..errors import ModelError, OptionError
from ..models import Catalog, ImageInput, ModelSpec
from ..models.graph import inputs_of
from ..models.interface import PortNames, check_interface
from ..models.onnx_files import Graph
from ..models.store import ModelStore
from .remedies import lacking, refused
from .swappers import usable_file

__all__ = ["Compared", "compare", "described", "in_own_names", "select_models"]

_Value = TypeVar("_Value")

_ONNX = ".onnx"
# An embedding of 512 values and norm 1 seldom has one beyond three times its mean square root.
_EMBEDDING = (-0.15, 0.15)

# A constant is tried with values this far around its own: a range has two ends.
_AROUND = 0.01


def select_models(
    models: Sequence[str], recipe: Recipe, catalog: Catalog, store: ModelStore | None
) -> list[ModelRecipe]:
    """The models that were asked for, with what the recipe and the catalogue say about them.

    Args:
        models: names, or ONNX files; none: all of the recipe.
        recipe: goes before the catalogue.
        catalog: the known models.
        store: the user's model files, or None.

    Raises:
        OptionError: there is no such model, or two have the same name.
        ModelError: a model is not installed.
    """
    known = {one.name: one for one in recipe.models}
    if not models:
        return [_found(one, catalog, store, recipe.name) for one in recipe.models]
    chosen = []
    for model in models:
        path = Path(model)
        if path.suffix.lower() == _ONNX:
            base = known.get(path.stem, ModelRecipe(name=path.stem))
            chosen.append(described(replace(base, file=path), catalog))
        elif model in known or model in catalog.models:
            base = known.get(model, ModelRecipe(name=model))
            chosen.append(_found(base, catalog, store, recipe.name))
        else:
            allowed = ", ".join(sorted({*catalog.names(), *known}))
            raise OptionError(
                f"there is no model {model!r}; allowed: {allowed}, or an ONNX file",
                hint="the name of a file ends in .onnx",
            )
    given = [one.name for one in chosen]
    if len(set(given)) < len(given):
        raise OptionError(f"two models have the same name: {', '.join(given)}")
    return chosen


def _found(
    one: ModelRecipe, catalog: Catalog, store: ModelStore | None, recipe: str
) -> ModelRecipe:
    """A model of a recipe with its file; a model that comes with ffswap needs none."""
    if one.file is not None:
        return described(one, catalog)
    spec = catalog.models.get(one.name)
    if spec is None:
        raise OptionError(
            f"the recipe {recipe} has a model {one.name!r} without a file; without one are "
            f"allowed: {', '.join(catalog.names())}",
            hint=f'name its file there: [models.{one.name}] file = "NAME.onnx"',
        )
    path = usable_file(spec, store)
    if path is None and not spec.embedded:
        error = lacking(spec, store)
        raise ModelError(
            error.message,
            hint=f"{error.hint}; or give its file in place of its name: PATH/{spec.file}",
        )
    return described(replace(one, file=path), catalog)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a net is beside the entry of the catalogue whose name it bears.

    Attributes:
        names: what the file calls its inputs and outputs; None: there is no such entry, or the file
            is another net.
        note: what the user should know.
    """

    names: PortNames | None = None
    note: str | None = None


def compare(
    graph: Graph, recipe: ModelRecipe, catalog: Catalog, store: ModelStore | None
) -> Compared:
    """Compare a net that bears the name of a model of the catalogue with its entry.

    A file that was given, by its path or in a recipe, may be another net: it is built all the same,
    under the name that it was given, and with a note. Only what the catalogue says of inputs must
    then have an input to be true of.

    Args:
        graph: as it was read.
        recipe: of the model, from `described`.
        catalog: the known models.
        store: the user's model files, or None.

    Raises:
        ModelError: it is another net, and the installed one, or without the inputs of the entry.
    """
    spec = catalog.models.get(recipe.name)
    if spec is None or recipe.file is None:
        return Compared()
    try:
        names = check_interface(graph, spec, among=catalog.models.values(), file=recipe.file)
    except ModelError as error:
        if store is not None and recipe.file == store.place(spec):
            raise refused(error, spec, store) from error
        there = {info.name for info in inputs_of(graph)}
        if not there.issuperset((*_ranges(spec), *spec.constants)):
            raise
        return Compared(note=f"the file {error.message}; the engine is named so all the same")
    return Compared(names=names)


def in_own_names(recipe: ModelRecipe, names: PortNames | None) -> ModelRecipe:
    """A recipe that names inputs as the file does, whether it or the catalogue named them.

    Of two values for one input that of the file's own name counts: only the user can have given it.
    """
    if names is None or names.own:
        return recipe
    return replace(
        recipe,
        ranges=_renamed(recipe.ranges, names),
        shapes=_renamed(recipe.shapes, names),
        unbatched=tuple(dict.fromkeys(names.inputs.get(one, one) for one in recipe.unbatched)),
    )


def _renamed(said: Mapping[str, _Value], names: PortNames) -> dict[str, _Value]:
    known = {names.inputs[name]: value for name, value in said.items() if name in names.inputs}
    return {**known, **{name: value for name, value in said.items() if name not in names.inputs}}


def described(one: ModelRecipe, catalog: Catalog) -> ModelRecipe:
    """A recipe with what the catalogue knows of the model: ranges of inputs, and those without a batch.

    What the recipe says itself goes before it.
    """
    spec = catalog.models.get(one.name)
    if spec is None:
        return one
    constants = {name: (value - _AROUND, value + _AROUND) for name, value in spec.constants.items()}
    unbatched = tuple(dict.fromkeys((*one.unbatched, *constants)))
    return replace(one, ranges={**_ranges(spec), **constants, **one.ranges}, unbatched=unbatched)


def _ranges(spec: ModelSpec) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of inputs that are pictures, or embeddings of norm 1."""
    source = spec.source
    found = {}
    # What a converter gives without being divided by its norm may have any size.
    if source is not None and (source.unit_after or (source.unit_before and not source.converter)):
        found[source.name] = _EMBEDDING
    for image in (spec.image, None if source is None else source.image):
        if image is not None:
            found[image.name] = _picture_range(image)
    return found


def _picture_range(image: ImageInput) -> tuple[float, float]:
    ends = [
        (value - mean) / std
        for mean, std in zip(image.mean, image.std, strict=True)
        for value in (0.0, 255.0)
    ]
    return min(ends), max(ends)
