"""How arguments reach a kernel: the driver is a fake that reads them as the real one does."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ffswap.errors import DeviceError, InternalError
from ffswap.gpu import Kernel
from tests.gpu.fake_driver import fake_device
from tests.gpu.probe_program import PLACE, SCALE_SIZES


@pytest.fixture
def cuda_and_device(monkeypatch):
    return fake_device(monkeypatch, parameters=SCALE_SIZES)


@pytest.fixture
def cuda(cuda_and_device):
    return cuda_and_device[0]


@pytest.fixture
def device(cuda_and_device):
    return cuda_and_device[1]


@pytest.fixture
def kernel():
    return Kernel("probe.scale", 77, SCALE_SIZES)


def arguments(device, n=5):
    place = np.zeros((), PLACE)
    place["tag"], place["factor"], place["rows"] = 3, 0.5, (1, 2, 3)
    return device.empty((8,), np.float32), place, np.int32(n), np.uint8(4)


def test_addresses_and_values_arrive_as_they_are(cuda, device, kernel):
    stream = device.stream()
    array, place, n, step = arguments(device)
    kernel.launch(stream, (3, 2), (128,), array, place, n, step, shared_bytes=64)
    (launch,) = cuda.launches
    assert (launch.function, launch.stream, launch.shared_bytes) == (77, stream.raw, 64)
    assert (launch.grid, launch.block) == ((3, 2, 1), (128, 1, 1))
    assert launch.values == [
        array.pointer.to_bytes(8, "little"), place.tobytes(), n.tobytes(), step.tobytes(),
    ]  # fmt: skip


def test_a_view_is_passed_by_its_own_address(cuda, device, kernel):
    array, *others = arguments(device)
    kernel.launch(device.stream(), (1,), (1,), array.rows(2, 4), *others)
    assert int.from_bytes(cuda.launches[0].values[0], "little") == array.pointer + 8


@pytest.mark.parametrize(
    "stranger", [5, 0.5, None, np.zeros(3, np.float32), [1], b"12345678"], ids=repr
)
def test_what_has_no_type_of_a_parameter_is_refused(device, kernel, stranger):
    array, place, _, step = arguments(device)
    with pytest.raises(InternalError, match=r"Kernel\(probe\.scale\) takes no"):
        kernel.launch(device.stream(), (1,), (1,), array, place, stranger, step)


def test_a_closed_array_is_refused(cuda, device, kernel):
    array, *others = arguments(device)
    array.close()
    with pytest.raises(InternalError, match="was given a closed array"):
        kernel.launch(device.stream(), (1,), (1,), array, *others)
    assert cuda.launches == []


def test_arguments_that_do_not_fit_the_parameters_are_refused(cuda, device, kernel):
    array, place, n, step = arguments(device)
    for wrong in [(array, place, n), (array, place, np.int64(5), step), (place, array, n, step),
                  (array, place, n, step, step)]:  # fmt: skip
        with pytest.raises(InternalError, match=r"has parameters of \[8, 32, 4, 1\] bytes, not"):
            kernel.launch(device.stream(), (1,), (1,), *wrong)
    assert cuda.launches == []


def test_too_many_bytes_of_parameters_are_refused(cuda, device):
    kernel = Kernel("probe.large", 1, None)
    large, larger = np.zeros((), "V4096"), np.zeros((), "V4097")
    cuda.parameters = (4096,)
    kernel.launch(device.stream(), (1,), (1,), large)
    assert cuda.launches[0].values == [bytes(4096)]
    with pytest.raises(InternalError, match="4097 bytes; allowed: 4096"):
        kernel.launch(device.stream(), (1,), (1,), larger)


def test_a_kernel_without_parameters_is_launched(cuda, device):
    cuda.parameters = ()
    Kernel("probe.none", 1, ()).launch(device.stream(), (1,), (1,))
    assert cuda.launches[0].values == []


def test_a_failed_launch_names_kernel_grid_and_block(cuda, device, kernel):
    cuda.fails["cuLaunchKernel"] = cuda.module.CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(DeviceError, match="CUDA_ERROR_INVALID_VALUE") as caught:
        kernel.launch(device.stream(), (0,), (64, 32), *arguments(device))
    assert "Kernel(probe.scale) with grid (0,), block (64, 32)" in caught.value.message


def test_a_kernel_of_closed_programs_is_refused(cuda, device, kernel):
    kernel.forget()
    with pytest.raises(InternalError, match="is closed"):
        kernel.launch(device.stream(), (1,), (1,), *arguments(device))
    assert cuda.launches == []


def test_threads_do_not_mix_their_arguments(cuda, device, kernel):
    array, place, _, step = arguments(device)

    def work(me):
        stream = device.stream()
        for _ in range(300):
            kernel.launch(stream, (me, 1), (1,), array, place, np.int32(me), step)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cuda.launches) == 1200
    assert all(
        int.from_bytes(launch.values[2], "little") == launch.grid[0] for launch in cuda.launches
    )
