"""Engines of files whose inputs and outputs are not called as in the catalogue: built, and found again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from ffswap.engines import OrtCpuSession, TensorSpec
from ffswap.engines.recipe import ModelRecipe
from ffswap.engines.store import EngineStore
from ffswap.engines.trt_api import load_api
from ffswap.errors import EngineError, ModelError
from ffswap.models import get
from ffswap.models.interface import PortNames
from ffswap.pipeline import engine_open
from ffswap.pipeline.engine_graph import samples_digest
from ffswap.pipeline.engine_open import Engines
from ffswap.pipeline.net import Net
from ffswap.pipeline.renamed import RenamedSession
from tests import known_answers as known
from tests.engines.build_nets import conv_net
from tests.engines.small_nets import net, node
from tests.pipeline.engine_requests import build, files, needs_rtx
from tests.pipeline.exported_names import PICTURE, SOURCE, WEIGHT, exported
from tests.pipeline.neural_models import with_matrix

SWAPPER, RESTORER, RECOGNISER = "inswapper_128", "codeformer", "arcface_w600k_r50"
RANGES = {PICTURE: (0.0, 1.0), SOURCE: (-0.15, 0.15)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def swapper(tmp_path: Path) -> Path:
    data = with_matrix(known.identity_swapper(get(SWAPPER), 1))
    return exported(tmp_path / f"{SWAPPER}.onnx", data)


def recipe_for(file: Path, *lines: str) -> Path:
    path = file.with_suffix(".toml")
    first = [f"[models.{file.stem}]", f'file = "{file.name}"', "batches = [1, 2]", "opt_level = 0"]
    path.write_text("\n".join([*first, *lines]))
    return path


@needs_rtx
class TestBuilding:
    def test_what_the_catalogue_says_of_inputs_is_true_of_those_of_the_file(self, store, swapper):
        report = build(store, swapper, batches=(1, 2))
        key = report.manifest.key
        assert (report.status, report.notes) == ("built", ())
        assert key.inputs == (
            (SOURCE, "float32", (-1, 512)), (PICTURE, "float32", (-1, 3, 128, 128)),
        )  # fmt: skip
        wanted = ModelRecipe(name=SWAPPER, ranges=RANGES)
        assert key.samples == samples_digest(wanted)
        assert report.manifest.gate is not None
        assert [one.output for one in report.manifest.gate.outputs] == ["683"]
        assert build(store, swapper, batches=(1, 2)).status == "there"

    def test_an_input_without_a_batch_is_known_under_its_own_name(self, store, tmp_path):
        path = exported(tmp_path / f"{RESTORER}.onnx", known.restorer(get(RESTORER), 1))
        report = build(store, path, batches=(1, 2))
        assert report.notes == ()
        inputs = {name: shape for name, _, shape in report.manifest.key.inputs}
        assert inputs == {PICTURE: (-1, 3, 512, 512), WEIGHT: (1,)}

    @pytest.mark.parametrize("name", [SOURCE, "source"])
    def test_a_recipe_may_name_an_input_either_way(self, store, swapper, name):
        recipe = recipe_for(swapper, f'ranges = {{"{name}" = [-0.5, 0.5]}}')
        wanted = ModelRecipe(name=SWAPPER, ranges={**RANGES, SOURCE: (-0.5, 0.5)})
        assert build(store, recipe=recipe).manifest.key.samples == samples_digest(wanted)

    def test_sizes_and_samples_may_be_named_either_way(self, store, tmp_path):
        sizes, rows = {}, np.random.default_rng(0).uniform(-1, 1, (2, 3, 112, 112))
        for name in (PICTURE, get(RECOGNISER).picture.name):
            path = free_recogniser(tmp_path)
            np.savez(tmp_path / "rows.npz", **{name: rows})  # type: ignore[arg-type]
            recipe = recipe_for(path, 'samples = "rows.npz"', f'shapes."{name}" = [3, 112, 112]')
            manifest = build(store, recipe=recipe, force=True).manifest
            assert manifest.gate is not None
            assert manifest.gate.samples == 2
            sizes[name] = manifest.key.inputs
        assert set(sizes.values()) == {((PICTURE, "float32", (-1, 3, 112, 112)),)}

    def test_a_file_that_is_another_net_is_refused_by_what_it_lacks(self, store, tmp_path):
        path = conv_net(tmp_path / f"{SWAPPER}.onnx")
        with pytest.raises(ModelError, match=f"is not {SWAPPER}: there is no input 'target'") as e:
            build(store, path)
        assert e.value.file == str(path)
        assert files(store) == []

    def test_the_refusal_names_what_fits(self, store, tmp_path):
        path = exported(tmp_path / f"{SWAPPER}.onnx", known.recogniser(get(RECOGNISER), 1))
        with pytest.raises(ModelError, match=f"is not {SWAPPER}: ") as caught:
            build(store, path)
        assert RECOGNISER in str(caught.value.hint)
        assert files(store) == []


def free_recogniser(folder: Path) -> Path:
    """A file that leaves height and width of its picture free."""
    path = exported(folder / f"{RECOGNISER}.onnx", known.recogniser(get(RECOGNISER)))
    model = onnx.load(path)
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "HW", strict=True):
        dim.dim_param = name
    onnx.save(model, path)
    return path


class FakeEngine:
    """Takes what a loaded plan is asked for; nothing here can load one."""

    def __init__(self, plan: bytes, **given: Any) -> None:
        self.plan, self.given, self.closed = plan, given, False

    def close(self) -> None:
        self.closed = True


@needs_rtx
class TestOpening:
    """All but the loading itself, for which there is no GPU."""

    @pytest.fixture
    def engines(self, store, monkeypatch) -> Engines:
        monkeypatch.setattr(engine_open, "TrtEngine", FakeEngine)
        info = SimpleNamespace(name="NVIDIA A10", compute_capability=(8, 6), driver_major=580)
        device: Any = SimpleNamespace(info=info)
        return Engines(EngineStore(store), load_api("tensorrt_rtx"), device)

    def test_an_engine_is_found_by_its_file_and_says_its_names(self, store, engines, swapper):
        built = build(store, swapper, batches=(1, 2))
        opened = engines.open(Net(spec=get(SWAPPER), file=swapper), None)
        assert isinstance(opened.engine, FakeEngine)
        assert opened.engine.plan == Path(built.plan).read_bytes()
        assert opened.names is not None
        assert opened.names.inputs == {"target": PICTURE, "source": SOURCE}
        assert list(opened.names.outputs.values()) == ["683"]
        opened.close()
        assert opened.engine.closed

    def test_sizes_that_a_recipe_gave_are_those_of_the_engine(self, store, engines, tmp_path):
        file = free_recogniser(tmp_path)
        recipe = recipe_for(file, f'shapes."{PICTURE}" = [3, 112, 112]')
        for batches in ((1,), (1, 2)):
            build(store, recipe=recipe, batches=batches)
            opened = engines.open(Net(spec=get(RECOGNISER), file=file), None)
            assert isinstance(opened.engine, FakeEngine)
            assert opened.engine.given["batches"] == batches
            for path in store.glob("*.json"):
                path.unlink()

    def test_the_engine_of_a_file_has_the_name_of_the_file(self, store, engines, swapper):
        mine = swapper.rename(swapper.with_name("mine.onnx"))
        build(store, mine, batches=(1, 2))
        assert engines.open(Net(spec=get(SWAPPER), file=mine), "fp16").names is not None

    def test_a_net_that_comes_with_ffswap_has_the_names_of_the_catalogue(self, store, engines):
        build(store, "face_landmark", batches=(1, 2))
        assert engines.open(Net(spec=get("face_landmark"), file=None), None).names is None

    def test_an_engine_of_another_file_is_refused(self, store, engines, swapper):
        build(store, swapper, batches=(1, 2))
        model = onnx.load(swapper)
        model.graph.node[0].name = "another"
        onnx.save(model, swapper)
        with pytest.raises(EngineError, match="the ONNX file has changed") as caught:
            engines.open(Net(spec=get(SWAPPER), file=swapper), None)
        assert caught.value.hint == f"ffswap build-engine {swapper}"

    def test_an_engine_for_a_file_with_other_inputs_is_refused(self, store, engines, swapper):
        build(store, swapper, batches=(1, 2))
        swapper.write_bytes(known.identity_swapper(get(SWAPPER), 1))
        names = PortNames(inputs={}, outputs={}, own=True)  # as if it were compared before
        with pytest.raises(EngineError, match="the ONNX file has changed"):
            engines.open(Net(spec=get(SWAPPER), file=swapper, names=names), None)

    def test_a_file_that_is_another_net_is_refused(self, store, engines, swapper):
        build(store, swapper, batches=(1, 2))
        conv_net(swapper)
        with pytest.raises(ModelError, match=f"is not {SWAPPER}: there is no input 'target'"):
            engines.open(Net(spec=get(SWAPPER), file=swapper), None)


class TestRenaming:
    """Any session, under the names of the catalogue."""

    @pytest.fixture
    def session(self):
        nodes = [node("a: Neg 1 -> 2"), node("b: Exp 1 -> 3")]
        model = net(nodes, {"1": ["N", 4]}, {"2": ["N", 4], "3": ["N", 4]})
        with OrtCpuSession(model.SerializeToString(), name="net") as session:
            yield session

    def test_buffers_are_bound_under_the_names_of_the_catalogue(self, session):
        names = PortNames(inputs={"x": "1"}, outputs={"y": "3"}, own=False)
        made = []

        def spare(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
            made.append(shape)
            return np.empty(shape, dtype)

        renamed = RenamedSession(session, names, spare=spare)
        x, y = np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)
        for _ in range(2):
            binding = renamed.bind(2, {"x": x, "y": y})
            binding.enqueue(None)
            np.testing.assert_allclose(y, np.exp(x), rtol=1e-6)
            binding.close()
        assert made == [(2, 4)]  # for the output that nobody reads, once
        np.testing.assert_allclose(renamed.run({"x": x})["y"], np.exp(x), rtol=1e-6)
        assert list(renamed.outputs.values()) == [TensorSpec("y", np.dtype("f4"), (-1, 4))]

    def test_its_own_buffers_go_with_it_after_the_session(self, session):
        order: list[str] = []

        class Buffer:
            def close(self) -> None:
                order.append("buffer")

        class Bound(OrtCpuSession):
            def bind(self, batch: int, buffers: Any) -> Any:
                order.append(f"{batch}: {' '.join(sorted(buffers))}")

            def close(self) -> None:
                order.append("session")

        names = PortNames(inputs={"x": "1"}, outputs={"y": "3"}, own=False)
        session.__class__ = Bound
        with RenamedSession(session, names, spare=lambda *_: Buffer()) as renamed:
            renamed.bind(1, {"x": None, "y": None})
        assert order == ["1: 1 2 3", "session", "buffer"]
