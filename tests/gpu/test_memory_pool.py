"""Views of device memory, and the pool that recycles blocks: its books and its events, on a fake driver."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ffswap.errors import DeviceError, InternalError
from ffswap.gpu import DeviceArray, Event, MemoryPool
from tests.gpu.fake_driver import fake_device

MIB = 1 << 20


@pytest.fixture
def cuda_and_device(monkeypatch):
    return fake_device(monkeypatch)


@pytest.fixture
def cuda(cuda_and_device):
    return cuda_and_device[0]


@pytest.fixture
def device(cuda_and_device):
    return cuda_and_device[1]


@pytest.fixture
def streams(device):
    return device.stream(), device.stream()


@pytest.fixture
def pool(device):
    return MemoryPool(device, limit_bytes=8 * MIB)


def test_rows_are_a_view_of_the_first_axis(device):
    array = device.empty((4, 3, 2), np.float32)
    view = array.rows(1, 3)
    assert (view.pointer, view.shape) == (array.pointer + 24, (2, 3, 2))
    assert (view.dtype, view.nbytes, view.device) == (np.float32, 48, "cuda:0")
    assert array.rows(4, 4).shape == (0, 3, 2)


def test_a_view_frees_nothing(cuda, device):
    array = device.empty((4, 3), np.uint8)
    array.rows(0, 2).close()
    DeviceArray.at(array.pointer, (12,), np.uint8, "cuda:0").close()
    assert array.pointer in cuda.allocated
    array.close()
    array.close()
    assert cuda.allocated == {}


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 5)])
def test_rows_that_are_not_there_are_refused(device, start, stop):
    with pytest.raises(InternalError, match="has no rows"):
        device.empty((4, 3), np.uint8).rows(start, stop)


def test_a_value_has_no_rows(device):
    with pytest.raises(InternalError, match="has no rows"):
        device.empty((), np.uint8).rows(0, 0)


def test_an_event_is_done_when_its_work_is(cuda, device):
    event = device.stream().record(Event())
    assert not event.done
    cuda.busy.clear()
    assert event.done
    cuda.fails["cuEventQuery"] = cuda.module.CUresult.CUDA_ERROR_LAUNCH_FAILED
    with pytest.raises(DeviceError, match="cuEventQuery: CUDA_ERROR_LAUNCH_FAILED"):
        _ = event.done


def test_a_block_comes_back_to_its_own_stream_without_a_wait(cuda, pool, streams):
    one, _ = streams
    first = pool.take((100, 100), np.float32, one)
    pointer = first.pointer
    pool.give(first, one)
    again = pool.take((9999,), np.float32, one)  # another shape of the same class
    assert (again.pointer, again.shape, again.dtype) == (pointer, (9999,), np.float32)
    assert cuda.waits == []
    assert len(cuda.allocated) == 1


def test_another_stream_waits_for_the_last_use(cuda, pool, streams):
    one, two = streams
    first = pool.take((100,), np.uint8, one)
    pointer = first.pointer
    pool.give(first, one)
    ((event, stream),) = cuda.records
    assert stream == one.raw
    assert pool.take((100,), np.uint8, two).pointer == pointer
    assert cuda.waits == [(two.raw, event)]


def test_another_stream_does_not_wait_for_what_is_done(cuda, pool, streams):
    one, two = streams
    pool.give(pool.take((100,), np.uint8, one), one)
    cuda.busy.clear()
    pool.take((100,), np.uint8, two)
    assert cuda.waits == []
    assert len(cuda.allocated) == 1


def test_a_block_that_needs_no_wait_is_preferred(cuda, pool, streams):
    one, two = streams
    arrays = [pool.take((100,), np.uint8, one) for _ in range(3)]
    pointers = [array.pointer for array in arrays]
    pool.give(arrays[0], one)
    pool.give(arrays[1], two)
    pool.give(arrays[2], None)
    assert pool.take((100,), np.uint8, two).pointer == pointers[1]  # its own stream's
    assert pool.take((100,), np.uint8, two).pointer == pointers[2]  # nobody uses it
    assert cuda.waits == []
    assert pool.take((100,), np.uint8, two).pointer == pointers[0]
    assert len(cuda.waits) == 1


def test_what_was_given_back_without_a_stream_is_not_waited_for(cuda, pool, streams):
    one, two = streams
    pool.give(pool.take((100,), np.uint8, one), one)
    pool.give(pool.take((100,), np.uint8, one), None)
    pool.take((100,), np.uint8, two)
    assert cuda.waits == []


def test_blocks_are_an_eighth_too_large_at_the_most(device, streams):
    pool = MemoryPool(device)
    for nbytes in [1, 255, 256, 257, 4096, 4097, 100_000, MIB, MIB + 1, 3_110_400, 49_766_400]:
        before = pool.in_use_bytes
        array = pool.take((nbytes,), np.uint8, streams[0])
        block = pool.in_use_bytes - before
        assert array.nbytes == nbytes <= block
        assert block <= max(nbytes * 9 / 8, nbytes + 256)
        assert block % 256 == 0


def test_an_array_without_values_can_be_taken_and_given(pool, streams):
    array = pool.take((0, 5), np.float32, streams[0])
    assert array.pointer
    pool.give(array, streams[0])
    assert pool.in_use_bytes == 0


def test_the_books_agree(cuda, pool, streams):
    one, _ = streams
    arrays = [pool.take((MIB,), np.uint8, one) for _ in range(3)]
    assert (pool.in_use_bytes, pool.held_bytes, pool.peak_bytes) == (3 * MIB,) * 3
    pool.give(arrays[0], one)
    assert (pool.in_use_bytes, pool.held_bytes) == (2 * MIB, 3 * MIB)
    assert sum(cuda.allocated.values()) == pool.held_bytes
    pool.close()
    pool.close()
    assert (pool.in_use_bytes, pool.held_bytes, pool.peak_bytes) == (0, 0, 3 * MIB)
    assert cuda.allocated == {}
    assert cuda.events == set()


def test_a_given_array_cannot_be_used_or_given_again(pool, streams):
    one, _ = streams
    array = pool.take((100,), np.uint8, one)
    pool.give(array, one)
    assert array.pointer == 0
    with pytest.raises(InternalError, match="given back before"):
        pool.give(array, one)


def test_only_what_was_taken_is_taken_back(device, pool, streams):
    one, _ = streams
    array = pool.take((100,), np.uint8, one)
    for stranger in (array.rows(0, 100), device.empty((100,), np.uint8)):
        with pytest.raises(InternalError, match="was not taken from this pool"):
            pool.give(stranger, one)
    pool.give(array, one)


def test_closing_an_array_of_the_pool_frees_nothing_and_it_can_be_given(cuda, pool, streams):
    array = pool.take((100,), np.uint8, streams[0])
    array.close()
    assert len(cuda.allocated) == 1
    pool.give(array, streams[0])
    assert pool.in_use_bytes == 0


def test_the_limit_names_what_was_asked_held_in_use_and_allowed(pool, streams):
    one, _ = streams
    pool.take((5 * MIB,), np.uint8, one)
    pool.give(pool.take((2 * MIB,), np.uint8, one), one)
    with pytest.raises(DeviceError, match="limit is reached") as caught:
        pool.take((4 * MIB,), np.uint8, one)
    for part in ("4.0 MiB of memory", "cuda:0", "5.0 MiB held", "5.0 MiB of them in use",
                 "8.0 MiB allowed"):  # fmt: skip
        assert part in caught.value.message
    assert "smaller batch" in (caught.value.hint or "")


def test_blocks_that_nobody_has_are_freed_before_it_gives_up(cuda, pool, streams):
    one, _ = streams
    kept = pool.take((MIB,), np.uint8, one)
    for array in [pool.take((3 * MIB,), np.uint8, one) for _ in range(2)]:
        pool.give(array, one)
    pool.take((6 * MIB,), np.uint8, one)
    assert kept.pointer in cuda.allocated
    assert sorted(cuda.allocated.values()) == [MIB, 6 * MIB]
    assert (pool.held_bytes, pool.in_use_bytes) == (7 * MIB, 7 * MIB)


def test_memory_that_others_took_is_made_up_for_by_free_blocks(cuda, pool, streams):
    one, _ = streams
    pool.give(pool.take((3 * MIB,), np.uint8, one), one)
    cuda.memory_bytes = 4 * MIB
    pool.take((2 * MIB,), np.uint8, one)
    assert list(cuda.allocated.values()) == [2 * MIB]


def test_a_device_without_memory_is_named(cuda, pool, streams):
    cuda.memory_bytes = MIB
    with pytest.raises(DeviceError, match="the device has no memory left") as caught:
        pool.take((2 * MIB,), np.uint8, streams[0])
    assert "1.0 MiB free on the device" in caught.value.message
    assert pool.held_bytes == pool.in_use_bytes == 0


def test_by_default_it_leaves_half_a_gibibyte_to_others(cuda, device):
    assert MemoryPool(device).limit_bytes == cuda.memory_bytes - (512 << 20)
    cuda.memory_bytes = 100 * MIB
    assert MemoryPool(device).limit_bytes == 0


def test_threads_that_take_at_once_have_different_blocks(monkeypatch, cuda, device, pool, streams):
    pool.give(pool.take((100,), np.uint8, streams[0]), streams[0])
    cuda.busy.clear()
    query, together = cuda.cuEventQuery, threading.Barrier(4)

    def slow(event):  # so that the others come while the first one looks at the free block
        time.sleep(0.02)
        return query(event)

    monkeypatch.setattr(cuda, "cuEventQuery", slow)
    taken = []

    def work():
        stream = device.stream()
        together.wait()
        taken.append(pool.take((100,), np.uint8, stream).pointer)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 4
    assert pool.in_use_bytes == pool.held_bytes == 4 * 256
