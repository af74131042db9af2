"""Small nets whose answers are known beforehand, with the interface of a specification.

Every function here that makes a net returns the bytes of an ONNX file; what the net answers is
written beside it in NumPy where a test needs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ffswap.carriers import F32, Colour, Faces, Frames, PixelFormat, Plane
from ffswap.geometry import affine
from ffswap.models import ImageInput, ModelSpec, template
from ffswap.models.spec import ImageOutput, SourceInput
from ffswap.ops import cpu

Batch = int | str

TEMPLATES: Mapping[str, F32] = {
    name: template(name)
    for name in ("arcface_112_v1", "arcface_112_v2", "arcface_128", "ffhq_512", "mtcnn_512")
}
"""Where eyes, nose tip and mouth corners belong in a crop, by its side: the published points."""

DIMENSIONS = 512
EMBEDDING_SCALE = 1.0
"""Largest value of an embedding: their norm is about 16, as real ones are no unit vectors either."""

COLOUR_FREQUENCY = 10.0
"""How fast embeddings turn with the mean colour: 0.05 further (of 0 to 1) is a distance of 0.06, 0.2
further one of 0.43."""


def _net(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Batch]],
    outputs: Mapping[str, Sequence[Batch]],
    weights: Mapping[str, Any],
    doubles: Sequence[str] = (),
) -> bytes:
    """The bytes of a model; weights that are no integers are float32."""

    def values(dims: Mapping[str, Sequence[Batch]]) -> list[onnx.ValueInfoProto]:
        kinds = dict.fromkeys(doubles, TensorProto.DOUBLE)
        return [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
            for name, shape in dims.items()
        ]

    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "known", values(inputs), values(outputs), held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def _channel(values: Sequence[float] | NDArray[Any]) -> F32:
    """(1, 3, 1, 1) of three values."""
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def _dims(image: ImageInput, batch: Batch) -> list[Batch]:
    return [batch, *image.shape[1:]]


def _unit_rgb(image: ImageInput) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Nodes and weights from a picture input to ``rgb``, (N, 3, S, S), 0 to 1."""
    nodes, last = [], image.name
    weights: dict[str, Any] = {
        "in_std": _channel(image.std) / np.float32(255),
        "in_mean": _channel(image.mean) / np.float32(255),
    }
    if image.layout == "nhwc":
        nodes.append(_node("Transpose", last, "planar", perm=[0, 3, 1, 2]))
        last = "planar"
    nodes += [_node("Mul", f"{last} in_std", "scaled"), _node("Add", "scaled in_mean", "unit")]
    if image.colour == "bgr":
        weights["turned"] = np.array([2, 1, 0], np.int64)
        return [*nodes, _node("Gather", "unit turned", "rgb", axis=1)], weights
    return [*nodes, _node("Identity", "unit", "rgb")], weights


def _to_result(
    result: ImageOutput, of: str, out: str
) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Nodes and weights from RGB, 0 to 1, to a net's output."""
    weights = {
        "out_scale": _channel(255 / np.asarray(result.std, np.float32)),
        "out_shift": _channel(np.asarray(result.mean) / np.asarray(result.std)),
    }
    nodes = [_node("Mul", f"{of} out_scale", "grown"), _node("Sub", "grown out_shift", out)]
    return nodes, weights


def _source_dims(source: SourceInput, batch: Batch) -> list[Batch]:
    return [batch, DIMENSIONS] if source.image is None else _dims(source.image, batch)


def _output(spec: ModelSpec) -> str:
    return spec.outputs[0] if spec.outputs else "output"


def _painting(
    spec: ModelSpec, nodes: list[onnx.NodeProto], weights: Mapping[str, Any], batch: Batch
) -> bytes:
    """A swapper that gives ``made``, RGB 0 to 1, from ``rgb`` and its source input."""
    assert spec.source is not None
    assert spec.result is not None
    first, held = _unit_rgb(spec.picture)
    last, more = _to_result(spec.result, "made", _output(spec))
    rest = spec.outputs[1:]  # masks, which nobody reads
    return _net(
        [*first, *nodes, *last, *(_node("ReduceMean", "rgb", name, axes=[1]) for name in rest)],
        {
            spec.source.name: _source_dims(spec.source, batch),
            spec.picture.name: _dims(spec.picture, batch),
        },
        {_output(spec): [batch, 3, spec.size, spec.size]}
        | {name: [batch, 1, spec.size, spec.size] for name in rest},
        {**held, **weights, **more},
    )


def identity_swapper(spec: ModelSpec, batch: Batch = "N") -> bytes:
    """Gives the target's crop back; the source goes in and changes nothing."""
    assert spec.source is not None
    axes = [1] if spec.source.image is None else [1, 2, 3]
    nodes = [
        _node("ReduceMean", spec.source.name, "mean", axes=axes, keepdims=0),
        _node("Mul", "mean none", "nothing"),
        _node("Reshape", "nothing column", "zeros"),
        _node("Add", "rgb zeros", "made"),
    ]
    weights = {"none": np.zeros(1, np.float32), "column": np.array([-1, 1, 1, 1], np.int64)}
    return _painting(spec, nodes, weights, batch)


def convolving_swapper(spec: ModelSpec, width: int = 16, seed: int = 1) -> bytes:
    """A swapper with convolutions, wide enough for INT8; its answers are nothing in particular."""
    assert spec.source is not None
    random, sides = np.random.default_rng(seed), (3, width, width, width, 3)
    nodes, weights, last = [], {"none": np.zeros(1, np.float32)}, "rgb"
    for k, (inner, outer) in enumerate(itertools.pairwise(sides)):
        kernel = random.normal(0, (9 * inner) ** -0.5, (outer, inner, 3, 3))
        weights[f"kernel_{k}"] = kernel.astype(np.float32)
        nodes.append(_node("Conv", f"{last} kernel_{k}", f"wide_{k}", pads=[1] * 4))
        nodes[-1].name = f"conv_{k}"
        nodes.append(_node("Sigmoid" if outer == 3 else "Relu", f"wide_{k}", f"next_{k}"))
        last = f"next_{k}"
    weights["column"] = np.array([-1, 1, 1, 1], np.int64)
    nodes += [
        _node("ReduceMean", spec.source.name, "mean", axes=[1], keepdims=0),
        _node("Mul", "mean none", "nothing"),
        _node("Reshape", "nothing column", "zeros"),
        _node("Add", f"{last} zeros", "made"),
    ]
    return _painting(spec, nodes, weights, "N")


def painter(spec: ModelSpec, batch: Batch = "N") -> bytes:
    """Paints every pixel of the crop with one colour that tells the source; see `painted`."""
    assert spec.source is not None
    if spec.source.image is None:
        weights: dict[str, Any] = {
            "from": np.array([0], np.int64), "to": np.array([3], np.int64),
            "axis": np.array([1], np.int64), "gain": np.float32(np.sqrt(DIMENSIONS)),
            "half": np.float32(0.5),
        }  # fmt: skip
        nodes = [
            _node("Slice", f"{spec.source.name} from to axis", "head"),
            _node("Mul", "head gain", "strong"),
            _node("Tanh", "strong", "held"),
            _node("Mul", "held half", "halved"),
            _node("Add", "halved half", "colour"),
        ]
    else:
        weights = {
            "source_std": _channel(spec.source.image.std) / np.float32(255),
            "source_mean": _channel(spec.source.image.mean) / np.float32(255),
        }
        nodes = [
            _node("ReduceMean", spec.source.name, "level", axes=[2, 3], keepdims=1),
            _node("Mul", "level source_std", "level_1"),
            _node("Add", "level_1 source_mean", "colour"),
        ]
    nodes += [
        _node("Reshape", "colour column", "pixel"),
        _node("Mul", "rgb none", "nothing"),
        _node("Add", "nothing pixel", "made"),
    ]
    weights |= {"none": np.zeros(1, np.float32), "column": np.array([-1, 3, 1, 1], np.int64)}
    return _painting(spec, nodes, weights, batch)


def blind_below(data: bytes, image: ImageInput, level: float) -> bytes:
    """A net that gives no numbers for pictures whose mean is less than this, 0 to 1."""
    model = onnx.load_from_string(data)
    out = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["seen" if name == out else name for name in node.output]
    least = (level * 255 - image.mean[0]) / image.std[0]
    weights = {"least": np.float32(least), "nought": np.float32(0)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()
    )
    model.graph.node.extend(
        [
            _node("ReduceMean", image.name, "mean_level", axes=[1, 2, 3], keepdims=1),
            _node("Sub", "mean_level least", "above"),
            _node("Sqrt", "above", "root"),  # of less than 0: no number
            _node("Mul", "root nought", "no_change"),
            _node("Add", "seen no_change", out),
        ]
    )
    return bytes(model.SerializeToString())


def painted(source: F32) -> F32:
    """(n, 3) RGB, 0 to 1: what `painter` makes of source vectors (n, d)."""
    return np.asarray(0.5 + 0.5 * np.tanh(source[:, :3] * np.sqrt(DIMENSIONS)), np.float32)


def _recogniser_weights() -> tuple[F32, F32]:
    """(3, 512) frequencies and (512,) phases."""
    rng = np.random.default_rng(512)
    waves = rng.standard_normal((3, DIMENSIONS)) * COLOUR_FREQUENCY
    return waves.astype(np.float32), rng.uniform(0, 2 * np.pi, DIMENSIONS).astype(np.float32)


def recogniser(spec: ModelSpec, batch: Batch = "N") -> bytes:
    """Tells faces by the mean colour of their crops; see `recognised`."""
    first, weights = _unit_rgb(spec.picture)
    nodes = [
        *first,
        _node("ReduceMean", "rgb", "level", axes=[2, 3], keepdims=0),
        _node("Gemm", "level waves phases", "angle"),
        _node("Cos", "angle", "wave"),
        _node("Mul", "wave scale", _output(spec)),
    ]
    waves, phases = _recogniser_weights()
    held = {"waves": waves, "phases": phases, "scale": np.float32(EMBEDDING_SCALE)}
    return _net(
        nodes, {spec.picture.name: _dims(spec.picture, batch)},
        {_output(spec): [batch, DIMENSIONS]}, {**weights, **held},
    )  # fmt: skip


def recognised(colour: F32) -> F32:
    """(n, 512): what `recogniser` makes of crops with these mean colours (n, 3), 0 to 1.

    The cosine of two is about ``exp(-(COLOUR_FREQUENCY * distance of the colours)**2 / 2)``.
    """
    waves, phases = _recogniser_weights()
    return np.asarray(np.cos(colour @ waves + phases) * EMBEDDING_SCALE, np.float32)


def converter(batch: Batch = "N", name: str = "input") -> bytes:
    """An embedding of norm 1, its values in reverse order, times 3; see `converted`."""
    nodes = [
        _node("ReduceL2", name, "norm", axes=[1], keepdims=1),
        _node("Div", f"{name} norm", "unit"),
        _node("Gather", "unit back", "turned", axis=1),
        _node("Mul", "turned three", "output"),
    ]
    weights = {"back": np.arange(DIMENSIONS)[::-1].copy(), "three": np.float32(3)}
    dims: list[Batch] = [batch, DIMENSIONS]
    return _net(nodes, {name: dims}, {"output": dims}, weights)


def converted(embedding: F32) -> F32:
    """(n, 512): what `converter` makes of embeddings."""
    unit = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    return np.asarray(unit[..., ::-1] * 3, np.float32)


def occluder(spec: ModelSpec, batch: Batch = "N") -> bytes:
    """Sees everything that is clearly green as lying before the face.

    (N, S, S, 1): ``2 - 8 (g - (r + b) / 2)``, not limited, so 1 or more for grey and skin.
    """
    first, weights = _unit_rgb(spec.picture)
    kernel = np.array([4, -8, 4], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        *first,
        _node("Conv", "rgb kernel bias", "free"),
        _node("Transpose", "free", _output(spec), perm=[0, 2, 3, 1]),
    ]
    held = {"kernel": kernel, "bias": np.array([2], np.float32)}
    return _net(
        nodes, {spec.picture.name: _dims(spec.picture, batch)},
        {_output(spec): [batch, spec.size, spec.size, 1]}, {**weights, **held},
    )  # fmt: skip


def parser(spec: ModelSpec, palette: Mapping[str, Sequence[float]], batch: Batch = "N") -> bytes:
    """Labels each pixel with the class whose colour (RGB, 0 to 1) is nearest.

    Classes without a colour are never found.
    """
    count = max(spec.classes.values()) + 1
    kernel, bias = np.zeros((count, 3, 1, 1), np.float32), np.full(count, -100, np.float32)
    for name, colour in palette.items():
        label, values = spec.classes[name], np.asarray(colour, np.float32)
        kernel[label, :, 0, 0], bias[label] = 2 * values, -(values**2).sum()
    first, weights = _unit_rgb(spec.picture)
    return _net(
        [*first, _node("Conv", "rgb kernel bias", _output(spec))],
        {spec.picture.name: _dims(spec.picture, batch)},
        {_output(spec): [batch, count, spec.size, spec.size]},
        {**weights, "kernel": kernel, "bias": bias},
    )


def restorer(spec: ModelSpec, batch: Batch = "N", brighter: float = 0.2) -> bytes:
    """Makes the crop brighter by so much of 0 to 1.

    Where the specification has the constant ``weight`` it is an input of type double and shape
    (1,), by which the brightness is multiplied.
    """
    assert spec.result is not None
    first, weights = _unit_rgb(spec.picture)
    last, more = _to_result(spec.result, "made", _output(spec))
    inputs: dict[str, Sequence[Batch]] = {spec.picture.name: _dims(spec.picture, batch)}
    step = [_node("Add", "rgb step", "made")]
    if "weight" in spec.constants:
        inputs["weight"] = [1]
        step = [
            _node("Cast", "weight", "single", to=TensorProto.FLOAT),
            _node("Mul", "single step", "weighed"),
            _node("Add", "rgb weighed", "made"),
        ]
    return _net(
        [*first, *step, *last], inputs, {_output(spec): [batch, 3, spec.size, spec.size]},
        {**weights, "step": np.float32(brighter), **more}, doubles=["weight"],
    )  # fmt: skip


def image_input(
    size: int,
    name: str = "input",
    *,
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (255, 255, 255),
    layout: str = "nchw",
    colour: str = "rgb",
) -> ImageInput:
    """A square picture input, 0 to 1 unless said otherwise."""
    return ImageInput(
        name=name, layout=layout, size=(size, size), colour=colour,  # type: ignore[arg-type]
        mean=tuple(mean), std=tuple(std),  # type: ignore[arg-type]
    )  # fmt: skip


def make_spec(kind: str, family: str, **fields: Any) -> ModelSpec:
    """A specification with what all of them need."""
    given: dict[str, Any] = {
        "name": f"known_{kind}", "file": f"known_{kind}.onnx", "licence": "CC0-1.0",
        "terms": "open", "vendor": "tests",
    }  # fmt: skip
    return ModelSpec(kind=kind, family=family, **{**given, **fields})  # type: ignore[arg-type]


def swapper_spec(
    size: int = 128,
    template: str = "arcface_128",
    *,
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (255, 255, 255),
    result: ImageOutput | None = None,
    source: SourceInput | None = None,
) -> ModelSpec:
    """A swapper that takes a raw embedding, unless said otherwise."""
    plain = SourceInput(name="source", form="embedding", recogniser="known_recogniser")
    return make_spec(
        "swapper", "generator", image=image_input(size, "target", mean=mean, std=std),
        result=result or ImageOutput(mean=(0, 0, 0), std=(255, 255, 255)),
        template=template, source=source or plain,
    )  # fmt: skip


def recogniser_spec() -> ModelSpec:
    """As the published recogniser: 112 pixels, RGB, -1 to 1."""
    image = image_input(112, mean=[127.5] * 3, std=[127.5] * 3)
    return make_spec("recogniser", "arcface", image=image, template="arcface_112_v2")


def occluder_spec(size: int = 256) -> ModelSpec:
    """As the published occluders: NHWC, BGR, 0 to 1."""
    return make_spec("occluder", "xseg", image=image_input(size, layout="nhwc", colour="bgr"))


PARSER_CLASSES = {"background": 0, "skin": 1, "nose": 10, "mouth": 11, "hair": 17}


def parser_spec(size: int = 512) -> ModelSpec:
    """As the published parsers, with five of their classes."""
    image = image_input(
        size, mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
        std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
    )  # fmt: skip
    return make_spec("parser", "bisenet", image=image, classes=PARSER_CLASSES)


def restorer_spec(size: int = 512, *, weight: float | None = None) -> ModelSpec:
    """As the published restorers: -1 to 1 in and out."""
    half = (127.5, 127.5, 127.5)
    return make_spec(
        "restorer", "restorer", image=image_input(size, mean=half, std=half),
        result=ImageOutput(mean=half, std=half), template="ffhq_512",
        constants={} if weight is None else {"weight": weight},
    )  # fmt: skip


def face_points(
    x: float, y: float, side: float, degrees: float = 0.0, template: str = "arcface_128"
) -> F32:
    """(5, 2) of a face whose crop has its middle at (x, y), this side, and is turned clockwise."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, s], [-s, c]])
    return np.asarray((TEMPLATES[template] - 0.5) * side @ turn + (x, y), np.float32)


def faces_at(*placed: tuple[int, F32], landmarks: NDArray[Any] | None = None) -> Faces:
    """Faces with these points: (index of the frame, (5, 2)) each, in order of the frames."""
    n = len(placed)
    points = np.stack([one for _, one in placed]) if n else np.zeros((0, 5, 2))
    low, high = points.min(1), points.max(1)
    return Faces(
        frame=np.array([i for i, _ in placed], np.int64),
        track=np.arange(n, dtype=np.int64),
        score=np.ones(n, np.float32),
        box=np.concatenate([low, high], 1).astype(np.float32),
        points=points.astype(np.float32),
        fresh=np.zeros(n, np.bool_),
        landmarks=None if landmarks is None else landmarks.astype(np.float32),
    )


def smooth_planes(
    fmt: PixelFormat, colour: Colour, height: int, width: int, phase: float = 0.0
) -> tuple[Plane, Plane, Plane]:
    """Slow waves within the gamut, each plane computed at the places of its own samples."""
    parts = []
    to_luma = affine.invert(cpu.chroma_matrix(fmt))
    for k in range(3):
        h, w = (height, width) if k == 0 else fmt.chroma_shape(height, width)
        rows, columns = np.mgrid[0:h, 0:w].astype(np.float64)
        x, y = columns, rows
        if k:
            x, y = (np.stack([columns, rows], -1) @ to_luma[:, :2].T + to_luma[:, 2]).transpose(
                2, 0, 1
            )
        wave = np.sin(x / 47 + k + phase) + np.cos(y / 59 - 2 * k)
        value = 0.5 + 0.12 * wave if k == 0 else 0.05 * wave
        offset, span = (colour.chroma_scale if k else colour.luma_scale)(fmt.depth)
        parts.append(np.round(offset + span * value).astype(fmt.dtype))
    return parts[0], parts[1], parts[2]


def frames_with(
    planes: Sequence[tuple[Plane, Plane, Plane]], fmt: PixelFormat, colour: Colour | None = None
) -> Frames:
    """Planes as frames at 25 per second."""
    return Frames(
        planes=planes, format=fmt, colour=colour or Colour(),
        pts=np.arange(len(planes), dtype=np.int64), time_base=Fraction(1, 25),
    )  # fmt: skip
