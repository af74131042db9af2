"""What calibration sets can be asked to hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from .checks import require
from .limits import LimitOptions

__all__ = ["CalibrateOptions"]

# Fewer are refused by the build of an INT8 engine; more of them take memory, and it uses 160.
LEAST_ROWS, MOST_ROWS = 32, 2048


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """What a calibration set holds, and which nets it is for.

    Attributes:
        model: the swapper; ``auto``: the one that a run would use.
        detector: as in `ModelOptions`.
        landmarker: as in `ModelOptions`.
        count: rows that are kept for each net at the most, 32 to 2048.
        threads: cores that nets and decoders may use; None: all.
        overwrite: whether a calibration set that is there is replaced.
        limits: what files are refused for being too large.
    """

    model: str = "auto"
    detector: str = "auto"
    landmarker: str = "auto"
    count: int = 256
    threads: int | None = None
    overwrite: bool = False
    limits: LimitOptions = field(default_factory=LimitOptions)

    def __post_init__(self) -> None:
        for name in ("model", "detector", "landmarker"):
            value = getattr(self, name)
            require(bool(value.strip()), name, value, "the name of a model")
        allowed = f"{LEAST_ROWS} to {MOST_ROWS}"
        require(LEAST_ROWS <= self.count <= MOST_ROWS, "count", self.count, allowed)
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "1 or more")
