"""Page-locked host arrays, with memory from a fake driver."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.errors import InternalError
from ffswap.gpu import PinnedArray
from tests.gpu.fake_driver import install


@pytest.fixture
def cuda(monkeypatch):
    return install(monkeypatch)


@pytest.mark.parametrize("shape", [(3, 5), (7,), (), (0, 4)])
def test_it_is_an_array_in_memory_of_the_driver(cuda, shape):
    with PinnedArray(shape, np.float32) as pinned:
        array = pinned.array
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        array[...] = 2
        ((address, buffer),) = cuda.pinned.items()
        assert array.ctypes.data == address
        assert buffer.raw[: array.nbytes] == array.tobytes()
    assert cuda.pinned == {}


def test_it_is_freed_once_and_shows_nothing_afterwards(cuda):
    pinned = PinnedArray((2,), np.uint8)
    pinned.close()
    pinned.close()
    assert cuda.pinned == {}
    with pytest.raises(InternalError, match="the pinned array is closed"):
        _ = pinned.array
