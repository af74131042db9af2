"""A TFLite file as plain Python objects: what the converter needs of it and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

__all__ = ["Operator", "Tensor", "TfliteGraph", "UnsupportedError", "read_tflite"]

_DTYPES: dict[int, type[np.generic]] = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}
_OPERATOR_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_PADDINGS = {tflite.Padding.SAME: "SAME", tflite.Padding.VALID: "VALID"}
_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "NONE",
    tflite.ActivationFunctionType.RELU: "RELU",
    tflite.ActivationFunctionType.RELU6: "RELU6",
}


class UnsupportedError(ValueError):
    """The file uses something that this small converter does not know."""


@dataclass(frozen=True)
class Tensor:
    """One edge of the graph.

    Attributes:
        name: as in the file; unique within these models.
        shape: NHWC for activations, batch 1.
        data: the constant's value (float32, float16 or int32), None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None = None


@dataclass(frozen=True)
class Operator:
    """One node.

    Attributes:
        kind: TFLite's name of the operator, such as ``CONV_2D``.
        inputs: indices of tensors; -1 where an optional input is absent.
        outputs: indices of tensors.
        options: ``padding`` and ``activation`` as names, ``stride``, ``dilation`` and ``kernel``
            as (height, width), ``align_corners``, ``half_pixel`` and ``keep_dims``, and ``axis`` as in
            the file; only those that apply.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TfliteGraph:
    """The first subgraph of a file; operators are in order of execution."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _indices(array: NDArray[np.int32] | int) -> tuple[int, ...]:
    """The binding gives the int 0 for an absent vector."""
    return () if isinstance(array, int) else tuple(int(i) for i in array)


def _named(table: dict[int, str], code: int, what: str) -> str:
    if code not in table:
        raise UnsupportedError(f"{what} {code}; known: {sorted(table.values())}")
    return table[code]


def _read_tensor(model: Any, tensor: Any) -> Tensor:
    name = tensor.Name().decode()
    shape = _indices(tensor.ShapeAsNumpy())
    if tensor.Sparsity() is not None:
        raise UnsupportedError(f"tensor {name} is sparse")
    buffer = model.Buffers(tensor.Buffer())
    if not buffer.DataLength():
        return Tensor(name, shape)
    if tensor.Type() not in _DTYPES:
        raise UnsupportedError(f"tensor {name} is of TFLite type {tensor.Type()}")
    dtype = np.dtype(_DTYPES[tensor.Type()]).newbyteorder("<")
    return Tensor(name, shape, np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape))


def _read_options(operator: Any, kind: str) -> dict[str, Any]:
    table = operator.BuiltinOptions()

    def view(schema: type[Any]) -> Any:
        options = schema()
        options.Init(table.Bytes, table.Pos)
        return options

    found: dict[str, Any] = {}
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D"):
        schemas = {
            "CONV_2D": tflite.Conv2DOptions,
            "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
            "MAX_POOL_2D": tflite.Pool2DOptions,
        }
        options = view(schemas[kind])
        found["padding"] = _named(_PADDINGS, options.Padding(), f"{kind}: padding")
        found["stride"] = (options.StrideH(), options.StrideW())
        if kind == "MAX_POOL_2D":
            found["kernel"] = (options.FilterHeight(), options.FilterWidth())
        else:
            found["dilation"] = (options.DilationHFactor(), options.DilationWFactor())
    elif kind == "ADD":
        options = view(tflite.AddOptions)
    elif kind == "CONCATENATION":
        options = view(tflite.ConcatenationOptions)
        found["axis"] = options.Axis()
    elif kind == "FULLY_CONNECTED":
        options = view(tflite.FullyConnectedOptions)
        if options.WeightsFormat() != tflite.FullyConnectedOptionsWeightsFormat.DEFAULT:
            raise UnsupportedError(f"{kind}: weights in format {options.WeightsFormat()}")
    elif kind == "MEAN":
        return {"keep_dims": bool(view(tflite.ReducerOptions).KeepDims())}
    elif kind == "RESIZE_BILINEAR":
        options = view(tflite.ResizeBilinearOptions)
        return {
            "align_corners": bool(options.AlignCorners()),
            "half_pixel": bool(options.HalfPixelCenters()),
        }
    else:
        return found
    code = options.FusedActivationFunction()
    found["activation"] = _named(_ACTIVATIONS, code, f"{kind}: fused activation")
    return found


def read_tflite(data: bytes) -> TfliteGraph:
    """Read the only subgraph of a TFLite file.

    Args:
        data: the file's bytes.

    Raises:
        UnsupportedError: several subgraphs, sparse tensors, other types than float32, float16
            and int32, or an option that is not known.
    """
    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise UnsupportedError(f"{model.SubgraphsLength()} subgraphs; known: 1")
    graph = model.Subgraphs(0)
    operators = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Files from before schema 3a have the code in the older, 8-bit field only.
        kind = _OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        operators.append(
            Operator(
                kind,
                _indices(operator.InputsAsNumpy()),
                _indices(operator.OutputsAsNumpy()),
                _read_options(operator, kind),
            )
        )
    return TfliteGraph(
        tuple(_read_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength())),
        tuple(operators),
        _indices(graph.InputsAsNumpy()),
        _indices(graph.OutputsAsNumpy()),
    )
