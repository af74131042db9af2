"""Where a run computes: on the GPU that was asked for or that suits, or on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DeviceError, EngineError
from ..models import load_catalog
from ..models.store import ModelStore
from ..options import SwapOptions
from .chain import Chain, ReadPicture, open_chain
from .preferences import EMBEDDED_SWAPPER
from .room import GpuRoom
from .swappers import best_swapper

__all__ = ["Folders", "Workplace", "open_workplace"]

_PICTURE = "pictures are swapped on the CPU, which is done with one before a GPU is ready"


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


@contextmanager
def open_workplace(
    options: SwapOptions, folders: Folders, read: ReadPicture, *, picture: bool
) -> Iterator[Workplace]:
    """Load what a swap with these options needs; freed at the end of the block.

    Args:
        options: of the run.
        folders: where things are kept.
        read: reads a photo.
        picture: the target is one.

    Raises:
        DeviceError: the GPU that was asked for cannot be used.
        EngineError: it was asked for, and there is no engine of a model.
        OptionError: a model of that name or kind is not known, or models do not go together.
        ModelError: a model is not installed, or its file is not what it should be.
    """
    with ExitStack() as stack:
        notes: tuple[str, ...] = ()
        if picture and options.device.startswith("cuda"):
            notes = (_PICTURE,)
        elif options.device.startswith("cuda"):
            yield _on_gpu(options, folders, read, stack)
            return
        elif options.device == "auto" and not picture and _suits_gpu(options, folders):
            with ExitStack() as trial:
                try:
                    place = _on_gpu(options, folders, read, trial)
                    stack.push(trial.pop_all())
                except _NoGpuError:
                    place = None
                except (DeviceError, EngineError) as error:
                    hint = "" if error.hint is None else f" ({error.hint})"
                    place, notes = None, (f"the GPU is not used: {error.message}{hint}",)
            if place is not None:
                yield place
                return
        chain = stack.enter_context(open_chain(options, folders.models, folders.catalog, read))
        yield Workplace(chain=chain, notes=notes)


class _NoGpuError(DeviceError):
    """There is no GPU, or no driver."""


def _on_gpu(
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


def _suits_gpu(options: SwapOptions, folders: Folders) -> bool:
    """Whether the swapper is one that runs on a GPU."""
    asked = options.models.swapper
    if asked != "auto":
        return asked != EMBEDDED_SWAPPER
    store = None if folders.models is None else ModelStore(folders.models)
    return best_swapper(load_catalog(folders.catalog), store)[0] != EMBEDDED_SWAPPER
