"""A GPU that a run works on: its kernels, its memory, its streams, and the nets that are loaded on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..carriers import F32, FrameBatch, Frames
from ..closing import Closing
from ..engines import OrtCudaSession, Session
from ..engines.store import EngineStore
from ..engines.trt_api import installed_products, load_api
from ..errors import DeviceError, EngineError
from ..gpu import Device, MemoryPool, Programs
from ..models import ModelSpec, embedded_bytes
from ..options import DetectOptions, Precision
from ..stages.masks import FaceMasks
from ..stages.on_gpu.brush import DeviceBrush
from ..stages.on_gpu.find import DeviceDetector, DeviceLandmarker, on_device
from ..stages.on_gpu.lane import DeviceNet, Lane
from .carriage import Carriage
from .engine_open import Engines, OpenedEngine
from .machine import find_cpu
from .net import Net
from .renamed import RenamedSession

__all__ = ["GpuRoom"]

LEAST_FINISHERS, MOST_FINISHERS = 2, 6
"""One core marks 130 faces of 350 pixels a second (on the host of an H100), and a GPU paints 1000."""

PAINT_LANES = 2
"""Batches that are painted at the same time: while one is prepared on the host, the other computes."""


class GpuRoom(Closing):
    """Opens a GPU and what a run needs there. Everything is freed at the end of its block.

    Args:
        index: of the GPU, 0 or more.
        engines: folder of the engine store, or None.
        kernels: folder for compiled kernels, or None.
        precision: that engines must have; None: FP16 before FP32.

    Attributes:
        device: the GPU.
        finishers: batches that are brought back and marked at the same time.
        look: the lane that finds faces; its work goes first.
        paint: the lanes that paint, each used by one thread at a time.
        loaded: the first of the loaded copies of each net, by the model's name.
        runtimes: what runs each net, by the model's name.

    Raises:
        DeviceError: there is no such GPU, or no driver.
    """

    def __init__(
        self,
        index: int,
        *,
        engines: Path | None,
        kernels: Path | None,
        precision: Precision | None,
    ) -> None:
        self._stack = ExitStack()
        self.finishers = max(LEAST_FINISHERS, min(MOST_FINISHERS, find_cpu().usable_cores // 2))
        self._folder, self._precision = engines, precision
        self._loaded_engines: dict[str, OpenedEngine] = {}
        self._engines: Engines | None = None
        self.loaded: dict[str, DeviceNet] = {}
        self.runtimes: dict[str, str] = {}
        with ExitStack() as opened:
            self.device = opened.enter_context(Device(index))
            self.programs = opened.enter_context(Programs(self.device, kernels))
            self.pool = opened.enter_context(MemoryPool(self.device))
            self.look = opened.enter_context(Lane(self.device, self.programs, urgent=True))
            self.paint = tuple(
                opened.enter_context(Lane(self.device, self.programs)) for _ in range(PAINT_LANES)
            )
            self._carriage = opened.enter_context(
                Carriage(self.device, self.pool, self.finishers + 1)
            )
            self._find_engines()
            self._stack = opened.pop_all()

    def _find_engines(self) -> None:
        if self._folder is None or not installed_products():
            return
        api = load_api()
        store = EngineStore(self._folder)
        self._engines = Engines(store, api, self.device)

    @property
    def painters(self) -> int:
        """See `Room.painters`."""
        return len(self.paint)

    def load(self, frames: Frames) -> FrameBatch:
        """See `Room.load`."""
        return self._carriage.load(frames)

    def unload(self, frames: FrameBatch) -> Frames:
        """See `Room.unload`."""
        return self._carriage.unload(on_device(frames))

    @contextmanager
    def visiting(self, frames: Frames) -> Iterator[FrameBatch]:
        """Frames that are only looked at, such as photos."""
        there = self._carriage.load(frames)
        try:
            yield there
        finally:
            self._carriage.discard(there)

    def detector(self, net: Net, options: DetectOptions, angles: tuple[int, ...]) -> DeviceDetector:
        """A detector; see `net` for what can go wrong."""
        loaded = self.net(net, self.look)
        made = DeviceDetector(loaded, self.look, net.spec, options, angles)
        return self._stack.enter_context(made)

    def landmarker(self, net: Net) -> DeviceLandmarker:
        """A landmarker; see `net` for what can go wrong."""
        loaded = self.net(net, self.look)
        return self._stack.enter_context(DeviceLandmarker(loaded, self.look, net.spec))

    def painting_nets(self, net: Net) -> tuple[DeviceNet, ...]:
        """A net on each of the lanes that paint; see `net` for what can go wrong."""
        return tuple(self.net(net, lane) for lane in self.paint)

    def brush(
        self,
        nets: Sequence[DeviceNet],
        spec: ModelSpec,
        masks: FaceMasks,
        boost: int = 1,
        sources: Mapping[str, F32] | None = None,
    ) -> DeviceBrush:
        """What paints with nets that `painting_nets` gave; one brush at a time uses them."""
        made = DeviceBrush(nets, self.paint, spec, masks, boost=boost, sources=sources)
        return self._stack.enter_context(made)

    def net(self, net: Net, lane: Lane) -> DeviceNet:
        """A net on a lane: its engine where TensorRT is installed, else ONNX Runtime on the GPU.

        Raises:
            EngineError: there is no engine, or nothing here can run nets on a GPU.
            ModelError: the model's file cannot be read.
        """
        session = self._stack.enter_context(self._session(net, lane))
        self.runtimes[net.spec.name] = session.runtime
        made = self._stack.enter_context(DeviceNet(session, lane, name=net.spec.name))
        self.loaded.setdefault(net.spec.name, made)
        return made

    def _session(self, net: Net, lane: Lane) -> Session:
        name = net.spec.name
        if self._engines is not None:
            engine = self._loaded_engines.get(name)
            if engine is None:
                engine = self._engines.open(net, self._precision)
                self._loaded_engines[name] = self._stack.enter_context(engine)
            return engine.session(stream=lane.stream, scratch=lane.scratch)
        if self._precision == "fp16":
            raise EngineError(
                f"{name} in FP16 needs an engine of TensorRT, which is not installed",
                hint="pip install 'ffswap[trt-cu13]', or leave --precision out",
            )
        source = embedded_bytes(net.spec) if net.file is None else net.file
        try:
            session = OrtCudaSession(source, device=self.device, stream=lane.stream, name=name)
        except DeviceError as error:
            raise DeviceError(
                f"nothing here runs nets on a GPU: TensorRT is not installed, and {error.message}",
                hint="pip install 'ffswap[trt-cu13]'; or use --device cpu",
            ) from error
        return self._named(session, net)

    def _named(self, session: Session, net: Net) -> Session:
        own = net.names is None or net.names.own
        return (
            session
            if own or net.names is None
            else RenamedSession(session, net.names, spare=self.device.empty)
        )

    def close(self) -> None:
        """Free everything, in reverse order; closing twice is allowed."""
        self._stack.close()
