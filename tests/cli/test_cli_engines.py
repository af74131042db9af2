"""`ffswap engines`: list, verify and prune, plainly and as JSON; what they exit with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ffswap.cli.folders import ENGINE_DIR_VARIABLE
from ffswap.engines.trt_api import load_api
from tests.cli.engine_commands import failed
from tests.cli.test_cli_program import HEAVY, python
from tests.engines.build_nets import conv_net
from tests.pipeline.engine_requests import build, files, needs_rtx

pytestmark = needs_rtx


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an engine in FP16 and one in FP32; no test changes it."""
    folder = tmp_path_factory.mktemp("built")
    build(folder / "store", conv_net(folder / "alpha.onnx"), batches=(1, 2))
    build(folder / "store", conv_net(folder / "beta.onnx"), batches=(1,), precision="fp32")
    return folder / "store"


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "store"))


@pytest.fixture
def engines(run, store, monkeypatch):
    """Run `ffswap engines` on the store, on a machine without a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv(ENGINE_DIR_VARIABLE, "/proc/none")

    def invoke(*args: str):
        return run("engines", *args, "--engine-dir", str(store))

    return invoke


def damage(store: Path, model: str) -> Path:
    (plan,) = store.glob(f"{model}-*.plan")
    plan.write_bytes(plan.read_bytes()[::-1])
    return plan


class TestHelp:
    @pytest.mark.parametrize("flag", ["--help", "-h"])
    def test_it_names_the_commands_and_their_options(self, run, flag):
        ended = run("engines", flag)
        assert (ended.exit_code, ended.stderr) == (0, "")
        for word in ("list", "verify", "prune"):
            assert word in ended.stdout
        for command, options in {
            "list": ["--engine-dir", "--json"],
            "verify": ["--engine-dir", "--json", "[MODEL]...", "Exit code 5"],
            "prune": ["--engine-dir", "--json", "--stale", "--dry-run"],
        }.items():
            ended = run("engines", command, flag)
            assert (ended.exit_code, ended.stderr) == (0, "")
            for option in options:
                assert option in ended.stdout

    @pytest.mark.parametrize(
        "arguments",
        [["build-engine", "-h"], ["engines", "-h"], ["engines", "list", "-h"], ["engines"],
         ["build-engine", "--batch", "a"]],
    )  # fmt: skip
    def test_it_loads_nothing_heavy(self, arguments):
        code = (
            f"import sys\nsys.argv = ['ffswap', *{arguments!r}]\n"
            "from ffswap.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
        )
        assert python("-c", code).stdout.splitlines()[-1] == "[]"

    def test_an_unknown_command_is_a_usage_error(self, run):
        ended = run("engines", "burn")
        assert ended.exit_code == 2
        assert "ffswap engines --help" in ended.stderr


class TestList:
    def test_it_is_a_table_on_stdout(self, engines):
        ended = engines("list")
        assert (ended.exit_code, ended.stderr) == (0, "")
        head, alpha, beta = ended.stdout.splitlines()
        for line, state in ((alpha, "fp16       1,2"), (beta, "fp32       1 ")):
            assert state in line
            assert "any GPU of 8.6" in line
            assert "TensorRT for RTX 1." in line
            assert "(graph)" in line
            assert line.endswith("elsewhere: built for any GPU of 8.6, here is no GPU")
            assert line.index("any GPU") == head.index("FOR")
        assert (alpha[:6], beta[:6]) == ("alpha ", "beta  ")

    def test_json_has_the_manifests(self, engines, store):
        ended = engines("list", "--json")
        assert (ended.exit_code, ended.stderr) == (0, "")
        value = json.loads(ended.stdout, parse_constant=pytest.fail)
        assert value["folder"] == str(store)
        alpha, beta = value["engines"]
        assert (alpha["model"], alpha["state"], beta["precision"]) == ("alpha", "elsewhere", "fp32")
        assert alpha["manifest"]["key"]["batches"] == [1, 2]
        assert Path(alpha["file"]).is_file()

    def test_broken_engines_are_in_it(self, engines, store):
        for one in store.glob("alpha-*.plan"):
            one.unlink()
        for one in store.glob("beta-*.json"):
            one.write_text("\x1b[2J")
        ended = engines("list")
        assert ended.exit_code == 0
        assert "broken: plan is missing" in ended.stdout
        assert "broken: manifest cannot be read" in ended.stdout
        assert "broken: plan has no manifest" in ended.stdout
        assert "\x1b" not in ended.stdout

    def test_nothing_is_a_hint(self, run, tmp_path):
        ended = run("engines", "list", "--engine-dir", str(tmp_path / "none"))
        assert (ended.exit_code, ended.stdout) == (0, "")
        assert ended.stderr.startswith(f"ffswap: hint: no engines in {tmp_path / 'none'}; ")
        ended = run("engines", "list", "--json", "--engine-dir", str(tmp_path / "none"))
        assert json.loads(ended.stdout)["engines"] == []
        assert not (tmp_path / "none").exists()

    def test_the_environment_says_where(self, run, built, monkeypatch):
        monkeypatch.setenv(ENGINE_DIR_VARIABLE, str(built))
        assert len(run("engines", "list").stdout.splitlines()) == 3


class TestVerify:
    def test_whole_files_are_ok(self, engines):
        ended = engines("verify")
        assert (ended.exit_code, ended.stderr) == (0, "")
        alpha, beta = ended.stdout.splitlines()
        assert alpha.startswith("alpha fp16 alpha-fp16-")
        assert alpha.endswith(".json: ok (file whole, not run here)")
        assert beta.startswith("beta fp32 beta-fp32-")

    def test_a_damaged_plan_is_exit_code_5(self, engines, store):
        damage(store, "alpha")
        ended = engines("verify")
        assert ended.exit_code == 5
        alpha, beta = ended.stdout.splitlines()
        assert alpha.endswith(": bad: plan has the wrong sha256")
        assert beta.endswith(": ok (file whole, not run here)")
        assert ended.stderr == (
            "ffswap: error: 1 of 2 engines cannot be used\n"
            f"ffswap: hint: `ffswap engines prune --engine-dir {store}` removes broken ones; "
            f"`ffswap build-engine --engine-dir {store}` builds them\n"
        )
        ended = engines("verify", "--json")
        assert ended.exit_code == 5
        problems = [one["problem"] for one in json.loads(ended.stdout)["engines"]]
        assert problems == ["plan has the wrong sha256", None]
        assert engines("verify", "beta").exit_code == 0

    def test_a_model_without_an_engine_is_a_usage_error(self, engines):
        failed(engines("verify", "gamma"), 2, "there is no engine of gamma; there are: alpha, beta")


class TestPrune:
    def test_whole_engines_stay(self, engines, store):
        before = files(store)
        ended = engines("prune")
        assert (ended.exit_code, ended.stdout) == (0, "removed 0 files, 0.0 MB\n")
        assert files(store) == before

    def test_broken_ones_go(self, engines, store):
        plan = damage(store, "alpha")
        would = engines("prune", "--dry-run")
        assert plan.exists()
        ended = engines("prune")
        assert (would.exit_code, ended.exit_code, ended.stderr) == (0, 0, "")
        assert not plan.exists()
        *lines, total = ended.stdout.splitlines()
        assert len(lines) == 2
        assert all("plan has the wrong sha256" in line for line in lines)
        assert total.startswith("removed 2 files, ")
        assert would.stdout == ended.stdout.replace("removed", "would remove")
        assert [name[:4] for name in files(store)] == ["beta", "beta"]

    def test_stale_ones_go_when_asked_for(self, engines, store, monkeypatch):
        newer = replace(load_api("tensorrt_rtx"), version="99.0")
        monkeypatch.setattr("ffswap.pipeline.engine_shelf.load_api", lambda _: newer)
        ended = engines("prune", "--stale", "--json")
        assert (ended.exit_code, ended.stderr) == (0, "")
        value = json.loads(ended.stdout)
        assert (value["folder"], value["dry_run"]) == (str(store), False)
        assert len(value["files"]) == 4
        assert {one["in_use"] for one in value["files"]} == {False}
        assert all(one["bytes"] > 0 for one in value["files"])
        assert files(store) == []


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_is_no_store(run, tmp_path, command, as_json):
    (tmp_path / "file").write_text("mine")
    ended = run(
        "engines", command, "--engine-dir", str(tmp_path / "file"), *["--json"][: int(as_json)]
    )
    assert ended.exit_code == 4
    assert "engines need a folder" in ended.stderr
    assert "ffswap: hint: name a folder" in ended.stderr
    if as_json:
        assert json.loads(ended.stdout)["error"]["exit_code"] == 4
    assert (tmp_path / "file").read_text() == "mine"
