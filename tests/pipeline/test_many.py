"""Many files in one run: nets are loaded once, and a bad file does not end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ffswap
from ffswap import FileResult, Job, SwapOptions
from ffswap.errors import MediaError, ModelError, NoFaceError, OptionError, OutputExistsError
from ffswap.media import probe
from ffswap.pipeline.chain import open_chain
from ffswap.pipeline.devices import Folders, Workplaces
from tests.pipeline.face_clips import FaceClip

Clips = Callable[..., FaceClip]
OPTIONS = SwapOptions(device="cpu")


class Watch:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.frames = 0

    def begin(self, number: int, job: Job) -> Any:
        assert job.target
        self.told.append(("begin", number))
        return self.progress

    def progress(self, event: Any) -> None:
        self.frames = event.frames

    def notify(self, sentence: str) -> None:
        raise AssertionError(sentence)

    def end(self, number: int, result: FileResult) -> None:
        self.told.append((result.state, number))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The chains that are opened."""
    found: list[Any] = []

    def counted(*args: Any) -> Any:
        found.append(args)
        return open_chain(*args)

    monkeypatch.setattr("ffswap.pipeline.devices.open_chain", counted)
    return found


@pytest.fixture
def clip(clips: Clips) -> Path:
    return clips("many.mkv", frames=4).path


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def job(source: Path, target: Path, output: Path) -> Job:
    return Job(source=source, target=target, output=output)


def test_a_bad_file_among_good_ones(
    opened: list[Any], clip: Path, folder: Path, portrait: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no clip")
    out, watch = tmp_path / "out", Watch()
    out.mkdir()
    jobs = [
        job(portrait, clip, out / "a.mkv"),
        job(portrait, bad, out / "b.mkv"),
        job(folder / "noface.jpg", clip, out / "c.mkv"),
        job(portrait, folder / "astronaut.png", out / "d.png"),
        job(portrait, clip, out / "e.mkv"),
    ]
    report = ffswap.swap_many(jobs, options=OPTIONS, watch=watch)
    assert [one.state for one in report.files] == ["done", "failed", "failed", "done", "done"]
    assert [one.job for one in report.files] == jobs
    assert not report.stopped
    assert isinstance(report.files[1].error, MediaError)
    assert isinstance(report.files[2].error, NoFaceError)
    assert made(out) == ["a.mkv", "a.mkv.c2pa", "d.png", "e.mkv", "e.mkv.c2pa"]
    assert len(opened) == 1
    told = [("begin", n) for n in range(5)]
    ends = [(one.state, n) for n, one in enumerate(report.files)]
    assert watch.told == [one for pair in zip(told, ends, strict=True) for one in pair]
    assert watch.frames == 4


def test_each_file_is_as_if_it_were_alone(clip: Path, portrait: Path, tmp_path: Path) -> None:
    jobs = [job(portrait, clip, tmp_path / f"{name}.mkv") for name in "ab"]
    first, second = (one.report for one in ffswap.swap_many(jobs, options=OPTIONS).files)
    alone = ffswap.swap(portrait, clip, tmp_path / "c.mkv", options=OPTIONS)
    assert first is not None
    assert second is not None
    same = [(one.frames, one.faces, one.tracks, one.warnings) for one in (first, second, alone)]
    assert same == same[:1] * 3
    assert alone.faces == 4


def test_what_can_be_known_is_told_before_any_work(
    opened: list[Any], clip: Path, portrait: Path, tmp_path: Path
) -> None:
    exists = tmp_path / "there.mkv"
    exists.write_bytes(b"old")
    watch = Watch()
    jobs = [
        job(portrait, clip, exists),
        job(portrait, clip, tmp_path / "twice.mkv"),
        job(portrait, clip, tmp_path / "sub" / ".." / "twice.mkv"),
        job(portrait, tmp_path / "none.mkv", tmp_path / "c.mkv"),
        job(portrait, clip, portrait),
        job(portrait, clip, tmp_path / "no folder" / "d.mkv"),
    ]
    (tmp_path / "sub").mkdir()
    report = ffswap.swap_many(jobs, options=OPTIONS, watch=watch)
    assert watch.told == [("failed", number) for number in range(6)]
    assert isinstance(report.files[0].error, OutputExistsError)
    said = [str(one.error) for one in report.files]
    for text, words in zip(
        said,
        ("exists already", "2 files would be", "2 files would be", "no such file", "is an input",
         "folder does not exist"),
        strict=True,
    ):  # fmt: skip
        assert words in text
    assert opened == []
    assert exists.read_bytes() == b"old"


def test_it_is_stopped_in_a_file(clip: Path, portrait: Path, tmp_path: Path) -> None:
    cancel = threading.Event()

    class Stops(Watch):
        def begin(self, number: int, job: Job) -> Any:
            if number == 1:
                cancel.set()
            return super().begin(number, job)

    jobs = [job(portrait, clip, tmp_path / f"{name}.mkv") for name in "abc"]
    report = ffswap.swap_many(jobs, options=OPTIONS, watch=Stops(), cancel=cancel)
    assert report.stopped
    assert [one.state for one in report.files] == ["done", "not done", "not done"]
    assert report.count("not done") == 2
    assert made(tmp_path) == ["a.mkv", "a.mkv.c2pa"]


def test_what_concerns_all_ends_the_run(clip: Path, portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there are no jobs"):
        ffswap.swap_many([])
    broken = tmp_path / "broken.onnx"
    broken.write_text("no net")
    options = SwapOptions(device="cpu", models=ffswap.ModelOptions(detector=str(broken)))
    jobs = [job(portrait, clip, tmp_path / f"{name}.mkv") for name in "ab"]
    watch = Watch()
    with pytest.raises(ModelError):
        ffswap.swap_many(jobs, options=options, watch=watch)
    assert watch.told == [("begin", 0)]


def test_a_fault_of_the_machine_closes_the_nets_and_a_bad_file_does_not(clip: Path) -> None:
    with Workplaces(OPTIONS, Folders(), lambda _: None) as places:  # type: ignore[arg-type,return-value]
        info = probe(clip)
        with places.at(info) as first:
            pass
        with pytest.raises(MediaError), places.at(info) as second:
            raise MediaError("damaged")
        with pytest.raises(MemoryError), places.at(info) as third:
            raise MemoryError
        with places.at(info) as fourth:
            pass
    assert first is second is third
    assert fourth.chain is not first.chain
