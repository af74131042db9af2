"""Kernels, memory that crosses streams, and pinned memory on an NVIDIA GPU.

Without a GPU these tests are skipped; FFSWAP_REQUIRE_GPU=1 makes that a failure.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from ffswap.errors import DeviceError, InternalError
from ffswap.gpu import Event, MemoryPool, PinnedArray, Programs, Stream, program
from tests.gpu.probe_program import PLACE, SCALE_SIZES, write_probe
from tests.gpu.real_gpu import open_gpu

pytestmark = pytest.mark.gpu

MIB = 1 << 20
DELAY_NS = 200_000_000  # far more than the host needs to put some work on another stream
VALUES = 4096


@pytest.fixture(scope="module")
def device():
    with open_gpu() as found:
        yield found


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_probe(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def programs(device, sources):
    with Programs(device, sources=sources) as found:
        yield found


@pytest.fixture
def stack():
    with ExitStack() as found:
        yield found


@pytest.fixture
def streams(device, stack):
    """Two streams."""
    found = device.stream(), device.stream()
    for stream in found:
        stack.callback(stream.close)
        stack.callback(stream.synchronize)  # before: whatever a failed test left on it
    return found


@pytest.fixture
def pool(device, stack, streams):
    found = MemoryPool(device, limit_bytes=8 * MIB)
    stack.callback(found.close)
    for stream in streams:
        stack.callback(stream.synchronize)
    return found


def filled(pool, stream, value, shape=(VALUES,)):
    """An array of the pool with `value` in every byte."""
    array = pool.take(shape, np.uint32, stream)
    array.fill_bytes(value, stream)
    return array


def fetched(array, stream):
    values = np.empty(array.shape, array.dtype)
    array.copy_to(values, stream)
    stream.synchronize()
    return values


def test_parameters_arrive_by_address_and_by_value(programs, pool, streams):
    stream, _ = streams
    scale = programs.kernel("probe", "scale")
    n = 1000
    source = np.linspace(-5, 5, n, dtype=np.float32)
    origin, result = (pool.take((n,), np.float32, stream) for _ in range(2))
    origin.copy_from(source, stream)
    result.fill_bytes(0xFF, stream)
    place = np.zeros((), PLACE)
    place["tag"], place["factor"], place["source"] = -3, 0.25, origin.pointer
    place["rows"] = 1, 2, 7
    scale.launch(stream, (2, 3), (128,), result, place, np.int32(n - 300), np.uint8(200))
    found = fetched(result, stream)
    expected = np.full(n, np.nan, np.float32)  # 6 blocks of 128 threads, the last 68 not wanted
    scaled = source[: n - 300] * np.float32(0.25)
    expected[: n - 300] = (scaled + np.float32(7 * 200)) + np.float32(-3)
    np.testing.assert_array_equal(found, expected)


def test_dynamic_shared_memory_is_there(programs, pool, streams):
    stream, _ = streams
    result = pool.take((1,), np.int32, stream)
    kernel = programs.kernel("probe", "shared_sum")
    kernel.launch(stream, (1,), (256,), result, np.int32(256), shared_bytes=1024)
    assert fetched(result, stream).tolist() == [255 * 128]


def test_the_driver_says_what_parameters_a_kernel_has(device, programs, pool, streams):
    stream, _ = streams
    if device.info.driver < (12, 4):
        pytest.skip("the driver does not say them")
    kernel = programs.kernel("probe", "scale")
    result = pool.take((1,), np.float32, stream)
    with pytest.raises(InternalError, match="has parameters of") as caught:
        kernel.launch(stream, (1,), (1,), result, np.int32(1))
    assert str(list(SCALE_SIZES)) in caught.value.message


def test_a_launch_that_is_impossible_is_named(programs, pool, streams):
    stream, _ = streams
    result = pool.take((1,), np.int32, stream)
    kernel = programs.kernel("probe", "shared_sum")
    with pytest.raises(DeviceError, match=r"probe\.shared_sum.*block \(4096,\)"):
        kernel.launch(stream, (1,), (4096,), result, np.int32(1))


def test_a_kernel_that_is_not_there_is_named(programs):
    with pytest.raises(InternalError, match="there is no kernel 'other'"):
        programs.kernel("probe", "other")


def test_a_kernel_of_closed_programs_is_refused(device, sources, streams):
    with Programs(device, sources=sources) as programs:
        kernel = programs.kernel("probe", "shared_sum")
    with pytest.raises(InternalError, match="is closed"):
        kernel.launch(streams[0], (1,), (1,), np.uint64(0), np.int32(0))


def test_a_program_from_the_disk_runs_like_a_compiled_one(
    monkeypatch, device, sources, pool, streams, tmp_path
):
    def never(*_, **__):
        raise AssertionError("compiled again")

    stream, _ = streams
    result = pool.take((1,), np.int32, stream)
    for turn in range(2):
        if turn:
            monkeypatch.setattr(program, "compile_cubin", never)
        with Programs(device, tmp_path, sources=sources) as programs:
            kernel = programs.kernel("probe", "shared_sum")
            kernel.launch(stream, (1,), (8,), result, np.int32(8 - turn), shared_bytes=32)
            assert fetched(result, stream).tolist() == [28 - 7 * turn]
            assert programs.cache_error is None


def test_an_event_behind_a_delay_is_done_only_after_it(programs, pool, streams, stack):
    one, two = streams
    source, seen = (filled(pool, one, 1) for _ in range(2))
    event = Event()
    stack.callback(event.close)
    states = [event.done]  # never recorded
    kernel = programs.kernel("probe", "read_late")
    kernel.launch(one, (1,), (64,), seen, source, np.int32(1), np.uint64(DELAY_NS))
    one.record(event)
    states.append(event.done)
    two.synchronize()  # there is nothing on the other stream
    states.append(event.done)
    event.synchronize()
    states.append(event.done)
    assert states == [True, False, False, True]


def read_behind_the_back(programs, pool, streams):
    """What a delayed reader sees of a block that another stream takes and overwrites meanwhile."""
    one, two = streams
    kernel = programs.kernel("probe", "read_late")
    seen = filled(pool, one, 0, (VALUES, 2)).rows(0, VALUES // 2)
    block = filled(pool, one, 0x11)
    pointer = block.pointer
    kernel.launch(one, (1,), (256,), seen, block, np.int32(VALUES), np.uint64(DELAY_NS))
    pool.give(block, one)
    again = filled(pool, two, 0x22)
    assert again.pointer == pointer
    reader = one.record(Event())
    assert not reader.done  # the host did not wait, and the delay was long enough
    two.synchronize()
    late = reader.done
    reader.synchronize()
    reader.close()
    assert (fetched(again, two) == 0x22222222).all()
    return np.unique(fetched(seen, one)).tolist(), late


def test_a_delayed_reader_sees_its_own_values(programs, pool, streams):
    values, second_came_after_it = read_behind_the_back(programs, pool, streams)
    assert values == [0x11111111]
    assert second_came_after_it


def test_without_the_wait_the_delayed_reader_sees_those_of_others(
    monkeypatch, programs, pool, streams
):
    monkeypatch.setattr(Stream, "wait", lambda *_: None)
    values, second_came_after_it = read_behind_the_back(programs, pool, streams)
    assert values == [0x22222222]
    assert not second_came_after_it


def test_one_stream_needs_no_wait_to_use_a_block_again(monkeypatch, programs, pool, streams):
    one, _ = streams
    monkeypatch.setattr(Stream, "wait", lambda *_: pytest.fail("waited"))
    values, _ = read_behind_the_back(programs, pool, (one, one))
    assert values == [0x11111111]


def test_pinned_memory_takes_values_there_and_back(pool, streams, stack):
    stream, _ = streams
    there, back = (stack.enter_context(PinnedArray((300, 7), np.float32)) for _ in range(2))
    there.array[:] = np.arange(2100).reshape(300, 7)
    back.array[:] = 0
    array = pool.take((300, 7), np.float32, stream)
    array.copy_from(there.array, stream)
    array.rows(100, 200).fill_bytes(0, stream)
    array.copy_to(back.array, stream)
    event = stream.record(Event())
    stack.callback(event.close)
    event.synchronize()
    expected = np.arange(2100, dtype=np.float32).reshape(300, 7)
    expected[100:200] = 0
    np.testing.assert_array_equal(back.array, expected)


def test_a_copy_into_pinned_memory_does_not_hold_up_the_host(programs, pool, streams, stack):
    stream, _ = streams
    source, seen = (filled(pool, stream, 5) for _ in range(2))
    host = stack.enter_context(PinnedArray((VALUES,), np.uint32))
    kernel = programs.kernel("probe", "read_late")
    kernel.launch(stream, (1,), (64,), seen, source, np.int32(1), np.uint64(DELAY_NS))
    seen.copy_to(host.array, stream)
    event = stream.record(Event())
    stack.callback(event.close)
    assert not event.done
    event.synchronize()
    assert (host.array == 0x05050505).all()


def test_a_pool_that_is_exhausted_says_so_and_goes_on(pool, streams):
    stream, _ = streams
    array = pool.take((6 * MIB,), np.uint8, stream)
    with pytest.raises(DeviceError, match="limit is reached"):
        pool.take((4 * MIB,), np.uint8, stream)
    pool.give(array, stream)
    assert fetched(filled(pool, stream, 7, (MIB,)), stream).min() == 0x07070707
    assert pool.held_bytes == 4 * MIB


def test_a_device_without_memory_is_named_and_goes_on(device, streams, stack):
    stream, _ = streams
    pool = MemoryPool(device, limit_bytes=1 << 60)
    stack.callback(pool.close)
    with pytest.raises(DeviceError, match="the device has no memory left"):
        pool.take((device.info.memory_bytes + MIB,), np.uint8, stream)
    assert (fetched(filled(pool, stream, 9), stream) == 0x09090909).all()


def test_closing_a_pool_gives_all_memory_back(device, streams):
    size = 1 << 30
    before = device.free_bytes()
    with MemoryPool(device) as pool:
        pool.give(pool.take((size,), np.uint8, streams[0]), streams[0])
        pool.take((size // 2,), np.uint8, streams[0])
        assert before - device.free_bytes() >= pool.held_bytes >= size * 3 // 2
        streams[0].synchronize()
    assert before - device.free_bytes() < size // 2
