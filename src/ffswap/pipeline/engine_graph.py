"""The graph that an engine is built from, and the samples that it is checked with."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..engines import OrtCpuSession
from ..engines.gate import Arrays
from ..engines.key import DRAWN
from ..engines.recipe import ModelRecipe
from ..engines.trt_api import TrtApi
from ..errors import EngineError, ModelError
from ..files import check_input, file_digests
from ..models import embedded_bytes, get
from ..models.batch import drawn_feeds, free_batch, prove_rows
from ..models.cleaning import clean
from ..models.graph import check_dimensions, check_opset, custom_operators, inputs_of, set_shapes
from ..models.interface import PortNames
from ..models.onnx_files import Graph, load_onnx, parse_onnx, save_onnx
from .engine_models import Compared, in_own_names

__all__ = [
    "PROOF_ROWS",
    "Fp32Nets",
    "Prepared",
    "UnprovenError",
    "draw_samples",
    "prepare_graph",
    "prove_batch",
    "read_net",
    "samples_digest",
    "save_net",
]

# One seed for all samples: the same model gets the same islands on every machine.
_SEED = 20
# Rows of the proof that a batch is its rows: the least that tells a mean from a neighbour.
PROOF_ROWS = 3
# Operators of ONNX Runtime's own are in this domain, or in one whose name begins like it.
_RUNTIME_DOMAIN = "com.microsoft."
# Bytes of samples when they are unpacked: 100 rows of a picture of 1024 x 1024 are half of that.
_LARGEST_SAMPLES = 2 << 30
# What comes out of readers of archives; an encrypted or strangely packed member is a RuntimeError.
_DAMAGE = (
    OSError, ValueError, EOFError, LookupError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_SAMPLES = "a NumPy archive (.npz) with rows for every input"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A net that is ready to be converted and built.

    Attributes:
        graph: clean, in FP32, with a symbolic batch, or one of 1 if it is built for that alone.
        original: the same with the batch of its file.
        batches: the sizes that it can be built for.
        names: what the file calls the inputs and outputs of a model of the catalogue; None: the net
            is none of its models, or comes with ffswap.
        notes: what the user should know.
    """

    graph: Graph
    original: Graph
    batches: tuple[int, ...]
    names: PortNames | None = None
    notes: tuple[str, ...] = ()

    def single(self, reason: str) -> Prepared:
        """The same for batches of 1 only."""
        note = f"built for batches of 1 only: {reason}"
        graph = _one_row(self.original)
        return replace(self, graph=graph, batches=(1,), notes=(*self.notes, note))


def prepare_graph(
    recipe: ModelRecipe,
    api: TrtApi,
    *,
    explicit_batches: bool,
    compare: Callable[[Graph], Compared] = lambda _: Compared(),
) -> Prepared:
    """Read a model and make its batch symbolic where the net allows it.

    Args:
        recipe: of the model; it may name inputs as the catalogue does.
        api: that will read the graph.
        explicit_batches: the user named the batch sizes: a net that cannot have them is an error,
            and not built for batches of 1 instead.
        compare: looks at the graph as it was read, and may refuse it.

    Raises:
        InputMissingError: there is no such file.
        ModelError: it is not ONNX, or cannot be used as asked.
        EngineError: it has operators that nobody knows.
    """
    graph = read_net(recipe.name, recipe.file)
    compared = compare(graph)
    names, notes = compared.names, () if compared.note is None else (compared.note,)
    recipe = in_own_names(recipe, names)
    graph = clean(graph)
    if recipe.shapes:
        graph = set_shapes(graph, recipe.shapes, unbatched=recipe.unbatched)
    _check_operators(graph)
    check_dimensions(graph, unbatched=recipe.unbatched)
    check_opset(graph, api.max_opset, api.name)
    _check_names(recipe, graph)
    if recipe.batches == (1,):  # also of nets that mix their rows
        single = _one_row(graph)
        return Prepared(graph=single, original=graph, batches=(1,), names=names, notes=notes)
    prepared = Prepared(
        graph=graph, original=graph, batches=recipe.batches, names=names, notes=notes
    )
    try:
        return replace(prepared, graph=free_batch(graph, unbatched=recipe.unbatched))
    except ModelError as error:
        if explicit_batches:
            raise
        return prepared.single(error.message)


def read_net(model: str, file: Path | None) -> Graph:
    """Read a model as it is.

    Args:
        model: its name.
        file: its ONNX file; None: it comes with ffswap.

    Raises:
        InputMissingError: there is no such file.
        ModelError: it is not ONNX.
    """
    return parse_onnx(embedded_bytes(get(model)), model) if file is None else load_onnx(file)


def _one_row(graph: Graph) -> Graph:
    """The net for batches of 1 only; free dimensions other than the batch were refused before."""
    free = [info for info in inputs_of(graph) if -1 in info.shape]
    whole = {info.name: tuple(1 if dim < 0 else dim for dim in info.shape) for info in free}
    return set_shapes(graph, whole, unbatched=whole)


def _check_operators(graph: Graph) -> None:
    """Refuse operators of domains that ONNX Runtime does not know: engines are compared with it."""
    foreign = [name for name in custom_operators(graph) if not name.startswith(_RUNTIME_DOMAIN)]
    if not foreign:
        return
    kinds = ((node.name, f"{node.domain}.{node.op_type}") for node in graph.graph.node)
    nodes = [f"node {name} ({kind})" for name, kind in kinds if kind in foreign]
    raise EngineError(
        f"nothing here can run {', '.join(nodes or foreign)}: no such operators",
        hint="export the net with operators of the ONNX standard",
    )


def _check_names(recipe: ModelRecipe, graph: Graph) -> None:
    """Refuse what a recipe says of inputs that the net does not have."""
    there = [info.name for info in inputs_of(graph)]
    for key, names in (("ranges", recipe.ranges), ("unbatched", recipe.unbatched)):
        if unknown := [name for name in names if name not in there]:
            raise ModelError(
                f"{key} names {', '.join(unknown)}; the inputs of {recipe.name} are: "
                f"{', '.join(there)}"
            )


class UnprovenError(ModelError):
    """A batch of a net is not its rows."""


class Fp32Nets:
    """Runs nets in FP32 on the CPU, and keeps the last one loaded: large ones take seconds to load.

    As a context manager it lets go of that one at the end of the block.

    Args:
        cores: for one net.
        name: of the model, for messages.
        check: is called before each run, and may raise.
    """

    def __init__(self, cores: int, name: str, *, check: Callable[[], None] = lambda: None) -> None:
        self._cores, self._name, self._check = cores, name, check
        self._graph: Graph | None = None
        self._session: OrtCpuSession | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Fp32Nets:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, graph: Graph, feeds: Arrays) -> Arrays:
        """One run of a net; inputs may be float16."""
        self._check()
        if self._session is None or graph is not self._graph:
            self._graph = self._session = None
            self._stack.close()
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ffswap-"))
            session = OrtCpuSession(
                save_net(graph, Path(folder)), threads=self._cores, name=self._name
            )
            self._graph, self._session = graph, self._stack.enter_context(session)
        return self._session.run(
            {
                name: array.astype(np.float32) if array.dtype == np.float16 else array
                for name, array in feeds.items()
            }
        )


def prove_batch(prepared: Prepared, feeds: Arrays, nets: Fp32Nets) -> None:
    """Compare a batch with its rows, each through the net as it was.

    Args:
        prepared: the net.
        feeds: `PROOF_ROWS` rows for every input.
        nets: runs it.

    Raises:
        UnprovenError: they differ; the message names the node.
    """
    if prepared.batches == (1,):
        return
    try:
        prove_rows(prepared.graph, nets.run, feeds=feeds, original=prepared.original)
    except ModelError as error:
        raise UnprovenError(error.message, hint=error.hint, file=error.file) from error


def save_net(graph: Graph, folder: Path) -> Path:
    """Write a net for a library to read, into a folder of its own.

    The weights are in a second file: one of 554 MB is written in 1 s and read in 1 s, against 5 s
    and 3 s with its weights in one message of protobuf.
    """
    path, *_ = save_onnx(graph, folder / "net.onnx", limit_bytes=0)
    return path


def draw_samples(
    recipe: ModelRecipe, graph: Graph, rows: int, names: PortNames | None = None
) -> dict[str, NDArray[Any]]:
    """Rows for every input: the recipe's own, or noise that is the same on every machine.

    Args:
        recipe: of the model, from `in_own_names`.
        graph: the prepared net.
        rows: of inputs with a batch; fewer of the recipe's own are repeated.
        names: by which the recipe's own may be called as well.

    Raises:
        InputMissingError: there is no such archive.
        ModelError: it is no archive of NumPy, or does not fit the net.
    """
    if recipe.samples is None:
        return drawn_feeds(graph, rows, _SEED, ranges=recipe.ranges)
    given = _read_samples(recipe.samples)
    for name, own in () if names is None else names.inputs.items():
        if own not in given and name in given:
            given[own] = given[name]
    samples = {}
    for info in inputs_of(graph):
        array = given.get(info.name)
        # A batch that is fixed at 1 is a batch: of more rows it takes the first.
        in_rows = info.batched or (info.shape[:1] == (1,) and info.name not in recipe.unbatched)
        want = (-1, *info.shape[1:]) if in_rows else info.shape
        fits = (
            array is not None
            and array.dtype.kind in "fiub"
            and len(array.shape) == len(want)
            and array.size > 0
        )
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
        if in_rows:
            count = rows if info.batched else 1
            array = np.concatenate([array] * -(-count // len(array)))[:count]
        samples[info.name] = array.astype(info.dtype)
    return samples


def _read_samples(path: Path) -> dict[str, NDArray[Any]]:
    check_input(path, _SAMPLES, ModelError)
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                _check_unpacked(file, path)
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.ndarray):
                return {name: np.asarray(archive[name]) for name in archive.files}
    except _DAMAGE as error:
        raise ModelError(f"is no NumPy archive of arrays ({error})", file=path) from error
    raise ModelError(f"is a single array; allowed: {_SAMPLES}", file=path)


def _check_unpacked(file: BinaryIO, path: Path) -> None:
    """Refuse an archive that unpacks to very much."""
    with zipfile.ZipFile(file) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > _LARGEST_SAMPLES:
        raise ModelError(f"unpacks to {size} bytes; allowed: at most {_LARGEST_SAMPLES}", file=path)


def samples_digest(recipe: ModelRecipe) -> str:
    """What decides the samples, and so which nodes stay in FP32."""
    if recipe.samples is not None:
        path = check_input(recipe.samples, _SAMPLES, ModelError)
        return f"given:{file_digests(path).sha256[:16]}"
    text = json.dumps(sorted(recipe.ranges.items()))
    return f"{DRAWN}:{_SEED}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
