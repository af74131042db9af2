"""Progress: lines, bars, nothing; always on stderr."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ffswap.cli import bars, progress


def test_plain_lines_come_every_tenth_and_at_the_end(swap, library, event):
    library.events = [event(frames, seconds=frames / 10) for frames in range(0, 251, 5)]
    ended = swap()
    lines = ended.stderr.splitlines()
    assert lines[0] == "ffswap: progress: 25 of 250 frames (10%), 50.0 frames/s, 0:04 left"
    assert lines[-1] == "ffswap: progress: 250 of 250 frames (100%), 50.0 frames/s, 0:00 left"
    assert len(lines) == 10
    assert "progress" not in ended.stdout


def test_plain_lines_are_at_least_two_seconds_apart(swap, library, event):
    library.events = [event(frames, seconds=frames / 100) for frames in range(0, 250, 5)]
    assert [line.split()[2] for line in swap().stderr.splitlines()] == ["200"]


def test_plain_lines_of_a_long_run_show_that_it_is_alive(swap, library, event):
    library.events = [event(n, total=1_000_000, seconds=n / 10) for n in range(0, 901, 10)]
    assert [line.split()[2] for line in swap().stderr.splitlines()] == ["300", "600", "900"]


def test_plain_lines_without_a_total(swap, library, event):
    library.events = [event(n, total=None, seconds=n / 10) for n in (10, 20, 30, 40)]
    first, second = swap().stderr.splitlines()
    assert first == "ffswap: progress: 20 frames, 50.0 frames/s"
    assert second == "ffswap: progress: 40 frames, 50.0 frames/s"


@pytest.mark.parametrize("mode", ["rich", "tqdm"])
@pytest.mark.parametrize("total", [250, None])
def test_a_bar_is_on_stderr_and_counts(swap, library, event, mode, total):
    library.events = [event(n, total=total, seconds=n / 10) for n in (10, 120, 250)]
    ended = swap("--progress", mode, "--json")
    assert ended.exit_code == 0
    assert "250" in ended.stderr
    assert ended.stdout.startswith("{")


@pytest.mark.parametrize("mode", ["rich", "tqdm"])
def test_a_bar_is_taken_down_when_the_run_fails(swap, library, event, mode):
    library.events = [event(10, seconds=1.0)]
    library.error = ZeroDivisionError("x")
    ended = swap("--progress", mode)
    assert ended.exit_code == 1
    assert ended.stderr.splitlines()[-2].endswith("ffswap: error: ZeroDivisionError: x")


def test_none_is_silent(swap, library, event):
    library.events = [event(250, seconds=10.0)]
    assert swap("--progress", "none").stderr == ""


def test_auto_is_a_bar_on_a_terminal_but_not_on_a_dumb_one(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert type(progress.make_display("auto")) is type(progress.make_display("rich"))
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress.make_display("auto")) is not type(progress.make_display("rich"))


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (42.4, "0:42"), (723, "12:03"), (3723, "1:02:03")]
)
def test_clock(seconds, shown):
    assert bars.clock(seconds) == shown


def test_bars_are_loaded_only_when_they_are_used():
    code = (
        "import sys; from ffswap.cli import progress; "
        "progress.make_display('none'); progress.make_display('auto'); "
        "print({'rich', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
