"""How often the mark in the pixels is found, and how often it is seen where it is not.

``python -m benchmarks.bench_marks`` prints the tables of docs/provenance.md; ``--quick`` runs a few.

Found. Faces of 80, 150 and 300 pixels, cheek to cheek, in windows that are 2.4 faces wide are swapped
through the whole pipeline and written without loss. Each result is then encoded, scaled, cropped and
thinned out, and `find_mark` looks at the file. The face's width is that before scaling: at 720p a face
of 150 pixels is 100 pixels wide. A miss is rare where the score lies well above the one that is asked
for, so the tables also show how far.

Seen where it is not. The same windows, not swapped, are compared with thousands of patterns that nobody
ever wrote. Each pattern is a trial of what the real one would do to an unmarked clip.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.marked_clips import Scene, Variant, make_scene, make_variant
from ffswap.carriers import F32, Frames
from ffswap.geometry.mark import DECOYS, chance, mark_scores
from ffswap.media import ClipReader
from ffswap.options import EncodeOptions, SwapOptions
from ffswap.pipeline import swap, tune_process
from ffswap.pipeline.chain import open_chain
from ffswap.pipeline.marks import LARGEST_CHANCE, find_mark
from ffswap.stages.mark import MarkReader
from tools.material import material

__all__ = ["main", "measure"]

EILEEN, GRACE = "astronaut.png", "grace_hopper.jpg"
WOLF, SINGLE = "WolfgangLanger_Pexels.mp4", "single_face.mp4"
SCENES = (
    *(
        Scene(f"clip A from frame {k}", WOLF, portrait, k, 115, (447, 210), 211)
        for k in (0, 230)
        for portrait in (EILEEN, GRACE)
    ),
    Scene("clip B", SINGLE, GRACE, 0, 72, (296, 200), 148),
    Scene("picture C", EILEEN, GRACE, 0, 1, (223, 122), 108),
    Scene("picture D", GRACE, EILEEN, 0, 1, (258, 230), 208),
)
"""Pieces of two clips, and two pictures that are moved."""

HD, SD = Fraction(2, 3), Fraction(4, 9)
"""From 1080p to 720p and to 480p."""

CRF_28 = {"crf": "28"}
VARIANTS = (
    *(Variant(f"x264 crf {crf}", options={"crf": str(crf)}) for crf in (18, 23, 28, 33)),
    Variant("x264 crf 28, 720p", options=CRF_28, scale=HD),
    Variant("x264 crf 28, 720p, 2 s", options=CRF_28, scale=HD, seconds=2),
    Variant("x264 crf 28, 480p", options=CRF_28, scale=SD),
    Variant("x265 crf 28, 720p", "libx265", {**CRF_28, "preset": "fast", "x265-params": "log-level=none"}, HD),
    Variant("VP9 crf 33, 720p", "libvpx-vp9", {"crf": "33", "b": "0", "deadline": "realtime", "cpu-used": "6"}, HD),
    Variant("cropped to 80 %, crf 28, 720p", options=CRF_28, scale=HD, crop=0.8),
    Variant("every second frame, crf 28, 720p", options=CRF_28, scale=HD, every=2),
    Variant("crf 18, then copied into mkv", None),
)  # fmt: skip
FACES_PX = (150, 300, 80)
LONG = Variant("x264 crf 28, 720p, 10 s", options=CRF_28, scale=HD, seconds=10)
TRIALS = 24
"""Sets of `DECOYS` patterns that every unmarked clip is compared with."""


def score_of(share: float) -> float:
    """The score that chance reaches in this share of unmarked clips."""
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > share else (low, middle)
    return high


def _swapped(scene: Scene, clip: Path, output: Path) -> Path:
    options = SwapOptions(encode=EncodeOptions(encoder="ffv1"), overwrite=True)
    swap(material(scene.portrait), clip, output, options=options)
    return output


def _sum(clip: Path) -> Iterator[F32]:
    """The sum of the faces of an unmarked clip."""
    gathered = MarkReader()
    with open_chain(SwapOptions()) as chain, ClipReader(clip) as reader:
        tracker = chain.finder.tracker()
        for item in reader:
            if isinstance(item, Frames):
                gathered.look(item, tracker(item))
    if gathered.faces:
        yield gathered.total


def _false(sums: Sequence[F32], trials: int) -> dict[str, Any]:
    """How often decoys reach what chance should."""
    scores = np.concatenate(
        [mark_scores(one, k * DECOYS)[1:] for k in range(trials) for one in sums]
    )
    own = [chance(float(mark_scores(one)[0])) for one in sums]
    shares = {f"{p:g}": float((scores > score_of(p)).mean()) for p in (1e-1, 1e-2, 1e-3, 1e-4)}
    return {
        "clips": len(sums), "trials": len(scores), "share_by_chance": shares,
        "highest_score": float(scores.max()), "least_chance_of_the_mark": min(own),
    }  # fmt: skip


def measure(
    scenes: Sequence[Scene], faces_px: Sequence[int], variants: Sequence[Variant], trials: int
) -> dict[str, Any]:
    """Run all of it.

    Returns:
        ``found``: a row for each width and variant, with the scores of all scenes; ``false``.
    """
    rows: dict[tuple[int, str], list[float]] = {}
    sums: list[F32] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, marked = folder / "clip.mkv", folder / "marked.mkv"
        for face_px in faces_px:
            for k, scene in enumerate(scenes):
                long = LONG in variants and not k % 4
                make_scene(scene, face_px, LONG.seconds if long else 5.0, clip)
                _swapped(scene, clip, marked)
                for variant in variants:
                    if variant is not LONG or long:
                        found = find_mark(make_variant(marked, variant, folder))
                        rows.setdefault((face_px, variant.name), []).append(found.chance)
                for variant in variants[2:5:2] or variants[:1]:
                    sums += _sum(make_variant(clip, variant, folder))
    found_rows = [
        {"face_px": px, "variant": name, "chances": chances} for (px, name), chances in rows.items()
    ]
    return {"found": found_rows, "false": _false(sums, trials)}


def _print_tables(result: dict[str, Any], asked: float) -> None:
    print("| face | what happened to the clip | found | chance, median | chance, greatest |")
    print("|---|---|---|---|---|")
    for row in result["found"]:
        chances = row["chances"]
        hits = sum(one <= asked for one in chances)
        print(
            f"| {row['face_px']} px | {row['variant']} | {hits} of {len(chances)} "
            f"| {_power(median(chances))} | {_power(max(chances))} |"
        )
    false = result["false"]
    print(f"\n{false['clips']} unmarked clips, {false['trials']} trials with other patterns:\n")
    print("| chance as reported | share of trials that reach it |\n|---|---|")
    for reported, share in false["share_by_chance"].items():
        print(f"| {reported} | {share:.2g} |")
    print(
        f"\nhighest score {false['highest_score']:.1f}; least chance of the mark itself in an unmarked "
        f"clip {false['least_chance_of_the_mark']:.2g}"
    )


def _power(share: float) -> str:
    return f"{share:.2g}" if share > 1e-4 else f"1e{math.ceil(math.log10(max(share, 1e-99)))}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How often the mark in the pixels is found.")
    parser.add_argument("--quick", action="store_true", help="one scene, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    tune_process()
    if args.quick:
        result = measure(SCENES[4:5], FACES_PX[:1], VARIANTS[4:5], 1)
    else:
        result = measure(SCENES, FACES_PX, (*VARIANTS, LONG), TRIALS)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        _print_tables(result, LARGEST_CHANCE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
