"""What runs a net: one protocol, one module per runtime. Importing this loads no runtime."""

from .onnxruntime import OrtCpuSession
from .session import Session, TensorSpec

__all__ = ["OrtCpuSession", "Session", "TensorSpec"]
