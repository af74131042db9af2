"""The embedded nets: known answers, batches, and parity with the originals in LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import onnx
import pytest
import skimage.data
from numpy.typing import NDArray

from ffswap.carriers import F32
from ffswap.engines import OrtCpuSession
from ffswap.models import ModelSpec, embedded_bytes, get, names

# (left, top, side) of a square around the head, in pixels, measured by eye.
HEADS = {"astronaut": (137, 33, 170), "grace_hopper": (155, 65, 260)}

# Middle of both eyes and of the mouth in the pictures' own pixels, measured by eye. The nets must
# come within 4 % of the square's side (measured: 2.5 %).
EYES_AND_MOUTH = {
    "astronaut": [(203, 101), (246, 104), (224, 146)],
    "grace_hopper": [(223, 190), (306, 188), (266, 279)],
}


def picture(name: str) -> NDArray[np.uint8]:
    """A portrait in the public domain, (H, W, 3) uint8 RGB."""
    if name == "astronaut":
        return np.asarray(skimage.data.astronaut(), np.uint8)
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(bgr[..., ::-1], np.uint8)


def feed(spec: ModelSpec, rgb: NDArray[np.uint8]) -> F32:
    """The picture squeezed to the net's size and range: (1, 3, H, W)."""
    assert spec.picture.colour == "rgb"
    assert spec.picture.layout == "nchw"
    small = cv2.resize(rgb, spec.picture.size, interpolation=cv2.INTER_AREA).astype(np.float32)
    mean = np.array(spec.picture.mean, np.float32)
    std = np.array(spec.picture.std, np.float32)
    return np.ascontiguousarray(((small - mean) / std).transpose(2, 0, 1)[None])


def head(name: str) -> NDArray[np.uint8]:
    """The square around the head, (side, side, 3) uint8 RGB."""
    left, top, side = HEADS[name]
    return picture(name)[top : top + side, left : left + side]


@pytest.fixture(params=sorted(HEADS))
def portrait(request: pytest.FixtureRequest) -> str:
    """Name of each portrait in turn."""
    return str(request.param)


@pytest.fixture(params=names(embedded=True))
def net(request: pytest.FixtureRequest) -> Iterator[OrtCpuSession]:
    """Each embedded net in turn."""
    with OrtCpuSession(embedded_bytes(get(request.param)), name=request.param) as session:
        yield session


def random_images(rows: int, size: int = 192) -> F32:
    """(rows, 3, size, size) float32 in 0 to 1."""
    return np.random.default_rng(rows).random((rows, 3, size, size), np.float32)


def side(net: OrtCpuSession) -> int:
    """Of the net's input, pixels."""
    return net.inputs["image"].shape[-1]


def real_images(model: str) -> F32:
    """Both portraits, whole and cropped to the head."""
    spec = get(model)
    return np.concatenate([feed(spec, f(n)) for n in sorted(HEADS) for f in (picture, head)])


def test_interface_is_what_the_catalogue_says(net: OrtCpuSession):
    for name in names(embedded=True):
        spec = get(name)
        with OrtCpuSession(embedded_bytes(spec)) as session:
            assert [(t.name, t.shape) for t in session.inputs.values()] == [
                (spec.picture.name, spec.picture.shape)
            ]
            assert tuple(session.outputs) == spec.outputs
    shapes = {n: t.shape for n, t in net.outputs.items()}
    assert shapes in (
        {"boxes": (-1, 2304, 16), "scores": (-1, 2304, 1)},
        {"landmarks": (-1, 1404), "presence": (-1, 1)},
        {"landmarks": (-1, 63), "presence": (-1, 1), "handedness": (-1, 1), "world": (-1, 63)},
        {"boxes": (-1, 2016, 18), "scores": (-1, 2016, 1)},
    )


@pytest.mark.parametrize("name", names(embedded=True))
def test_file_is_readable_by_old_runtimes_and_keeps_float16(name: str):
    model = onnx.load_from_string(embedded_bytes(get(name)))
    assert model.opset_import[0].version <= 17
    assert model.ir_version <= 9
    stored = {t.name: t.data_type for t in model.graph.initializer}
    casts = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Cast"}
    halves = {n for n, t in stored.items() if t == onnx.TensorProto.FLOAT16}
    assert set(casts.values()) == halves
    # TensorRT's parser: the kernel may be computed, the bias may not.
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    # The convolutions that stand for PReLU have float32 kernels of one value per channel, no bias.
    biased = [n for n in layers if len(n.input) == 3]
    assert {n.input[1] for n in biased} == set(casts)
    assert {stored[n.input[2]] for n in biased} == {onnx.TensorProto.FLOAT}
    assert {stored[n.input[1]] for n in layers if n not in biased} <= {onnx.TensorProto.FLOAT}
    assert len(embedded_bytes(get(name))) < 3e6


@pytest.mark.conformance("scale", models=names(embedded=True))
def test_range_and_colour_of_the_input():
    # As MediaPipe's graphs feed the nets: RGB from -1 to 1, and from 0 to 1.
    for name, low, high in (
        ("face_detection_full_range", -1, 1), ("face_landmark", 0, 1),
        ("palm_detection", 0, 1), ("hand_landmark", 0, 1),
    ):  # fmt: skip
        image = get(name).picture
        black, white = (
            [(v - m) / s for m, s in zip(image.mean, image.std, strict=True)] for v in (0, 255)
        )
        assert (black, white, image.colour) == ([low] * 3, [high] * 3, "rgb")


@pytest.mark.conformance("portraits", models=["face_detection_full_range"])
def test_detector_finds_the_face(portrait: str):
    spec = get("face_detection_full_range")
    rgb = picture(portrait)
    with OrtCpuSession(embedded_bytes(spec)) as session:
        out = session.run({"image": feed(spec, rgb)})
    best = int(out["scores"][0, :, 0].argmax())
    assert out["scores"][0, best, 0] > 1
    cell = np.array([best % 48, best // 48])
    to_picture = np.array(rgb.shape[1::-1]) / 192
    values = out["boxes"][0, best].reshape(8, 2)
    centre = (values[0] + (cell + 0.5) * 4) * to_picture
    width, height = values[1] * to_picture
    points = (values[2:] + (cell + 0.5) * 4) * to_picture
    left, top, side = HEADS[portrait]
    assert np.abs(points[[0, 1, 3]] - EYES_AND_MOUTH[portrait]).max() < 0.04 * side
    assert points[4, 0] < points[0, 0] < points[1, 0] < points[5, 0]  # ear, eye, eye, ear
    assert (centre > (left, top)).all()
    assert (centre < (left + side, top + side)).all()
    assert 0.3 * side < width < side
    assert 0.3 * side < height < side


@pytest.mark.conformance("portraits", models=["face_landmark"])
def test_landmarks_lie_on_the_face(portrait: str):
    spec = get("face_landmark")
    left, top, side = HEADS[portrait]
    with OrtCpuSession(embedded_bytes(spec)) as session:
        out = session.run({"image": feed(spec, head(portrait))})
        noise = session.run({"image": random_images(1)})
    assert out["presence"][0, 0] > 3
    assert noise["presence"][0, 0] < 0
    mesh = out["landmarks"].reshape(468, 3)
    points = mesh[:, :2] * (side / 192) + (left, top)
    eyes = [points[[33, 133]].mean(0), points[[263, 362]].mean(0)]
    found = np.array([*eyes, points[[13, 14]].mean(0)])
    assert np.abs(found - EYES_AND_MOUTH[portrait]).max() < 0.04 * side
    assert mesh[4, 2] < min(mesh[234, 2], mesh[454, 2])  # the nose is nearer than the cheeks' rims


@pytest.mark.conformance("batch", models=names(embedded=True))
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_batch_equals_rows_one_by_one(net: OrtCpuSession, rows: int):
    images = random_images(rows, side(net))
    together = net.run({"image": images})
    for i in range(rows):
        alone = net.run({"image": images[i : i + 1]})
        for name, batch in together.items():
            assert batch.shape[0] == rows
            scale = float(np.abs(alone[name]).max())
            # Equal to the bit where it was measured (x86-64); other machines may sum in another
            # order, a few units of float32 per layer.
            np.testing.assert_allclose(batch[i : i + 1], alone[name], rtol=0, atol=2e-5 * scale)
    if rows > 1:  # the rows are different questions with different answers
        first = next(iter(together.values()))
        assert not np.allclose(first[0], first[1], atol=0.1)


def lite_outputs(data: bytes, images: F32) -> list[NDArray[Any]]:
    """What LiteRT gives for NCHW images, row by row: each output (N, values)."""
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_content=data, num_threads=1)
    lite.allocate_tensors()
    rows = []
    for image in images:
        nhwc = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
        lite.set_tensor(lite.get_input_details()[0]["index"], nhwc)
        lite.invoke()
        details = lite.get_output_details()
        rows.append([lite.get_tensor(d["index"]).reshape(-1).copy() for d in details])
    return [np.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.conformance("original", models=["face_landmark"])
@pytest.mark.network
@pytest.mark.parametrize("kind", ["random", "real"])
def test_landmarker_equals_the_original(kind: str):
    from tools.embedded.regenerate import landmark_tflite

    images = random_images(3) if kind == "random" else real_images("face_landmark")
    points, flag = lite_outputs(landmark_tflite(), images)
    with OrtCpuSession(embedded_bytes(get("face_landmark"))) as session:
        out = session.run({"image": images})
    assert np.ptp(points) > 50  # pixels: there is something to compare
    assert np.abs(out["landmarks"] - points).max() < 0.1  # pixels of 192
    assert np.abs(out["presence"] - flag).max() < 1e-3


@pytest.mark.conformance("original", models=["face_detection_full_range"])
@pytest.mark.network
@pytest.mark.parametrize("kind", ["random", "real"])
def test_detector_equals_the_original(kind: str):
    from tools.embedded.regenerate import detection_tflite

    images = random_images(3) * 2 - 1
    if kind == "real":
        images = real_images("face_detection_full_range")
    boxes, scores = lite_outputs(detection_tflite(), images)
    with OrtCpuSession(embedded_bytes(get("face_detection_full_range"))) as session:
        out = session.run({"image": images})
    scale = np.abs(boxes).max()
    assert scale > 10  # pixels: there is something to compare
    assert np.abs(out["boxes"].reshape(boxes.shape) - boxes).max() < 1e-3 * scale
    assert np.abs(out["scores"].reshape(scores.shape) - scores).max() < 1e-3


def hand_images(size: int) -> F32:
    """Noise, and both portraits: there is no hand, but there is something to compare."""
    model = get("palm_detection" if size == 192 else "hand_landmark")
    return np.concatenate([random_images(2, size), *(feed(model, head(n)) for n in sorted(HEADS))])


@pytest.mark.conformance("original", models=["palm_detection"])
@pytest.mark.network
def test_palm_detector_equals_the_original():
    from tools.embedded.regenerate import palm_tflite

    images = hand_images(192)
    boxes, scores = lite_outputs(palm_tflite(), images)
    with OrtCpuSession(embedded_bytes(get("palm_detection"))) as session:
        out = session.run({"image": images})
    assert np.abs(boxes).max() > 50  # pixels
    # Measured 2e-4 pixels and 3e-5.
    assert np.abs(out["boxes"].reshape(boxes.shape) - boxes).max() < 2e-3
    assert np.abs(out["scores"].reshape(scores.shape) - scores).max() < 3e-4


@pytest.mark.conformance("original", models=["hand_landmark"])
@pytest.mark.network
def test_hand_landmarker_equals_the_original():
    from tools.embedded.regenerate import hand_tflite

    images = hand_images(224)
    originals = lite_outputs(hand_tflite(), images)
    with OrtCpuSession(embedded_bytes(get("hand_landmark"))) as session:
        out = session.run({"image": images})
    assert np.ptp(out["landmarks"]) > 50  # pixels
    # In the original's order of outputs. Measured 2e-4 pixels and 1e-6.
    for name, want in zip(get("hand_landmark").outputs, originals, strict=True):
        assert np.abs(out[name] - want).max() < (2e-3 if name == "landmarks" else 1e-5)
    for name in ("presence", "handedness"):  # probabilities already
        assert 0 <= out[name].min() <= out[name].max() <= 1


@pytest.mark.network
def test_regenerating_gives_the_committed_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path
):
    from tools.embedded import regenerate

    assert regenerate.main([]) == 0
    assert capsys.readouterr().out.count("same ") == 6
    # And a file that differs is noticed, left alone, and replaced only when asked.
    for path in regenerate.EMBEDDED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = tmp_path / "face_landmark.onnx"
    original = changed.read_bytes()
    changed.write_bytes(original[:-1])
    (tmp_path / "LICENSE").unlink()
    monkeypatch.setattr(regenerate, "EMBEDDED", tmp_path)
    assert regenerate.main([]) == 1
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:6]] == [
        *("missing", "same", "same", "differs", "same", "same")
    ]
    assert changed.read_bytes() == original[:-1]
    assert regenerate.main(["--write"]) == 0
    assert changed.read_bytes() == original
    assert regenerate.main([]) == 0
