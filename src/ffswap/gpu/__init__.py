"""NVIDIA devices: memory, streams, events, captured graphs, kernels. Importing this loads no CUDA."""

from .device import Device, DeviceInfo
from .memory import DeviceArray, Scratch
from .pinned import PinnedArray
from .pool import MemoryPool
from .program import Kernel, Programs, compile_program
from .stream import Event, Graph, Stream

__all__ = [
    "Device",
    "DeviceArray",
    "DeviceInfo",
    "Event",
    "Graph",
    "Kernel",
    "MemoryPool",
    "PinnedArray",
    "Programs",
    "Scratch",
    "Stream",
    "compile_program",
]
