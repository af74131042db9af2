"""`ffswap models`: what is shown, what is refused, what it exits with."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ffswap.cli.folders import MODELS_DIR_VARIABLE, OFFLINE_VARIABLE, models_folder
from ffswap.cli.pull_progress import make_pull_display
from ffswap.errors import OptionError
from ffswap.models import Catalog
from ffswap.models.store import ModelStore
from ffswap.pipeline.model_reports import ModelProgress
from ffswap.pipeline.models import list_models, pull_models
from tests.cli.engine_commands import failed
from tests.cli.test_cli_program import HEAVY, python
from tests.models.model_server import Server, cut_off
from tests.models.store_models import (
    BODY,
    OTHER,
    PAINTER,
    SHA256,
    detector,
    embedded,
    recogniser,
    swapper,
)

LICENCES = [
    "painter: licence Painter-RAIL (restricted), by Paint Lab",
    "knower: licence Knower-Licence (non-commercial), by Face Lab",
]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files |= {"/finder_1.onnx": BODY, "/knower.onnx": BODY, "/painter_128.onnx": PAINTER}
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    urls = (server.url("/{file}"),)
    specs = {
        one.name: one
        for one in (detector(urls=urls), recogniser(urls=urls), swapper(urls=urls), embedded())
    }
    monkeypatch.setattr("ffswap.models.load_catalog", lambda _: Catalog(models=specs, templates={}))
    for name in (MODELS_DIR_VARIABLE, OFFLINE_VARIABLE, "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def models(run, folder: Path):
    """Run `ffswap models` on a folder of its own."""
    assert not folder.exists()
    return lambda *args: run("models", *args)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.onnx"
    path.write_bytes(BODY)
    return path


def lines(stderr: str, kind: str) -> list[str]:
    start = f"ffswap: {kind}: "
    return [one[len(start) :] for one in stderr.splitlines() if one.startswith(start)]


class TestHelp:
    def test_it_names_the_commands_and_their_options(self, run):
        ended = run("models", "--help")
        assert (ended.exit_code, ended.stderr) == (0, "")
        for command, options in {
            "list": ["--kind", "--models-dir", "--json"],
            "info": ["NAME", "--models-dir", "--json"],
            "pull": ["NAME", "--accept-licence", "--from", "FOLDER|FILE|URL", "--offline",
                     "--models-dir", "--progress", "--quiet", "--json"],
            "add": ["NAME", "FILE", "--accept-licence", "--models-dir", "--json"],
            "verify": ["[NAME]...", "--models-dir", "--json", "Exit code 3"],
            "remove": ["NAME", "--models-dir", "--json"],
        }.items():  # fmt: skip
            assert command in ended.stdout
            told = run("models", command, "--help")
            assert (told.exit_code, told.stderr) == (0, "")
            for option in options:
                assert option in told.stdout

    @pytest.mark.parametrize("arguments", [["models", "-h"], ["models", "pull", "-h"], ["models"]])
    def test_it_loads_nothing_heavy(self, arguments):
        code = (
            f"import sys\nsys.argv = ['ffswap', *{arguments!r}]\n"
            "from ffswap.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
        )
        assert python("-c", code).stdout.splitlines()[-1] == "[]"

    def test_an_unknown_command_is_a_usage_error(self, run):
        assert run("models", "burn").exit_code == 2

    @pytest.mark.parametrize("group", ["models", "engines"])
    def test_without_a_command_help_is_on_stderr(self, run, group):
        ended = run(group)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr == run(group, "--help").stdout
        assert "List, " in ended.stderr


class TestFolder:
    def test_as_given_else_of_the_environment_else_of_the_user(self, monkeypatch, tmp_path):
        monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "data")
        assert models_folder(None) == tmp_path / "data" / "models"
        monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "here"))
        assert models_folder(None) == tmp_path / "here"
        assert models_folder(tmp_path / "given") == tmp_path / "given"

    def test_the_option_goes_before_the_environment(self, models, folder, tmp_path):
        ended = models("pull", "finder", "--models-dir", str(tmp_path / "given"))
        assert ended.exit_code == 0
        assert (tmp_path / "given" / "finder_1.onnx").read_bytes() == BODY
        assert not folder.exists()


class TestList:
    def test_it_is_a_table_on_stdout(self, models):
        models("pull", "finder", "-q")
        ended = models("list")
        assert (ended.exit_code, ended.stderr) == (0, "")
        head, *rows = ended.stdout.splitlines()
        assert head.split() == ["MODEL", "KIND", "LICENCE", "TERMS", "VENDOR", "MB", "STATE"]
        states = {row.split()[0]: row[head.index("STATE") :] for row in rows}
        assert states == {
            "face_landmark": "comes with ffswap", "finder": "installed",
            "knower": "not installed", "painter": "not installed",
        }  # fmt: skip

    def test_one_kind(self, models):
        (row,) = models("list", "--kind", "swapper").stdout.splitlines()[1:]
        assert row.startswith("painter ")
        failed(models("list", "--kind", "swappers"), 2, "'swappers'", "swapper", "recogniser")

    def test_json(self, models, folder):
        models("pull", "finder", "-q")
        value = json.loads(models("list", "--json").stdout)
        assert value["folder"] == str(folder)
        found = {one["name"]: one for one in value["models"]}
        assert found["finder"]["path"] == str(folder / "finder_1.onnx")
        assert found["finder"]["pin"]["sha256"] == SHA256
        assert (found["painter"]["status"], found["painter"]["accepted"]) == ("missing", False)
        assert found["painter"]["needs"] == ["knower"]
        assert found["face_landmark"]["status"] == "embedded"


class TestInfo:
    def test_it_shows_what_is_known(self, models, folder, server):
        models("pull", "finder", "-q")
        text = models("info", "finder").stdout
        for word in ("licence: MIT", "terms: open", "vendor: Someone, 2023", "state: installed",
                     f"sha256: {SHA256} (pinned ", f"file: {folder / 'finder_1.onnx'}",
                     f"address: {server.url('/finder_1.onnx')}"):  # fmt: skip
            assert word in text
        assert "needs: knower" in models("info", "painter").stdout
        assert json.loads(models("info", "painter", "--json").stdout)["terms"] == "restricted"

    def test_an_unknown_name_is_a_usage_error(self, models):
        failed(models("info", "nobody"), 2, "no model is called 'nobody'", "finder", "painter")


class TestPull:
    def test_licence_and_progress_are_on_stderr_and_the_result_on_stdout(self, models, folder):
        ended = models("pull", "finder")
        assert ended.exit_code == 0
        assert (
            ended.stdout
            == f"finder: fetched, {len(BODY) / 1e6:.1f} MB, {folder / 'finder_1.onnx'}\n"
        )
        assert ended.stderr.startswith(
            "ffswap: licence: finder: licence MIT (open), by Someone 2023\n"
        )
        assert lines(ended.stderr, "progress")[-1].startswith("finder (1 of 1): 1.0 of 1.0 MB")
        again = models("pull", "finder")
        assert again.stdout.startswith("finder: there already, ")
        assert again.stderr == ""

    def test_licences_that_are_not_open_must_be_accepted(self, models, server, folder):
        ended = models("pull", "painter")
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert lines(ended.stderr, "licence") == LICENCES
        assert all(one in lines(ended.stderr, "error")[0] for one in LICENCES)
        command = "`ffswap models pull painter --accept-licence`"
        assert lines(ended.stderr, "hint")[0].endswith(command)
        assert server.asked == []
        assert not (folder / "painter.json").exists()

    def test_the_command_to_repeat_has_the_same_options(self, models, tmp_path, mine):
        options = ["--from", str(mine), "--models-dir", str(tmp_path / "a b")]
        (hint,) = lines(models("pull", "knower", *options).stderr, "hint")
        assert hint.endswith(
            f"`ffswap models pull knower --from {mine} --accept-licence "
            f"--models-dir '{tmp_path / 'a b'}'`"
        )

    def test_what_a_model_needs_comes_with_it(self, models, folder):
        ended = models("pull", "painter", "--accept-licence", "--json")
        assert ended.exit_code == 0
        assert lines(ended.stderr, "licence") == LICENCES
        value = json.loads(ended.stdout)
        assert [(one["name"], one["fetched"], one["accepted"]) for one in value["models"]] == [
            ("painter", True, True), ("knower", True, True),
        ]  # fmt: skip
        assert value["models"][1]["consent"]["licence"] == "Knower-Licence"
        assert ModelStore(folder).path(swapper()) is not None
        # Once accepted is enough, also after the file was lost.
        (folder / "knower.onnx").unlink()
        assert models("pull", "painter").exit_code == 0

    def test_quiet_prints_nothing(self, models):
        ended = models("pull", "finder", "--quiet")
        assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")

    @pytest.mark.parametrize("form", ["folder", "url"])
    def test_other_sources(self, models, server, folder, tmp_path, form):
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        (shelf / "painter_128.onnx").write_bytes(PAINTER)
        (shelf / "knower.onnx").write_bytes(BODY)
        server.files = {f"/m/{one.name}": one.read_bytes() for one in shelf.iterdir()}
        source = str(shelf) if form == "folder" else server.url("/m")
        assert models("pull", "painter", "--accept-licence", "--from", source).exit_code == 0
        assert (folder / "painter_128.onnx").read_bytes() == PAINTER
        assert bool(server.asked) == (form == "url")

    def test_one_file_is_that_of_the_model_that_was_named(self, models, server, folder, tmp_path):
        mine = tmp_path / "mine.onnx"
        mine.write_bytes(PAINTER)
        ended = models("pull", "painter", "--accept-licence", "--from", str(mine))
        assert ended.exit_code == 0
        assert (folder / "painter_128.onnx").read_bytes() == PAINTER
        assert server.paths() == ["/knower.hash", "/knower.onnx"]
        (folder / "knower.onnx").unlink()  # the file is not for it, also when it alone is missing
        assert models("pull", "painter", "--from", str(mine)).exit_code == 0
        assert (folder / "knower.onnx").read_bytes() == BODY

    @pytest.mark.parametrize(
        "options", [[], ["--accept-licence"], ["--offline", "--accept-licence"]]
    )
    def test_a_password_in_a_source_is_not_shown(self, models, server, options):
        source = server.url("/m/").replace("http://", "http://anna:secret@")
        ended = models("pull", "painter", "--from", source, "--json", *options)
        assert ended.exit_code in (2, 5)
        assert server.url("/m/") in ended.stdout
        assert "secret" not in ended.stdout + ended.stderr

    def test_a_password_in_a_catalogue_is_not_shown(self, models, server, monkeypatch):
        urls = (server.url("/{file}").replace("http://", "http://anna:secret@"),)
        specs = {"finder": detector(urls=urls)}
        monkeypatch.setattr(
            "ffswap.models.load_catalog", lambda _: Catalog(models=specs, templates={})
        )
        for command in (["list", "--json"], ["info", "finder"], ["pull", "finder", "--json"],
                        ["info", "finder", "--json"]):  # fmt: skip
            ended = models(*command)
            assert ended.exit_code == 0
            assert "secret" not in ended.stdout + ended.stderr

    def test_what_is_there_when_another_model_fails_is_said(self, models, folder, server):
        del server.files["/knower.onnx"]
        ended = models("pull", "finder", "painter", "--accept-licence", "-q")
        failed(
            ended, 5, "knower.onnx of knower was not brought",
            "; installed are: finder, painter; painter cannot be used without knower",
        )  # fmt: skip
        assert (folder / "painter_128.onnx").exists()

    @pytest.mark.parametrize("value", ["", " "])
    def test_empty_values_are_refused(self, models, value):
        failed(models("pull", "finder", "-q", "--from", value), 2, "--from is empty")
        for command in (["list"], ["remove", "finder"], ["verify"]):
            ended = models(*command, "--models-dir", value)
            failed(ended, 2, "'--models-dir'", "it is empty; allowed: a folder")

    def test_one_file_for_several_models_is_refused(self, models, mine):
        ended = models("pull", "finder", "knower", "--from", str(mine), "-q")
        failed(ended, 2, "is one file; 2 models were named: finder, knower", "a folder")

    def test_a_source_where_nothing_is(self, models, tmp_path):
        failed(
            models("pull", "finder", "-q", "--from", str(tmp_path / "x.onnx")), 3, "no such file"
        )

    @pytest.mark.parametrize("name", ["face_landmark", "nobody"])
    def test_what_cannot_be_pulled_is_a_usage_error(self, models, name):
        failed(models("pull", name), 2, name)

    def test_a_server_without_the_file_is_exit_code_5(self, models, server):
        server.files.clear()
        ended = models("pull", "finder", "-q", "--json")
        assert ended.exit_code == 5
        error = json.loads(ended.stdout)["error"]
        assert error["type"] == "DownloadError"
        assert "404 Not Found" in error["message"]
        assert "--from FOLDER|FILE|URL" in error["hint"]

    def test_wrong_bytes_are_exit_code_3(self, models, server):
        server.files["/finder_1.hash"] = b"01234567"
        failed(models("pull", "finder", "-q"), 3, "wanted for finder: 01234567")

    def test_a_signal_keeps_what_was_fetched(self, models, folder, monkeypatch):
        class Stopping(threading.Event):
            def is_set(self) -> bool:
                return bool(list(folder.glob("*.part")) or list(folder.glob(".*.part")))

        monkeypatch.setattr("ffswap.cli.signals.threading.Event", Stopping)
        ended = models("pull", "finder", "-q")
        failed(ended, 130, "what was fetched stays", "give the same command")
        assert (folder / ".finder.part").exists()

    def test_an_unknown_way_of_progress_is_refused(self, models):
        failed(models("pull", "finder", "--progress", "loud"), 2, "'loud'", "rich")
        failed(models("pull", "finder", "--progress", "loud", "-q"), 2, "'loud'", "rich")


class TestOffline:
    def test_it_says_what_to_put_where(self, models, server, folder):
        ended = models("pull", "painter", "finder", "--offline", "-q")
        failed(
            ended, 5, f"painter_128.onnx of painter (from {server.url('/painter_128.onnx')})",
            "knower.onnx of knower", "finder_1.onnx of finder",
            "ffswap models add painter painter_128.onnx && ffswap models add knower knower.onnx",
        )  # fmt: skip
        assert server.asked == []
        assert not folder.exists()

    @pytest.mark.parametrize(("value", "code"), [("1", 5), ("0", 0), ("", 0)])
    def test_the_environment_can_ask_for_it(self, models, monkeypatch, value, code):
        monkeypatch.setenv(OFFLINE_VARIABLE, value)
        assert models("pull", "finder", "-q").exit_code == code

    def test_what_is_there_or_local_needs_no_network(self, models, server, mine):
        assert models("pull", "finder", "--offline", "--from", str(mine)).exit_code == 0
        assert models("pull", "finder", "--offline").exit_code == 0
        assert server.asked == []

    @pytest.mark.parametrize("offline", [[], ["--offline"]])
    def test_what_is_no_address_is_a_usage_error(self, models, offline):
        failed(
            models("pull", "finder", "-q", "--from", "http://[bad", *offline), 2, "not an address"
        )

    def test_an_address_is_no_local_source(self, models, server):
        ended = models("pull", "finder", "-q", "--offline", "--from", server.url("/"))
        failed(ended, 5, "offline", server.url("/"))


class TestAdd:
    def test_a_file_is_put_into_the_store(self, models, folder, mine):
        ended = models("add", "finder", str(mine))
        assert ended.exit_code == 0
        assert ended.stdout.startswith("finder: added, 1.0 MB, ")
        assert lines(ended.stderr, "licence") == ["finder: licence MIT (open), by Someone 2023"]
        assert (folder / "finder_1.onnx").read_bytes() == BODY

    def test_its_licence_must_be_accepted(self, models, mine):
        ended = models("add", "knower", str(mine), "-q")
        failed(ended, 2, LICENCES[1], f"ffswap models add knower {mine} --accept-licence")
        ended = models("add", "knower", str(mine), "--accept-licence", "--json")
        assert json.loads(ended.stdout)["consent"]["vendor"] == "Face Lab"

    @pytest.mark.parametrize("command", ["add", "pull"])
    def test_a_file_of_another_model_is_refused(self, models, folder, mine, command):
        mine.write_bytes(PAINTER)
        source = ["--from", str(mine)] if command == "pull" else [str(mine)]
        ended = models(command, "knower", *source, "--accept-licence", "-q")
        failed(ended, 3, f"{mine}: is not knower: the input source", "this file fits: painter")
        assert not (folder / "knower.onnx").exists()

    def test_what_cannot_be_added(self, models, mine, tmp_path):
        mine.write_bytes(b"PK\3\4")
        failed(models("add", "finder", str(mine), "-q"), 3, "is not ONNX", "zip")
        failed(models("add", "finder", str(tmp_path / "none"), "-q"), 3, "no such file")
        failed(models("add", "face_landmark", str(mine), "-q"), 2, "comes with ffswap")
        failed(models("add", "nobody", str(mine), "-q"), 2, "no model is called 'nobody'")


class TestVerify:
    def test_all_that_is_there_is_read(self, models, folder):
        models("pull", "finder", "-q")
        ended = models("verify")
        assert (ended.exit_code, ended.stderr) == (0, "")
        assert ended.stdout.splitlines() == [
            "face_landmark comes with ffswap: ok", f"finder {folder / 'finder_1.onnx'}: ok",
        ]  # fmt: skip

    def test_damage_is_exit_code_3(self, models, folder):
        models("pull", "finder", "-q")
        (folder / "finder_1.onnx").write_bytes(OTHER)
        ended = models("verify", "finder")
        assert ended.exit_code == 3
        assert "bad: it has sha256 " in ended.stdout
        assert f"pinned is {SHA256}" in ended.stdout
        assert lines(ended.stderr, "error") == ["1 of 1 models cannot be used"]
        assert "ffswap models pull finder" in lines(ended.stderr, "hint")[0]
        value = json.loads(models("verify", "finder", "--json").stdout)
        assert "sha256" in value["models"][0]["problem"]

    def test_the_hint_is_what_helps(self, models, folder):
        models("pull", "knower", "--accept-licence", "-q")
        (folder / "knower.json").write_text("[")
        (folder / "finder_1.onnx").write_bytes(BODY)
        hints = lines(models("verify", "--models-dir", str(folder)).stderr, "hint")
        there = f"--models-dir {folder}`"
        assert hints[0] == (
            f"finder: `ffswap models add finder {folder / 'finder_1.onnx'} {there} takes it as it "
            "is; or move it away"
        )
        assert hints[1].startswith(f"knower: `ffswap models remove knower {there}, then ")
        for command in (["add", "finder", str(folder / "finder_1.onnx")], ["remove", "knower"],
                        ["pull", "knower", "--accept-licence"], ["verify"]):  # fmt: skip
            assert models(*command).exit_code == 0

    def test_damage_that_keeps_size_and_time_is_mended_by_the_hint(self, models, folder):
        models("pull", "finder", "-q")
        place = folder / "finder_1.onnx"
        before = place.stat()
        place.unlink()
        place.write_bytes(bytes(len(BODY)))
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        ended = models("verify", "finder", "--json")
        hint = json.loads(ended.stdout)["models"][0]["hint"]
        assert f"ffswap: hint: finder: {hint}\n" in ended.stderr
        for command in re.findall("`([^`]+)`", hint)[:2]:
            assert models(*command.split()[2:]).exit_code == 0
        assert models("verify", "finder").exit_code == 0

    def test_a_file_that_is_gone_is_bad_until_it_is_forgotten(self, models, folder):
        models("pull", "finder", "-q")
        (folder / "finder_1.onnx").unlink()
        ended = models("verify")
        assert ended.exit_code == 3
        assert ended.stdout.endswith("bad: the file is gone\n")
        assert "`ffswap models remove finder` forgets it" in ended.stderr
        assert models("remove", "finder").exit_code == 0
        assert models("verify").exit_code == 0

    def test_what_is_not_installed_is_bad_when_it_is_named(self, models):
        ended = models("verify", "finder")
        assert ended.exit_code == 3
        assert ended.stdout.endswith("bad: it is not installed\n")


class TestRemove:
    def test_it_removes_what_was_pulled(self, models, folder):
        models("pull", "finder", "knower", "--accept-licence", "-q")
        ended = models("remove", "finder", "knower")
        assert ended.exit_code == 0
        assert ended.stdout.splitlines() == ["removed: finder (1.0 MB)", "removed: knower (1.0 MB)"]
        assert [one.name for one in folder.iterdir() if not one.name.startswith(".")] == []
        assert models("pull", "knower").exit_code == 2  # its licence is asked for again

    def test_what_is_not_there_or_embedded_cannot_be_removed(self, models):
        models("pull", "finder", "-q")
        failed(models("remove", "knower"), 2, "knower is not in", "there are: finder")
        failed(models("remove", "face_landmark"), 2, "comes with ffswap")

    @pytest.mark.parametrize("wrong", ["knower", "face_landmark"])
    def test_nothing_is_removed_if_one_cannot_be(self, models, folder, wrong):
        models("pull", "finder", "-q")
        assert models("remove", "finder", wrong).exit_code == 2
        assert (folder / "finder_1.onnx").exists()
        assert (folder / "finder.json").exists()


class TestLibrary:
    def test_models_and_events_without_the_program(self, server, tmp_path):
        spec = detector(urls=(server.url("/{file}"),))
        server.faults += [cut_off(600_000)]
        events: list[ModelProgress] = []
        report = pull_models(["finder"], {"finder": spec}, tmp_path, progress=events.append)
        assert report.models[0].path == tmp_path / "finder_1.onnx"
        assert {(one.model, one.index, one.count, one.phase) for one in events} == {
            ("finder", 0, 1, "fetching")
        }
        assert (events[-1].done, events[-1].total) == (len(BODY), len(BODY))
        (listed,) = list_models({"finder": spec}, tmp_path)
        assert listed.status == "installed"


class TestDisplays:
    @staticmethod
    def event(done: int, seconds: float, **more: object) -> ModelProgress:
        fields = {"model": "finder", "index": 0, "count": 2, "phase": "fetching", "total": 10**7}
        return ModelProgress(done=done, seconds=seconds, **(fields | more))  # type: ignore[arg-type]

    @pytest.mark.parametrize("mode", ["rich", "tqdm", "none", "auto"])
    def test_every_display_takes_all_events(self, mode, capsys):
        with make_pull_display(mode) as display:
            display(self.event(0, 0, phase="waiting", total=None))
            display(self.event(0, 0.1))
            display(self.event(10**7, 0.2))
            display(self.event(5, 0.1, index=1, model="knower"))
        told = capsys.readouterr()
        assert told.out == ""
        assert ("finder (1 of 2)" in told.err) == (mode != "none")

    def test_plain_lines_are_few(self, capsys):
        with make_pull_display("auto") as display:
            for number in range(101):
                display(self.event(number * 10**5, number / 10))
        told = lines(capsys.readouterr().err, "progress")
        assert told == [
            "finder (1 of 2): 0.0 of 10.0 MB (0:00)", "finder (1 of 2): 5.0 of 10.0 MB (0:05)",
            "finder (1 of 2): 10.0 of 10.0 MB (0:10)",
        ]  # fmt: skip

    def test_an_unknown_display_is_refused(self):
        with pytest.raises(OptionError, match="allowed"):
            make_pull_display("loud")
