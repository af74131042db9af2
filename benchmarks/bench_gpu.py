"""How fast the GPU pipeline is: frames in host memory in, frames in host memory out.

    python -m benchmarks.bench_gpu [--work DIR] [--rounds N] [--seconds S] [--precision fp16|fp32]
        [--faces N] [--boost PX] [--height PX] [--build [--recipe FILE]] [--json]

The nets are replicas of published ones with their full architecture and random weights: yoloface_8n
searches every frame, 2dfan4 finds points, inswapper_128 makes the face. To the detector's answer is
added, in its graph, what a trained one would have said, so that there are faces to swap. Engines come
from ``DIR/engines``; ``--build`` makes them with `ffswap build-engine`, without TensorRT ONNX Runtime
runs the same nets.

Frames are decoded beforehand and go round and round; what comes out is thrown away. A round goes on
for some seconds after a warm-up of a third of that. Beside it, in the same round, the swapper alone runs
with batches of eight.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.bench_chain import (
    DETECTOR,
    LANDMARKER,
    PORTRAIT,
    REPLICAS,
    SWAPPER,
    read_frames,
    some,
)
from benchmarks.clips import benchmark_clip
from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine
from ffswap.carriers import F32, Frames
from ffswap.media import probe, read_picture
from ffswap.models import get
from ffswap.models.onnx_files import save_onnx
from ffswap.models.store import ModelStore
from ffswap.options import BuildOptions, ModelOptions, Precision, SwapOptions
from ffswap.pipeline import tune_process
from ffswap.pipeline.chain import open_chain
from ffswap.pipeline.devices import Folders, Workplaces
from ffswap.pipeline.engines import build_engines
from ffswap.pipeline.run import ClipRun, batch_frames
from tools.material import material
from tools.replicas import make

__all__ = ["main", "measure"]

KEPT_BATCHES = 16
ALONE_BATCH = 8


def finding(model: onnx.ModelProto, faces: Sequence[F32]) -> onnx.ModelProto:
    """A detector of the YOLO kind that computes what it computed, and answers with these faces.

    Args:
        model: is changed.
        faces: five points (5, 2) each, pixels of the net's input.
    """
    graph = model.graph
    (output,) = graph.output
    dims = [one.dim_value or 1 for one in output.type.tensor_type.shape.dim]
    answer = np.zeros((1, *dims[1:]), np.float32)
    for k, points in enumerate(faces):
        low, high = points.min(0), points.max(0)
        column = answer[0, :, 7 + 97 * k]
        column[:2], column[2:4], column[4] = (low + high) / 2, (high - low) * 5 / 3, 0.9
        column[5:] = np.column_stack([points, np.ones(5)]).reshape(-1)
    for node in graph.node:
        node.output[:] = ["computed" if one == output.name else one for one in node.output]
        node.input[:] = ["computed" if one == output.name else one for one in node.input]
    graph.initializer.extend(
        [numpy_helper.from_array(answer, "answer"), numpy_helper.from_array(np.float32(0), "none")]
    )
    graph.node.extend(
        [
            onnx.helper.make_node("Mul", ["computed", "none"], ["nothing"], name="nothing"),
            onnx.helper.make_node("Add", ["nothing", "answer"], [output.name], name="answer"),
        ]
    )
    return model


def faces_in(frames: Frames, count: int) -> list[F32]:
    """Five points of so many faces, in pixels of the detector's input; the first one is real."""
    with open_chain(SwapOptions()) as chain:
        found = chain.finder.tracker()(frames)
    scale = min(1.0, 640 / max(frames.width, frames.height))
    points = np.asarray(found.points[0], np.float32) * scale
    steps = (0.0, 0.75, -0.75, 1.5)
    wide = float(np.ptp(points[:, 0])) * 2.2
    return [points + np.array([wide * steps[k], 0], np.float32) for k in range(count)]


def mean_of_picture() -> onnx.ModelProto:
    """A detector that takes next to no time, and whose answer is none."""
    picture = get(DETECTOR).picture
    width, height = picture.size
    value, real = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    steps = [("input", "columns", 3, 0), ("columns", "rows", 2, 0), ("rows", "mean", 1, 1)]
    nodes = [
        onnx.helper.make_node("ReduceMean", [a], [b], name=b, axes=[axis], keepdims=keep)
        for a, b, axis, keep in steps
    ]
    nodes.append(onnx.helper.make_node("Unsqueeze", ["mean", "last"], ["output"], name="last"))
    graph = onnx.helper.make_graph(
        nodes, "light", [value(picture.name, real, [1, 3, height, width])],
        [value("output", real, [1, 20, 8400])],
        [numpy_helper.from_array(np.array([2], np.int64), "last")],
    )  # fmt: skip
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


def install(folder: Path, faces: Sequence[F32], *, light: bool = False) -> Path:
    """Replicas, in a store, under the names of what they stand for; those that are there are kept.

    Args:
        folder: gets the store.
        faces: that the detector finds.
        light: the detector is `mean_of_picture`.
    """
    models = folder / "models"
    models.mkdir(exist_ok=True, parents=True)
    store = ModelStore(models)
    for name in REPLICAS:
        if store.path(get(name)) is not None and name != DETECTOR:
            continue
        if name == DETECTOR:
            model = finding(mean_of_picture() if light else make(name, "full"), faces)
        else:
            model = make(name, "full")
        file = folder / f"{name}.onnx"
        save_onnx(model, file)
        store.accept(get(name))
        store.add(get(name), file)
        file.unlink()
    return models


class Source:
    """Batches of frames, round and round, until it is told to end."""

    def __init__(self, batches: Sequence[Frames]) -> None:
        self._batches = batches
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Frames]:
        index = 0
        while not self.ended.is_set():
            batch = self._batches[(index // len(self._batches[0])) % len(self._batches)]
            yield replace(batch, index=index, pts=batch.pts - batch.pts[0] + index)
            index += len(batch)


class Sink:
    """Takes frames and counts them."""

    def __init__(self) -> None:
        self.frames_written = 0

    def write(self, item: Any) -> None:
        """One batch."""
        self.frames_written += len(item)


def flow(place: Any, cast: Any, batches: Sequence[Frames], seconds: float) -> dict[str, Any]:
    """Frames per second through the whole pipeline in its steady state."""
    source, sink, swap = Source(batches), Sink(), place.chain.swap(cast)
    reader: Any = source
    writer: Any = sink
    run = ClipRun(reader, writer, swap, room=place.room)
    thread = threading.Thread(target=run.run)
    thread.start()
    time.sleep(seconds / 3)
    counted, begun = sink.frames_written, time.perf_counter()
    cpu = time.process_time()
    time.sleep(seconds)
    frames, passed = sink.frames_written - counted, time.perf_counter() - begun
    cores = (time.process_time() - cpu) / passed
    source.ended.set()
    thread.join()
    return {"fps": frames / passed, "cores": cores, "stage_fps": run.stage_fps()}


def alone(place: Any, seconds: float) -> float:
    """Faces per second of the swapper alone, its input where it is."""
    net, lane = place.room.loaded[SWAPPER], place.room.paint[0]
    place.room.device.activate()
    for _ in range(5):
        net.run(ALONE_BATCH)
    lane.finish()
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(10):
            net.run(ALONE_BATCH)
        lane.finish()
        count += 10 * ALONE_BATCH
    return count / (time.perf_counter() - begun)


def build(
    models: Path, engines: Path, precision: Precision | None, recipe: Path | None, *, light: bool
) -> None:
    """Engines of the nets that see frames."""
    options = BuildOptions(precision=precision)
    for name in (DETECTOR, SWAPPER) if light else (DETECTOR, LANDMARKER, SWAPPER):
        report = build_engines([name], options, folder=engines, models_folder=models, recipe=recipe)
        for one in report.engines:
            print(f"{name}: {one.status}, {one.plan}", file=sys.stderr)


def measure(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All figures."""
    tune_process()
    size = batch_frames(given.height * 16 // 9, given.height)
    frames = read_frames(given.height, KEPT_BATCHES * size)
    models = install(work, faces_in(some(frames, 0, 1), given.faces), light=given.light)
    engines = work / "engines"
    if given.build:
        build(models, engines, given.precision, given.recipe, light=given.light)
    batches = [some(frames, at, at + size) for at in range(0, len(frames) - size + 1, size)]
    options = SwapOptions(
        device="cuda",
        faces="all",
        precision=given.precision,
        models=ModelOptions(
            swapper=SWAPPER,
            detector=DETECTOR,
            landmarker="none" if given.light else LANDMARKER,
            pixel_boost=given.boost,
        ),
    )
    clip = benchmark_clip(given.height, 1)
    options = replace(options, mesh=replace(options.mesh, keep_occluders=False))
    folders = Folders(models=models, engines=engines, kernels=work / "kernels")
    rows, single = [], []
    with Workplaces(options, folders, read_picture) as places:
        place = places.of(probe(clip))
        cast, _ = place.chain.cast(material(PORTRAIT))
        for _ in range(given.rounds):
            rows.append(flow(place, cast, batches, given.seconds))
            single.append(alone(place, given.seconds / 3))
        room, runtimes = place.room, dict(place.chain.runtimes)
        assert room is not None
        pool, free = room.pool.peak_bytes, room.device.free_bytes()
        total = room.device.info.memory_bytes
    return {
        "runtimes": runtimes,
        "frames_per_batch": size,
        "faces": given.faces,
        "light": given.light,
        "height_px": given.height,
        "fps": spread([row["fps"] for row in rows]),
        "cores": spread([row["cores"] for row in rows]),
        "swapper_alone_faces_per_s": spread(single),
        "share": spread(
            [row["fps"] * given.faces / one for row, one in zip(rows, single, strict=True)]
        ),
        "stage_fps": {
            name: spread([row["stage_fps"][name] for row in rows]) for name in rows[0]["stage_fps"]
        },
        "pool_peak_mib": pool / (1 << 20),
        "device_used_mib": (total - free) / (1 << 20),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, help="keeps nets, engines and kernels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--precision", choices=("fp16", "fp32"), default=None)
    parser.add_argument("--faces", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument("--light", action="store_true", help="leave out what finds faces")
    parser.add_argument("--boost", type=int, help="side of the crop, pixels")
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--recipe", type=Path, help="for --build")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ffswap-bench-") as name:
        figures = measure(given, given.work or Path(name))
    if given.json:
        print(json.dumps({"machine": describe_machine(), "gpu": figures}))
        return 0
    for key, value in figures.items():
        shown = value
        if isinstance(value, dict) and "median" in value:
            shown = cell(value, 3 if key in ("share", "cores") else 0)
        elif key == "stage_fps":
            shown = ", ".join(f"{stage} {cell(one, 0)}" for stage, one in value.items())
        print(f"{key:26s} {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
