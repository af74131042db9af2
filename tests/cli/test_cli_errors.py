"""One family of errors, one exit code, at most two lines, and no trace."""

from __future__ import annotations

import json

import pytest

from ffswap import errors

FAMILIES = [
    (errors.OptionError, 2),
    (errors.UserError, 2),
    (errors.InputError, 3),
    (errors.InputMissingError, 3),
    (errors.MediaError, 3),
    (errors.ModelError, 3),
    (errors.NoFaceError, 3),
    (errors.OutputError, 4),
    (errors.OutputExistsError, 4),
    (errors.OutputFormatError, 4),
    (errors.OutputWriteError, 4),
    (errors.SigningError, 4),
    (errors.MachineError, 5),
    (errors.DeviceError, 5),
    (errors.DownloadError, 5),
    (errors.EncoderError, 5),
    (errors.EngineError, 5),
    (errors.QualityError, 5),
    (errors.Int8Error, 12),
    (errors.CancelledError, 130),
    (errors.InternalError, 1),
    (errors.FfswapError, 1),
]


def test_every_class_of_the_tree_is_in_the_table_above():
    assert {one.__name__ for one, _ in FAMILIES} == set(errors.__all__)


@pytest.mark.parametrize(("kind", "code"), FAMILIES)
def test_a_family_has_its_exit_code_and_no_trace(swap, library, kind, code):
    library.error = kind("the message", hint="the hint", file="in.mp4")
    ended = swap()
    assert ended.exit_code == code
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["ffswap", "error"], ["ffswap", "hint"]]
    if kind is not errors.CancelledError:  # a stopped run has its own words
        assert lines == ["ffswap: error: in.mp4: the message", "ffswap: hint: the hint"]


@pytest.mark.parametrize(("kind", "code"), FAMILIES)
def test_a_failure_in_json_is_one_object(swap, library, kind, code):
    library.error = kind("the message", hint="the hint", file="in.mp4")
    ended = swap("--json")
    assert ended.exit_code == code
    described = json.loads(ended.stdout)["error"]
    assert set(described) == {"type", "message", "hint", "exit_code", "file"}
    assert described["type"] == kind.__name__
    assert described["exit_code"] == code
    assert ended.stderr.startswith("ffswap: error: ")
    if kind is not errors.CancelledError:
        assert described["message"] == "the message"
        assert (described["hint"], described["file"]) == ("the hint", "in.mp4")


def test_an_error_without_a_hint_is_one_line(swap, library):
    library.error = errors.MediaError("no video stream", file="in.mp4", stage="decode", frame=7)
    assert swap().stderr == "ffswap: error: in.mp4: no video stream (stage decode, frame 7)\n"


def test_our_own_fault_says_how_to_report_it(swap, library):
    library.error = errors.InternalError("shapes differ")
    assert "FFSWAP_DEBUG=1" in swap().stderr


@pytest.mark.parametrize("error", [ZeroDivisionError("by\nzero"), KeyError("x"), OSError(5, "x")])
def test_what_nobody_expected_is_our_fault_and_one_sentence(swap, library, error):
    library.error = error
    ended = swap("--json")
    assert ended.exit_code == 1
    assert "Traceback" not in ended.stderr
    first, second = ended.stderr.splitlines()
    assert first.startswith(f"ffswap: error: {type(error).__name__}: ")
    assert second.startswith("ffswap: hint: ")
    assert "report" in second
    assert json.loads(ended.stdout)["error"]["type"] == "InternalError"


def test_lack_of_memory_is_the_machines_fault(swap, library):
    library.error = MemoryError()
    ended = swap()
    assert ended.exit_code == 5
    assert "memory" in ended.stderr


@pytest.mark.parametrize(("value", "traced"), [("1", True), ("0", False), ("", False)])
@pytest.mark.parametrize("error", [ZeroDivisionError("x"), errors.MediaError("x")])
def test_the_variable_for_debugging_shows_the_trace(
    swap, library, monkeypatch, value, traced, error
):
    monkeypatch.setenv("FFSWAP_DEBUG", value)
    library.error = error
    ended = swap()
    assert ("Traceback" in ended.stderr) is traced
    assert ended.stderr.splitlines()[-1].startswith("ffswap: ")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), errors.CancelledError("stopped")])
def test_a_stopped_run_says_that_nothing_was_written(swap, library, error):
    library.error = error
    ended = swap("--json")
    assert ended.exit_code == 130
    first, second = ended.stderr.splitlines()
    assert first == "ffswap: error: stopped (Ctrl-C); nothing was written to out.mp4"
    assert "start again" in second
    described = json.loads(ended.stdout)["error"]
    assert (described["type"], described["exit_code"]) == ("CancelledError", 130)


@pytest.mark.parametrize(
    "args", [["swap", "a", "--json"], ["swap", "a", "b", "c", "--json", "--x"]]
)
def test_a_usage_error_is_json_too(run, args):
    ended = run(*args)
    assert ended.exit_code == 2
    described = json.loads(ended.stdout)["error"]
    assert (described["type"], described["exit_code"]) == ("OptionError", 2)
    assert "ffswap swap --help" in described["hint"]


COMMANDS = {
    "models.list_models": ["models", "list"],
    "models.model_report": ["models", "info", "mesh"],
    "models.verify_models": ["models", "verify"],
    "models.remove_models": ["models", "remove", "mesh"],
    "models.pull_models": ["models", "pull", "inswapper_128"],
    "models.add_model": ["models", "add", "inswapper_128", "x.onnx"],
    "engine_shelf.list_engines": ["engines", "list"],
    "engine_shelf.verify_engines": ["engines", "verify"],
    "engine_shelf.prune_engines": ["engines", "prune"],
    "engines.build_engines": ["build-engine"],
    "plan.survey": ["doctor"],
    "swap": ["swap", "a", "b", "c"],
}


@pytest.mark.parametrize("call", COMMANDS)
def test_ctrl_c_is_one_object_of_json_whatever_the_command(run, monkeypatch, call):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"ffswap.pipeline.{call}", stop)
    ended = run(*COMMANDS[call], "--json")
    assert ended.exit_code == 130
    error = json.loads(ended.stdout)["error"]
    assert (error["type"], error["exit_code"]) == ("CancelledError", 130)
    assert error["message"].startswith("stopped")
    assert "ffswap: error: stopped" in ended.stderr


def test_after_two_dashes_json_is_a_name(run):
    ended = run("swap", "--", "--json")
    assert (ended.exit_code, ended.stdout) == (2, "")
