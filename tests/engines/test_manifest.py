"""Keys and manifests: what changes a key, how two differ, and what is no manifest."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import pytest

import ffswap.engines.key
import ffswap.engines.manifest
from ffswap.engines.key import EngineKey, GpuTarget, safe_name
from ffswap.engines.manifest import GateLimits, Island, Manifest, OutputFigures
from ffswap.errors import EngineError, InternalError, OptionError
from tests.engines.engine_samples import A10, H100, key, manifest

ANY_89 = GpuTarget(name="", capability="sm89")
ANY_120 = GpuTarget(name="", capability="sm120")
RTX_4090 = GpuTarget(name="NVIDIA GeForce RTX 4090", capability="8.9")

OTHER: dict[str, tuple[Any, str]] = {
    "model": ("hyperswap", "model inswapper_128, asked for is hyperswap"),
    "product": ("tensorrt_rtx", "TensorRT 8.6.0, here is TensorRT for RTX 8.6.0"),
    "version": ("10.3.0", "TensorRT 8.6.0, here is 10.3.0"),
    "gpus": (
        (A10,),
        "GPU: built on NVIDIA H100 80GB HBM3 (9.0), here is NVIDIA A10 (8.6)",
    ),
    "driver_major": (580, "driver 535, here is 580"),
    "platform": ("linux-aarch64", "built on linux-x86_64, here is linux-aarch64"),
    "onnx_sha256": ("cd" * 32, "the ONNX file has changed"),
    "inputs": (
        (("target", "float16", (-1, 3, 256, 256)),),
        "inputs target: float32 (N, 3, 128, 128), source: float32 (N, 512), "
        "asked for is target: float16 (N, 3, 256, 256)",
    ),
    "batches": (
        (1, 2, 4, 8, 16),
        "batch sizes 1, 4, 8, asked for is 1, 2, 4 and 2 more",
    ),
    "profiles": ("range", "profiles each, asked for is range"),
    "precision": ("fp32", "precision fp16, asked for is fp32"),
    "half_io": (True, "inputs and outputs in FP32, asked for is FP16"),
    "islands": ((), "kept in FP32: Conv_10, asked for is none"),
    "samples": ("drawn:20", "its FP32 nodes were chosen with other samples"),
    "opt_level": (None, "optimisation level 1, asked for is default"),
    "workspace_bytes": (None, "workspace of 4 GiB, asked for is without limit"),
    "flags": (("FP16", "REFIT"), "flags FP16, asked for is FP16, REFIT"),
    "schema": (3, "made by another version of ffswap (schema 2, this one has 3)"),
    "calibration": ("cd" * 32, "its INT8 ranges come from another calibration set"),
}


def test_all_is_sorted():
    for module in (ffswap.engines.key, ffswap.engines.manifest):
        names = module.__all__
        assert names == sorted(names, key=lambda name: (not name.isupper(), name))


def test_every_field_of_a_key_is_tried():
    assert set(OTHER) == {one.name for one in fields(EngineKey)}


def test_digest_stays_what_it_was():
    # Another value means that every engine out there is built again: raise SCHEMA, and say so.
    assert key().digest == "006d04d2a4cbd5085b8420be54f5e1106cc78a6d9f54b4cc32a4a2a53916ed58"


@pytest.mark.parametrize("name", OTHER)
def test_every_field_changes_the_digest(name: str):
    other = replace(key(), **{name: OTHER[name][0]})
    assert other.digest != key().digest
    assert other.stem != key().stem


@pytest.mark.parametrize("name", OTHER)
def test_every_field_is_said_when_it_differs(name: str):
    value, sentence = OTHER[name]
    assert key().difference(replace(key(), **{name: value})) == (sentence,)


def test_equal_keys_do_not_differ():
    assert key().difference(key()) == ()
    assert key() == key()


def test_what_matters_most_is_said_first():
    here = key(version="10.3.0", gpus=(A10,), batches=(1,))
    assert [one.split()[0] for one in key().difference(here)] == ["TensorRT", "GPU:", "batch"]


def test_two_products_are_one_difference():
    here = key(product="tensorrt_rtx", version="1.7.1.116")
    assert key().difference(here) == ("TensorRT 8.6.0, here is TensorRT for RTX 1.7.1.116",)


def test_an_engine_built_ahead_serves_gpus_of_its_capability():
    ahead = key(gpus=(ANY_89, ANY_120), driver_major=None)
    assert ahead.difference(key(gpus=(RTX_4090,))) == ()
    assert ahead.difference(key(gpus=(H100,))) == (
        "GPU: built for any GPU of 8.9, any GPU of 12.0, here is NVIDIA H100 80GB HBM3 (9.0)",
    )


def test_an_engine_built_here_is_not_one_for_any_gpu():
    here = key(gpus=(RTX_4090,))
    assert here.difference(key(gpus=(ANY_89,), driver_major=None)) == (
        "GPU: built on NVIDIA GeForce RTX 4090 (8.9), here is any GPU of 8.9",
        "driver 535, here is none",
    )


def test_an_engine_built_here_is_not_one_for_another_gpu_of_its_capability():
    # TensorRT times kernels on the very GPU: memory and clocks count as well.
    laptop = GpuTarget(name="NVIDIA RTX 4050 Laptop GPU", capability="8.9")
    (sentence,) = key(gpus=(RTX_4090,)).difference(key(gpus=(laptop,)))
    assert sentence == (
        "GPU: built on NVIDIA GeForce RTX 4090 (8.9), here is NVIDIA RTX 4050 Laptop GPU (8.9)"
    )


def test_an_engine_for_more_gpus_is_not_the_one_for_fewer():
    # Other bytes: whoever builds for one kind of GPU asks for an engine of that alone.
    wide, narrow = (key(gpus=gpus, driver_major=None) for gpus in ((ANY_89, ANY_120), (ANY_89,)))
    assert len(wide.difference(narrow)) == 1
    assert len(narrow.difference(wide)) == 1


@pytest.mark.parametrize(
    ("text", "capability"),
    [("sm75", "7.5"), ("sm120", "12.0"), ("8.9", "8.9"), ("10.3", "10.3")],
)
def test_capabilities_are_read(text: str, capability: str):
    assert GpuTarget(name="", capability=text) == GpuTarget(name="", capability=capability)


@pytest.mark.parametrize("text", ["", "sm", "sm8", "8", "8.9.1", "ada", "sm_89", "0.9"])
def test_what_is_no_capability_is_refused(text: str):
    with pytest.raises(OptionError, match=f"'{text}' is no compute capability; allowed: as in"):
        GpuTarget(name="", capability=text)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"gpus": ()},
        {"precision": "FP 16"},
        {"onnx_sha256": "ab"},
        {"batches": (4, 1)},
        {"batches": (1, 1)},
        {"flags": ("TF32", "FP16")},
    ],
)
def test_impossible_keys_are_refused(change: dict[str, Any]):
    (name,) = change
    with pytest.raises(InternalError, match=" is "):
        key(**change)
    assert getattr(key(), name) != change[name]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("yolo.face-640", "yolo.face-640"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("Gesicht ä\n", "Gesicht___"),
        ("...", "model"),
        ("x" * 300, "x" * 64),
    ],
)
def test_names_are_safe_for_files(name: str, safe: str):
    assert safe_name(name) == safe
    assert key(model=name).stem.startswith(f"{safe}-fp16-")


def test_a_manifest_survives_json():
    written = manifest(key())
    assert Manifest.from_dict(json.loads(json.dumps(written.as_dict(), allow_nan=False))) == written
    bare = manifest(key(driver_major=None), gate=None, islands=(), warnings=(), licence="MIT")
    assert Manifest.from_dict(json.loads(json.dumps(bare.as_dict()))) == bare


def test_the_plan_is_named_by_key_and_content():
    one, other = manifest(key()), manifest(key(), b"another plan")
    assert one.plan == f"{key().stem}-{one.plan_sha256[:8]}.plan"
    assert one.plan != other.plan
    assert one.as_dict()["plan"] == one.plan


def test_what_is_not_finite_is_null():
    node = Island(node="Exp_1", operator="Exp", reason="overflow", value=float("inf"))
    data = json.loads(json.dumps(manifest(key(), islands=(node,)).as_dict(), allow_nan=False))
    assert data["islands"][0]["value"] is None
    assert Manifest.from_dict(data).islands[0].value is None


@pytest.mark.parametrize(
    "name",
    ["relative_l2", "psnr_db", "worst", "peak", "row_error"],
)
def test_figures_are_finite(name: str):
    figures = {"relative_l2": 0.1, "psnr_db": 1.0, "worst": 1.0, "peak": 1.0, "row_error": 0.1}
    with pytest.raises(InternalError, match=f"{name} of output is nan"):
        OutputFigures(output="output", **(figures | {name: float("nan")}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan_sha256": "AB"}, "plan_sha256"),
        ({"plan_bytes": 0}, "plan_bytes"),
        ({"built": "yesterday"}, "built"),
        ({"built": "2026-01-31T12:00:00+01:00"}, "built"),
        ({"source": "/home/somebody/net.onnx"}, "source"),
        ({"source": "C:\\nets\\net.onnx"}, "source"),
    ],
)
def test_impossible_manifests_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(InternalError, match=message):
        manifest(key(), **change)


def edited(path: str, value: Any) -> Any:
    """A manifest as plain types with one value changed, or removed if it is `...`."""
    data: Any = deepcopy(manifest(key()).as_dict())
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    place = data
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("surprise", 1, r"the manifest has a field 'surprise'; allowed: key, plan_sha256"),
        ("licence", ..., "the manifest has no field 'licence'"),
        ("key", ..., "the manifest has no field 'key'"),
        ("key", [], r"the manifest.key is \[\]; allowed: a table"),
        ("key/gpus/0/name", 3, r"the manifest.key.gpus\[0\].name is 3; allowed: text"),
        ("key/gpus/0/capability", "new", "'new' is no compute capability"),
        ("key/gpus", [], r"the GPUs of an engine is \(\)"),
        ("key/inputs/1", ["source", "float32"], r"inputs\[1\] is .*; allowed: a list of 3"),
        ("key/inputs/1/2/0", -1.0, r"inputs\[1\]\[2\]\[0\] is -1.0; allowed: a whole number"),
        ("key/half_io", 1, "half_io is 1; allowed: true or false"),
        ("key/batches/0", True, r"batches\[0\] is True; allowed: a whole number"),
        ("key/schema", 3, "it has schema 3, this ffswap reads 2"),
        ("key/model", "other", "the plan is called 'inswapper_128-fp16-.*', not 'other-fp16-"),
        ("plan", ..., "the plan is called None"),
        ("plan", "../x.plan", r"the plan is called '../x\.plan'"),
        ("plan_bytes", 12.5, "plan_bytes is 12.5; allowed: a whole number"),
        ("plan_bytes", -1, "plan_bytes is -1"),
        ("build_seconds", None, "build_seconds is None; allowed: a number"),
        ("build_seconds", float("inf"), "build_seconds is inf; allowed: a number"),
        ("gate/where", "moon", "gate.where is 'moon'; allowed: engine or reference"),
        ("gate/outputs", {}, r"gate.outputs is {}; allowed: a list"),
        ("warnings/0", "x" * 10, None),
        ("warnings", "x" * 1000, r"warnings is 'x{59}\.\.\.; allowed: a list"),
        ("built", "now", "built is 'now'"),
    ],
)
def test_what_is_no_manifest_is_refused(path: str, value: Any, message: str | None):
    if message is None:
        assert Manifest.from_dict(edited(path, value)).warnings == (value,)
        return
    with pytest.raises(EngineError, match=message):
        Manifest.from_dict(edited(path, value))


@pytest.mark.parametrize("data", [None, [], "text", 3, {}, {"key": None}])
def test_anything_else_is_no_manifest(data: Any):
    with pytest.raises(EngineError, match=r"the manifest has no field|it is not a table"):
        Manifest.from_dict(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relative_l2": 0.0}, "relative_l2 is 0.0; allowed: more than 0, at most 1"),
        ({"row": 1.5}, "row is 1.5; allowed: more than 0, at most 1"),
        ({"row": float("nan")}, "row is nan"),
        ({"psnr_db": -1.0}, r"psnr_db is -1.0; allowed: 0 to 200 \(decibels\)"),
        ({"psnr_db": float("inf")}, "psnr_db is inf"),
    ],
)
def test_impossible_limits_are_refused(change: dict[str, float], message: str):
    with pytest.raises(OptionError, match=message):
        GateLimits(**change)
