"""`ffswap swap src.jpg - -`: the target from standard input, the output to standard output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_both_are_streams_and_nothing_else_is_on_standard_output(run, library):
    library.writes = b"made of "
    ended = run("swap", "src.jpg", "-", "-", "--format", "mp4", stdin=b"a video")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "made of a video", "")
    _, target, output = library.calls[0]["files"]
    assert Path(output).suffix == ".mp4"
    assert not Path(target).parent.exists()


def test_a_stream_can_become_a_file_and_a_file_a_stream(run, library, tmp_path):
    library.writes = b"made of "
    out = tmp_path / "out.mkv"
    assert run("swap", "src.jpg", "-", str(out), stdin=b"a stream").exit_code == 0
    assert out.read_bytes() == b"made of a stream"
    ended = run("swap", "src.jpg", str(out), "-", "--format", ".MP4")
    assert ended.stdout == "made of made of a stream"


def test_a_stream_without_a_place_for_credentials_is_told_before_the_work(run, library):
    library.writes = b""
    library.error = ZeroDivisionError("x")
    ended = run("swap", "src.jpg", "-", "-", "--format", "mkv", stdin=b"a video")
    assert ended.stderr.startswith("ffswap: warning: the output has no content credentials: ")
    library.error = None
    quiet = run("swap", "src.jpg", "-", "-", "--format", "mkv", "--no-credentials", stdin=b"a")
    assert "a stream of" not in quiet.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("-", "-", "--json"), "--json prints there too"),
        (("in.mp4", "out.mp4", "--format", "mkv"), "--format is for OUTPUT '-'"),
        (("missing.mp4", "-"), "no such file"),
        (("-", "-", "--format", " "), "--format is empty"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(run, library, args, says):
    ended = run("swap", "src.jpg", *args, stdin=b"a video")
    assert ended.exit_code in (2, 3)
    assert says in ended.stderr
    assert not library.calls


@pytest.mark.usefixtures("library")
def test_an_empty_stream_is_an_error_of_the_input(run):
    ended = run("swap", "src.jpg", "-", "out.mp4")
    assert ended.exit_code == 3
    assert "standard input is empty" in ended.stderr


def test_the_format_of_the_output_is_that_of_the_stream(run, library, tmp_path):
    av = pytest.importorskip("av")
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        out.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        out.mux(video.encode(None))
    library.writes = b""
    command = run("swap", "src.jpg", str(clip), "-", "--no-credentials")
    assert command.exit_code == 0
    assert library.calls[0]["files"][2].endswith(".mkv")


def test_a_reader_that_has_gone_away_is_an_error_of_the_output(tmp_path):
    """A real pipe: what the interpreter still holds must not make it complain at its end."""
    code = (
        "import sys; from pathlib import Path; from ffswap.cli.streams import Streams\n"
        "from ffswap.errors import OutputWriteError\n"
        "try: Streams(Path('x'), Path(sys.argv[1]), True).send()\n"
        "except OutputWriteError as error: sys.exit(4)\n"
    )
    (tmp_path / "out.mp4").write_bytes(bytes(1 << 20))
    read, write = os.pipe()
    command = [sys.executable, "-c", code, str(tmp_path / "out.mp4")]
    child = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    os.close(read)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, told) == (4, b"")
