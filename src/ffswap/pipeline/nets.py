"""Finding and loading the nets that a swap works with: by name, by file, or the best one that is there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..carriers import F32
from ..engines import OrtCpuSession, Session
from ..errors import ModelError, OptionError
from ..models import Catalog, ModelSpec, embedded_bytes
from ..models.interface import PortNames, check_interface, find_matrix, fitting
from ..models.onnx_files import Graph, load_onnx
from ..models.spec import Kind
from ..models.store import ModelStore
from ..stages.feed import SharedNet
from .net import Net
from .preferences import EMBEDDED_SWAPPER
from .remedies import lacking, refused
from .renamed import RenamedSession
from .room import GpuRoom
from .swappers import TAKE_EMBEDDED, best_swapper, usable_file

__all__ = ["Nets"]

_ONNX = ".onnx"


def _matrix(graph: Graph, spec: ModelSpec) -> F32 | None:
    projected = spec.source is not None and spec.source.projected
    return find_matrix(graph, spec) if projected else None


class Nets:
    """The models at hand. Sessions stay open until the stack ends.

    Args:
        catalog: the known models.
        store: the user's files, or None.
        threads: that one net may use, 1 or more.
        stack: closes the sessions.
        room: a GPU for the nets that work on whole frames; None: all are run on the CPU.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: ModelStore | None,
        threads: int,
        stack: ExitStack,
        room: GpuRoom | None = None,
    ) -> None:
        self.catalog, self.room = catalog, room
        self._store, self._threads, self._stack = store, threads, stack
        self._shared: dict[str, SharedNet] = {}
        self.files: dict[str, Path] = {}
        """Files of the user's that were opened, by the name of the model."""

    def installed(self, kind: Kind) -> list[ModelSpec]:
        """Models of a kind that can be used now, without those that come with ffswap."""
        specs = (spec for spec in self.catalog.models.values() if spec.kind == kind)
        return [spec for spec in specs if not spec.embedded and self._path(spec) is not None]

    def best_swapper(self) -> tuple[str, str]:
        """Name of the swapper to use when nobody asked for one, and why this one."""
        return best_swapper(self.catalog, self._store)

    def _path(self, spec: ModelSpec) -> Path | None:
        return usable_file(spec, self._store)

    def find(self, asked: str, kind: Kind) -> Net:
        """The model that was asked for by name, or by the path of its file.

        Raises:
            OptionError: no model of this kind is called so.
            InputMissingError: there is no such file.
            ModelError: it is not installed, or the file is no such model.
        """
        if asked.lower().endswith(_ONNX):
            return self._from_file(Path(asked), kind)
        spec = self.catalog.models.get(asked)
        if spec is None or spec.kind != kind:
            known = self.catalog.names(kind) + [EMBEDDED_SWAPPER] * (kind == "swapper")
            what = "no model is" if spec is None else f"it is a {spec.kind}; no {kind} is"
            raise OptionError(
                f"{what} called {asked!r}; allowed: {', '.join(sorted(known))}, or an ONNX file",
                hint="`ffswap models list` shows what there is and what is installed",
            )
        if spec.embedded:
            return Net(spec=spec, file=None)
        path = self._path(spec)
        if path is None:
            raise lacking(spec, self._store)
        return Net(spec=spec, file=path)

    def choose(self, asked: str, kind: Kind, purpose: str) -> Net:
        """The model that was asked for, or for ``auto`` the first one that is installed.

        Args:
            asked: its name, the path of its file, or ``auto``.
            kind: of the model.
            purpose: what it is needed for, for the message.

        Raises:
            OptionError: no model of this kind is called so.
            InputMissingError: there is no such file.
            ModelError: it is not installed, or none is.
        """
        return self._first(kind, purpose) if asked == "auto" else self.find(asked, kind)

    def _first(self, kind: Kind, purpose: str) -> Net:
        """The first model of a kind that is installed.

        Args:
            kind: of the model.
            purpose: what it is needed for, for the message.

        Raises:
            ModelError: there is none.
        """
        found = self.installed(kind)
        if not found:
            known = self.catalog.names(kind)
            raise ModelError(
                f"{purpose} needs a model of the kind {kind}, and none is installed",
                hint=f"`ffswap models pull {known[0]}`" if known else None,
            )
        return Net(spec=found[0], file=self._path(found[0]))

    def _from_file(self, path: Path, kind: Kind) -> Net:
        graph = load_onnx(path)
        specs = [spec for spec in self.catalog.models.values() if spec.kind == kind]
        fits = fitting(graph, specs)
        if path.stem in fits:
            return self._net_of(graph, self.catalog.models[path.stem], path)
        if not fits and any(path.stem == spec.name for spec in specs):
            check_interface(
                graph, self.catalog.models[path.stem], among=self.catalog.models.values(), file=path
            )  # says in what it differs
        alike = [self.catalog.models[name] for name in fits]
        if len({_used(spec) for spec in alike}) != 1:
            known = ", ".join(sorted(spec.name for spec in specs))
            found = (
                f"it could be {', '.join(fits)}" if fits else "none has these inputs and outputs"
            )
            raise ModelError(
                f"which {kind} this is cannot be told: {found}; known: {known}",
                file=path,
                hint="give the file the name of its model, such as inswapper_128.onnx, or describe "
                "it in a catalogue of your own",
            )
        # Of several that are used alike it may be any: it goes by the name of its file.
        name = fits[0] if len(fits) == 1 else path.stem
        return self._net_of(graph, replace(alike[0], name=name), path)

    def _net_of(self, graph: Graph, spec: ModelSpec, path: Path) -> Net:
        """A file that was found to fit: it need not be read again."""
        names = check_interface(graph, spec, file=path)
        return Net(spec=spec, file=path, names=names, matrix=_matrix(graph, spec))

    def open(self, net: Net) -> Session:
        """A session of the net on the CPU.

        Raises:
            ModelError: its file is damaged, or not the model that it should be.
        """
        return self.open_with_matrix(net)[0]

    def compared(self, net: Net) -> Net:
        """The same net, whose file was compared with its entry in the catalogue.

        Raises:
            ModelError: its file is damaged, or not the model that it should be.
        """
        if net.file is None:
            return net
        self.files[net.spec.name] = net.file
        if net.names is not None:
            return net
        # The graph is gone before a session is made: both hold all weights.
        names, matrix = self._checked(net.file, net.spec)
        return replace(net, names=names, matrix=matrix)

    def open_with_matrix(self, net: Net) -> tuple[Session, F32 | None]:
        """A session of a swapper, and the matrix for its source if it has one; see `open`."""
        net = self.compared(net)
        spec, names = net.spec, net.names
        if net.file is None or names is None:
            return self._enter(OrtCpuSession(embedded_bytes(spec), name=spec.name)), None
        session: Session = OrtCpuSession(net.file, threads=self._threads, name=spec.name)
        return self._enter(session if names.own else RenamedSession(session, names)), net.matrix

    def _checked(self, file: Path, spec: ModelSpec) -> tuple[PortNames, F32 | None]:
        """What a file calls its ports, and its matrix; its graph is that of the entry."""
        store = self._store
        try:
            graph = load_onnx(file)
            names = check_interface(graph, spec, among=self.catalog.models.values(), file=file)
        except ModelError as error:
            if store is None or file != store.place(spec):
                raise
            others = [f"or {TAKE_EMBEDDED}"] * (spec.kind == "swapper")
            raise refused(error, spec, store, *others) from error
        return names, _matrix(graph, spec)

    def open_shared(self, net: Net) -> SharedNet:
        """A net that several users take turns at; it is loaded once."""
        if net.spec.name not in self._shared:
            self._shared[net.spec.name] = SharedNet(self.open(net), net.spec)
        return self._shared[net.spec.name]

    def _enter(self, session: Session) -> Session:
        return self._stack.enter_context(session)


def _used(spec: ModelSpec) -> str:
    """Everything in which the use of two models of one interface may differ."""
    return repr(
        (spec.family, spec.outputs, spec.image, spec.result, spec.template, spec.source,
         sorted(spec.constants.items()), sorted(spec.classes.items()), spec.score)
    )  # fmt: skip
