"""What a run tells its caller: events while it goes on, a report at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from ..provenance.record import Signature

__all__ = ["ProgressCallback", "ProgressEvent", "SwapReport"]


@dataclass(frozen=True)
class ProgressEvent:
    """How far a run has come. Sent from the thread that called `swap`, a few times a second.

    Attributes:
        frames: frames that have been encoded so far.
        total: frames expected, or None where the container does not say.
        faces: faces swapped so far (a face in ten frames counts ten times).
        seconds: since the first frame was asked for.
        fps: frames per second of the last few seconds.
        eta_s: seconds left by that rate, or None where `total` is not known.
    """

    frames: int
    total: int | None
    faces: int
    seconds: float
    fps: float
    eta_s: float | None


ProgressCallback: TypeAlias = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class SwapReport:
    """What a run did.

    Attributes:
        output: the file that was written.
        frames: frames written.
        frames_without_face: of these, frames in which no face was found; they are unchanged.
        faces: faces swapped (a face in ten frames counts ten times).
        faces_skipped: faces that were to be swapped and stayed as they are, by the reason:
            ``points``: they cannot be aligned; ``size``: too small or too large; ``values``: a net gave
            values that are not numbers.
        tracks: different faces followed through the clip.
        missing_frames: frames that the container promises and the file does not hold.
        corrupt_frames: frames that the decoder called damaged; they are processed all the same.
        seconds: from the first frame asked for to the finished file, interruptions left out.
        fps: `frames` by `seconds`.
        stage_fps: for each stage, the rate that it would reach alone (frames by its busy time).
        model: name of the swap model.
        model_reason: why this one.
        models: name of every model by its kind; ``landmarker_fallback`` is the landmarker that guesses
            points where the other is not sure.
        device: what computed, such as ``cpu`` or ``cuda:0``; on a GPU, nets that see whole frames do.
        runtimes: by the model's name what ran it on the GPU; the others ran on the CPU.
        encoder: FFmpeg's name of the encoder, or the picture format.
        pixel_format: of the output.
        segments: that a clip was done in, each of which an interrupted run would have kept.
        resumed_frames: of the frames, those that an interrupted run had done; `stage_fps` leaves them out.
        temporary_bytes: that lay beside the output at the most and are gone now, besides the output itself.
        credentials: what was signed into the output or beside it, and by whom; None: nothing was.
        warnings: sentences for the user, in the order in which they arose.
    """

    output: str
    frames: int
    frames_without_face: int
    faces: int
    tracks: int
    missing_frames: int
    corrupt_frames: int
    seconds: float
    fps: float
    model: str
    device: str
    encoder: str
    pixel_format: str
    model_reason: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    runtimes: Mapping[str, str] = field(default_factory=dict)
    faces_skipped: Mapping[str, int] = field(default_factory=dict)
    stage_fps: Mapping[str, float] = field(default_factory=dict)
    segments: int = 1
    resumed_frames: int = 0
    temporary_bytes: int = 0
    credentials: Signature | None = None
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """False when the target was cut short, so that the output is, too."""
        return self.missing_frames == 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, `complete` included, ready for JSON."""
        signed = None if self.credentials is None else self.credentials.as_dict()
        return {**asdict(self), "credentials": signed, "complete": self.complete}
