"""Files of other makers: their inputs, outputs and files have names of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ffswap.errors import ModelError
from ffswap.models import ModelSpec, get, load_catalog
from ffswap.pipeline.finder import points_guesser
from ffswap.pipeline.nets import Nets
from tests import known_answers as known
from tests.known_detectors import known_yolo
from tests.pipeline.neural_models import (
    DETECTOR,
    OPTIONS,
    RECOGNISER,
    WaveClip,
    decoded,
    install,
    portrait,
    with_matrix,
)
from tests.stages.fake_nets import FakeNet
from tools.replicas import make

FACE = known.face_points(150, 120, 100, 12)


def numbered(spec: ModelSpec) -> ModelSpec:
    """The model under the names that PyTorch's exporter gives."""
    source = spec.source and replace(spec.source, name="onnx::Gemm_1")
    return replace(
        spec, image=replace(spec.picture, name="input.1"), source=source, outputs=("683",)
    )


def test_a_swap_through_files_of_other_names_leaves_the_clip_as_it_was(
    cli: Callable[..., Any], tmp_path: Path
):
    clip = WaveClip(tmp_path / "in.mkv")
    clip.make()
    swapper = with_matrix(known.identity_swapper(numbered(get("inswapper_128")), 1))
    models = install(
        tmp_path,
        {
            DETECTOR: known_yolo(get(DETECTOR), [FACE]),
            RECOGNISER: known.recogniser(numbered(get(RECOGNISER)), 1),
        },
    )
    file = tmp_path / "inswapper_128.fp16.onnx"
    file.write_bytes(swapper)
    source, out = portrait(tmp_path / "anna.png", (0.8, 0.5, 0.4)), tmp_path / "out.mkv"
    ended = cli(
        "swap", source, clip.path, out, *OPTIONS, "--model", file, "--models-dir", models,
        "--encoder", "ffv1", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    # Of two entries that are used alike it may be either: it goes by the name of its file.
    assert (report["model"], report["faces"]) == ("inswapper_128.fp16", 3)
    for i, got in enumerate(decoded(out)):
        for one, two in zip(got, clip.planes(i), strict=True):
            assert np.abs(one.astype(int) - two).max() <= 1


def numbered_file(path: Path, model: onnx.ModelProto) -> Path:
    """A file whose one input and whose outputs are called by numbers."""
    names = {one.name: "input.1" for one in model.graph.input}
    names |= {one.name: str(448 + k) for k, one in enumerate(model.graph.output)}
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    onnx.save(model, path)
    return path


@pytest.fixture
def nets():
    with ExitStack() as stack:
        yield Nets(load_catalog(), None, 1, stack)


def test_a_detector_of_numbered_outputs_is_used_under_the_name_of_its_file(nets, tmp_path):
    file = numbered_file(tmp_path / "det_10g.onnx", make("retinaface_10g"))
    net = nets.find(str(file), "detector")
    assert (net.spec.name, net.spec.family) == ("det_10g", "scrfd")
    session = nets.open(net)
    assert list(session.inputs) == ["input"]
    assert list(session.outputs) == [str(448 + k) for k in range(9)]
    outputs = session.run({"input": np.zeros((1, 3, 640, 640), np.float32)})
    assert [out.shape[-2:] for out in outputs.values()][:3] == [(12800, 1), (3200, 1), (800, 1)]


def test_of_models_that_are_used_otherwise_none_is_chosen(nets, tmp_path):
    file = tmp_path / "mine.onnx"
    file.write_bytes(known.identity_swapper(get("ghost_1_256"), 1))
    with pytest.raises(ModelError, match=r"it could be ghost_1_256, .*, hififace") as caught:
        nets.find(str(file), "swapper")
    assert "give the file the name of its model" in str(caught.value.hint)


def test_what_guesses_points_is_named_by_what_it_is_for():
    """Of two landmarkers the report has both."""

    class Installed:
        catalog = load_catalog()

        def installed(self, kind: str) -> list[ModelSpec]:
            return [self.catalog.get(name) for name in self.catalog.names(kind)]  # type: ignore[arg-type]

        def find(self, name: str, _: str) -> str:
            return name

        def open(self, _: str) -> FakeNet:
            return FakeNet(lambda five: (np.resize(five, (68, 2)),))

    names = {"landmarker": "2dfan4"}
    assert points_guesser(Installed(), names) is not None  # type: ignore[arg-type]
    assert names == {"landmarker": "2dfan4", "landmarker_fallback": "fan_68_5"}
