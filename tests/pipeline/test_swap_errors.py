"""What goes wrong with a swap: an exit code, one sentence, and nothing lost or left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.media.media_clips import content, noise_frame
from tests.pipeline.face_clips import FaceClip, astronaut, background, hopper, put
from tests.pipeline.face_clips import Place as At

Clips = Callable[..., FaceClip]
Cli = Callable[..., Any]

SMALL = {"preset": "ultrafast", "qp": "20"}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all that lies in a folder, hidden files included."""
    return {
        str(p.relative_to(folder)): (p.lstat().st_size, p.lstat().st_mtime_ns)
        for p in folder.rglob("*")
    }


@pytest.fixture
def work(folder: Path, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good files and bad ones, in which the program runs."""
    shutil.copy(folder / "hopper.jpg", tmp_path / "src.jpg")
    shutil.copy(folder / "astronaut.png", tmp_path)
    shutil.copy(folder / "noface.jpg", tmp_path)
    shutil.copy(clips("short.mp4", frames=6, options=SMALL).path, tmp_path / "in.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello\n" * 99)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "folder.mp4").mkdir()
    jpeg = (tmp_path / "src.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 3])
    (tmp_path / "fake.jpg").write_text("no picture\n" * 99)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(cli: Cli, work: Path, code: int, *args: str, says: str) -> None:
    """The run ends with this code and says this in one line, and the folder stays as it was."""
    before = listing(work)
    ended = cli("swap", *args)
    assert ended.code == code
    assert says in ended.err
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert lines[0].startswith("ffswap: error: ")
    assert all(line.startswith("ffswap: hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert listing(work) == before


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("noface.jpg", "noface.jpg: no face was found"),
        ("missing.jpg", "missing.jpg: no such file"),
        ("empty.mp4", "is empty; give a picture"),
        ("fake.jpg", "is not a picture that can be read; give a picture such as jpg"),
        ("cut.jpg", "is a damaged picture"),
        ("folder.mp4", "there are no pictures in this folder"),
        ("in.mp4", "is a mov video; give a picture"),
    ],
)
def test_a_bad_source(cli: Cli, work: Path, source: str, says: str) -> None:
    fails(cli, work, 3, source, "in.mp4", "out.mp4", says=says)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("missing.mp4", "missing.mp4: no such file"),
        ("empty.mp4", "is empty; give a video such as mp4"),
        ("text.mp4", "give a video such as mp4"),
        ("zeros.mp4", "cannot be read as media"),
        ("folder.mp4", "is a folder, not a file; give a video"),
        ("fake.jpg", "can be decoded; give a video"),
    ],
)
def test_a_bad_target(cli: Cli, work: Path, target: str, says: str) -> None:
    fails(cli, work, 3, "src.jpg", target, "out.mp4", says=says)


def test_a_damaged_picture_as_target(cli: Cli, work: Path) -> None:
    fails(cli, work, 3, "src.jpg", "cut.jpg", "out.jpg", says="is a damaged picture")


@pytest.mark.parametrize("cover", [False, True])
def test_a_target_without_video(cli: Cli, work: Path, cover: bool) -> None:
    with av.open(str(work / "sound.mp4"), "w") as out:
        track = out.add_stream("aac", rate=48000)
        if cover:
            art = out.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = 16, 16, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
            frame = noise_frame(16, 16, "yuvj420p", 0)
            frame.pts = 0
            out.mux(art.encode(frame) + art.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sound.sample_rate, sound.pts = 48000, 0
        out.mux(track.encode(sound) + track.encode(None))
    has = "audio, cover" if cover else "audio"
    says = f"sound.mp4: no video stream (it has {has}); give a video"
    fails(cli, work, 3, "src.jpg", "sound.mp4", "out.mp4", says=says)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(cli: Cli, work: Path) -> None:
    os.mkfifo(work / "pipe.mp4")
    says = "is a pipe or a device"
    fails(cli, work, 3, "pipe.mp4", "in.mp4", "out.mp4", says=says)
    fails(cli, work, 3, "src.jpg", "pipe.mp4", "out.mp4", says=says)
    fails(cli, work, 4, "src.jpg", "in.mp4", "pipe.mp4", "-y", says=says)


@pytest.mark.parametrize(
    ("output", "options", "says"),
    [
        ("out.xyz", (), "unknown file name suffix '.xyz'; allowed: .avi, "),
        ("out", (), "no file name suffix; allowed: .avi, "),
        ("out.jpg", (), "unknown file name suffix '.jpg'; allowed: .avi, "),
        ("out.webm", ("--encoder", "libx264"), ".webm files do not hold the h264 video"),
        ("out.mp4", ("--encoder", "ffv1"), ".mp4 files do not hold the ffv1 video"),
        ("none/out.mp4", (), "there is no folder 'none'"),
        ("in.mp4/out.mp4", (), "there is no folder 'in.mp4'"),
        ("folder.mp4", ("-y",), "is a folder; name a file"),
        ("zeros.mp4", (), "exists already"),
        ("in.mp4", ("-y",), "the output is the target itself"),
        ("x" * 260 + ".mp4", (), "File name too long"),
    ],
)
def test_a_bad_output(
    cli: Cli, work: Path, output: str, options: tuple[str, ...], says: str
) -> None:
    fails(cli, work, 4, "src.jpg", "in.mp4", output, *options, says=says)


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize(
    ("target", "victim", "name"),
    [("in.mp4", "in.mp4", "target"), ("astronaut.png", "astronaut.png", "target"),
     ("astronaut.png", "src.jpg", "source")],
)  # fmt: skip
def test_an_input_is_never_overwritten(
    cli: Cli, work: Path, link: Any, target: str, victim: str, name: str
) -> None:
    says = f"the output is the {name} itself"
    fails(cli, work, 4, "src.jpg", target, victim, "-y", says=says)
    link(work / victim, work / f"link_{victim}")
    fails(cli, work, 4, "src.jpg", target, f"link_{victim}", "-y", says=says)


def test_a_link_to_nowhere_is_something_that_exists(cli: Cli, work: Path) -> None:
    (work / "link.mp4").symlink_to(work / "nowhere.mp4")
    fails(cli, work, 4, "src.jpg", "in.mp4", "link.mp4", says="use --overwrite")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--faces", "x"), 2, "allowed: largest, all, or left-right:N"),
        (("--device", "gpu"), 2, "allowed: auto, cpu, cuda"),
        (("--device", "cuda"), 5, "hint: use --device auto or --device cpu"),
        (("--encoder", "zzz"), 2, "copy-settings, libx264, "),
        (("--encoder", "h264_nvenc"), 5, "hint: these do: libx264"),
        (("--preset", "zzz"), 2, "allowed with libx264: ultrafast"),
        (("--quality", "60"), 2, "allowed with libx264: 0 to 51"),
        (("--start", "5f", "--end", "5f"), 2, "nothing is left between start and end"),
        (("--start", "0.2", "--end", "0.1"), 2, "nothing is left between start and end"),
        (("--end", "0"), 2, "nothing is left between start and end"),
        (("--start", "100"), 2, "start is 100 s, beyond the end; the clip has 6 frames, 0.240 s"),
        (("--start", "7f"), 2, "start is frame 7, beyond the end; the clip has 6 frames"),
        (("--end", "99f"), 2, "end is frame 99, beyond the end; the clip has 6 frames"),
    ],
)
def test_a_bad_option(cli: Cli, work: Path, options: tuple[str, ...], code: int, says: str) -> None:
    if "h264_nvenc" in options:
        from ffswap.media import usable

        if usable("h264_nvenc", "yuv420p").ok:
            code, options, says = 2, ("--encoder", "none"), "copy-settings, libx264, "
    fails(cli, work, code, "src.jpg", "in.mp4", "out.mp4", *options, says=says)


@pytest.mark.parametrize("option", ["--start", "--end", "--encoder", "--preset"])
def test_an_option_for_clips_with_a_picture(cli: Cli, work: Path, option: str) -> None:
    says = f"{option} is for clips; the target is a picture"
    fails(cli, work, 2, "src.jpg", "astronaut.png", "out.png", option, "1", says=says)
    fails(cli, work, 4, "src.jpg", "astronaut.png", "out.mp4", says="unknown picture suffix '.mp4'")


def test_several_faces_in_the_source(cli: Cli, work: Path) -> None:
    both = put(background(640, 400), hopper(), At(180, 210, 0.8))
    Image.fromarray(put(both, astronaut(), At(490, 200, 0.8))).save(work / "both.png")
    ended = cli("swap", "both.png", "in.mp4", "out.mp4", "--progress", "none")
    assert ended.code == 0
    assert ended.err == "ffswap: warning: both.png: 2 faces were found; the largest is used\n"


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_target_that_was_cut_short(cli: Cli, work: Path, clips: Clips, suffix: str) -> None:
    whole = clips(
        f"whole.{suffix}", frames=20, audio=1, encoder="libx264", options={**SMALL, "g": "5"},
        container={"movflags": "faststart"} if suffix == "mp4" else {},
    )  # fmt: skip
    data = whole.path.read_bytes()
    (work / f"cut.{suffix}").write_bytes(data[: len(data) * 6 // 10])
    ended = cli("swap", "src.jpg", f"cut.{suffix}", "out.mp4", "--json", "--progress", "none")
    report = json.loads(ended.out)
    frames, missing = report["frames"], report["missing_frames"]
    assert (ended.code, report["complete"]) == (6, False)
    assert len(content(work / "out.mp4").pts) == frames == report["faces"]
    assert frames + missing == 20
    assert 5 < frames < 18
    about = "" if suffix == "mp4" else "about "
    assert ended.err == (
        f"ffswap: warning: the file is cut short: {about}{missing} frames are missing at its end\n"
        "ffswap: warning: out.mp4 ends early, as the target does\n"
    )


@pytest.mark.parametrize(
    "name",
    ["with space", "new\nline", "ünï 日本", "-dash", "file:x", "%03d", "quo'te\"", "😀" * 61],
    ids=["space", "newline", "unicode", "dash", "scheme", "pattern", "quotes", "long"],
)
def test_names_of_files(cli: Cli, work: Path, name: str) -> None:
    shutil.copy("in.mp4", f"{name}.mp4")
    shutil.copy("src.jpg", f"{name}.jpg")
    ended = cli("swap", "-q", "--end", "1f", "--", f"{name}.jpg", f"{name}.mp4", f"{name}.mkv")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert len(content(work / f"{name}.mkv").pts) == 1


@pytest.mark.usefixtures("work")
def test_json_is_all_there_is_on_stdout(cli: Cli) -> None:
    ended = cli("swap", "src.jpg", "in.mp4", "out.mp4", "--json", "--progress", "tqdm")
    assert ended.out.count("\n") == 1
    assert json.loads(ended.out)["frames"] == 6
    ended = cli("swap", "noface.jpg", "in.mp4", "new.mp4", "--json")
    assert json.loads(ended.out)["error"]["type"] == "NoFaceError"
    assert ended.code == json.loads(ended.out)["error"]["exit_code"] == 3


def test_quiet(cli: Cli, work: Path) -> None:
    ended = cli("swap", "src.jpg", "in.mp4", "out.mp4", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (work / "out.mp4").exists()


def test_doctor_really_run() -> None:
    command = [sys.executable, "-m", "ffswap", "doctor", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    said = json.loads(ended.stdout)
    assert said["ok"]
    assert said["would_use"]["encoder"] == "libx264"
    assert said["would_use"]["problems"] == []
