"""What a builder is given: a graph with types where it takes them, and one to choose in where it does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from ffswap.engines.recipe import ModelRecipe
from ffswap.errors import OptionError
from ffswap.models.graph import inputs_of
from ffswap.pipeline.engine_attempts import attempts
from ffswap.pipeline.engine_graph import Prepared
from tests.engines.small_nets import adain_feed, adain_net, casts

HALF = onnx.TensorProto.FLOAT16
FLOAT = onnx.TensorProto.FLOAT


def ways(*, strong_typing, **recipe):
    graph = adain_net()
    prepared = Prepared(graph=graph, original=graph, batches=(1, 2))
    asked = ModelRecipe(name="adain", **recipe)
    feeds = adain_feed()
    return graph, list(attempts(asked, prepared, feeds, strong_typing=strong_typing, cores=1))


def kinds(graph):
    return {one.type.tensor_type.elem_type for one in (*graph.graph.input, *graph.graph.output)}


def test_a_builder_that_takes_types_gets_them():
    graph, (only,) = ways(strong_typing=True)
    assert casts(only.graph)
    assert only.islands
    assert only.constrain == ()
    assert kinds(graph) == kinds(only.graph) == {FLOAT}


def test_a_builder_that_chooses_types_gets_the_net_first_and_constraints_then():
    graph, (first, second) = ways(strong_typing=False)
    _, (strong,) = ways(strong_typing=True)
    assert first.graph is graph
    assert (first.islands, first.constrain) == ((), ())
    assert second.graph is graph
    assert second.islands == strong.islands
    assert second.constrain == tuple(one.node for one in strong.islands)
    assert set(second.constrain) <= {one.name for one in graph.graph.node}


def test_what_a_recipe_keeps_is_constrained_at_once():
    graph = adain_net()
    name = next(one.name for one in graph.graph.node if one.op_type == "Conv")
    _, (first, second) = ways(strong_typing=False, keep_fp32=(name,))
    assert first.constrain == (name,)
    assert name in second.constrain
    assert len(second.constrain) > 1


@pytest.mark.parametrize("strong", [True, False])
def test_a_node_that_is_not_there_cannot_be_kept(strong):
    with pytest.raises(OptionError, match="no node 'Conv_99' to keep"):
        ways(strong_typing=strong, keep_fp32=("Conv_99",))


def test_half_inputs_and_outputs_are_casts_at_the_border_where_types_are_chosen():
    graph, (first, _) = ways(strong_typing=False, half_io=True)
    assert kinds(first.graph) == {HALF}
    ends = [one.name for one in (*first.graph.graph.input, *first.graph.graph.output)]
    inserted = casts(first.graph)
    assert len(inserted) == len(ends)
    assert all({*one.input, *one.output} & set(ends) for one in inserted)
    assert [one.op_type for one in first.graph.graph.node if one.op_type != "Cast"] == [
        one.op_type for one in graph.graph.node
    ]
    assert not any(weight.data_type == HALF for weight in first.graph.graph.initializer)
    assert {info.dtype for info in inputs_of(first.graph)} == {np.dtype(np.float16)}


@pytest.mark.parametrize("strong", [True, False])
def test_fp32_is_the_net_itself(strong):
    graph, (only,) = ways(strong_typing=strong, precision="fp32")
    assert only.graph is graph
    assert (only.islands, only.constrain) == ((), ())
