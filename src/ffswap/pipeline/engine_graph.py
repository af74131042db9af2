"""The graph that an engine is built from, and the samples that it is checked with."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines import OrtCpuSession
from ..engines.gate import Arrays, Runner
from ..engines.key import DRAWN
from ..engines.recipe import ModelRecipe
from ..engines.store import file_sha256
from ..engines.trt_api import TrtApi
from ..errors import ModelError
from ..files import check_input
from ..models import embedded_bytes, get
from ..models.batch import drawn_feeds, free_batch, prove_rows
from ..models.cleaning import clean
from ..models.graph import check_dimensions, check_opset, inputs_of, set_shapes
from ..models.onnx_files import Graph, load_onnx, parse_onnx, save_onnx

__all__ = [
    "Prepared",
    "draw_samples",
    "fp32_runner",
    "prepare_graph",
    "prove_batch",
    "samples_digest",
]

# One seed for all samples: the same model gets the same islands on every machine.
_SEED = 20
# Rows of the proof that a batch is its rows: the least that tells a mean from a neighbour.
_PROOF_ROWS = 3
_SAMPLES = "a NumPy archive (.npz) with rows for every input"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A net that is ready to be converted and built.

    Attributes:
        graph: clean, in FP32, with a symbolic batch unless the batch is fixed at 1.
        original: the same before its batch was made symbolic.
        batches: the sizes that it can be built for.
        notes: what the user should know.
    """

    graph: Graph
    original: Graph
    batches: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def single(self, reason: str) -> Prepared:
        """The same for batches of 1 only."""
        note = f"built for batches of 1 only: {reason}"
        return replace(self, graph=self.original, batches=(1,), notes=(*self.notes, note))


def prepare_graph(recipe: ModelRecipe, api: TrtApi, *, explicit_batches: bool) -> Prepared:
    """Read a model and make its batch symbolic where the net allows it.

    Args:
        recipe: of the model.
        api: that will read the graph.
        explicit_batches: the user named the batch sizes: a net that cannot have them is an error,
            and not built for batches of 1 instead.

    Raises:
        InputMissingError: there is no such file.
        ModelError: it is not ONNX, or cannot be used as asked.
    """
    if recipe.file is None:
        graph = parse_onnx(embedded_bytes(get(recipe.name)), recipe.name)
    else:
        graph = load_onnx(recipe.file)
    graph = set_shapes(clean(graph), recipe.shapes, unbatched=recipe.unbatched)
    check_dimensions(graph, unbatched=recipe.unbatched)
    check_opset(graph, api.max_opset, api.name)
    prepared = Prepared(graph=graph, original=graph, batches=recipe.batches)
    if recipe.batches == (1,) and all(-1 not in info.shape for info in inputs_of(graph)):
        return prepared
    try:
        return replace(prepared, graph=free_batch(graph, unbatched=recipe.unbatched))
    except ModelError as error:
        if explicit_batches:
            raise
        return prepared.single(error.message)


def prove_batch(prepared: Prepared, recipe: ModelRecipe, cores: int) -> None:
    """Compare a batch with its rows, each through the net as it was.

    Raises:
        ModelError: they differ; the message names the node.
    """
    if prepared.graph is prepared.original:
        return
    with _LastNet(cores, recipe.name) as last:
        feeds = draw_samples(recipe, prepared.graph, _PROOF_ROWS)
        prove_rows(prepared.graph, last.run, feeds=feeds, original=prepared.original)


class _LastNet:
    """Runs nets on the CPU, and keeps the last one loaded: large ones take seconds to load."""

    def __init__(self, cores: int, name: str) -> None:
        self._cores, self._name = cores, name
        self._graph: Graph | None = None
        self._runner: Runner | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _LastNet:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, graph: Graph, feeds: Arrays) -> Arrays:
        """One run."""
        if self._runner is None or graph is not self._graph:
            self._stack.close()
            self._runner = self._stack.enter_context(fp32_runner(graph, self._cores, self._name))
            self._graph = graph
        return self._runner(feeds)


def _ranges(recipe: ModelRecipe) -> Mapping[str, tuple[float, float]]:
    """Range of the samples for each input: the recipe's, else the model's own for pictures."""
    ranges = dict(recipe.ranges)
    if recipe.file is None:
        image = get(recipe.name).image
        ends = [
            (value - mean) / std
            for mean, std in zip(image.mean, image.std, strict=True)
            for value in (0.0, 255.0)
        ]
        ranges.setdefault(image.name, (min(ends), max(ends)))
    return ranges


def draw_samples(recipe: ModelRecipe, graph: Graph, rows: int) -> dict[str, NDArray[Any]]:
    """Rows for every input: the recipe's own, or noise that is the same on every machine.

    Args:
        recipe: of the model.
        graph: the prepared net.
        rows: of inputs with a batch; fewer of the recipe's own are repeated.

    Raises:
        InputMissingError: there is no such archive.
        ModelError: it is no archive of NumPy, or does not fit the net.
    """
    if recipe.samples is None:
        return drawn_feeds(graph, rows, _SEED, ranges=_ranges(recipe))
    given = _read_samples(recipe.samples)
    samples = {}
    for info in inputs_of(graph):
        array = given.get(info.name)
        want = (-1, *info.shape[1:]) if info.batched else info.shape
        fits = array is not None and len(array.shape) == len(want) and len(array) > 0
        if (
            array is None
            or not fits
            or any(w not in (-1, g) for w, g in zip(want, array.shape, strict=True))
        ):
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise ModelError(
                f"the samples hold {found} for the input {info}; allowed: rows of that shape",
                file=recipe.samples,
            )
        repeats = -(-rows // len(array)) if info.batched else 1
        tiled = np.concatenate([array] * repeats)
        samples[info.name] = tiled[:rows].astype(info.dtype) if info.batched else array
    return samples


def _read_samples(path: Path) -> dict[str, NDArray[Any]]:
    check_input(path, _SAMPLES, ModelError)
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"is no NumPy archive of arrays ({error})", file=path) from error


def samples_digest(recipe: ModelRecipe) -> str:
    """What decides the samples, and so which nodes stay in FP32."""
    if recipe.samples is not None:
        path = check_input(recipe.samples, _SAMPLES, ModelError)
        return f"given:{file_sha256(path)[:16]}"
    text = json.dumps(sorted(_ranges(recipe).items()))
    return f"{DRAWN}:{_SEED}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@contextmanager
def fp32_runner(graph: Graph, cores: int, name: str) -> Iterator[Runner]:
    """The net in FP32 on the CPU; inputs may be float16."""
    with tempfile.TemporaryDirectory(prefix="ffswap-") as folder:
        path = Path(folder) / "net.onnx"  # a graph above 2 GB is read from a file only
        save_onnx(graph, path)
        with OrtCpuSession(path, threads=cores, name=name) as session:

            def run(feeds: Arrays) -> Arrays:
                return session.run(
                    {
                        feed: array.astype(np.float32) if array.dtype == np.float16 else array
                        for feed, array in feeds.items()
                    }
                )

            yield run
