"""What runs a net: one protocol, one module per runtime. Importing this loads no runtime."""

from .onnxruntime import OrtCpuSession, OrtCudaSession
from .session import Binding, Session, TensorSpec

__all__ = ["Binding", "OrtCpuSession", "OrtCudaSession", "Session", "TensorSpec"]
