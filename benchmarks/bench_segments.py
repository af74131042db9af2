"""What segments and their journal cost: a clip in segments beside the same clip at once.

    python -m benchmarks.bench_segments [--height N] [--loops N] [--rounds N] [--json]

    cost = time in segments / time at once - 1

Both are run one after the other in each round, in turns which goes first, so that noise of the machine falls
on both. Set-up, and the digest of the target that a journal needs, are part of the times. Median over
rounds, with least and greatest in brackets; round by round for the cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ffswap
from benchmarks.clips import benchmark_clip
from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine
from ffswap.pipeline import tune_process
from tools.material import material

__all__ = ["main", "measure"]

PORTRAIT = "astronaut.png"


def measure(target: Path, portrait: Path, rounds: int, segment_s: float = 10.0) -> dict[str, Any]:
    """Seconds of a clip at once and in segments, and what the segments cost."""
    taken: dict[float, list[float]] = {0: [], segment_s: []}
    reports: dict[float, ffswap.SwapReport] = {}
    with tempfile.TemporaryDirectory(prefix="ffswap-bench-") as name:
        for i in range(rounds + 1):
            for length in (0, segment_s) if i % 2 else (segment_s, 0):
                begun = time.perf_counter()
                reports[length] = ffswap.swap(
                    portrait,
                    target,
                    Path(name) / f"{i}-{length}.mp4",
                    options=ffswap.SwapOptions(segment_s=length),
                )
                taken[length].append(time.perf_counter() - begun)
    once, pieces = (taken[length][1:] for length in (0, segment_s))  # the first warms up
    report = reports[segment_s]
    return {
        "frames": report.frames,
        "segments": report.segments,
        "temporary_mb": report.temporary_bytes / 1e6,
        "at_once_s": spread(once),
        "in_segments_s": spread(pieces),
        "cost": spread([b / a - 1 for a, b in zip(once, pieces, strict=True)]),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--loops", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    tune_process()
    found = measure(benchmark_clip(given.height, given.loops), material(PORTRAIT), given.rounds)
    if given.json:
        print(json.dumps({"machine": describe_machine(), "height_px": given.height, **found}))
        return 0
    print(f"{found['frames']} frames of {given.height} lines in {found['segments']} segments")
    for key, digits in (("at_once_s", 2), ("in_segments_s", 2), ("cost", 4)):
        print(f"{key:20s} {cell(found[key], digits)}")
    print(f"{'temporary_mb':20s} {found['temporary_mb']:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
