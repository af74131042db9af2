"""Which rule says where the batch goes, operator by operator.

A graph was exported for one row. A rule gets a node with the shapes of that one row and the place of
the batch in its inputs, says where the batch is in its outputs, and refuses what would lay rows beside
each other.
"""

from __future__ import annotations

from collections.abc import Callable

from ...onnx_nodes import subgraphs
from .._proto import DEFAULT_DOMAINS
from . import compute, layout
from .step import Place, Step

__all__ = ["follow"]

Rule = Callable[[Step], Place]


def follow(step: Step) -> Place | None:
    """Where the batch is in the outputs of a node of which an input holds rows.

    Raises:
        ModelError: rows would be mixed, or nobody can tell where they are.
    """
    node = step.node
    if node.op_type in _MIXING:
        step.refuse(_MIXING[node.op_type])
    if list(subgraphs(node)):
        step.refuse("decides for all rows at once")
    rule = (
        _RULES.get(node.op_type, compute.aligned)
        if node.domain in DEFAULT_DOMAINS
        else compute.aligned
    )
    place = rule(step)
    for index, name in enumerate(node.output):
        if name:
            dims = step.out(index)
            if len(dims) <= place.axis or dims[place.axis] != place.span:
                step.refuse("gives an output in which the rows cannot be followed")
    return place


_RANDOM = "draws random numbers, so that no two runs agree"
_PICKS = "gives as many results as the picture has, and lists those of all rows together"

# Operators that cannot keep rows apart, and why.
_MIXING = {
    **dict.fromkeys(("RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"), _RANDOM),
    **dict.fromkeys(("NonZero", "NonMaxSuppression", "Unique", "Compress"), _PICKS),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), "picks rows by their number"),
    **dict.fromkeys(("GatherND", "ScatterND"), "picks by places that count the rows, too"),
    "DynamicQuantizeLinear": "rounds all rows by the greatest value among them",
    "Shape": "asks for a shape that depends on what is in the picture",
    "Size": "asks for a size that depends on what is in the picture",
}

_BY_RULE: dict[Rule, str] = {
    compute.rows_first: "Conv ConvTranspose ConvInteger DeformConv MaxPool AveragePool LpPool GlobalMaxPool "
    "GlobalAveragePool GlobalLpPool BatchNormalization InstanceNormalization GroupNormalization LRN "
    "DepthToSpace SpaceToDepth",
    compute.normalised: "Softmax LogSoftmax Hardmax LpNormalization LayerNormalization RMSNormalization",
    compute.along: "TopK CumSum GatherElements ScatterElements Scatter",
    compute.reduced: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin",
    compute.grid_sample: "GridSample", compute.gemm: "Gemm", compute.matmul: "MatMul", compute.einsum: "Einsum",
    compute.mean_variance: "MeanVarianceNormalization", layout.transpose: "Transpose", layout.reshape: "Reshape",
    layout.flatten: "Flatten", layout.squeeze: "Squeeze", layout.unsqueeze: "Unsqueeze", layout.concat: "Concat",
    layout.split: "Split", layout.sliced: "Slice", layout.gather: "Gather", layout.expand: "Expand", layout.tile: "Tile",
    layout.pad: "Pad", layout.resize: "Resize Upsample",
}  # fmt: skip

_RULES: dict[str, Rule] = {kind: rule for rule, kinds in _BY_RULE.items() for kind in kinds.split()}
