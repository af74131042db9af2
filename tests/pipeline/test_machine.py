"""What a machine has, from files and answers that are made up."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from ffswap import media, models
from ffswap.errors import MachineError
from ffswap.pipeline import machine

MIB = 1 << 20


class Root:
    """A file system: write `root("proc/cpuinfo", "...")`, and pass `root.path`."""

    def __init__(self, path):
        self.path = path

    def __call__(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


class TestControlGroups:
    def test_no_files_are_no_limits(self, root):
        assert machine.cgroup_limits(root.path) == (None, None)

    def test_version_2(self, root):
        root("proc/self/cgroup", "0::/user/app\n")
        root("sys/fs/cgroup/user/app/cpu.max", "150000 100000\n")
        root("sys/fs/cgroup/user/app/memory.max", "1048576\n")
        assert machine.cgroup_limits(root.path) == (1.5, MIB)

    def test_version_2_without_limits(self, root):
        root("proc/self/cgroup", "0::/\n")
        root("sys/fs/cgroup/cpu.max", "max 100000\n")
        root("sys/fs/cgroup/memory.max", "max\n")
        assert machine.cgroup_limits(root.path) == (None, None)

    def test_a_group_above_limits_too(self, root):
        root("proc/self/cgroup", "0::/user/app\n")
        root("sys/fs/cgroup/user/cpu.max", "100000 100000\n")
        root("sys/fs/cgroup/user/app/cpu.max", "400000 100000\n")
        assert machine.cgroup_limits(root.path) == (1.0, None)

    def test_a_path_of_the_host_that_cannot_be_seen(self, root):
        root("proc/self/cgroup", "0::/../../docker/123\n")
        root("sys/fs/cgroup/cpu.max", "200000 100000\n")
        assert machine.cgroup_limits(root.path) == (2.0, None)

    @pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
    def test_version_1(self, root, folder):
        root("proc/self/cgroup", "4:memory:/app\n1:cpu,cpuacct:/app\n")
        root(f"sys/fs/cgroup/{folder}/app/cpu.cfs_quota_us", "250000\n")
        root(f"sys/fs/cgroup/{folder}/app/cpu.cfs_period_us", "100000\n")
        root("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1048576\n")
        assert machine.cgroup_limits(root.path) == (2.5, MIB)

    def test_version_1_without_limits(self, root):
        root("proc/self/cgroup", "4:memory:/\n1:cpu:/\n")
        root("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
        root("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        root("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        assert machine.cgroup_limits(root.path) == (None, None)

    def test_nonsense_is_no_limit(self, root):
        root("proc/self/cgroup", "\nnonsense\n0::/\n")
        root("sys/fs/cgroup/cpu.max", "a b c\n")
        assert machine.cgroup_limits(root.path) == (None, None)


class TestCpu:
    @pytest.mark.parametrize(
        ("quota", "usable"), [("max", 6), ("50000", 1), ("150000", 2), ("900000", 6)]
    )
    def test_cores_are_the_least_of_affinity_and_quota(self, root, monkeypatch, quota, usable):
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(6)), raising=False)
        root("proc/self/cgroup", "0::/\n")
        root("sys/fs/cgroup/cpu.max", f"{quota} 100000\n")
        root("proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU: fast\n")
        found = machine.find_cpu(root.path)
        assert (found.name, found.logical_cores, found.usable_cores) == ("A CPU: fast", 8, usable)

    def test_a_system_without_affinity_and_proc(self, root, monkeypatch):
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        found = machine.find_cpu(root.path)
        assert (found.usable_cores, found.quota_cores) == (8, None)
        assert found.name


def test_memory(root):
    root("proc/meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\nHuge: 3\n")
    found = machine.find_memory(root.path)
    assert (found.total_bytes, found.available_bytes) == (2 * MIB, MIB)
    assert machine.find_memory(root.path / "nowhere") == machine.MemorySurvey(
        total_bytes=None, available_bytes=None, limit_bytes=None
    )


def test_libraries_are_looked_up_and_not_imported():
    found = machine.find_libraries()
    assert found["numpy"]
    assert found["av"]


class TestAsking:
    """A module that is asked is imported by another process, whatever happens to that."""

    @pytest.fixture
    def module(self, tmp_path, monkeypatch):
        def write(text):
            (tmp_path / "fragile.py").write_text(text)

        monkeypatch.syspath_prepend(str(tmp_path))
        return write

    def ask(self):
        return machine.ask("fragile", machine._ASK_VERSION.format("fragile"))

    def test_it_works(self, module):
        module("print('a banner')\n__version__ = '1.2'\n")
        assert self.ask() == ({"version": "1.2"}, None)
        assert "fragile" not in sys.modules

    def test_it_is_not_installed(self):
        assert machine.ask("no_such_module", "") == (None, "not installed")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("raise OSError('libnvinfer.so.10: cannot open')", "OSError: libnvinfer.so.10: cannot open"),
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("raise SystemExit(3)", "no message"),
            ("pass", "AttributeError: module 'fragile' has no attribute '__version__'"),
        ],
    )  # fmt: skip
    def test_it_fails(self, module, text, reason):
        module(text)
        answer, why = self.ask()
        assert answer is None
        assert why is not None
        assert reason in why

    @pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
    def test_it_crashes(self, module):
        module("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
        assert self.ask() == (None, "no message (ended by signal 11)")

    def test_it_hangs(self, module, monkeypatch):
        monkeypatch.setattr(machine, "_ASK_TIMEOUT_S", 0.2)
        module("import time\ntime.sleep(60)\n")
        answer, why = self.ask()
        assert answer is None
        assert "0.2 seconds" in str(why)


def test_engines_keep_version_providers_and_reason():
    answers = {
        "onnxruntime": ({"version": "1.32", "providers": ["A", "B"]}, None),
        "tensorrt": (None, "OSError: libnvinfer"),
        "tensorrt_rtx": (None, "not installed"),
    }
    one, two, three = machine.find_engines(lambda module, _script: answers[module])
    assert (one.ok, one.version, one.providers) == (True, "1.32", ("A", "B"))
    assert (two.ok, two.reason) == (False, "OSError: libnvinfer")
    assert (three.name, three.ok) == ("tensorrt_rtx", False)


class TestGpus:
    GPU = {  # noqa: RUF012  read only
        "index": 0, "name": "A GPU", "memory_bytes": 80 * MIB, "compute_capability": "9.0",
    }  # fmt: skip

    def find(self, answer, output=(None, "not run"), program="/bin/nvidia-smi"):
        return machine.find_gpus(lambda *_: answer, lambda _: output, lambda _: program)

    def test_cuda_python(self):
        (gpu,), reason = self.find(({"gpus": [self.GPU], "driver": "CUDA 13.0"}, None))
        assert (gpu.name, gpu.driver, gpu.memory_bytes, reason) == (
            "A GPU", "CUDA 13.0", 80 * MIB, None,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            ((None, "cuInit: CUDA_ERROR_NO_DEVICE"), "CUDA_ERROR_NO_DEVICE"),
            (({"gpus": [], "driver": "CUDA 13.0"}, None), "no device"),
        ],
    )
    def test_what_cuda_python_refuses_nvidia_smi_does_not_give_back(self, answer, why):
        found, reason = self.find(answer, ("0, A GPU, 80, 580.1, 9.0\n", None))
        assert found == ()
        assert why in reason

    def test_nvidia_smi(self):
        output = "0, A GPU, 80, 580.1, 9.0\n1, Other, [N/A], 580.1, 8.6\n"
        (one, two), reason = self.find((None, "not installed"), (output, None))
        assert (one.index, one.memory_bytes, one.driver, one.compute_capability) == (
            0, 80 * MIB, "580.1", "9.0",
        )  # fmt: skip
        assert (two.index, two.memory_bytes, reason) == (1, None, None)

    @pytest.mark.parametrize(
        ("output", "program", "why"),
        [
            ((None, "driver not loaded"), "/bin/nvidia-smi", "driver not loaded"),
            (("No devices were found\n", None), "/bin/nvidia-smi", "no device"),
            ((None, "unused"), None, "nvidia-smi: not found"),
        ],
    )
    def test_none_and_the_reason(self, output, program, why):
        found, reason = self.find((None, "not installed"), output, program)
        assert found == ()
        assert why in reason
        assert "cuda-python: not installed" in reason


class TestLayersBelow:
    @pytest.mark.parametrize("kind", [dict, list])
    def test_encoders(self, monkeypatch, kind):
        statuses = {
            "libx264": SimpleNamespace(name="libx264", ok=True, reason=""),
            "h264_nvenc": SimpleNamespace(name="h264_nvenc", ok=False, reason="no driver"),
        }
        listed = statuses if kind is dict else list(statuses.values())
        monkeypatch.setattr(media, "list_usable", lambda: listed, raising=False)
        (one, two), reason = machine.find_encoders()
        assert (one.name, one.ok, one.reason, reason) == ("libx264", True, None, None)
        assert (two.name, two.ok, two.reason) == ("h264_nvenc", False, "no driver")

    @pytest.mark.parametrize("error", [MachineError("broken"), OSError("broken")])
    def test_encoders_that_cannot_be_asked(self, monkeypatch, error):
        def fail():
            raise error

        monkeypatch.setattr(media, "list_usable", fail, raising=False)
        found, reason = machine.find_encoders()
        assert found == ()
        assert reason is not None
        assert reason.endswith("broken")

    def test_models(self, monkeypatch):
        spec = SimpleNamespace(kind="detector", licence="Apache-2.0", vendor="Someone")
        monkeypatch.setattr(models, "names", lambda **_: ["full"], raising=False)
        monkeypatch.setattr(models, "get", lambda _name: spec, raising=False)
        (one,), reason = machine.find_models()
        assert (one.name, one.kind, one.licence, one.vendor, reason) == (
            "full", "detector", "Apache-2.0", "Someone", None,
        )  # fmt: skip

    def test_a_catalogue_that_cannot_be_read(self, monkeypatch):
        def fail(**_):
            raise OSError("broken")

        monkeypatch.setattr(models, "names", fail, raising=False)
        monkeypatch.setattr(models, "get", fail, raising=False)
        assert machine.find_models() == ((), "OSError: broken")
