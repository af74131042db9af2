"""The program as a process: start, version, what it loads, pipes that close, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from ffswap import __version__
from ffswap.cli.errors import ExitCode
from ffswap.pipeline.plan import MachineSurvey, WouldUse
from ffswap.pipeline.report import SwapReport

REPORT_FIELDS = [*(one.name for one in fields(SwapReport)), "complete"]
HEAVY = {"av", "cv2", "cuda", "numpy", "onnx", "onnxruntime", "PIL", "tensorrt", "tensorrt_rtx"}

# The pipeline of the processes below: it tells that it runs, waits to be stopped, and cleans up.
FAKE = """
import sys, time
import ffswap.pipeline
from ffswap.errors import CancelledError
def swap(source, target, output, *, options, models, catalog, engines, kernels, progress, cancel, notify):
    print("running", flush=True)
    while not cancel.is_set() or {stubborn}:
        time.sleep(0.05)
    print("cleaned up", flush=True)
    raise CancelledError("stopped")
ffswap.pipeline.swap = swap
sys.argv = ["ffswap", "swap", "src.jpg", "in.mp4", "out.mp4", *{options}]
from ffswap.cli.main import main
main()
"""


def python(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_the_module(flag):
    done = python("-m", "ffswap", flag)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("swap", "doctor", "--version", "--install-completion", "Exit codes", "143"):
        assert word in done.stdout


def test_version_of_the_module():
    done = python("-m", "ffswap", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ffswap {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["swap", "-h"], ["swap"]])
def test_what_needs_no_video_loads_nothing_heavy(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['ffswap', *{arguments!r}]\n"
        "from ffswap.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_without_a_command_help_is_on_stderr(run):
    ended = run()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "swap" in ended.stderr


def test_an_unknown_command_is_a_usage_error(run):
    ended = run("unswap")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ffswap: error: ")
    assert "ffswap --help" in ended.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ffswap ", "swap build-engine calibrate inspect doctor engines models"),
        ("ffswap swap --faces ", "largest all left-right:"),
        ("ffswap swap --faces a", "all"),
        ("ffswap swap --progress ", "auto rich tqdm none"),
        ("ffswap swap --device c", "cpu cuda"),
    ],
)
def test_completion(line, offered):
    done = python(
        "-m", "ffswap",
        _FFSWAP_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")),
    )  # fmt: skip
    assert done.stdout.split() == offered.split()


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
class TestStdoutThatCloses:
    """`cat` of nothing stands for a reader that has gone away."""

    @pytest.mark.parametrize("arguments", ["--version", "--help"])
    def test_a_reader_that_has_gone_is_no_trace(self, arguments):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "ffswap", arguments],
            stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        os.close(write)
        assert done.stderr == ""

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_a_finished_run_stays_finished(self, options):
        code = FAKE.format(stubborn=False, options=options).replace(
            "    print(\"running\", flush=True)\n    while",
            "    from tests.cli.conftest import REPORT\n    return REPORT\n    while",
        )  # fmt: skip
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=write, stderr=subprocess.PIPE, text=True, check=False,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
    def test_a_full_disk_is_an_output_error(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "ffswap", "--version"],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 4
        assert done.stderr.startswith("ffswap: error: standard output cannot be written")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
class TestSignals:
    def start(self, *options: str, stubborn: bool = False) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", FAKE.format(stubborn=stubborn, options=list(options))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        return process

    @pytest.mark.parametrize(
        ("number", "code", "name"),
        [
            (signal.SIGINT, 130, "Ctrl-C"),
            (signal.SIGTERM, 143, "SIGTERM"),
            (signal.SIGHUP, 129, "the terminal was closed"),
        ],
    )
    def test_the_first_stops_the_run_after_its_clean_up(self, number, code, name):
        process = self.start()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
        assert process.returncode == code
        assert stdout == "cleaned up\n"
        assert f"ffswap: error: stopped ({name}); nothing was written to out.mp4\n" in stderr
        assert "ffswap: warning: stopping" in stderr
        assert "Traceback" not in stderr

    def test_quiet_says_only_the_error(self):
        process = self.start("-q")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert stderr.startswith("ffswap: error: stopped")

    def test_the_second_ends_it_at_once(self):
        process = self.start(stubborn=True)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stdout == ""
        assert "ended at once" in stderr

    def test_a_signal_that_the_parent_switched_off_stays_off(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        try:
            process = self.start()
        finally:
            signal.signal(signal.SIGHUP, before)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 143


def test_handlers_are_put_back(swap, library):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    library.error = ZeroDivisionError("x")
    assert swap().exit_code == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class TestDocumentation:
    TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")

    def test_every_option_of_swap_is_in_the_table(self, run):
        shown = run("swap", "--help").stdout
        for option in set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"}:
            assert f"`{option}`" in self.TEXT

    def test_every_exit_code_is_in_the_table(self):
        documented = set(map(int, re.findall(r"^\| (\d+) \|", self.TEXT, re.MULTILINE)))
        assert documented == {*map(int, ExitCode), 143}

    def test_every_field_of_the_report_is_in_the_table(self):
        for name in REPORT_FIELDS:
            assert f"`{name}`" in self.TEXT

    def test_every_field_of_the_survey_is_named(self):
        for one in [*fields(MachineSurvey), *fields(WouldUse)]:
            assert f"`{one.name}`" in self.TEXT

    def test_the_readme_has_the_same_exit_codes(self):
        readme = Path(__file__).parents[2] / "README.md"
        if not readme.exists():
            pytest.skip("there is no README.md")
        table = [line for line in self.TEXT.splitlines() if re.match(r"\| \d+ \|", line)]
        assert len(table) == 13
        assert "\n".join(table) in readme.read_text(encoding="utf-8")
