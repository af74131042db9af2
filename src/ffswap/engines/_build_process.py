"""The child process of `build`: it loads TensorRT, then builds one plan after the other.

Jobs come from the parent; events go there, and for each job a result or an error. The side of the
parent is in `build`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from ..errors import DeviceError, EngineError, FfswapError, ModelError, OptionError
from ..files import write_error
from ..gpu import Device
from . import _timing_cache
from ._build_progress import make_monitor
from ._parent import Channel, Jobs
from .build import BuildJob, known_targets
from .trt_api import Logger, Product, TrtApi, load_api

__all__ = ["main"]

_NO_MEMORY = re.compile(r"out ?of ?memory|cuda oom|bad_alloc|memoryallocation", re.IGNORECASE)
_NO_WORKSPACE = re.compile(r"insufficient workspace|increas\w+ the workspace", re.IGNORECASE)
# TensorRT for RTX asks for a GPU that an ahead-of-time build does not need, and goes on.
_NO_DRIVER = re.compile(r"Cuda Runtime \(.*cudaError")
_MEMORY_HINT = (
    "build with a smaller --batch or --workspace, or close other programs; nvidia-smi shows those "
    "that use the GPU"
)


class _Library:
    """TensorRT and its builder, each made when it is first needed, and then kept.

    Args:
        product: as in a job.
        device: the GPU; None: for jobs with targets.
        channel: is told when something takes long.

    Attributes:
        warnings: of TensorRT while the builder was made.
    """

    def __init__(self, product: Product | None, device: int | None, channel: Channel) -> None:
        self._product, self._device, self._channel = product, device, channel
        self.warnings: tuple[str, ...] = ()

    @cached_property
    def api(self) -> TrtApi:
        self._channel.tell("loading TensorRT")
        return load_api(self._product)

    @cached_property
    def builder(self) -> Any:
        if self._device is not None:
            _open_device(self._device, self.api)
        logger = Logger(self.api)
        self.api.init_plugins(logger.handle)
        builder = _make(self.api, logger, "Builder", logger.handle)
        self.warnings = logger.warnings()
        return builder

    def load(self) -> None:
        """Make what can be made before there is a job; what goes wrong is said when there is one."""
        with contextlib.suppress(FfswapError, MemoryError):
            if self._device is not None or self.api.compute_capabilities:
                _ = self.builder


def main(setup: Mapping[str, Any]) -> NoReturn:
    """Build the plans of jobs until the process is ended, or the parent is gone.

    Args:
        setup: ``product`` and ``device``, as for `_Library`.
    """
    channel, jobs = Channel(), Jobs()
    library = _Library(setup["product"], setup["device"], channel)
    library.load()
    while True:
        job = jobs.next()
        try:
            result = _build(job, library, channel)
        except MemoryError:
            error = EngineError(f"{job.name}: the memory is not enough", hint=_MEMORY_HINT)
            channel.send({"error": _describe(error)})
        except FfswapError as fault:
            channel.send({"error": _describe(fault)})
        else:
            jobs.finish()
            channel.send({"result": result})


def _describe(error: FfswapError) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "file": error.file,
    }


def _build(job: BuildJob, library: _Library, channel: Channel) -> dict[str, Any]:
    api = library.api
    _check(job, api)
    try:
        builder = library.builder
    except DeviceError as error:
        message = f"{job.name} cannot be built: {error.message}"
        raise DeviceError(message, hint=error.hint) from error
    logger = Logger(api)  # hears of this job only
    network = builder.create_network(api.network_flags())
    channel.tell("reading the net")
    _parse(job, api, logger, network)
    config = builder.create_builder_config()
    _configure(job, api, config)
    warnings = _constrain(job, api, config, network)
    _fix_batches(job, builder, config, network)
    hit = None
    if api.timing_cache and job.timing_cache is not None:
        hit, more = _timing_cache.load(job.timing_cache, config)
        warnings += more
    monitor = make_monitor(api, channel.tell) if api.progress_monitor else None
    if monitor is not None:
        config.progress_monitor = monitor
    channel.tell("building")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failure(job, logger)
    if hit is not None and job.timing_cache is not None:
        warnings += _timing_cache.save(job.timing_cache, config)
    channel.tell("writing the plan", 0, 1)
    _write(job.plan, plan)
    channel.tell("writing the plan", 1, 1)
    return {
        "product": api.product,
        "version": api.version,
        "strong_typing": api.strong_typing,
        "timing_cache_hit": hit,
        "warnings": list(dict.fromkeys([*warnings, *library.warnings, *logger.warnings()])),
    }


def _check(job: BuildJob, api: TrtApi) -> None:
    """Refuse names that this TensorRT does not know."""
    known = known_targets(api)
    if job.targets and not known:
        raise OptionError(
            f"{api.name} builds for the GPU that is here, not for {', '.join(job.targets)}",
            hint="leave out --for, or install TensorRT for RTX: pip install 'ffswap[rtx-cu13]'",
        )
    unknown = [one for one in job.targets if one not in known]
    if unknown:
        raise OptionError(
            f"{api.name} cannot build for {', '.join(unknown)}; allowed: {', '.join(known)}"
        )
    sources = api.module.TacticSource.__members__
    unknown = [one for one in job.tactics or () if one not in sources]
    if unknown:
        raise OptionError(
            f"{api.name} has no tactics {', '.join(unknown)}; allowed: {', '.join(sources)}"
        )


def _open_device(index: int, api: TrtApi) -> None:
    """Make the GPU's context current; it stays so until the process ends."""
    try:
        Device(index)
    except DeviceError as error:
        hint = error.hint
        if api.compute_capabilities:
            hint = "to build for GPUs that are not here, name them: --for sm86,sm89"
        raise DeviceError(error.message, hint=hint) from error


def _make(api: TrtApi, logger: Logger, kind: str, *args: Any) -> Any:
    """An object of TensorRT; its bindings turn a null pointer into a TypeError."""
    try:
        return getattr(api.module, kind)(*args)
    except TypeError as error:
        reason = logger.errors() or str(error)
        raise EngineError(f"{api.name} gives no {kind}: {reason}") from error


def _parse(job: BuildJob, api: TrtApi, logger: Logger, network: Any) -> None:
    parser = _make(api, logger, "OnnxParser", network, logger.handle)
    if not parser.parse_from_file(os.fspath(job.onnx)):
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        nodes = _nodes(job.onnx) if any(fault.node() >= 0 for fault in faults) else []
        found = [_describe_fault(fault, nodes) for fault in faults]
        text = "; ".join(found) or logger.errors() or "no reason was given"
        # Of the whole net, because the parser of 8.6 stops at the first.
        operators = dict.fromkeys(operator for _, operator in nodes)
        unknown = [one for one in operators if not parser.supports_operator(one)]
        hint = _memory_hint(text)
        if unknown:
            hint = (
                f"TensorRT has no {', '.join(unknown)}: export the net without it, "
                "or let ONNX Runtime run this net"
            )
        raise EngineError(f"{job.name} cannot be read by {api.name}: {text}", hint=hint)
    # Bytes that are no ONNX at all may read as a net without anything in it.
    if not network.num_layers or not network.num_outputs:
        raise ModelError(f"{job.name} is not an ONNX net: there is nothing in it")


def _nodes(onnx_file: Path) -> list[tuple[str, str]]:
    """Name and operator of every node; of a file that a parser has read before."""
    import onnx

    graph = onnx.load(os.fspath(onnx_file), load_external_data=False).graph
    return [(node.name, node.op_type) for node in graph.node]


def _describe_fault(fault: Any, nodes: list[tuple[str, str]]) -> str:
    """One error of the parser in words."""
    index = fault.node()
    name, operator = nodes[index] if 0 <= index < len(nodes) else ("", "")
    if hasattr(fault, "node_name"):  # it also knows nodes within other nodes
        name, operator = fault.node_name() or name, fault.node_operator() or operator
    where = f"node {name or index} ({operator}): " if index >= 0 else ""
    code = getattr(fault.code(), "name", fault.code())
    source = f" ({fault.func()}, line {fault.line()})" if fault.func() else ""
    return f"{where}{code}: {fault.desc()}{source}"


def _configure(job: BuildJob, api: TrtApi, config: Any) -> None:
    """Everything that is the same for all nets."""
    module = api.module
    flags = module.BuilderFlag
    if job.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    if job.opt_level is not None:
        config.builder_optimization_level = job.opt_level
    if not api.strong_typing and job.half:
        config.set_flag(flags.FP16)
    if not api.strong_typing and job.int8:
        config.set_flag(flags.INT8)
    if not job.half and hasattr(flags, "TF32"):
        config.clear_flag(flags.TF32)
    if hasattr(flags, "REQUIRE_USER_ALLOCATION"):  # else its runs cannot be captured in a graph
        config.set_flag(flags.REQUIRE_USER_ALLOCATION)
    sharing = getattr(getattr(module, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    # Two contexts at once on one profile; where that is always on, it may not be set.
    if sharing is not None and not config.get_preview_feature(sharing):
        config.set_preview_feature(sharing, True)
    if job.tactics is not None:
        members = (getattr(module.TacticSource, name) for name in job.tactics)
        config.set_tactic_sources(sum(1 << int(one) for one in members))
    if api.compute_capabilities:
        _aim(job, api, config)


def _aim(job: BuildJob, api: TrtApi, config: Any) -> None:
    """Say which GPUs the plan is for."""
    names = [one.upper() for one in job.targets] or ["CURRENT"]
    # The count first: without room the next call fails, and the plan would be for this GPU.
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        if not config.set_compute_capability(getattr(api.module.ComputeCapability, name), index):
            raise EngineError(f"{api.name} does not take {name} as a target of {job.name}")


def _constrain(job: BuildJob, api: TrtApi, config: Any, network: Any) -> list[str]:
    """Hold layers in FP32 where the library chooses types; warnings."""
    if api.strong_typing or not job.half or not job.constrain:
        return []
    module, wanted = api.module, set(job.constrain)
    config.set_flag(module.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    floats = (module.float32, module.float16)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name not in job.constrain:
            continue
        wanted.discard(layer.name)
        outputs = [one for one in range(layer.num_outputs) if layer.get_output(one).dtype in floats]
        if outputs:  # layers of integers, shapes for instance, take no such precision
            layer.precision = module.float32
        for one in outputs:
            layer.set_output_type(one, module.float32)
    missing = [name for name in job.constrain if name in wanted]
    return [f"no layer is called {', '.join(missing)}: not held in FP32"] if missing else []


def _fix_batches(job: BuildJob, builder: Any, config: Any, network: Any) -> None:
    """Make the batch static where there is one size, else add profiles."""
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: tuple(tensor.shape) for tensor in tensors}
    for name, shape in shapes.items():
        if -1 in shape[1:]:
            axes = ", ".join(str(axis) for axis, dim in enumerate(shape) if axis and dim < 0)
            raise ModelError(
                f"{job.name}: input {name!r} has the shape {shape}; besides the batch, axis {axes} "
                "is free",
                hint=f"give {name!r} a fixed size when the net is exported, or in its recipe",
            )
    free = {name: shape[1:] for name, shape in shapes.items() if shape[:1] == (-1,)}
    if not free:
        fixed = sorted({shape[0] for shape in shapes.values() if shape})
        if len(job.batches) > 1 or job.batches[0] not in fixed:
            raise ModelError(f"{job.name} has a fixed batch of {fixed}, not {job.batches}")
        return
    if len(job.batches) == 1:
        for tensor in tensors:
            if tensor.name in free:
                tensor.shape = (job.batches[0], *free[tensor.name])
        if all(-1 not in tuple(tensor.shape) for tensor in tensors):
            return
    ranges = [(one, one) for one in job.batches]
    if job.profiles == "range":
        ranges = [(job.batches[0], job.batches[-1])]
    for least, greatest in ranges:
        profile = builder.create_optimization_profile()
        for name, rest in free.items():
            most = (greatest, *rest)
            profile.set_shape(name, (least, *rest), most, most)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"{job.name}: batches {least} to {greatest} make no valid profile")


def _failure(job: BuildJob, logger: Logger) -> EngineError:
    """The error of a build that gave nothing, from what TensorRT has logged."""
    lines = dict.fromkeys(text.strip() for level, text in logger.lines if level == "error")
    telling = [line for line in lines if not (job.targets and _NO_DRIVER.search(line))]
    text = "; ".join(telling or lines) or "TensorRT gave no reason"
    return EngineError(f"{job.name} cannot be built: {text}", hint=_memory_hint(text))


def _memory_hint(text: str) -> str | None:
    """What to do if TensorRT complains of memory, of the GPU or the machine."""
    if _NO_WORKSPACE.search(text):
        return "give it more memory with --workspace"
    return _MEMORY_HINT if _NO_MEMORY.search(text) else None


def _write(path: Path, plan: Any) -> None:
    try:
        with path.open("r+b") as file:
            file.write(memoryview(plan))
    except OSError as error:
        raise write_error(error, path) from error
