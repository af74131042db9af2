"""Which models engines are built of: those of a recipe, by name or by file, with what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..engines.recipe import ModelRecipe, Recipe
from ..errors import ModelError, OptionError
from ..models import Catalog, ImageInput, ModelSpec
from ..models.interface import check_interface
from ..models.onnx_files import Graph
from ..models.store import ModelStore
from .remedies import lacking, refused
from .swappers import usable_file

__all__ = ["compare", "described", "select_models"]

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


def compare(
    graph: Graph, recipe: ModelRecipe, catalog: Catalog, store: ModelStore | None
) -> str | None:
    """Compare a net that bears the name of a model of the catalogue with its entry.

    Args:
        graph: as it was read.
        recipe: of the model.
        catalog: the known models.
        store: the user's model files, or None.

    Returns:
        What the user should know: in which input or output a file that was given differs. The net
        is then built all the same, under the name that it was given.

    Raises:
        ModelError: it is the installed one, and differs.
    """
    spec = catalog.models.get(recipe.name)
    if spec is None or recipe.file is None:
        return None
    try:
        check_interface(graph, spec, among=catalog.models.values(), file=recipe.file)
    except ModelError as error:
        if store is None or recipe.file != store.place(spec):
            return f"the file {error.message}; the engine is named so all the same"
        raise refused(error, spec, store) from error
    return None


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
