"""The rate that each stage of a run reaches alone: with all cores, and nothing else at work."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ffswap.carriers import Frames
from ffswap.media import ClipReader, ClipWriter, choose
from ffswap.options import Position, SwapOptions
from ffswap.pipeline.chain import open_chain
from ffswap.pipeline.run import batch_frames, painters

__all__ = ["rates_alone"]


def rates_alone(portrait: Path, clip: Path, folder: Path, frames: int) -> dict[str, float]:
    """Frames per second of decode, track, paint and encode, one after the other.

    Args:
        portrait: of the source.
        clip: the target.
        folder: for the encoder's output.
        frames: of the clip that are used, held in memory in the meantime.
    """
    with open_chain(SwapOptions()) as chain:
        cast, _ = chain.cast(portrait)
        swap = chain.swap(cast)
        with _reader(clip, frames) as reader:
            start = time.perf_counter()
            batches = [item for item in reader if isinstance(item, Frames)]
            seconds = {"decode": time.perf_counter() - start}
        count = sum(len(batch) for batch in batches)
        start = time.perf_counter()
        plans = [swap.look(batch) for batch in batches]
        seconds["track"] = time.perf_counter() - start
        start = time.perf_counter()
        with ThreadPoolExecutor(painters(None)) as pool:
            list(pool.map(swap.paint, batches, plans))
        seconds["paint"] = time.perf_counter() - start
    output = folder / "alone.mp4"
    with _reader(clip, frames) as reader:
        plan = choose(output, reader.info, SwapOptions().encode)
        with ClipWriter(output, reader, plan, overwrite=True) as writer:
            start = time.perf_counter()
            for batch in batches:
                writer.write(batch)
            writer.finish()
            seconds["encode"] = time.perf_counter() - start
    return {name: count / spent for name, spent in seconds.items()}


def _reader(clip: Path, frames: int) -> ClipReader:
    with ClipReader(clip) as whole:
        info = whole.info
    end = None if (info.declared_frames or 0) <= frames else Position(frame=frames)
    return ClipReader(clip, end=end, batch_frames=batch_frames(info.width, info.height))
