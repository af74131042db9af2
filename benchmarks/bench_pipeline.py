"""How close a whole run comes to what the machine allows, and whether memory stays bounded.

``make bench`` runs it; ``make bench ARGS=--json`` prints numbers for machines.

Speed. The end-to-end rate is held against two ceilings, all taken from the same runs:

    a  slowest stage   the least of the rates that decode, track, paint and encode reach alone, one after
                       the other with nothing else at work, just before each whole run.
    b  all cores       usable cores by processor seconds per frame of the whole process, all threads.

    ratio = end-to-end / min(a, b)

Set-up (loading nets, reading the portrait) is not part of the rate: the report counts from the first
frame, and processor seconds per frame are those of a whole run less those of a one-frame run, by the
frames between them. Every repetition runs every clip once, so that a slow moment of the machine hits
all of them; a first round is thrown away. Medians, with least and greatest in brackets.

Memory. Peak resident memory of a fresh process that swaps a clip, and of one that swaps ten times it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clips import benchmark_clip
from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine, usable_cores
from benchmarks.stages import rates_alone
from ffswap.options import Position, SwapOptions
from ffswap.pipeline import swap, tune_process
from ffswap.pipeline.report import SwapReport
from tools.material import material

__all__ = ["Plan", "main", "measure"]

PORTRAIT = "astronaut.png"
ONE_FRAME = SwapOptions(end=Position(frame=1), overwrite=True)
WHOLE = SwapOptions(overwrite=True)
MOST_FRAMES_ALONE = 144
"""Frames held in memory while the stages are measured alone: 450 MB at 1080p."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        heights_px: of the clips for speed, 16:9.
        loops: how often a clip for speed is repeated end to end.
        repeats: runs of each clip that count.
        warm_up: whether a round is run first that does not count.
        memory_loops: length of the two clips for memory.
    """

    heights_px: tuple[int, ...] = (360, 1080)
    loops: int = 10
    repeats: int = 5
    warm_up: bool = True
    memory_loops: tuple[int, int] = (2, 20)


QUICK = Plan(heights_px=(360,), loops=1, repeats=1, warm_up=False, memory_loops=(1, 2))


@dataclass(frozen=True)
class Run:
    """One run: its own report, and the processor seconds of all threads of the process."""

    report: SwapReport
    cpu_s: float


@dataclass(frozen=True)
class Turn:
    """All that is measured of one clip in one repetition: `alone` is each stage's own rate."""

    one: Run
    whole: Run
    alone: dict[str, float]


def _run(target: Path, folder: Path, options: SwapOptions) -> Run:
    before = time.process_time()
    report = swap(material(PORTRAIT), target, folder / "out.mp4", options=options)
    return Run(report, time.process_time() - before)


def _summary(height: int, turns: list[Turn]) -> dict[str, Any]:
    """Numbers of one clip from its repetitions."""
    reports = [turn.whole.report for turn in turns]
    frame_cpu_s = [
        max(t.whole.cpu_s - t.one.cpu_s, 1e-9) / max(t.whole.report.frames - t.one.report.frames, 1)
        for t in turns
    ]
    stages = {name: spread([t.alone[name] for t in turns]) for name in turns[0].alone}
    slowest = [min(turn.alone.values()) for turn in turns]
    cores = [usable_cores() / seconds for seconds in frame_cpu_s]
    ratios = [r.fps / min(a, b) for r, a, b in zip(reports, slowest, cores, strict=True)]
    return {
        "height_px": height,
        "frames": reports[0].frames,
        "faces": reports[0].faces,
        "runs": len(turns),
        "fps": spread([report.fps for report in reports]),
        "slowest_stage_fps": spread(slowest),
        "slowest_stage": min(stages, key=lambda name: stages[name]["median"]),
        "cores_fps": spread(cores),
        "cpu_s_per_frame": spread(frame_cpu_s),
        "ratio": spread(ratios),
        "stage_fps": stages,
    }


def _speed(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    clips = {height: benchmark_clip(height, plan.loops) for height in plan.heights_px}
    turns: dict[int, list[Turn]] = {height: [] for height in clips}
    for turn in range(plan.warm_up + plan.repeats):
        for height, clip in clips.items():
            alone = rates_alone(material(PORTRAIT), clip, folder, MOST_FRAMES_ALONE)
            found = Turn(_run(clip, folder, ONE_FRAME), _run(clip, folder, WHOLE), alone)
            if turn >= plan.warm_up:
                turns[height].append(found)
    return [_summary(height, turns[height]) for height in clips]


def _peak(loops: int, folder: Path) -> dict[str, int]:
    """Frames and peak memory of a fresh process that swaps the small clip ``loops`` times over."""
    clip = benchmark_clip(360, loops)
    command = [sys.executable, "-m", "benchmarks.bench_pipeline", "--peak-of", str(clip)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [*command, "--into", str(folder)], stdout=subprocess.PIPE, text=True, check=True, cwd=root
    )
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def _print_peak(clip: Path, folder: Path) -> None:
    """Swap one clip and print the peak memory of this process; the other half of `_peak`."""
    if sys.platform == "win32":
        raise SystemExit("peak memory is not measured on Windows")
    import resource  # does not exist on Windows

    tune_process()
    report = _run(clip, folder, WHOLE).report
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"frames": report.frames, "peak_bytes": peak}))


def measure(plan: Plan) -> dict[str, Any]:
    """Run the plan.

    Returns:
        ``machine``, ``speed`` (one entry for each clip) and ``memory``; plain types only.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short, long = (_peak(loops, folder) for loops in plan.memory_loops)
        speed = _speed(plan, folder)
    memory = {"short": short, "long": long, "ratio": long["peak_bytes"] / short["peak_bytes"]}
    return {"machine": describe_machine(), "speed": speed, "memory": memory}


def _print_tables(result: dict[str, Any]) -> None:
    machine, memory = result["machine"], result["memory"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"{machine['processor']}, {machine['usable_cores']:g} usable cores, {machine['system']}")
    print(f"Python {machine['python']}, {versions}\n")
    print(
        "| clip | frames | runs | end to end, fps | a: slowest stage, fps | b: cores, fps | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in result["speed"]:
        print(
            f"| {row['height_px']}p | {row['frames']} | {row['runs']} | {cell(row['fps'], 1)} "
            f"| {row['slowest_stage']} {cell(row['slowest_stage_fps'], 1)} "
            f"| {cell(row['cores_fps'], 1)} | {cell(row['ratio'], 2)} |"
        )
    for row in result["speed"]:
        print(f"\n{row['height_px']}p, rate of each stage alone, fps:")
        for name, figure in row["stage_fps"].items():
            print(f"  {name:10} {cell(figure, 1)}")
    print("\npeak memory of a fresh process, 360p:")
    for key in ("short", "long"):
        print(f"  {memory[key]['frames']:6} frames  {memory[key]['peak_bytes'] / 2**20:7.1f} MiB")
    print(f"  ratio {memory['ratio']:.3f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed against its ceilings, and peak memory.")
    parser.add_argument("--quick", action="store_true", help="one short run, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--repeats", type=int, default=Plan.repeats)
    parser.add_argument("--loops", type=int, default=Plan.loops, help="length of the clips")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of is not None:
        _print_peak(args.peak_of, args.into)
        return 0
    tune_process()
    result = measure(QUICK if args.quick else Plan(loops=args.loops, repeats=args.repeats))
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        _print_tables(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
