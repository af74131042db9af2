"""Engines for a run: found in the store by the model's file, and loaded once for all streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..closing import Closing
from ..engines import Session
from ..engines.key import EngineKey
from ..engines.manifest import Manifest
from ..engines.store import EngineStore
from ..engines.tensorrt import TrtEngine, TrtSession
from ..engines.trt_api import TrtApi
from ..errors import EngineError, ModelError
from ..gpu import Device, Scratch, Stream
from ..models.cleaning import clean
from ..models.graph import inputs_of, set_shapes
from ..models.interface import PortNames, check_interface
from ..models.onnx_files import Graph, fingerprint
from ..options import Precision
from .engine_check import fixed
from .engine_graph import read_net
from .engine_place import platform_name, target_of
from .engine_shelf import Here
from .net import Net
from .renamed import RenamedSession

__all__ = ["Engines", "OpenedEngine"]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """An engine of the store that could serve.

    Attributes:
        plan: the file.
        manifest: what is known about it.
    """

    plan: Path
    manifest: Manifest


class OpenedEngine(Closing):
    """An engine of the store, and what it calls its inputs and outputs.

    Args:
        engine: it is closed with this one.
        names: that the model's file has; None: those of the catalogue.
    """

    def __init__(self, engine: TrtEngine, names: PortNames | None) -> None:
        self.engine, self.names = engine, names

    def session(self, *, stream: Stream, scratch: Scratch) -> Session:
        """A session on a stream, under the names of the catalogue.

        Args:
            stream: everything runs on it.
            scratch: shared by all sessions on this stream, and by none on another.
        """
        session = TrtSession(self.engine, stream=stream, scratch=scratch)
        if self.names is None or self.names.own:
            return session
        return RenamedSession(session, self.names, spare=self.engine.device.empty)

    def close(self) -> None:
        """Free the engine, after all its sessions; closing twice is allowed."""
        self.engine.close()


class Engines:
    """The engines of a store that this GPU can run.

    Args:
        store: where they are.
        api: TensorRT, whose version they must be of.
        device: that they must be for; its context is current.
    """

    def __init__(self, store: EngineStore, api: TrtApi, device: Device) -> None:
        self._store, self._api, self._device = store, api, device
        self._here = Here(
            versions={api.product: api.version},
            gpu=target_of(device),
            driver_major=device.info.driver_major,
            platform=platform_name(),
        )

    def open(self, net: Net, precision: Precision | None) -> OpenedEngine:
        """Load the engine of a model.

        Args:
            net: the model and its file.
            precision: that the engine must have; None: FP16 before FP32.

        Raises:
            EngineError: there is none that can be used; the message says why, and what builds it.
            ModelError: the file cannot be read, or is not the model that it should be.
        """
        model = net.spec.name
        candidates, reasons = self._candidates(net, precision)
        if candidates:
            graph = read_net(model, net.file)
            names = net.names
            if names is None and net.file is not None:
                names = check_interface(graph, net.spec, file=net.file)
            graph = clean(graph)
            for one in candidates:
                if _digest(graph, one.manifest.key) == one.manifest.key.onnx_sha256:
                    return OpenedEngine(self._load(model, one), names)
            reasons.append("the ONNX file has changed")
        asked = "" if precision is None else f" --{precision}"
        what = model if net.file is None else net.file  # its name is the engine's, then
        raise EngineError(
            f"there is no engine of {model} that can be used: "
            f"{'; '.join(dict.fromkeys(reasons)) or 'none was built'}",
            hint=f"ffswap build-engine{asked} {what}",
        )

    def _candidates(
        self, net: Net, precision: Precision | None
    ) -> tuple[Sequence[_Candidate], list[str]]:
        """Engines of a net for this machine, FP16 first, the newest first; and why not the others."""
        found: list[_Candidate] = []
        reasons = []
        # The engine of a file that was given has the file's name, whatever net is in it.
        called = {net.spec.name} if net.file is None else {net.spec.name, net.file.stem}
        for entry in self._store.entries():
            if entry.model not in called or precision not in (None, entry.precision):
                continue
            if entry.problem is not None or entry.manifest is None or entry.plan is None:
                reasons.append(entry.problem or "damaged")
            elif (obstacle := self._here.obstacle(entry.manifest.key)) is not None:
                reasons.append(obstacle)
            elif (problem := self._store.verify(entry)) is not None:
                reasons.append(problem)
            else:
                found.append(_Candidate(plan=entry.plan, manifest=entry.manifest))
        found.sort(key=lambda one: one.manifest.key.precision)
        return found, reasons

    def _load(self, model: str, one: _Candidate) -> TrtEngine:
        key = one.manifest.key
        try:
            plan = one.plan.read_bytes()
        except OSError as error:
            raise EngineError(f"the engine of {model} cannot be read: {error}") from error
        return TrtEngine(
            plan, api=self._api, device=self._device, batches=key.batches, name=model,
            unbatched=fixed(key),
        )  # fmt: skip


def _digest(graph: Graph, key: EngineKey) -> str | None:
    """The fingerprint of a clean net with the sizes that an engine was built with, or None.

    Sizes that the file leaves free were given by a recipe, and are in the key.
    """
    sizes = {name: shape for name, _, shape in key.inputs}
    if sizes.keys() != {info.name for info in inputs_of(graph)}:
        return None
    whole = fixed(key)
    if key.batches == (1,):  # the batch itself looks like a size there
        whole = frozenset(name for name in whole if sizes[name][:1] != (1,))
    rows = {name: shape if name in whole else shape[1:] for name, shape in sizes.items()}
    try:
        return fingerprint(set_shapes(graph, rows, unbatched=whole))
    except ModelError:
        return None
