"""Where a run computes: on the GPU that was asked for or that suits, or on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..closing import Closing
from ..errors import DeviceError, EngineError, FfswapError, UserError
from ..media import ClipInfo
from ..models import load_catalog
from ..models.store import ModelStore
from ..options import SwapOptions
from .chain import Chain, ReadPicture, open_chain
from .preferences import EMBEDDED_SWAPPER
from .room import GpuRoom
from .swappers import best_swapper

__all__ = ["Folders", "Workplace", "Workplaces"]

_PICTURE = "still pictures are swapped on the CPU, which is done with one before a GPU is ready"
_HDR = "HDR video is swapped on the CPU"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where things are kept; None: nowhere.

    Attributes:
        models: the user's model files.
        catalog: file with models of the user's own.
        engines: store of TensorRT engines.
        kernels: compiled kernels, kept from run to run.
    """

    models: Path | None = None
    catalog: Path | None = None
    engines: Path | None = None
    kernels: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a run works with.

    Attributes:
        chain: the loaded nets.
        room: the GPU, or None.
        notes: what the user should know about the choice.
    """

    chain: Chain
    room: GpuRoom | None = None
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """As in the ``device`` option."""
        return "cpu" if self.room is None else self.room.device.name


class Workplaces(Closing):
    """What runs with the same options work with, at most the CPU and one GPU; each is loaded when it is
    first needed, and kept.

    Args:
        options: of all runs.
        folders: where things are kept.
        read: reads a photo.

    Attributes:
        trouble: the last error of loading; it would come with another target as well.
    """

    def __init__(self, options: SwapOptions, folders: Folders, read: ReadPicture) -> None:
        self.options, self.folders, self.read = options, folders, read
        self.trouble: FfswapError | None = None
        self._stack = ExitStack()
        self._cpu: Workplace | None = None
        self._gpu: Workplace | None = None
        self._without_gpu: tuple[str, ...] | None = None  # why it is not used; None: not tried

    @contextmanager
    def at(self, target: ClipInfo) -> Iterator[Workplace]:
        """Where a target is worked on, in the block. What a failure may have left in disorder is closed.

        Args:
            target: what is to be changed.

        Raises:
            FfswapError: as `of`.
        """
        place, sound = self.of(target), False
        try:
            yield place
            sound = True
        except UserError:
            sound = place.room is None  # a GPU still holds the frames of the run that ended early
            raise
        finally:
            if not sound:
                self.close()

    def of(self, target: ClipInfo) -> Workplace:
        """The same, without a look at how it ends.

        Args:
            target: what is to be changed.

        Raises:
            DeviceError: the GPU that was asked for cannot be used, or not for this target.
            EngineError: it was asked for, and there is no engine of a model.
            OptionError: a model of that name or kind is not known, or models do not go together.
            ModelError: a model is not installed, or its file is not what it should be.
        """
        device = self.options.device
        obstacle = _PICTURE if target.is_picture else _HDR if target.colour.is_hdr else None
        if device.startswith("cuda") and obstacle is not None:
            raise DeviceError(
                f"{obstacle}; asked for was {device}", file=target.path,
                hint="use --device auto or --device cpu",
            )  # fmt: skip
        try:
            if device.startswith("cuda"):
                return self._on_gpu()
            if device == "auto" and obstacle is None and self._suits_gpu():
                place = self._try_gpu()
                return place or replace(self._on_cpu(), notes=self._without_gpu or ())
            return self._on_cpu()
        except FfswapError as error:
            self.trouble = error
            raise

    def _on_cpu(self) -> Workplace:
        if self._cpu is None:
            folders = self.folders
            chain = open_chain(self.options, folders.models, folders.catalog, self.read)
            self._cpu = Workplace(chain=self._stack.enter_context(chain))
        return self._cpu

    def _try_gpu(self) -> Workplace | None:
        """The GPU if it can be used; it is tried once."""
        if self._without_gpu is not None:
            return None
        try:
            return self._on_gpu()
        except _NoGpuError:
            self._without_gpu = ()
        except (DeviceError, EngineError) as error:
            hint = "" if error.hint is None else f" ({error.hint})"
            self._without_gpu = (f"the GPU is not used: {error.message}{hint}",)
        return None

    def _on_gpu(self) -> Workplace:
        if self._gpu is None:
            with ExitStack() as stack:
                self._gpu = _open_gpu(self.options, self.folders, self.read, stack)
                self._stack.push(stack.pop_all())
        return self._gpu

    def _suits_gpu(self) -> bool:
        """Whether the swapper is one that runs on a GPU."""
        asked = self.options.models.swapper
        if asked != "auto":
            return asked != EMBEDDED_SWAPPER
        models = self.folders.models
        store = None if models is None else ModelStore(models)
        return best_swapper(load_catalog(self.folders.catalog), store)[0] != EMBEDDED_SWAPPER

    def close(self) -> None:
        """Free everything; what is needed afterwards is loaded anew."""
        self._cpu = self._gpu = self._without_gpu = None
        self._stack.close()


class _NoGpuError(DeviceError):
    """There is no GPU, or no driver."""


def _open_gpu(
    options: SwapOptions, folders: Folders, read: ReadPicture, stack: ExitStack
) -> Workplace:
    index = int(options.device.partition(":")[2] or 0)
    try:
        room = stack.enter_context(
            GpuRoom(
                index,
                engines=folders.engines,
                kernels=folders.kernels,
                precision=options.precision,
            )
        )
    except DeviceError as error:
        raise _NoGpuError(
            error.message, hint=error.hint or "use --device auto or --device cpu"
        ) from error
    chain = stack.enter_context(open_chain(options, folders.models, folders.catalog, read, room))
    return Workplace(chain=chain, room=room)
