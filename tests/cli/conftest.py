"""A library that does nothing but remember, and a runner of the program."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ffswap.cli.main import app
from ffswap.options import SwapOptions
from ffswap.pipeline.report import ProgressEvent, SwapReport

REPORT = SwapReport(
    output="out.mp4",
    frames=250,
    frames_without_face=2,
    faces=248,
    tracks=1,
    missing_frames=0,
    corrupt_frames=0,
    seconds=3.2,
    fps=78.125,
    model="mesh",
    device="cpu",
    encoder="libx264",
    pixel_format="yuv420p",
    model_reason="no other is installed",
    models={"detector": "face_detection_full_range", "swapper": "mesh"},
    stage_fps={"decode": 812.5, "swap": 96.0},
)


@dataclass
class Library:
    """Stands in for `ffswap.pipeline.swap`."""

    report: SwapReport = REPORT
    error: BaseException | None = None
    events: list[ProgressEvent] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    foreseen: tuple[str, ...] = ()
    writes: bytes | None = None

    def swap(
        self,
        source: Any,
        target: Any,
        output: Any,
        *,
        options: SwapOptions,
        models: Path,
        catalog: Path | None,
        engines: Path,
        kernels: Path,
        progress: Callable[[ProgressEvent], None] | None,
        cancel: threading.Event | None,
        notify: Callable[[str], None] | None,
    ) -> SwapReport:
        for sentence in self.foreseen:
            assert notify is not None
            notify(sentence)
        if self.writes is not None:
            Path(output).write_bytes(self.writes + Path(target).read_bytes())
        self.calls.append(
            {
                "files": (str(source), str(target), str(output)),
                "options": options,
                "models": models,
                "catalog": catalog,
                "engines": engines,
                "kernels": kernels,
                "cancel": cancel,
            }
        )
        for event in self.events:
            assert progress is not None
            progress(event)
        if self.error is not None:
            raise self.error
        return self.report

    def reports(self, **changes: Any) -> None:
        """Let the run end with a report that differs in this."""
        self.report = replace(self.report, **changes)

    @property
    def options(self) -> SwapOptions:
        """Those of the one call, but for the folder of the signer, which differs by machine."""
        (call,) = self.calls
        options: SwapOptions = call["options"]
        return replace(options, credentials=replace(options.credentials, folder=None))


@dataclass(frozen=True)
class Ended:
    """What a run of the program leaves behind."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FFSWAP_DEBUG", raising=False)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()
    monkeypatch.setattr("ffswap.pipeline.swap", fake.swap, raising=False)
    return fake


# The oldest typer that is allowed mixes the two streams unless it is told not to.
_SEPARATE: dict[str, Any] = (
    {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
)


@pytest.fixture
def run() -> Callable[..., Ended]:
    """Run the program with these arguments."""

    def invoke(*args: str, stdin: bytes = b"") -> Ended:
        runner = CliRunner(env={"COLUMNS": "120"}, **_SEPARATE)
        result = runner.invoke(app, list(args), prog_name="ffswap", input=stdin)
        return Ended(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def swap(run: Callable[..., Ended], library: Library) -> Callable[..., Ended]:
    """Run `ffswap swap` with three names and these options, over the library that only remembers."""
    assert not library.calls

    def invoke(*options: str) -> Ended:
        return run("swap", "src.jpg", "in.mp4", "out.mp4", *options)

    return invoke


@pytest.fixture
def event() -> Callable[..., ProgressEvent]:
    """Make an event of a run at 50 frames a second."""

    def make(frames: int, *, total: int | None = 250, seconds: float) -> ProgressEvent:
        eta_s = None if total is None else (total - frames) / 50
        return ProgressEvent(
            frames=frames, total=total, faces=frames, seconds=seconds, fps=50.0, eta_s=eta_s
        )

    return make
