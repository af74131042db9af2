"""What an engine is built from: a graph with its types in it, or one for a builder that chooses them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..engines.gate import Arrays
from ..engines.int8_figures import Int8Figures
from ..engines.precision import Island, Mixed, check_names, to_mixed_fp16
from ..engines.recipe import ModelRecipe
from ..models.graph import inputs_of
from ..models.onnx_files import Graph
from .engine_graph import Prepared

__all__ = ["Attempt", "attempts"]

# Rows of samples that the FP32 net is run on to find values that leave the range of FP16.
_RANGE_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to build an engine.

    Attributes:
        graph: what the builder reads.
        islands: nodes that are FP32 in a net of FP16, by the graph or by constraint.
        constrain: names of nodes that a builder which chooses types is made to keep in FP32.
        int8: how an INT8 net was made; None: it is none.
    """

    graph: Graph
    islands: tuple[Island, ...] = ()
    constrain: tuple[str, ...] = ()
    int8: Int8Figures | None = None


def attempts(
    recipe: ModelRecipe, prepared: Prepared, samples: Arrays, *, strong_typing: bool, cores: int
) -> Iterator[Attempt]:
    """Ways to build an engine, the quickest first; the next one counts if an engine is not good.

    Where types are weak, a graph with types takes half as long again to build as one in FP32,
    makes slower engines, and its islands are not honoured; see docs/benchmarks.md. So the builder
    chooses among FP16 and FP32, and islands are enforced only at the second attempt: that costs 13
    to 30 % of the speed.

    Args:
        recipe: of the model.
        prepared: the net in FP32.
        samples: rows for every input.
        strong_typing: the builder takes types from the graph.
        cores: for the net on the CPU.

    Raises:
        OptionError: the recipe keeps a node in FP32 that is not there, or asks for FP16 inputs and
            outputs whose values leave the range of FP16.
        ModelError: the net cannot be converted.
    """

    def convert(keep: Collection[str]) -> Mixed:
        return to_mixed_fp16(
            prepared.graph, _rows(prepared, samples), keep=keep, half_io=recipe.half_io,
            threads=cores,
        )  # fmt: skip

    if recipe.precision != "fp16":
        yield Attempt(graph=prepared.graph)
    elif strong_typing:
        mixed = convert(recipe.keep_fp32)
        yield Attempt(graph=mixed.model, islands=mixed.islands)
    else:
        check_names(prepared.graph, recipe.keep_fp32)
        graph = prepared.graph
        if recipe.half_io:  # casts at its inputs and outputs are all that changes
            graph = convert([node.name for node in graph.graph.node]).model
        yield Attempt(graph=graph, constrain=recipe.keep_fp32)
        islands = convert(recipe.keep_fp32).islands
        if len(islands) > len(recipe.keep_fp32):
            names = tuple(island.node for island in islands)
            yield Attempt(graph=graph, islands=islands, constrain=names)


def _rows(prepared: Prepared, samples: Arrays) -> list[Arrays]:
    """The first samples one by one."""
    batched = {info.name for info in inputs_of(prepared.graph) if info.batched}
    return [
        {
            name: array[row : row + 1] if name in batched else array
            for name, array in samples.items()
        }
        for row in range(min(_RANGE_ROWS, prepared.batches[-1]))
    ]
