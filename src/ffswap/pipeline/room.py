"""A GPU that a run works on: its kernels, its memory, its streams, and the nets that are loaded on it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ..closing import Closing
from ..engines import OrtCudaSession, Session
from ..engines.store import EngineStore
from ..engines.trt_api import installed_products, load_api
from ..errors import DeviceError, EngineError
from ..gpu import Device, MemoryPool, Programs
from ..models import Catalog, embedded_bytes
from ..options import Precision
from ..stages.on_gpu.lane import DeviceNet, Lane
from .engine_open import Engines, OpenedEngine
from .nets import Net

__all__ = ["GpuRoom"]

PAINT_LANES = 2
"""Batches that are painted at the same time: while one is prepared on the host, the other computes."""


class GpuRoom(Closing):
    """Opens a GPU and what a run needs there. Everything is freed at the end of its block.

    Args:
        index: of the GPU, 0 or more.
        catalog: the known models.
        engines: folder of the engine store, or None.
        kernels: folder for compiled kernels, or None.
        precision: that engines must have; None: FP16 before FP32.

    Attributes:
        device: the GPU.
        look: the lane that finds faces; its work goes first.
        paint: the lanes that paint, each used by one thread at a time.
        runtimes: what runs each net, by the model's name.

    Raises:
        DeviceError: there is no such GPU, or no driver.
    """

    def __init__(
        self,
        index: int,
        catalog: Catalog,
        *,
        engines: Path | None,
        kernels: Path | None,
        precision: Precision | None,
    ) -> None:
        self._stack = ExitStack()
        self._catalog, self._folder, self._precision = catalog, engines, precision
        self._loaded: dict[str, OpenedEngine] = {}
        self._engines: Engines | None = None
        self.runtimes: dict[str, str] = {}
        with ExitStack() as opened:
            self.device = opened.enter_context(Device(index))
            self.programs = opened.enter_context(Programs(self.device, kernels))
            self.pool = opened.enter_context(MemoryPool(self.device))
            self.look = opened.enter_context(Lane(self.device, self.programs, urgent=True))
            self.paint = tuple(
                opened.enter_context(Lane(self.device, self.programs)) for _ in range(PAINT_LANES)
            )
            self._find_engines()
            self._stack = opened.pop_all()

    def _find_engines(self) -> None:
        if self._folder is None or not installed_products():
            return
        api = load_api()
        store = EngineStore(self._folder)
        self._engines = Engines(store, api, self.device)

    def net(self, net: Net, lane: Lane) -> DeviceNet:
        """A net on a lane: its engine where TensorRT is installed, else ONNX Runtime on the GPU.

        Raises:
            EngineError: there is no engine, or nothing here can run nets on a GPU.
            ModelError: the model's file cannot be read.
        """
        session = self._stack.enter_context(self._session(net, lane))
        self.runtimes[net.spec.name] = session.runtime
        return self._stack.enter_context(DeviceNet(session, lane, name=net.spec.name))

    def _session(self, net: Net, lane: Lane) -> Session:
        name = net.spec.name
        if self._engines is not None:
            engine = self._loaded.get(name)
            if engine is None:
                engine = self._engines.open(net, self._precision)
                self._loaded[name] = self._stack.enter_context(engine)
            return engine.session(stream=lane.stream, scratch=lane.scratch)
        if self._precision in ("fp16", "int8"):
            raise EngineError(
                f"{name} in {self._precision.upper()} needs an engine of TensorRT, which is not installed",
                hint="pip install 'ffswap[trt-cu13]', or leave --precision out",
            )
        source = embedded_bytes(net.spec) if net.file is None else net.file
        try:
            return OrtCudaSession(source, device=self.device, stream=lane.stream, name=name)
        except DeviceError as error:
            raise DeviceError(
                f"nothing here runs nets on a GPU: TensorRT is not installed, and {error.message}",
                hint="pip install 'ffswap[trt-cu13]'; or use --device cpu",
            ) from error

    def close(self) -> None:
        """Free everything, in reverse order; closing twice is allowed."""
        self._stack.close()
