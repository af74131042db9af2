"""A swap that is stopped: by a signal, by its caller, by a full disk. Nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ffswap
from ffswap import SwapOptions
from ffswap.errors import CancelledError, FfswapError
from tests.pipeline.face_clips import FaceClip

Clips = Callable[..., FaceClip]

PATIENCE_S = 60
"""How long a test waits for what takes a second, before it calls that hanging."""

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def long_clip(clips: Clips) -> FaceClip:
    """A clip that takes far longer than a busy machine may keep a test waiting."""
    return clips("long.mkv", frames=600, audio=1)


@posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal(clips: Clips, portrait: Path, tmp_path: Path, name: str, code: int) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"old")
    command = [sys.executable, "-m", "ffswap", "swap", "--progress", "none", "--overwrite"]
    with subprocess.Popen(
        [*command, portrait, long_clip(clips).path, output], stderr=subprocess.PIPE, text=True
    ) as program:
        until(lambda: len(list(tmp_path.iterdir())) == 2 or program.poll() is not None)
        program.send_signal(getattr(signal, name))
        _, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == code
    assert "nothing was written to" in err
    assert "hint: to start again, give the same command" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == b"old"


@posix
@pytest.mark.parametrize("target", ["plain.mkv", "astronaut.png"])
def test_a_full_disk(
    clips: Clips, folder: Path, portrait: Path, tmp_path: Path, target: str
) -> None:
    clips("plain.mkv")
    output = tmp_path / f"out{Path(target).suffix}"
    # a limit on the size of files stands in for the disk: writing fails halfway
    limited = 'ulimit -f 24; exec "$0" -m ffswap swap "$@"'
    ended = subprocess.run(
        ["sh", "-c", limited, sys.executable, "-q", portrait, folder / target, output],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"ffswap: error: {output}: disk full, nothing was written")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def clean(tmp_path: Path) -> Any:
    """After the test, no thread of a run is left, nor any file."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_progress_callback_that_raises(
    clips: Clips, portrait: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    def progress(event: Any) -> None:
        if event.frames:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        ffswap.swap(portrait, clips("plain.mkv").path, tmp_path / "out.mp4", progress=progress)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("early", [True, False])
def test_the_cancel_event(clips: Clips, portrait: Path, tmp_path: Path, early: bool) -> None:
    cancel = threading.Event()
    if early:
        cancel.set()
    with pytest.raises(CancelledError, match="the output was not written"):
        ffswap.swap(
            portrait, long_clip(clips).path, tmp_path / "out.mp4",
            progress=lambda event: cancel.set() if event.frames else None, cancel=cancel,
        )  # fmt: skip


@pytest.mark.usefixtures("clean")
def test_the_cancel_event_with_a_picture(folder: Path, portrait: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        ffswap.swap(portrait, folder / "astronaut.png", tmp_path / "out.png", cancel=cancel)


def test_a_file_that_appears_in_the_meantime_is_not_overwritten(
    clips: Clips, portrait: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"

    def intrude(_: Any) -> None:
        output.write_bytes(b"other")

    with pytest.raises(FfswapError, match="exists"):
        ffswap.swap(
            portrait, clips("plain.mkv").path, output, options=SwapOptions(),
            progress=intrude,
        )  # fmt: skip
    assert output.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [output]
