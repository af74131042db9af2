"""NVIDIA devices: memory, streams, events, captured graphs. Importing this loads no CUDA."""

from .device import Device, DeviceInfo
from .memory import DeviceArray, Scratch
from .stream import Event, Graph, Stream

__all__ = ["Device", "DeviceArray", "DeviceInfo", "Event", "Graph", "Scratch", "Stream"]
