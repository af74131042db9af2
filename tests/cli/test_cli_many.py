"""`ffswap swap` with many files: `SOURCE TARGET... -o DIR`, and `--jobs FILE`."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ffswap.errors import MediaError, NoFaceError, OptionError
from ffswap.pipeline.many import FileResult, Job, ManyReport
from tests.cli.conftest import REPORT
from tests.pipeline.face_clips import FaceClip, hopper


@dataclass
class Many:
    """Stands in for `ffswap.pipeline.swap_many`: does nothing, and fails where it is told to."""

    errors: dict[int, Any] = field(default_factory=dict)
    short: tuple[int, ...] = ()
    stops_at: int | None = None
    jobs: list[Job] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    def __call__(self, jobs: list[Job], *, watch: Any, cancel: Any, **given: Any) -> ManyReport:
        self.jobs, self.given = jobs, given
        files = []
        for number, job in enumerate(jobs):
            watch.begin(number, job)
            if number == self.stops_at:
                os.kill(os.getpid(), signal.SIGINT)
                assert cancel.wait(30)
            if cancel.is_set():
                files.append(FileResult(job=job))
                continue
            error = self.errors.get(number)
            missing = 3 if number in self.short else 0
            report = replace(
                REPORT, output=str(job.output), missing_frames=missing, warnings=("a thing",)
            )
            files.append(FileResult(job=job, error=error, report=report if error is None else None))
            watch.end(number, files[-1])
        return ManyReport(files=tuple(files), stopped=cancel.is_set())


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Many:
    fake = Many()
    monkeypatch.setattr("ffswap.pipeline.swap_many", fake, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips" / "more").mkdir(parents=True)
    for name in ("b.mp4", "a.mp4", "c.mkv", "more/d.mp4"):
        (tmp_path / "clips" / name).touch()
    return fake


def names(many: Many) -> list[tuple[Any, ...]]:
    return [(job.source, job.target, job.output) for job in many.jobs]


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (["clips/*.mp4"], ["a.mp4", "b.mp4"]),
        (["clips/b.mp4", "clips/*.mp4", "clips/c.mkv"], ["b.mp4", "a.mp4", "c.mkv"]),
        (["clips/**/*.mp4"], ["a.mp4", "b.mp4", "more/d.mp4"]),
        (["clips/*"], ["a.mp4", "b.mp4", "c.mkv"]),
    ],
)
def test_targets_and_patterns(run, many, targets, found):
    assert run("swap", "src.jpg", *targets, "-o", "out/here", "--faces", "all").exit_code == 0
    assert names(many) == [
        ("src.jpg", f"clips/{one}", str(Path("out/here") / Path(one).name)) for one in found
    ]
    assert many.given["options"].faces == "all"
    assert Path("out/here").is_dir()


def test_a_name_that_exists_is_no_pattern(run, many):
    Path("clips/[ab].mp4").touch()
    assert run("swap", "src.jpg", "clips/[ab].mp4", "-o", "out").exit_code == 0
    assert [job.target for job in many.jobs] == ["clips/[ab].mp4"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["src.jpg", "-o", "out"], 2, "allowed: SOURCE TARGET... -o DIR"),
        (["src.jpg", "clips/*.avi", "-o", "out"], 3, "clips/*.avi: no file has such a name"),
        (["src.jpg", "-", "-o", "out"], 2, "a file is '-'"),
        (["src.jpg", "a.mp4", "-o", "out.mp4"], 2, "looks like one; allowed: a folder"),
        (["src.jpg", "a.mp4", "-o", "clips/c.mkv"], 2, "allowed: a folder"),
        (["src.jpg", "a.mp4", "-o", "clips/c.mkv/x"], 4, "the folder cannot be made"),
        (["src.jpg", "a.mp4", "-o", "out", "--format", "mp4"], 2, "--format is for OUTPUT '-'"),
        (["src.jpg", "a.mp4", "-o", "out", "--progress", "loud"], 2, "--progress is 'loud'"),
        (["src.jpg", "--jobs", "jobs"], 2, "--jobs and names of files were given"),
        (["-o", "out", "--jobs", "jobs"], 2, "--jobs and -o were given"),
        (["--jobs", "none.jsonl"], 3, "none.jsonl: cannot be read"),
        (["src.jpg", "a.mp4", "b.mp4", "out.mp4"], 2, "several TARGETs need -o DIR"),
    ],
)
def test_names_that_do_not_go_together(run, many, args, code, words):
    ended = run("swap", *args)
    assert ended.exit_code == code
    assert words in ended.stderr
    assert many.jobs == []


def test_a_file_with_jobs(run, many):
    lines = (
        '\ufeff{"source": "me.jpg", "target": "a.mp4", "output": "x.mp4"}\r\n'
        '\n{"target": "b.mp4", "output": "ü.mkv", "source": null}\n'
        '{"target": "c.mp4", "output": "z.mkv"}'
    )
    Path("jobs").write_bytes(lines.encode())
    assert run("swap", "--jobs", "jobs").exit_code == 0
    assert names(many) == [
        ("me.jpg", "a.mp4", "x.mp4"), (None, "b.mp4", "ü.mkv"), (None, "c.mp4", "z.mkv"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "it is no JSON"),
        (b"\xff", "it is no UTF-8"),
        (b"[1]", "it is no JSON object"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"target": "a"}', "output is missing"),
        (b'{"output": "a", "target": 3}', "target is 3; allowed: the name of a file"),
        (b'{"output": "a", "target": " "}', "allowed: the name of a file"),
        (b'{"output": "a", "target": null}', "target is None"),
        (b'{"output": "a\\u0000", "target": "b"}', "allowed: the name of a file"),
        (b'{"output": "-", "target": "b"}', "output is '-'"),
        (b'{"output": "a", "target": "b", "faces": "all"}', "'faces' is not known"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_done(run, many, line, words):
    good = b'{"target": "a.mp4", "output": "x.mp4"}\n'
    Path("jobs").write_bytes(good + line + b"\n" + good)
    ended = run("swap", "--jobs", "jobs")
    assert ended.exit_code == 2
    assert "ffswap: error: jobs: line 2: " in ended.stderr
    assert words in ended.stderr
    assert many.jobs == []


def test_many_wrong_lines_are_counted(run, many):
    Path("jobs").write_text("x\n" * 8)
    ended = run("swap", "--jobs", "jobs")
    assert "line 5: it is no JSON; and 3 more" in ended.stderr
    Path("jobs").write_text("\n\n")
    assert "without a job in it" in run("swap", "--jobs", "jobs").stderr
    assert many.jobs == []


def test_a_file_that_fails_is_told_at_once_and_in_the_table(run, many):
    many.errors = {1: MediaError("damaged", file="clips/b.mp4", hint="look at it")}
    ended = run("swap", "src.jpg", "clips/*", "-o", "out")
    assert (ended.exit_code, ended.stdout) == (7, "")
    lines = ended.stderr.splitlines()
    assert lines.index("ffswap: error: clips/b.mp4: damaged") < lines.index(
        "ffswap: progress: file 3 of 3: clips/c.mkv"
    )
    assert "ffswap: hint: look at it" in lines
    assert "ffswap: warning: clips/a.mp4: a thing" in lines
    head, first, second, _, last = lines[-5:]
    assert head.split() == ["TARGET", "STATE", "FRAMES", "FACES", "FRAMES/S"]
    assert first.split() == ["clips/a.mp4", "done", "250", "248", "78.1", "out/a.mp4"]
    assert second.split() == ["clips/b.mp4", "failed", "damaged"]
    assert last == "2 files done, 1 failed"


def test_an_error_of_another_file_names_the_target_and_hints_are_given_once(run, many):
    error = NoFaceError("no face", file="src.jpg", hint="another photo")
    many.errors = {0: error, 1: error, 2: OptionError.of("quality", "quality is 99; allowed: 51")}
    ended = run("swap", "src.jpg", "clips/*", "-o", "out", "-q")
    assert ended.exit_code == 7
    assert ended.stderr.splitlines() == [
        "ffswap: error: clips/a.mp4: src.jpg: no face",
        "ffswap: hint: another photo",
        "ffswap: error: clips/b.mp4: src.jpg: no face",
        "ffswap: error: clips/c.mkv: --quality is 99; allowed: 51",
    ]


def test_json_has_reports_and_errors(run, many):
    many.errors = {1: MediaError("damaged", file="clips/b.mp4")}
    ended = run("swap", "src.jpg", "clips/*.mp4", "-o", "out", "--json", "-q")
    assert ended.exit_code == 7
    found = json.loads(ended.stdout)
    assert (found["done"], found["failed"], found["not_done"]) == (1, 1, 0)
    good, bad = found["files"]
    assert (good["state"], good["error"], good["report"]["frames"]) == ("done", None, 250)
    assert (good["source"], good["target"], good["output"]) == (
        "src.jpg", "clips/a.mp4", "out/a.mp4",
    )  # fmt: skip
    assert (bad["state"], bad["report"]) == ("failed", None)
    assert bad["error"] == {
        "type": "MediaError", "message": "damaged", "hint": None, "exit_code": 3,
        "file": "clips/b.mp4",
    }  # fmt: skip


def test_a_target_that_was_cut_short(run, many):
    many.short = (1,)
    ended = run("swap", "src.jpg", "clips/*.mp4", "-o", "out")
    assert ended.exit_code == 6
    assert ended.stderr.splitlines()[-2].split()[:2] == ["clips/b.mp4", "cut"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_stopped_run_says_what_was_done(run, many):
    many.stops_at = 1
    ended = run("swap", "src.jpg", "clips/*", "-o", "out", "--json")
    assert ended.exit_code == 130
    lines = ended.stderr.splitlines()
    assert "1 file done, 0 failed, 2 not done" in lines
    assert lines[-2] == "ffswap: error: stopped (Ctrl-C); 1 of 3 files done"
    found = json.loads(ended.stdout)
    assert [one["state"] for one in found["files"]] == ["done", "not done", "not done"]


def test_a_real_run(run, tmp_path):
    Image.fromarray(hopper().rgb).save(tmp_path / "src.jpg", quality=95)
    (tmp_path / "in").mkdir()
    for name in "ac":
        FaceClip(tmp_path / f"in/{name}.mkv", encoder="ffv1", frames=3).make()
    (tmp_path / "in/b.mkv").write_text("no clip")
    ended = run(
        "swap", str(tmp_path / "src.jpg"), str(tmp_path / "in/*.mkv"), "-o", str(tmp_path / "out"),
        "--json", "--model", "mesh", "--no-credentials", "--models-dir", str(tmp_path / "models"),
    )  # fmt: skip
    assert ended.exit_code == 7, ended.stderr
    found = json.loads(ended.stdout)
    assert [one["state"] for one in found["files"]] == ["done", "failed", "done"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mkv", "c.mkv"]
