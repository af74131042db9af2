"""Builds one engine with TensorRT for RTX and says what the library said: ``rtx_build.py NET``.

A program of its own, because the first logger in a process hears everything and later ones nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ffswap.engines import trt_api


def build(model: bytes) -> dict[str, Any]:
    """Build for Ampere, with batches of 1 to 4; no GPU is needed.

    Returns:
        ``bytes`` of the plan (0: it failed), ``errors``, ``warnings`` and the type of each output.
    """
    api = trt_api.load_api("tensorrt_rtx")
    trt, log = api.module, trt_api.Logger(api)
    builder = trt.Builder(log.handle)
    network = builder.create_network(api.network_flags())
    parser = trt.OnnxParser(network, log.handle)
    plan = None
    if parser.parse(model):
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1  # the count first, or the next call does nothing
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        profile = builder.create_optimization_profile()
        for tensor in (network.get_input(index) for index in range(network.num_inputs)):
            rest = list(tensor.shape)[1:]
            profile.set_shape(tensor.name, [1, *rest], [2, *rest], [4, *rest])
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return {
        "bytes": 0 if plan is None else plan.nbytes,
        "errors": log.errors(),
        "warnings": log.warnings(),
        "outputs": {one.name: str(one.dtype) for one in outputs},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(build(Path(sys.argv[1]).read_bytes())))
