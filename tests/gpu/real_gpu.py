"""The GPU of this machine, for tests marked ``gpu``."""

from __future__ import annotations

import os

import pytest

from ffswap.errors import DeviceError
from ffswap.gpu import Device


def open_gpu() -> Device:
    """The first GPU; the caller closes it. Skips the test without one, unless FFSWAP_REQUIRE_GPU=1."""
    try:
        return Device(0)
    except DeviceError as error:
        if os.environ.get("FFSWAP_REQUIRE_GPU") == "1":
            raise
        pytest.skip(f"no GPU: {error}")
