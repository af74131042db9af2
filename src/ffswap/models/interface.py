"""Whether an ONNX file is what a model of the catalogue says, and the matrix that some keep in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from ..carriers import F32
from ..errors import ModelError
from ..files import PathLike
from ._proto import walk
from .graph import TensorInfo, inputs_of, outputs_of
from .ports import EMBEDDING, Port, wanted_inputs, wanted_outputs
from .spec import ModelSpec

__all__ = ["PortNames", "check_interface", "find_matrix", "fitting"]


@dataclass(frozen=True, kw_only=True)
class PortNames:
    """What a file calls the inputs and outputs of its model.

    Attributes:
        inputs: the file's name by the catalogue's.
        outputs: the same, in the order in which the family reads them. Where the catalogue names
            none, both are the file's.
        own: the file's inputs and outputs have the names and the order that the catalogue asks for.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    own: bool


def check_interface(
    model: onnx.ModelProto,
    spec: ModelSpec,
    *,
    among: Iterable[ModelSpec] = (),
    file: PathLike | None = None,
) -> PortNames:
    """Refuse a file that cannot be the model that the catalogue names.

    The batch may be free or 1, and any other dimension may be free. A file may have more outputs
    than are read, but no more inputs. Names matter only where type and shape do not tell which
    input or output is meant: exports of one net call them differently.

    Args:
        model: as it was read: `clean` would take the matrix of a projected source away.
        spec: what it should be.
        among: models of the catalogue that the file may be instead, for the hint.
        file: that it was read from, for messages.

    Returns:
        What the file calls them.

    Raises:
        ModelError: an input or output is missing, one too many, or of another type or shape; or the
            matrix is not there. The message says what was given and what is wanted.
    """
    try:
        inputs = _input_names(inputs_of(model), spec)
        given = _outputs(model)
        outputs = _output_names(given, spec)
        if spec.source is not None and spec.source.projected:
            find_matrix(model, spec)
    except ModelError as error:
        others = fitting(model, among)
        hint = f"this file fits: {', '.join(others)}" if others else error.hint
        raise ModelError(f"is not {spec.name}: {error.message}", hint=hint, file=file) from error
    named = all(key == name for key, name in (*inputs.items(), *outputs.items()))
    in_order = bool(spec.outputs) or list(outputs) == list(given)[: len(outputs)]
    return PortNames(inputs=inputs, outputs=outputs, own=named and in_order)


def fitting(model: onnx.ModelProto, specs: Iterable[ModelSpec]) -> list[str]:
    """Names of the models whose interface the file has, sorted."""
    return sorted(spec.name for spec in specs if _fits(model, spec))


def _fits(model: onnx.ModelProto, spec: ModelSpec) -> bool:
    try:
        check_interface(model, spec)
    except ModelError:
        return False
    return True


def _outputs(model: onnx.ModelProto) -> dict[str, TensorInfo | None]:
    """What comes out, in the graph's order; None for an output whose shape the file does not say."""
    found: dict[str, TensorInfo | None] = {}
    for value in model.graph.output:
        kind = value.type.tensor_type
        if kind.elem_type and not kind.HasField("shape"):
            found[value.name] = None
            continue
        only = onnx.ModelProto()
        only.graph.output.append(value)
        (found[value.name],) = outputs_of(only)
    return found


def _input_names(given: Sequence[TensorInfo], spec: ModelSpec) -> dict[str, str]:
    """The file's name of each input that is wanted."""
    there = {info.name: info for info in given}
    listed = "; ".join(map(str, given)) or "none"
    wanted = wanted_inputs(spec)
    found: dict[str, str] = {}
    for port in wanted:
        info = there.pop(str(port.name), None)
        if info is not None and not port.fits(info):
            raise ModelError(f"the input {info} is not {port}")
        if info is not None:
            found[info.name] = info.name
    renamed = _matched([port for port in wanted if port.name not in found], there)
    for port in wanted:
        name = str(port.name)
        if name not in found and name not in renamed:
            raise ModelError(f"there is no input {name!r}, {port}; the inputs are: {listed}")
    for name in renamed.values():
        del there[name]
    if there:
        names = ", ".join(str(port.name) for port in wanted)
        raise ModelError(f"the input {next(iter(there.values()))} is one too many; wanted: {names}")
    return found | renamed


def _matched(wanted: Sequence[Port], given: Mapping[str, TensorInfo | None]) -> dict[str, str]:
    """Names by those that are wanted, where only one tensor fits one port and the other way round."""
    fits = {
        str(port.name): [name for name, info in given.items() if info and port.fits(info)]
        for port in wanted
    }
    claims = [name for names in fits.values() for name in names]
    return {
        port: names[0]
        for port, names in fits.items()
        if len(names) == 1 and claims.count(names[0]) == 1
    }


def _output_names(given: Mapping[str, TensorInfo | None], spec: ModelSpec) -> dict[str, str]:
    """The file's name of each output that is wanted, in the family's order."""
    listed = "; ".join(str(info or name) for name, info in given.items()) or "none"
    wanted = wanted_outputs(spec)
    if len(given) < len(wanted):
        raise ModelError(f"{len(wanted)} outputs are wanted; there are {len(given)}: {listed}")
    if not spec.outputs:
        return _ordered_outputs(given, wanted)
    missing = [port for port in wanted if port.name not in given]
    left = {name: info for name, info in given.items() if name not in spec.outputs}
    renamed = _matched(missing, left)
    found = {}
    for number, port in enumerate(wanted, 1):
        name = str(port.name)
        if name not in given and name not in renamed:
            raise ModelError(f"there is no output {name!r}, {port}; the outputs are: {listed}")
        found[name] = renamed.get(name, name)
        _check_output(given[found[name]], port, number)
    return found


def _ordered_outputs(
    given: Mapping[str, TensorInfo | None], wanted: Sequence[Port]
) -> dict[str, str]:
    """The outputs in the graph's order, or in another one that shapes leave no doubt of."""
    ports = [replace(port, name=str(number)) for number, port in enumerate(wanted)]
    pairs = list(zip(ports, given.items(), strict=False))
    if any(info is not None and not port.fits(info) for port, (_, info) in pairs):
        by_shape = _matched(ports, given)
        if len(by_shape) == len(ports):
            return {name: name for name in (by_shape[str(port.name)] for port in ports)}
    for number, (port, (_, info)) in enumerate(pairs, 1):
        _check_output(info, port, number)
    return {name: name for _, (name, _) in pairs}


def _check_output(info: TensorInfo | None, port: Port, number: int) -> None:
    if info is not None and not port.fits(info):
        raise ModelError(f"the output {info} is not {port}, as output {number} has to be")


def find_matrix(model: onnx.ModelProto, spec: ModelSpec) -> F32:
    """The matrix by which the caller of a projected source multiplies the embedding.

    It is found by what it is, a square one of the embedding's size that no node reads, and not by
    its place or name, since tools that rewrite ONNX files change both.

    Args:
        model: as it was read: `clean` would take the matrix away.
        spec: of a swapper whose source is projected.

    Returns:
        (d, d) float32, of the d numbers of an embedding.

    Raises:
        ModelError: there is none, there are several, or its values are not finite.
    """
    square = [
        tensor
        for tensor in model.graph.initializer
        if tuple(tensor.dims) == (EMBEDDING, EMBEDDING)
        and tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    ]
    read = {name for node in walk(model.graph) for name in node.input}
    free = [tensor for tensor in square if tensor.name not in read]
    size = f"{EMBEDDING} x {EMBEDDING}"
    if not free:
        weights = ", ".join(repr(tensor.name) for tensor in square)
        reason = f"; {weights}: read by nodes, so weights of the net" if weights else ""
        raise ModelError(
            f"there is no matrix of {size} float32 or float16 that no node reads, by which the "
            f"embedding for {spec.name} is multiplied{reason}",
            hint="a tool that takes out what no node reads has taken it: use the file as published",
        )
    if len(free) > 1:
        names = ", ".join(repr(tensor.name) for tensor in free)
        raise ModelError(
            f"there are {len(free)} matrices of {size} that no node reads: {names}; allowed: one, "
            f"by which the embedding for {spec.name} is multiplied"
        )
    (tensor,) = free
    matrix: F32 = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    if not math.isfinite(np.abs(matrix).sum(dtype=np.float64)) or not matrix.any():
        raise ModelError(
            f"the matrix {tensor.name!r} is all zeros or has values that are no numbers"
        )
    return matrix
