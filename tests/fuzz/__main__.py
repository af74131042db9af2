"""`python -m tests.fuzz`: a campaign of any length; exit code 1 when anything was found."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.cases import FAMILIES, Corpus


def _told(tally: Tally, begun: float, every: int) -> None:
    if tally.inputs % every == 0:
        rate = tally.inputs / (time.monotonic() - begun)
        sys.stderr.write(f"{tally.inputs} inputs, {len(tally.findings)} findings, {rate:.1f}/s\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--family", choices=FAMILIES, help="only these")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--limit", type=float, default=30.0, metavar="SECONDS", help="for one input"
    )
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were found")
    parser.add_argument("--bombs", action="store_true", help="also the inputs that are not drawn")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ffswap-fuzz-") as folder:
        corpus = Corpus(Path(folder) / "corpus")
        drawn = [
            partial(corpus.case, given.seed, number, given.family)
            for number in range(given.first, given.first + given.inputs)
        ]
        fixed = [lambda one=one: one for one in corpus.fixed()] if given.bombs else []
        campaign = Campaign(limit_s=given.limit, workers=given.workers, keep=given.keep)
        tally = campaign.run([*fixed, *drawn], lambda now: _told(now, begun, 100))
    kinds = Counter(one.what for one in tally.findings)
    examples = {one.what: one.case for one in reversed(tally.findings)}
    summary = {
        "inputs": tally.inputs,
        "seconds": round(time.monotonic() - begun, 1),
        "ends": dict(tally.ends.most_common()),
        "slowest": tally.slowest,
        "peak_mb": tally.peak_mb,
        "findings": {what: [count, examples[what]] for what, count in kinds.most_common()},
        "messages": dict(tally.messages.most_common()),
    }
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
