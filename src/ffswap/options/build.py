"""How engines can be asked for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import OptionError
from .checks import require

__all__ = ["BuildOptions", "Precision"]

Precision = Literal["fp16", "fp32", "int8"]

# More rows than this make no net faster; a larger number is a slip of the finger.
LARGEST_BATCH = 1024
# Of TensorRT's builder_optimization_level, in every version that has it.
MAX_OPT_LEVEL = 5


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How engines are built. None means: as the recipe says, or else by default.

    Attributes:
        precision: ``fp16``, ``fp32`` or ``int8``.
        batches: batch sizes that an engine serves, ascending, each 1 to 1024.
        workspace_gb: device memory that the build may use for trying kernels, in GiB.
        opt_level: how long TensorRT searches for the best kernels, 0 to 5.
        targets: GPUs to build for ahead of time, such as ``sm89``; empty: the one that is here.
        device: index of that GPU.
        force: build also what is there already.
    """

    precision: Precision | None = None
    batches: tuple[int, ...] | None = None
    workspace_gb: float | None = None
    opt_level: int | None = None
    targets: tuple[str, ...] = ()
    device: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        words = get_args(Precision)
        require(self.precision in (None, *words), "precision", self.precision, " or ".join(words))
        if self.batches is not None:
            require(
                self.are_batches(self.batches) and self.batches[-1] <= LARGEST_BATCH,
                "batch", ",".join(map(str, self.batches)),
                f"one or more sizes from 1 to {LARGEST_BATCH} in ascending order, such as 1,4,8,16",
            )  # fmt: skip
        if self.workspace_gb is not None:
            require(self.workspace_gb > 0, "workspace", self.workspace_gb, "more than 0 (GiB)")
        if self.opt_level is not None:
            allowed = f"0 to {MAX_OPT_LEVEL}"
            require(0 <= self.opt_level <= MAX_OPT_LEVEL, "opt-level", self.opt_level, allowed)
        require(self.device >= 0, "device", self.device, "0 or more")
        if self.targets and self.device:
            raise OptionError(
                f"device {self.device} and --for {','.join(self.targets)} exclude each other: what "
                "is built ahead of time is built on no GPU",
                hint="leave out one of them",
            )

    @staticmethod
    def are_batches(batches: Sequence[int]) -> bool:
        """Whether these are batch sizes: at least one, each 1 or more, ascending, none twice."""
        ascending = all(one < two for one, two in itertools.pairwise(batches))
        return len(batches) > 0 and batches[0] >= 1 and ascending
