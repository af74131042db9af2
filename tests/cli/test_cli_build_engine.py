"""`ffswap build-engine`: what it prints and where, what it refuses, how Ctrl-C ends it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ffswap.cli import folders
from ffswap.cli.folders import engine_folder
from ffswap.engines import build, trt_api
from ffswap.engines.calibration import write_set
from ffswap.models import get
from ffswap.models.onnx_files import save_onnx
from ffswap.models.pins import Pin, Record, now
from ffswap.models.store import ModelStore
from tests.cli.engine_commands import BAD_MODELS, failed, foreign
from tests.engines.build_nets import conv_net
from tests.engines.build_processes import ends_soon
from tests.engines.fitted_net import calibration_rows, fitted_net
from tests.pipeline.engine_requests import files, needs_rtx
from tools.replicas import make

OPTIONS = [
    "--fp16", "--fp32", "--int8", "--calibrate", "--report", "--batch", "--workspace", "--opt-level", "--engine-dir", "--timing-cache",
    "--for", "--recipe", "--models-dir", "--device", "--force", "--progress", "--json", "--quiet",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(folders.ENGINE_DIR_VARIABLE, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def net(tmp_path: Path) -> str:
    return str(conv_net(tmp_path / "net.onnx"))


@pytest.fixture
def build_engine(run, store):
    """Run `ffswap build-engine` for an SM89 into the store."""

    def invoke(*args: object, targets: str | None = "sm89"):
        ahead = [] if targets is None else ["--for", targets]
        return run("build-engine", *ahead, "--engine-dir", str(store), *map(str, args))

    return invoke


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_option(run, flag):
    ended = run("build-engine", flag)
    assert (ended.exit_code, ended.stderr) == (0, "")
    for option in OPTIONS:
        assert option in ended.stdout


@needs_rtx
class TestOutput:
    def test_json_is_the_report_and_nothing_else(self, build_engine, store, net):
        ended = build_engine(net, "--batch", "1,2", "--json")
        assert ended.exit_code == 0
        assert ended.stdout.count("\n") == 1
        value = json.loads(ended.stdout, parse_constant=pytest.fail)
        assert value["folder"] == str(store)
        assert value["ahead_of_time"] is True
        assert value["gpus"] == ["any GPU of 8.9"]
        (engine,) = value["engines"]
        assert (engine["model"], engine["status"], engine["notes"]) == ("net", "built", [])
        assert engine["manifest"]["key"]["batches"] == [1, 2]
        assert engine["manifest"]["gate"]["passed"] is True
        assert files(store) == sorted(
            [Path(engine["plan"]).name, f"{engine['plan'].rpartition('-')[0]}.json".rpartition("/")[2]]
        )  # fmt: skip

    def test_plainly_a_line_for_each_engine_is_on_stdout(self, build_engine, store, net):
        ended = build_engine(net, "--batch", "1,2")
        assert ended.exit_code == 0
        (line,) = ended.stdout.splitlines()
        assert line.startswith("net fp16 batch 1,2: in 0:0")
        assert str(store) in line
        assert line.endswith(".plan")
        assert "ffswap: progress: net (1 of 1): reading the model" in ended.stderr
        assert "ffswap: warning: built ahead of time for any GPU of 8.9: no engine was run" in (
            ended.stderr
        )
        assert build_engine(net, "--batch", "1,2").stdout.startswith("net fp16 batch 1,2: there")
        ended = build_engine(net, "--batch", "1,4")
        assert "ffswap: warning: net: stale: batch sizes 1, 2, asked for is 1, 4\n" in ended.stderr

    def test_quiet_prints_nothing(self, build_engine, net):
        ended = build_engine(net, "--batch", "1", "--quiet")
        assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")
        assert json.loads(build_engine(net, "--batch", "1", "-q", "--json").stdout)["engines"]

    def test_precision_and_recipe_and_force(self, build_engine, store, net, tmp_path):
        recipe = tmp_path / "set.toml"
        assert net == str(tmp_path / "net.onnx")
        recipe.write_text('[models.net]\nfile = "net.onnx"\nbatches = [2]\n')
        assert build_engine("--recipe", recipe).stdout.startswith("net fp16 batch 2: in")
        assert build_engine("--recipe", recipe, "--fp32").stdout.startswith("net fp32 batch 2: in")
        forced = build_engine("net", "--recipe", recipe, "--force")
        assert forced.stdout.startswith("net fp16 batch 2: in")
        assert len(files(store)) == 4


@pytest.mark.parametrize("option", [("--timing-cache", "t.cache"), ("--device", "cuda:1")])
def test_what_only_a_gpu_here_could_use_is_refused_ahead_of_time(build_engine, store, net, option):
    ended = build_engine(net, "--for", "sm89", *option)
    failed(ended, 2, option[1].removeprefix("cuda:"), "--for sm89 exclude each other")
    assert files(store) == []


def test_a_model_that_is_not_installed_is_named_with_what_brings_it(build_engine, store):
    ended = build_engine("inswapper_128")
    failed(ended, 3, "the swapper inswapper_128 is not installed",
           "ffswap models pull inswapper_128", "PATH/inswapper_128.onnx")  # fmt: skip
    assert not store.exists()


@needs_rtx
def test_an_installed_model_is_built_by_its_name(build_engine, tmp_path):
    spec = get("crossface_simswap")
    shelf = ModelStore(tmp_path / "models")
    save_onnx(make(spec.name), tmp_path / "net.onnx")
    shelf.accept(spec)
    shelf.add(spec, tmp_path / "net.onnx")
    ended = build_engine(spec.name, "--batch", "1,2", "--models-dir", shelf.folder, "--json")
    assert ended.exit_code == 0, ended.stderr
    (engine,) = json.loads(ended.stdout)["engines"]
    assert engine["manifest"]["key"]["model"] == spec.name
    assert engine["manifest"]["licence"] == spec.licence


def install_unchecked(folder: Path, name: str, content: bytes) -> Path:
    """A file under the name of another model, as an ffswap that did not compare has installed it."""
    spec = get(name)
    shelf = ModelStore(folder)
    shelf.accept(spec)
    place = shelf.place(spec)
    place.write_bytes(content)
    pin = Pin(
        file=spec.file, size_bytes=len(content), mtime_ns=place.stat().st_mtime_ns,
        sha256=hashlib.sha256(content).hexdigest(), crc32="0" * 8, origin="x", added=now(),
    )  # fmt: skip
    record = Record.read(folder / f"{name}.json", name)
    replace(record, pin=pin).write(folder / f"{name}.json")
    return place


@needs_rtx
def test_an_installed_file_that_is_another_net_is_refused(build_engine, store, tmp_path):
    other = make("ghost_1_256").SerializeToString()
    place = install_unchecked(tmp_path / "models", "crossface_simswap", other)
    ended = build_engine("crossface_simswap", "--models-dir", tmp_path / "models", "-q")
    failed(
        ended, 3, f"{place}: is not crossface_simswap: ",
        "`ffswap models remove crossface_simswap --models-dir ",
        "`ffswap models add crossface_simswap FILE --models-dir ",
    )  # fmt: skip
    assert files(store) == []


@needs_rtx
def test_a_file_of_the_users_own_that_is_another_net_is_built_with_a_warning(
    build_engine, tmp_path
):
    save_onnx(make("crossface_simswap"), tmp_path / "crossface_ghost.onnx")
    assert build_engine(tmp_path / "crossface_ghost.onnx", "--batch", "1", "-q").stderr == ""
    conv_net(tmp_path / "crossface_hififace.onnx")
    ended = build_engine(tmp_path / "crossface_hififace.onnx", "--batch", "1", "--progress", "none")
    assert ended.exit_code == 0
    assert "warning: crossface_hififace: the file is not crossface_hififace: " in ended.stderr


@needs_rtx
@pytest.mark.parametrize(("spoil", "code", "words"), BAD_MODELS)
def test_a_model_that_cannot_be_used_is_named(build_engine, store, tmp_path, spoil, code, words):
    spoil(tmp_path / "net.onnx")
    failed(build_engine(tmp_path / "net.onnx", "--batch", "1,2"), code, *words)
    assert files(store) == []


@needs_rtx
@pytest.mark.parametrize("precision", ["--fp16", "--fp32"])
def test_every_operator_that_tensorrt_lacks_is_named(build_engine, store, tmp_path, precision):
    foreign(tmp_path / "net.onnx")
    failed(
        build_engine(tmp_path / "net.onnx", precision), 5, "net cannot be read by TensorRT for RTX",
        "node one (QuickGelu): INVALID_NODE", "node two (QuickGelu): INVALID_NODE",
        "hint: TensorRT has no QuickGelu: export the net without it",
    )  # fmt: skip
    assert files(store) == []


SIZES = "one or more sizes from 1 to 1024 in ascending order, such as 1,4,8,16"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--batch", "0"], ["batch is '0'", SIZES]),
        (["--batch", "4,1"], ["batch is '4,1'", SIZES]),
        (["--batch", "2,2"], ["batch is '2,2'", SIZES]),
        (["--batch", "1,1025"], ["batch is '1,1025'", SIZES]),
        (["--batch", ""], ["--batch is ''", "whole numbers, such as 1,4,8,16"]),
        (["--batch", "a"], ["--batch is 'a'", "whole numbers, such as 1,4,8,16"]),
        (["--batch", "-1"], ["--batch is '-1'", "whole numbers, such as 1,4,8,16"]),
        (["--workspace", "0"], ["workspace is 0.0", "more than 0 (GiB)"]),
        (["--workspace", "nan"], ["workspace is nan", "more than 0 (GiB)"]),
        (["--workspace", "inf"], ["is inf", "more than 0 (GiB)"]),
        (["--opt-level", "6"], ["opt-level is 6", "0 to 5"]),
        (["--device", "cpu"], ["--device is 'cpu'", "cuda, cuda:N"]),
        (["--progress", "loud"], ["'loud'", "auto, rich, tqdm, none"]),
        (["--no-such-option"], ["ffswap build-engine --help"]),
        (["swapper"], ["there is no model 'swapper'", "allowed: ", "face_landmark", "an ONNX file",
                       "hint: the name of a file ends in .onnx"]),
        (["a/net.onnx", "b/net.onnx"], ["two models have the same name: net, net"]),
        (["net.onnx", "net.onnx"], ["two models have the same name: net, net"]),
    ],
)  # fmt: skip
def test_a_bad_value_is_a_usage_error_that_says_what_is_allowed(build_engine, store, args, words):
    failed(build_engine(*args), 2, *words)
    assert not store.exists()


@needs_rtx
@pytest.mark.parametrize("text", ["", "ada", "sm10", "8.9", "sm89,", "sm89,sm89", "current"])
def test_an_unknown_target_lists_the_known_ones(build_engine, store, text):
    ended = build_engine("net.onnx", targets=text)
    failed(
        ended, 2, repr(text), "allowed: ", "sm86", "sm89", "sm120", "hint: several are written as"
    )
    assert not store.exists()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, 3, ["no such recipe", "hint: a recipe is a TOML file"]),
        ("[models", 2, ["the recipe is not TOML"]),
        ("", 2, ["the recipe names no models", "hint: add a table [models.NAME]"]),
        ("[models.net]\nbatchs = [1]", 2, ["[models.net] has a key 'batchs'", "did you mean batches"]),
        ("[models.net]\nbatches = [0]", 2, ["[models.net] batches is [0]", "1 to 1024"]),
        ("[gate]\npsnr_db = 900.0\n[models.net]", 2, ["[gate] psnr_db is 900.0", "0 to 200"]),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_used_is_named(build_engine, store, tmp_path, text, code, words):
    recipe = tmp_path / "set.toml"
    if text is not None:
        recipe.write_text(text)
    failed(build_engine("--recipe", recipe), code, "set.toml", *words)
    assert not store.exists()


@pytest.mark.parametrize("targets", [None, "sm89"])
def test_a_name_in_a_recipe_that_is_no_model_is_named(build_engine, store, tmp_path, targets):
    (tmp_path / "set.toml").write_text("[models.swapper]\n")
    failed(
        build_engine("--recipe", tmp_path / "set.toml", targets=targets), 2,
        "the recipe set has a model 'swapper' without a file", "face_landmark",
        "hint: name its file there: [models.swapper] file = ",
    )  # fmt: skip
    assert files(store) == []


@pytest.mark.parametrize("asked", [[], ["gfpgan_1.4"]])
def test_a_recipe_may_leave_out_the_file_of_an_installed_model_only(
    build_engine, store, tmp_path, asked
):
    (tmp_path / "set.toml").write_text('[models."gfpgan_1.4"]\n')
    failed(
        build_engine(*asked, "--recipe", tmp_path / "set.toml"), 3,
        "the restorer gfpgan_1.4 is not installed",
        "ffswap models pull gfpgan_1.4",
    )  # fmt: skip
    assert files(store) == []


class TestMachine:
    """What is missing here is named, with what to do."""

    @needs_rtx
    def test_without_a_gpu_the_hint_is_to_build_ahead_of_time(self, build_engine, store, net):
        ended = build_engine(net, targets=None)
        failed(ended, 5, "an engine is built on the GPU that it is for", "hint: ", "--for sm89")
        assert files(store) == []

    @pytest.mark.parametrize(
        ("targets", "words"),
        [
            (None, ["tensorrt is not installed", "pip install 'ffswap[trt-cu13]'"]),
            ("sm89", ["tensorrt_rtx is not installed", "pip install 'ffswap[rtx-cu13]'"]),
        ],
    )
    def test_without_tensorrt_the_extra_is_named(
        self, build_engine, store, net, monkeypatch, targets, words
    ):
        for module in (trt_api, build):
            monkeypatch.setattr(module, "installed_products", dict)
        failed(build_engine(net, targets=targets), 5, *words)
        assert files(store) == []

    @needs_rtx
    def test_wheels_for_two_cudas_are_named(self, build_engine, store, net, monkeypatch):
        monkeypatch.setattr("importlib.metadata.version", lambda _: "1.0")
        failed(
            build_engine(net), 5, "for CUDA 12 and for CUDA 13 at once", "tensorrt-rtx-cu12",
            "tensorrt-rtx-cu13", "hint: make a new environment with one of the two",
        )  # fmt: skip
        assert files(store) == []


@needs_rtx
class TestFolder:
    def test_a_file_is_no_folder(self, build_engine, store, net):
        store.write_text("mine")
        failed(build_engine(net), 4, str(store), "engines need a folder", "hint: name a folder")
        assert store.read_text() == "mine"

    def test_a_folder_that_may_not_be_written_to(self, run, net):
        folder = "/sys" if os.geteuid() == 0 else "/"  # root may write to any other
        ended = run("build-engine", "--for", "sm89", "--engine-dir", folder, net)
        failed(ended, 4, f"{folder}: the folder may not be written to")

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files are named in /proc")
    @pytest.mark.parametrize("when", [0, 1, 2], ids=["probe", "plan", "manifest"])
    def test_a_full_disk_leaves_nothing(self, build_engine, store, net, monkeypatch, when):
        calls, real = iter(range(10)), os.fsync

        def fsync(number: int) -> None:
            inside = os.readlink(f"/proc/self/fd/{number}").startswith(f"{store}/")
            if inside and next(calls) == when:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(number)

        monkeypatch.setattr(os, "fsync", fsync)
        failed(build_engine(net, "--batch", "1"), 4, str(store), "disk full, nothing was written")
        assert next(calls) == when + 1
        assert files(store) == []


class Answers:
    """Stands in for the process that builds: it says one thing."""

    alive, ended = True, False

    def __init__(self, *_: object) -> None:
        pass

    def send(self, _message: object) -> None:
        pass

    def end(self) -> None:
        pass

    def hear(self, _timeout_s: float):
        return {
            "error": {
                "type": "EngineError", "message": "net cannot be built: Cuda out of memory",
                "hint": "build with a smaller --batch or --workspace", "file": None,
            }
        }  # fmt: skip


@needs_rtx
@pytest.mark.parametrize("as_json", [False, True])
def test_memory_that_is_not_enough_leaves_nothing(build_engine, store, net, monkeypatch, as_json):
    monkeypatch.setattr(build, "Child", Answers)
    ended = build_engine(net, "--batch", "1", *(["--json"] if as_json else []))
    assert ended.exit_code == 5
    assert "ffswap: error: net cannot be built: Cuda out of memory\n" in ended.stderr
    assert "ffswap: hint: build with a smaller --batch or --workspace\n" in ended.stderr
    if as_json:
        assert json.loads(ended.stdout)["error"]["type"] == "EngineError"
        assert json.loads(ended.stdout)["error"]["exit_code"] == 5
    assert files(store) == []


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def builder_of(process: subprocess.Popen[str]) -> int:
    """The process that builds, as soon as it has loaded TensorRT."""
    while process.poll() is None:
        for child in children_of(process.pid):
            try:
                if "tensorrt_rtx" in Path(f"/proc/{child}/maps").read_text():
                    return child
            except OSError:
                continue
        time.sleep(0.01)
    raise AssertionError(f"it ended before: {process.communicate()}")


@needs_rtx
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="processes are watched in /proc")
@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_signal_ends_the_build_and_leaves_nothing(store, tmp_path, number, code, name):
    (tmp_path / "yolo.onnx").write_bytes(make("yoloface_8n", "full").SerializeToString())
    command = ["build-engine", "--for", "sm89", "--batch", "1", "--engine-dir", str(store)]
    with subprocess.Popen(
        [sys.executable, "-m", "ffswap", *command, str(tmp_path / "yolo.onnx")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        builder = builder_of(process)
        while process.poll() is None and not any(one.endswith(".part") for one in files(store)):
            time.sleep(0.01)
        assert process.returncode is None
        os.killpg(process.pid, number)  # as a terminal does
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, "")
    assert f"ffswap: error: stopped ({name}); engines that were finished stay" in stderr
    assert "ffswap: hint: to go on, give the same command" in stderr
    assert "Traceback" not in stderr
    assert ends_soon(builder)
    assert files(store) == []


class TestFolderOfEngines:
    """As given, else of the environment, of the checkout, of the user."""

    def test_the_option_goes_before_the_environment(self, monkeypatch, tmp_path):
        monkeypatch.setenv("FFSWAP_ENGINE_DIR", str(tmp_path / "other"))
        assert engine_folder(tmp_path / "given") == tmp_path / "given"
        assert engine_folder(None) == tmp_path / "other"

    @pytest.mark.parametrize("value", [None, "", " "])
    def test_a_checkout_has_its_own(self, monkeypatch, value):
        if value is not None:
            monkeypatch.setenv("FFSWAP_ENGINE_DIR", value)
        assert engine_folder(None) == Path(__file__).parents[2] / "engines"

    def test_an_installed_program_uses_the_cache_of_the_user(self, monkeypatch, tmp_path):
        place = tmp_path / "lib" / "site-packages" / "ffswap" / "cli" / "folders.py"
        monkeypatch.setattr(folders, "__file__", str(place))
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
        assert engine_folder(None) == tmp_path / "cache" / "engines"

    @needs_rtx
    def test_the_environment_is_where_engines_go(self, run, monkeypatch, tmp_path, net):
        monkeypatch.setenv("FFSWAP_ENGINE_DIR", str(tmp_path / "mine"))
        ended = run("build-engine", "--for", "sm89", "--batch", "1", net)
        assert ended.exit_code == 0
        assert len(files(tmp_path / "mine")) == 2


class TestInt8:
    @needs_rtx
    def test_it_is_built_and_told_on_one_line(self, build_engine, store, tmp_path):
        folder, net = fitted(tmp_path)
        ended = build_engine(
            "--int8", "--calibrate", folder, "--recipe", recipe(tmp_path, 20), "--report",
            tmp_path / "r.html",
        )  # fmt: skip
        assert ended.exit_code == 0
        assert re.match(
            r"fitted int8 batch 1: .*, 4 layers in INT8, .* MB, error 0\.\d+,", ended.stdout
        )
        assert "<html" in (tmp_path / "r.html").read_text("utf-8")
        assert net.name == "fitted.onnx"
        assert any(name.startswith("fitted-int8-") for name in files(store))

    @needs_rtx
    def test_a_gate_that_cannot_be_met_has_a_code_of_its_own(self, build_engine, store, tmp_path):
        folder, _ = fitted(tmp_path)
        ended = build_engine(
            "--int8", "--calibrate", folder, "--recipe", recipe(tmp_path, 90), "--json"
        )
        assert ended.exit_code == 12
        error = json.loads(ended.stdout)["error"]
        assert (error["type"], error["exit_code"]) == ("Int8Error", 12)
        assert "no INT8 engine of fitted is good enough" in ended.stderr
        assert files(store) == []

    def test_precisions_exclude_each_other(self, build_engine, net):
        ended = build_engine(net, "--int8", "--fp16")
        assert ended.exit_code == 2
        assert "--int8 and --fp16 exclude each other" in ended.stderr

    def test_int8_needs_a_set(self, build_engine, net):
        ended = build_engine(net, "--int8")
        assert ended.exit_code == 2
        assert "--calibrate SET" in ended.stderr

    @needs_rtx
    def test_a_set_that_is_not_there_is_said(self, build_engine, net, tmp_path):
        ended = build_engine(net, "--int8", "--calibrate", tmp_path / "none")
        assert ended.exit_code == 3
        assert "is no folder; give a calibration set" in ended.stderr


def fitted(folder: Path) -> tuple[Path, Path]:
    """A calibration set, and the net that it is for."""
    save_onnx(fitted_net(), folder / "fitted.onnx")
    return write_set(folder / "set", [calibration_rows(fitted_net())]), folder / "fitted.onnx"


def recipe(folder: Path, psnr_db: float) -> Path:
    path = folder / "fitted.toml"
    limits = f"psnr_db = {psnr_db}\nssim = 0.5\nspread_db = 20\nrelative_l2 = 0.5"
    path.write_text(f'[gate_int8]\n{limits}\n[models.fitted]\nfile = "fitted.onnx"\nbatches = [1]')
    return path
