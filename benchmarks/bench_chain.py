"""What everything between the nets costs on the CPU: the neural chain by the time of its nets alone.

    python -m benchmarks.bench_chain [--frames N] [--rounds N] [--json]

The nets are replicas of published ones with their full architecture and random weights: yoloface_8n
searches every frame, 2dfan4 finds points, arcface_w600k_r50 reads the portrait, inswapper_128 makes
the face. They run as they are in a swap; what a trained detector and landmarker would have answered is
put in the place of their answers, so that there is a face to swap. Frames are decoded beforehand and
not encoded.

    ratio = time to look at and paint all frames / time within the nets' runs in the same frames

Both are taken in the same run, batch by batch; a round goes over all frames. The median over rounds, with
least and greatest in brackets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import benchmark_clip
from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine
from ffswap.carriers import F32, Frames
from ffswap.engines import OrtCpuSession
from ffswap.media import ClipReader
from ffswap.models import get
from ffswap.models.onnx_files import save_onnx
from ffswap.models.store import ModelStore
from ffswap.options import ModelOptions, SwapOptions
from ffswap.pipeline import tune_process
from ffswap.pipeline.chain import open_chain
from tools.material import material
from tools.replicas import make

__all__ = ["main", "measure"]

DETECTOR, LANDMARKER, SWAPPER = "yoloface_8n", "2dfan4", "inswapper_128"
REPLICAS = (DETECTOR, LANDMARKER, SWAPPER, "arcface_w600k_r50")
PORTRAIT = "astronaut.png"
HEIGHT_PX = 1080
BATCH = 4

Answer = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class Stopwatch:
    """Counts the time within all runs of ONNX Runtime, and gives answers in the place of some."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.seconds = 0.0
        self._answers = answers
        self._original = OrtCpuSession.run

    def __enter__(self) -> Stopwatch:
        watch, original = self, self._original

        def run(
            session: OrtCpuSession, feeds: Mapping[str, NDArray[Any]]
        ) -> dict[str, NDArray[Any]]:
            begun = time.perf_counter()
            results = original(session, feeds)
            watch.seconds += time.perf_counter() - begun
            answer = watch._answers.get(session.name.partition(".onnx")[0])
            return results if answer is None else results | answer(feeds)

        OrtCpuSession.run = run  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *error: object) -> None:
        OrtCpuSession.run = self._original  # type: ignore[method-assign]


def install(folder: Path, size: str) -> None:
    """Replicas, in a store, under the names of what they stand for."""
    store = ModelStore(folder)
    for name in REPLICAS:
        file = folder.parent / f"{name}.onnx"
        save_onnx(make(name, size), file)  # type: ignore[arg-type]
        store.accept(get(name))
        store.add(get(name), file)


def read_frames(height: int, count: int) -> Frames:
    """The first frames of the clip, all in one batch."""
    with ClipReader(benchmark_clip(height, 1), batch_frames=count) as reader:
        return next(item for item in reader if isinstance(item, Frames))


def points_in(frames: Frames) -> F32:
    """(5, 2) of the face in the first frame, by the nets that come with ffswap."""
    with open_chain(SwapOptions()) as chain:
        faces = chain.finder.tracker()(frames)
    return np.asarray(faces.points[0], np.float32)


def answers_for(points: F32, frames: Frames) -> dict[str, Answer]:
    """What a detector and a landmarker would say of this face."""
    scale = min(1.0, 640 / max(frames.width, frames.height))
    low, high = points.min(0) * scale, points.max(0) * scale

    def detector(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = len(next(iter(feeds.values())))
        tensor = np.zeros((rows, 20, 8400), np.float32)
        tensor[:, :4, 7] = [*((low + high) / 2), *((high - low) * 5 / 3)]
        tensor[:, 4, 7] = 0.9
        tensor[:, 5:, 7] = np.column_stack([points * scale, np.ones(5)]).reshape(-1)
        return {"output": tensor}

    return {DETECTOR: detector}


def measure(frames_wanted: int, rounds: int, size: str = "full") -> dict[str, Any]:
    """The ratio, and what it is made of.

    Args:
        frames_wanted: frames of the clip.
        rounds: how often all of them are swapped.
        size: of the replicas, ``full`` or ``small``.
    """
    tune_process()
    with tempfile.TemporaryDirectory(prefix="ffswap-bench-") as name:
        folder = Path(name) / "models"
        folder.mkdir()
        install(folder, size)
        frames = read_frames(HEIGHT_PX, frames_wanted)
        points = points_in(frames)
        options = SwapOptions(
            models=ModelOptions(swapper=SWAPPER, detector=DETECTOR, landmarker=LANDMARKER)
        )
        portrait = material(PORTRAIT)
        rows = []
        with (
            Stopwatch(answers_for(points, frames)) as watch,
            open_chain(options, folder) as chain,
        ):
            cast, _ = chain.cast(portrait)
            for _ in range(rounds + 1):
                swap = chain.swap(cast)
                watch.seconds, begun = 0.0, time.perf_counter()
                for at in range(0, len(frames), BATCH):
                    part = some(frames, at, min(at + BATCH, len(frames)))
                    swap.paint(part, swap.look(part))
                whole = time.perf_counter() - begun
                if swap.counts.faces != len(frames):
                    raise RuntimeError(f"{swap.counts.faces} faces in {len(frames)} frames")
                rows.append((whole, watch.seconds))
    rows = rows[1:]  # the first warms up
    return {
        "frames": len(frames),
        "height_px": HEIGHT_PX,
        "replicas": size,
        "ms_per_frame": spread([1e3 * whole / len(frames) for whole, _ in rows]),
        "nets_ms_per_frame": spread([1e3 * nets / len(frames) for _, nets in rows]),
        "between_ms_per_frame": spread([1e3 * (w - nets) / len(frames) for w, nets in rows]),
        "ratio": spread([whole / nets for whole, nets in rows]),
    }


def some(frames: Frames, start: int, stop: int) -> Frames:
    """Copies of some of the frames: painting is in place."""
    return Frames(
        [tuple(plane.copy() for plane in planes) for planes in frames.planes[start:stop]],
        frames.format, frames.colour, frames.pts[start:stop], frames.time_base, start,
        frames.rotation,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="small replicas: tries the script")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    figures = measure(given.frames, given.rounds, "small" if given.small else "full")
    if given.json:
        print(json.dumps({"machine": describe_machine(), "chain": figures}))
        return 0
    print(f"{figures['frames']} frames of {HEIGHT_PX} lines, replicas {figures['replicas']}")
    for key, digits in (
        ("ms_per_frame", 0), ("nets_ms_per_frame", 0), ("between_ms_per_frame", 1), ("ratio", 3),
    ):  # fmt: skip
        print(f"{key:22s} {cell(figures[key], digits)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
