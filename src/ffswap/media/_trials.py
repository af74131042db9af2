"""Which encoders work on this machine: asked of the encoders themselves."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from ._encoder_table import ENCODERS
from ._priority import same_priority

__all__ = ["TRIAL_PX", "EncoderStatus", "list_usable", "logged", "trial", "usable"]

# Side of the picture that is encoded on trial: hardware encoders refuse much smaller ones.
TRIAL_PX = 256

# The levels of FFmpeg's log belong to the whole process.
_LEVELS = threading.Lock()


@dataclass(frozen=True)
class EncoderStatus:
    """Whether an encoder works on this machine.

    Attributes:
        ok: one frame came out of it.
        reason: why not, in FFmpeg's words; empty when it works.
    """

    ok: bool
    reason: str = ""


@contextmanager
def logged(level: int) -> Iterator[None]:
    """What FFmpeg says up to this level can be captured meanwhile; usually it is thrown away."""
    with _LEVELS:
        before = av.logging.get_level()
        av.logging.set_level(level)
        av.logging.set_libav_level(max(level, av.logging.INFO))
        try:
            yield
        finally:
            av.logging.set_libav_level(av.logging.INFO)  # as it is when the library is loaded
            av.logging.set_level(before)


@functools.cache
def trial(
    encoder: str, pix_fmt: str, width: int, height: int, options: tuple[tuple[str, str], ...]
) -> EncoderStatus:
    """Encode one grey frame."""
    with logged(av.logging.ERROR), av.logging.Capture() as log, same_priority():
        try:
            context = av.CodecContext.create(encoder, "w")
            if not isinstance(context, VideoCodecContext):
                return EncoderStatus(False, "it does not encode video")
            context.width, context.height, context.pix_fmt = width, height, pix_fmt
            context.framerate, context.time_base = Fraction(30), Fraction(1, 30)
            context.options = dict(options)
            frame = av.VideoFrame(width, height, pix_fmt)
            for plane in frame.planes:
                buffer: Any = plane  # PyAV's stubs do not say that it is one
                np.frombuffer(buffer, np.uint8)[:] = 1
            frame.pts = 0
            if context.encode(frame) + context.encode(None):
                return EncoderStatus(True)
            return EncoderStatus(False, "nothing came out of it")
        except (av.FFmpegError, ValueError) as error:
            return EncoderStatus(False, _reason(error, log))


def _reason(error: Exception, log: list[tuple[int, str, str]]) -> str:
    """The first thing that FFmpeg had to say about a failure: what comes later follows from it."""
    last = getattr(error, "log", None)
    lines = [text.strip() for _, _, text in log] or ([last[2].strip()] if last else [])
    text = next((line for line in lines if line), "")
    return text or getattr(error, "strerror", None) or str(error)


def usable(encoder: str, pix_fmt: str) -> EncoderStatus:
    """Whether an encoder works here with a pixel format, found out by encoding one frame.

    The answer is remembered for the life of the process.

    Args:
        encoder: FFmpeg's name of it.
        pix_fmt: FFmpeg's name of the format.
    """
    known = ENCODERS.get(encoder)
    extra = (*known.extra, *known.profiles.get(pix_fmt, ())) if known else ()
    return trial(encoder, pix_fmt, TRIAL_PX, TRIAL_PX, extra)


def list_usable() -> dict[str, EncoderStatus]:
    """All encoders that ffswap knows, and whether each works here with its usual format."""
    usual = {"prores_ks": "yuv422p10le", "dnxhd": "yuv422p"}
    return {name: usable(name, usual.get(name, "yuv420p")) for name in ENCODERS}
