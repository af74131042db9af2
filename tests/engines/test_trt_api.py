"""The door to TensorRT: what it says of what is installed, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import pytest

from ffswap.engines import trt_api
from ffswap.engines.trt_api import Logger, installed_products, load_api
from ffswap.errors import EngineError
from tests.engines.build_nets import FAKES

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes it look as if these modules and distributions were installed, and no others."""

    def install(*names: str, distributions: tuple[str, ...] = ()) -> None:
        def version(name: str) -> str:
            if name in distributions:
                return "1.2.3"
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: name if name in names else None
        )
        monkeypatch.setattr("importlib.metadata.version", version)

    return install


def fake_module(*, weak: bool, strong: bool, rtx: bool) -> Any:
    """A module of which only what `load_api` asks for is there."""
    flags = {"EXPLICIT_BATCH": 0} if weak else {}
    if strong:
        flags["STRONGLY_TYPED"] = 1 if weak else 0
    space = types.SimpleNamespace
    config = space(**({"set_compute_capability": None} if rtx else {}))
    module = space(
        __version__="9.9",
        BuilderFlag=space(**({"FP16": 0} if weak else {})),
        NetworkDefinitionCreationFlag=space(**flags),
        IBuilderConfig=config,
    )
    if strong:
        module.IProgressMonitor = object
    return module


def test_all_is_sorted():
    assert trt_api.__all__ == sorted(trt_api.__all__)


def test_what_is_installed_is_found_without_importing(install):
    install("tensorrt_bindings", "tensorrt_rtx", distributions=("tensorrt-cu13-bindings",))
    assert installed_products() == {"tensorrt": "1.2.3", "tensorrt_rtx": "?"}
    install()
    assert installed_products() == {}


@pytest.mark.parametrize(
    ("product", "extra"), [("tensorrt", "trt"), ("tensorrt_rtx", "rtx"), (None, "trt")]
)
def test_what_is_missing_is_named_with_its_extra(install, product, extra):
    install()
    with pytest.raises(EngineError, match=f"{product or 'tensorrt'} is not installed") as caught:
        load_api(product)
    assert f"pip install 'ffswap[{extra}-cu13]'" in str(caught.value.hint)


@pytest.mark.parametrize("product", ["tensorrt", "tensorrt_rtx"])
def test_both_cudas_at_once_are_refused(install, product):
    stem = product.replace("_", "-")
    names = (f"{stem}-cu12-libs", f"{stem}-cu13")
    install(product, distributions=names)
    with pytest.raises(EngineError, match="CUDA 12 and for CUDA 13 at once") as caught:
        load_api(product)
    for name in names:
        assert name in caught.value.message
        assert name in str(caught.value.hint)


def test_the_two_products_may_be_for_different_cudas(install, monkeypatch):
    install("tensorrt", "tensorrt_rtx", distributions=("tensorrt-cu12", "tensorrt-rtx-cu13"))
    module = fake_module(weak=True, strong=True, rtx=False)
    monkeypatch.setattr("importlib.import_module", lambda _: module)
    assert load_api().product == "tensorrt"
    assert load_api("tensorrt_rtx").product == "tensorrt_rtx"


def test_a_library_that_does_not_load_is_told_of(install, monkeypatch):
    def broken(name: str) -> None:
        raise OSError(f"lib{name}.so.10: cannot open")

    install("tensorrt")
    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(
        EngineError, match=r"tensorrt: libtensorrt\.so\.10.*tensorrt_bindings: "
    ) as e:
        load_api("tensorrt")
    assert "driver" in str(e.value.hint)


@pytest.mark.parametrize(
    ("weak", "strong", "flags", "max_opset"),
    [(True, False, 0b01, 17), (True, True, 0b11, None), (False, True, 0b01, None)],
    ids=["8.6", "10", "11"],
)
def test_features_are_asked_of_the_module(install, monkeypatch, weak, strong, flags, max_opset):
    install("tensorrt")
    module = fake_module(weak=weak, strong=strong, rtx=False)
    monkeypatch.setattr("importlib.import_module", lambda _: module)
    api = load_api()
    assert api.name == "TensorRT 9.9"
    assert (api.weak_typing, api.strong_typing) == (weak, strong)
    assert (api.progress_monitor, api.timing_cache) == (strong, True)
    assert not api.compute_capabilities
    assert (api.network_flags(), api.max_opset) == (flags, max_opset)
    api.init_plugins(None)  # this module has none


@needs_rtx
def test_tensorrt_for_rtx():
    api = load_api("tensorrt_rtx")
    assert api.name == f"TensorRT for RTX {api.version}"
    assert (api.weak_typing, api.strong_typing, api.max_opset) == (False, True, None)
    assert api.compute_capabilities
    assert api.progress_monitor
    assert not api.timing_cache
    api.init_plugins(Logger(api).handle)


@needs_rtx
@pytest.mark.parametrize("verbose", [False, True])
def test_the_logger_keeps_what_explains_a_failure(verbose):
    api = load_api("tensorrt_rtx")
    logger = Logger(api, verbose=verbose)
    levels = api.module.ILogger.Severity
    for level, text in (
        (levels.ERROR, "wrong"), (levels.WARNING, "odd"), (levels.INFO, "fine"),
        (levels.INTERNAL_ERROR, "broken"), (levels.ERROR, "wrong"), (levels.WARNING, "odd"),
    ):  # fmt: skip
        logger.handle.log(level, text)
    assert logger.errors() == "wrong; broken"
    assert logger.warnings() == ("odd",)
    assert (("info", "fine") in logger.lines) == verbose


def test_the_stand_in_for_tensorrt_is_taken_for_8_6():
    code = "from ffswap.engines.trt_api import load_api; a = load_api('tensorrt'); print(a)"
    path = [str(FAKES), *sys.path]
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "strong_typing=False, weak_typing=True" in done.stdout
    assert "max_opset=17" in done.stdout
