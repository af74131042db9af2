"""What an output will lack of its input, before anything is read, encoded or written."""

from __future__ import annotations

import io

import av

from ..files import PathLike
from ..options import EncodeOptions, LimitOptions
from ._encoder_table import container_of
from ._streams import Copies, tell_services
from .encoders import choose
from .reader import ClipReader

__all__ = ["foresee"]


def foresee(
    target: PathLike, output: PathLike, encode: EncodeOptions, limits: LimitOptions | None = None
) -> tuple[str, ...]:
    """Sentences about what cannot come along from one file into another; empty: all can.

    Args:
        target: the clip.
        output: its suffix names the container; nothing is written.
        encode: how the video will be encoded.
        limits: what the clip is refused for being too large or too long; None: the usual ones.

    Raises:
        InputMissingError: there is no such clip.
        MediaError: it cannot be read, or has no video.
        OptionError: the encoder cannot do what is asked for.
        OutputFormatError: an unknown container, or one that cannot hold the encoder's video.
        EncoderError: the encoder does not work on this machine.
    """
    form = container_of(output)
    with ClipReader(target, limits=limits) as reader:
        plan = choose(output, reader.info, encode)
        container = av.open(io.BytesIO(), "w", format=form.format)  # never begun, so never written
        copies = Copies(container, reader, form, str(output)[str(output).rfind(".") :])
        for stream in reader.container.streams:
            if stream.index != reader.info.video_index:
                copies.add(stream)
        found = (
            *reader.info.warnings, *plan.warnings, *copies.warnings,
            *tell_services(container, reader, form),
        )  # fmt: skip
    return tuple(dict.fromkeys(found))
