"""Programs are compiled by the real NVRTC, without a GPU, and kept on disk; the driver is a fake."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ffswap.errors import DeviceError, InternalError
from ffswap.gpu import Programs, compile_program, program
from ffswap.gpu.nvrtc import compile_cubin
from tests.gpu.fake_driver import fake_device
from tests.gpu.host_kernels import KERNELS
from tests.gpu.probe_program import SCALE_SIZES, write_probe

ROOT = Path(__file__).resolve().parents[2]

# Turing to Blackwell: what the kernels are written for.
ARCHS = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]

nvrtc = pytest.importorskip("cuda.bindings.nvrtc")


@pytest.fixture
def sources(tmp_path):
    return write_probe(tmp_path / "kernels")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "below" / "cache"


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
def compiled(monkeypatch):
    """The programs that NVRTC compiled, by name."""
    names = []

    def counted(source, **options):
        names.append(options["name"])
        return compile_cubin(source, **options)

    monkeypatch.setattr(program, "compile_cubin", counted)
    return names


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("name", sorted(path.stem for path in KERNELS.glob("*.cu")))
def test_every_kernel_file_compiles_for_every_gpu(name, arch):
    assert compile_program(name, arch)[:4] == b"\x7fELF"


@pytest.mark.parametrize("arch", ARCHS)
def test_a_program_with_a_header_compiles_to_code_of_its_gpu(sources, arch):
    code = compile_program("probe", arch, sources=sources)
    assert code[:4] == b"\x7fELF"
    assert b"read_late" in code


def test_kernels_do_not_contract_multiplications_and_additions(tmp_path):
    (tmp_path / "fma.cu").write_text(
        'extern "C" __global__ void f(float *x) { x[0] = x[1] * x[2] + x[3]; }'
    )
    plain = compile_program("fma", "sm_90", sources=tmp_path)
    (tmp_path / "fma.cu").write_text(
        'extern "C" __global__ void f(float *x) { x[0] = __fadd_rn(__fmul_rn(x[1], x[2]), x[3]); }'
    )
    assert compile_program("fma", "sm_90", sources=tmp_path) == plain


def test_an_error_in_a_kernel_shows_the_compilers_words(sources):
    (sources / "probe.cu").write_text('extern "C" __global__ void f() {\n  undeclared = 1;\n}')
    with pytest.raises(InternalError, match="NVRTC_ERROR_COMPILATION") as caught:
        compile_program("probe", "sm_90", sources=sources)
    assert "probe.cu(2)" in caught.value.message
    assert "undeclared" in caught.value.message


def test_a_program_that_is_not_there_is_named(sources):
    with pytest.raises(InternalError, match="there is no program 'other'"):
        compile_program("other", "sm_90", sources=sources)


def test_a_kernel_that_is_not_in_its_program_is_named(device, sources):
    with pytest.raises(InternalError, match=r"there is no kernel 'other' in probe\.cu"):
        Programs(device, sources=sources).kernel("probe", "other")


def test_a_program_is_compiled_and_loaded_once(cuda, device, sources, compiled):
    with Programs(device, sources=sources) as programs:
        scale = programs.kernel("probe", "scale")
        assert programs.kernel("probe", "scale") is scale
        assert programs.kernel("probe", "read_late") is not scale
        assert (compiled, len(cuda.images)) == (["probe.cu"], 1)
    assert cuda.unloaded == 1
    programs.close()
    assert cuda.unloaded == 1


@pytest.mark.parametrize(("version", "checked"), [(12040, True), (12030, False)])
def test_arguments_are_checked_where_the_driver_says_the_parameters(
    monkeypatch, sources, version, checked
):
    cuda, device = fake_device(monkeypatch, version=version, parameters=(4, 4))
    kernel = Programs(device, sources=sources).kernel("probe", "scale")
    cuda.parameters = (4,)  # what the fake reads when it is launched
    with pytest.raises(InternalError) if checked else contextlib.nullcontext():
        kernel.launch(device.stream(), (1,), (1,), np.int32(1))
    assert len(cuda.launches) == (not checked)


def test_threads_that_ask_at_once_get_the_same_kernel(cuda, device, sources, compiled):
    programs = Programs(device, sources=sources)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(programs.kernel("probe", "scale")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == len(compiled) == len(cuda.images) == 1


def test_the_next_run_finds_it_on_disk(cuda, device, sources, cache, compiled):
    for _ in range(2):
        Programs(device, cache, sources=sources).kernel("probe", "scale")
    assert compiled == ["probe.cu"]
    assert cuda.images[0] == cuda.images[1] == compile_program("probe", "sm_90", sources=sources)
    (file,) = cache.iterdir()
    assert file.name.startswith("probe-sm_90-")


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "digest_only", "no_header"])
def test_a_damaged_file_is_compiled_again(cuda, device, sources, cache, compiled, damage):
    Programs(device, cache, sources=sources).kernel("probe", "scale")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    bad = {
        "truncated": whole[:-1],
        "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty": b"",
        "digest_only": hashlib.sha256(b"").digest(),
        "no_header": whole[32:],
    }
    file.write_bytes(bad[damage])
    Programs(device, cache, sources=sources).kernel("probe", "scale")
    assert compiled == ["probe.cu", "probe.cu"]
    assert cuda.images[0] == cuda.images[1]
    assert file.read_bytes() == whole


def test_everything_that_changes_the_code_changes_the_name(
    monkeypatch, device, sources, cache, compiled
):
    def run():
        Programs(device, cache, sources=sources).kernel("probe", "scale")
        return len(list(cache.iterdir()))

    assert run() == 1
    header = sources / "common.cuh"
    header.write_text(header.read_text() + "// more\n")
    assert run() == 2
    source = sources / "probe.cu"
    source.write_text(source.read_text() + "// more\n")
    assert run() == 3
    monkeypatch.setattr(program, "_OPTIONS", (*program._OPTIONS, "-lineinfo"))
    assert run() == 4
    monkeypatch.setattr(program, "nvrtc_version", lambda: (12, 9))
    assert run() == 5
    assert len(compiled) == 5
    assert run() == 5
    assert len(compiled) == 5


def test_a_cache_that_cannot_be_written_is_told_and_does_no_harm(cuda, device, sources, tmp_path):
    (tmp_path / "file").write_text("in the way")
    programs = Programs(device, tmp_path / "file" / "cache", sources=sources)
    assert programs.cache_error is None
    programs.kernel("probe", "scale")
    assert str(programs.cache_error).startswith(str(tmp_path / "file"))
    assert len(cuda.images) == 1


_WORKER = """
import hashlib, sys
from pathlib import Path
import pytest
from ffswap.gpu import Programs
from tests.gpu.fake_driver import fake_device

sources, cache, turns = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with pytest.MonkeyPatch.context() as monkeypatch:
    cuda, device = fake_device(monkeypatch)
    for _ in range(turns):
        programs = Programs(device, cache, sources=sources)
        programs.kernel("probe", "scale")
        assert programs.cache_error is None, programs.cache_error
        for file in cache.glob("probe-*.cubin"):
            file.write_bytes(file.read_bytes()[:1000])
print(*{hashlib.sha256(image).hexdigest() for image in cuda.images})
"""


def test_two_processes_that_write_and_damage_the_same_file_get_whole_programs(sources, cache):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, sources, cache, "8"],
            stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )
        for _ in range(2)
    ]  # fmt: skip
    expected = hashlib.sha256(compile_program("probe", "sm_90", sources=sources)).hexdigest()
    for process in running:
        assert (process.communicate()[0].strip(), process.returncode) == (expected, 0)
    assert [file.suffix for file in cache.iterdir()] == [".cubin"]


def test_without_the_bindings_of_nvrtc_the_extra_is_named(monkeypatch, sources):
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(DeviceError, match="NVRTC cannot be loaded") as caught:
        compile_program("probe", "sm_90", sources=sources)
    assert "ffswap[cu13]" in (caught.value.hint or "")


def test_without_the_library_of_nvrtc_the_extra_is_named(monkeypatch, device, sources, cache):
    def no_library(*_):
        raise RuntimeError("libnvrtc.so.13 cannot be found")

    monkeypatch.setattr(nvrtc, "nvrtcVersion", no_library)
    with pytest.raises(DeviceError, match=r"NVRTC cannot be loaded: libnvrtc\.so\.13") as caught:
        Programs(device, cache, sources=sources).kernel("probe", "scale")
    assert "ffswap[cu13]" in (caught.value.hint or "")


def test_a_gpu_that_nvrtc_does_not_know_is_refused_with_those_it_knows(
    monkeypatch, device, sources
):
    programs = Programs(device, sources=sources)
    monkeypatch.setattr(programs, "arch", "sm_777")
    with pytest.raises(DeviceError, match="cannot compile for sm_777") as caught:
        programs.kernel("probe", "scale")
    assert "sm_75, sm_80" in caught.value.message
