"""What content credentials cost: signing by the time of a whole swap, and for one large file.

    python -m benchmarks.bench_credentials [--loops N] [--rounds N] [--megabytes N] [--json]

    share = time to open the signer and to sign / time of the whole swap

Both are taken in the same run, so that noise of the machine falls on both. The large file is an mp4 whose
pictures do not compress; what is signed is only read and copied, whatever is in it. The disk counts.
Median over rounds, with least and greatest in brackets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

import ffswap
from benchmarks.clips import benchmark_clip
from benchmarks.figures import cell, spread
from benchmarks.machine import describe_machine
from ffswap.files import PendingFile
from ffswap.options import CredentialOptions
from ffswap.pipeline import tune_process
from ffswap.provenance import signing
from ffswap.provenance.reading import read_credentials
from ffswap.provenance.record import Claim
from tools.material import material

__all__ = ["main", "measure_file", "measure_run"]

PORTRAIT = "astronaut.png"
HEIGHT_PX = 720
MEGABYTE = 10**6
CLAIM = Claim(swapped=True, generated=True, models=("inswapper_128",))


class Stopwatch:
    """Counts the time within calls of the two functions that a run spends on its credentials."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sign, self._open = signing.CredentialSigner.sign, signing.open_signer

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same, and its time is added."""

        def call(*args: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.seconds += time.perf_counter() - begun

        return call

    def __enter__(self) -> Stopwatch:
        signing.CredentialSigner.sign = self.timed(self._sign)  # type: ignore[method-assign]
        signing.open_signer = self.timed(self._open)
        return self

    def __exit__(self, *error: object) -> None:
        signing.CredentialSigner.sign = self._sign  # type: ignore[method-assign]
        signing.open_signer = self._open


def measure_run(loops: int, rounds: int) -> dict[str, Any]:
    """Seconds and share of the credentials in a swap of the demo clip, repeated `loops` times."""
    target, portrait = benchmark_clip(HEIGHT_PX, loops), material(PORTRAIT)
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffswap-bench-") as name, Stopwatch() as watch:
        for i in range(rounds + 1):
            watch.seconds, begun = 0.0, time.perf_counter()
            report = ffswap.swap(portrait, target, Path(name) / f"{i}.mp4")
            rows.append((time.perf_counter() - begun, watch.seconds))
    rows = rows[1:]  # the first warms up
    return {
        "frames": report.frames,
        "height_px": HEIGHT_PX,
        "run_s": spread([whole for whole, _ in rows]),
        "credentials_s": spread([part for _, part in rows]),
        "share": spread([part / whole for whole, part in rows]),
    }


def large_clip(path: Path, megabytes: int) -> None:
    """An mp4 of about that size, of one picture that does not compress, again and again."""
    rgb = np.random.default_rng(7).integers(0, 256, (1080, 1920, 3), np.uint8)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mjpeg", rate=25, options={"q:v": "2"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuvj420p"
        (packet,) = stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24"))
        data = bytes(packet)
        for i in range(max(1, megabytes * MEGABYTE // len(data))):
            copy: Any = av.Packet(data)
            copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, True
            copy.pts = copy.dts = i * (packet.duration or 1)
            output.mux(copy)


def measure_file(megabytes: int, rounds: int) -> dict[str, Any]:
    """Seconds to sign and to read back one large file."""
    signer, _ = signing.open_signer(CredentialOptions())
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffswap-bench-") as name:
        source = Path(name) / "large.mp4"
        large_clip(source, megabytes)
        for i in range(rounds):
            pending = PendingFile(Path(name) / f"{i}.mp4", overwrite=False)
            pending.temporary.write_bytes(source.read_bytes())
            begun = time.perf_counter()
            signer.sign(pending, CLAIM, source)
            signed = time.perf_counter()
            found = read_credentials(pending.temporary)
            rows.append((signed - begun, time.perf_counter() - signed))
            pending.discard()
            if found is None or found.state != "valid":
                raise RuntimeError("the file was not signed")
        size = source.stat().st_size
    return {
        "megabytes": size / MEGABYTE,
        "sign_s": spread([sign for sign, _ in rows]),
        "inspect_s": spread([read for _, read in rows]),
        "sign_s_per_500_mb": spread([sign * 500 * MEGABYTE / size for sign, _ in rows]),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    tune_process()
    run = measure_run(given.loops, given.rounds)
    file = measure_file(given.megabytes, given.rounds)
    if given.json:
        print(json.dumps({"machine": describe_machine(), "run": run, "file": file}))
        return 0
    print(f"swap of {run['frames']} frames of {HEIGHT_PX} lines")
    for key, digits in (("run_s", 2), ("credentials_s", 3), ("share", 4)):
        print(f"{key:20s} {cell(run[key], digits)}")
    print(f"mp4 of {file['megabytes']:.0f} MB")
    for key in ("sign_s", "inspect_s", "sign_s_per_500_mb"):
        print(f"{key:20s} {cell(file[key], 2)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
