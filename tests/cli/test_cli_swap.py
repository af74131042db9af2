"""Options of `ffswap swap`: what reaches the library, what is refused, what is printed."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from ffswap.options import (
    EncodeOptions,
    MeshSwapOptions,
    ModelOptions,
    Person,
    Position,
    SwapOptions,
)

OPTIONS = [
    "--faces", "--reference", "--reference-distance", "--map", "--model", "--detector",
    "--landmarker", "--mask", "--restore", "--pixel-boost", "--blend", "--models-dir", "--start", "--end", "--encoder", "--quality", "--preset", "--no-keep-occluders",
    "--device", "--threads", "--overwrite", "--progress", "--json", "--quiet",
]  # fmt: skip


def models(**given):
    return SwapOptions(models=ModelOptions(**given))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_option(run, flag):
    ended = run("swap", flag)
    assert ended.exit_code == 0
    assert ended.stderr == ""
    for option in OPTIONS:
        assert option in ended.stdout


def test_help_shows_each_name_once_and_as_it_is_typed(run):
    assert run("swap", "-h").stdout.splitlines()[0] == (
        "Usage: ffswap swap [OPTIONS] [SOURCE] TARGET OUTPUT"
    )
    for command, name in (
        ("models pull", "NAME"), ("models verify", "NAME"), ("engines verify", "MODEL"),
        ("build-engine", "MODEL|FILE.onnx"),
    ):  # fmt: skip
        usage = run(*command.split(), "-h").stdout.splitlines()[0]
        assert usage.startswith(f"Usage: ffswap {command} [OPTIONS] ")
        assert (usage.count(name), usage.count("...")) == (1, 1)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--faces", "biggest", "--faces is 'biggest'; allowed: largest, all, or left-right:N"),
        ("--reference-distance", "2", "--reference-distance is 2.0; allowed: between 0 and 1"),
        ("--device", "gpu", "--device is 'gpu'; allowed: auto, cpu, cuda, cuda:N"),
        ("--threads", "0", "--threads is 0; allowed: 1 to 256"),
        ("--model", " ", "--model is ' '; allowed: the name of a model"),
        ("--mask", "circle", "--mask is 'circle'; allowed: one or more of box, occlusion"),
        ("--pixel-boost", "7", "--pixel-boost is 7; allowed: 64 to 2048 (pixels)"),
        ("--detector-angles", "45", "--detector-angles is (45,); allowed: one or more of 0, 90"),
        ("--blend", "3", "--blend is 3.0; allowed: 0 to 1"),
        ("--quality", "200", "--quality is 200; allowed: 0 to 63 for clips"),
    ],
)
def test_a_bad_value_is_told_by_the_option_that_was_typed(swap, library, option, value, words):
    ended = swap(option, value)
    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"ffswap: error: {words}")
    assert not library.calls


def test_without_options_the_library_gets_its_own_defaults(swap, library):
    assert swap().exit_code == 0
    assert library.options == SwapOptions()
    assert library.calls[0]["files"] == ("src.jpg", "in.mp4", "out.mp4")
    assert not library.calls[0]["cancel"].is_set()


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (["--faces", "all"], SwapOptions(faces="all")),
        (["--faces", "largest"], SwapOptions()),
        (["--faces", "left-right:1,3"], SwapOptions(faces="left-right:1,3")),
        (["--reference", "a.jpg"], SwapOptions(reference="a.jpg")),
        (["--reference-distance", "0.2"], SwapOptions(reference_distance=0.2)),
        (
            ["--map", "a.jpg=b.jpg", "--map", "c=d.png"],
            SwapOptions(
                people=(
                    Person(source="a.jpg", reference="b.jpg"),
                    Person(source="c", reference="d.png"),
                )
            ),
        ),
        (["--model", "ghost_1_256"], models(swapper="ghost_1_256")),
        (["--detector", "yoloface_8n"], models(detector="yoloface_8n")),
        (["--landmarker", "none"], models(landmarker="none")),
        (["--detector-angles", "0,270"], models(detector_angles=(0, 270))),
        (["--mask", "box,region"], models(masks=("box", "region"))),
        (["--restore", "gfpgan_1.4"], models(restorer="gfpgan_1.4")),
        (["--pixel-boost", "512"], models(pixel_boost=512)),
        (["--blend", "0"], models(restore_blend=0.0)),
        (["--start", "1:02.5"], SwapOptions(start=Position(seconds=Fraction(125, 2)))),
        (["--start", "250f"], SwapOptions(start=Position(frame=250))),
        (["--end", "00:01:02.5"], SwapOptions(end=Position(seconds=Fraction(125, 2)))),
        (["--encoder", "libx265"], SwapOptions(encode=EncodeOptions(encoder="libx265"))),
        (["--quality", "0"], SwapOptions(encode=EncodeOptions(quality=0))),
        (["--quality", "63"], SwapOptions(encode=EncodeOptions(quality=63))),
        (["--preset", "slow"], SwapOptions(encode=EncodeOptions(preset="slow"))),
        (["--no-keep-occluders"], SwapOptions(mesh=MeshSwapOptions(keep_occluders=False))),
        (["--keep-occluders"], SwapOptions()),
        (["--device", "cpu"], SwapOptions(device="cpu")),
        (["--device", "cuda:1"], SwapOptions(device="cuda:1")),
        (["--threads", "1"], SwapOptions(threads=1)),
        (["--overwrite"], SwapOptions(overwrite=True)),
        (["-y"], SwapOptions(overwrite=True)),
    ],
)
def test_an_option_reaches_the_library(swap, library, args, options):
    assert swap(*args).exit_code == 0
    assert library.options == options


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--faces", "two"], ["'two'", "largest, all, or left-right:N"]),
        (["--faces", ""], ["faces", "largest, all, or left-right:N"]),
        (["--start", "noon"], ["--start", "'noon'", "hint: ", "250f"]),
        (["--start", "-1"], ["--start", "'-1'"]),
        (["--end", "1:2:3:4"], ["--end", "'1:2:3:4'"]),
        (["--end", "f"], ["--end", "'f'"]),
        (["--encoder", ""], ["--encoder is empty"]),
        (["--preset", " "], ["--preset is empty"]),
        (["--quality", "-1"], ["quality", "-1", "0 to 63"]),
        (["--quality", "101"], ["quality", "101", "0 to 63"]),
        (["--quality", "good"], ["ffswap swap --help"]),
        (["--threads", "0"], ["threads", "0", "1 to 256"]),
        (["--threads", "257"], ["threads", "257", "1 to 256"]),
        (["--threads", "many"], ["ffswap swap --help"]),
        (["--device", "gpu"], ["'gpu'", "auto, cpu, cuda, cuda:N"]),
        (["--device", "cuda:x"], ["'cuda:x'", "auto, cpu, cuda, cuda:N"]),
        (["--progress", "loud"], ["--progress", "'loud'", "auto, rich, tqdm, none"]),
        (["--progress", "loud", "--quiet"], ["'loud'"]),
        (["--no-such-option"], ["ffswap swap --help"]),
        (["fourth.mp4"], ["ffswap swap --help", "-o DIR"]),
    ],
)
def test_a_bad_value_is_a_usage_error_that_says_what_is_allowed(swap, library, args, said):
    ended = swap(*args)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("ffswap: error: ")
    assert len(ended.stderr.splitlines()) <= 2
    for words in said:
        assert words in ended.stderr
    assert not library.calls


@pytest.mark.parametrize("files", [[], ["src.jpg"], ["src.jpg", "in.mp4"]])
def test_a_missing_file_name_is_a_usage_error(run, library, files):
    ended = run("swap", *files)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("ffswap: error: ")
    assert not library.calls


def test_the_photo_cannot_be_a_stream(run, library):
    ended = run("swap", "-", "in.mp4", "out.mp4")
    assert ended.exit_code == 2
    assert "SOURCE is '-'" in ended.stderr
    assert "ffswap: hint: " in ended.stderr
    assert not library.calls


def test_a_name_that_begins_with_a_dash_goes_after_two_dashes(run, library):
    assert run("swap", "-q", "--", "--json", "in.mp4", "out.mp4").exit_code == 0
    assert library.calls[0]["files"][0] == "--json"


def test_the_summary_is_short_and_on_stdout(swap):
    ended = swap()
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert len(lines) <= 5
    assert lines[0] == "out.mp4: 250 frames in 3.2 s (78.1 frames/s)"
    for words in ("248", "1 track,", "2 frames without", "mesh", "cpu", "libx264", "yuv420p",
                  "decode 812", "swap 96"):  # fmt: skip
        assert words in ended.stdout


def test_damaged_frames_are_in_the_summary(swap, library):
    library.reports(corrupt_frames=1, stage_fps={})
    assert "1 damaged frame in the target" in swap().stdout


def test_json_is_the_report_and_nothing_else(swap, library):
    library.reports(warnings=("the sound is copied",))
    ended = swap("--json")
    assert ended.exit_code == 0
    assert json.loads(ended.stdout) == {
        **library.report.as_dict(), "warnings": ["the sound is copied"]
    }  # fmt: skip
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == "ffswap: warning: the sound is copied\n"


def test_json_has_no_numbers_that_json_does_not_know(swap, library):
    library.reports(fps=float("inf"), stage_fps={"swap": float("nan")})
    value = json.loads(swap("--json").stdout, parse_constant=pytest.fail)
    assert value["fps"] is None
    assert value["stage_fps"] == {"swap": None}


def test_warnings_are_on_stderr_in_their_order(swap, library):
    library.reports(warnings=("first", "second"))
    ended = swap()
    assert ended.exit_code == 0
    assert ended.stderr == "ffswap: warning: first\nffswap: warning: second\n"
    assert "first" not in ended.stdout


def test_what_is_lost_is_told_before_the_work_starts_and_once(swap, library, event):
    library.foreseen = ("the fonts are left out",)
    library.reports(warnings=("first", "the fonts are left out"))
    library.events = [event(100, seconds=5.0)]
    lines = swap().stderr.splitlines()
    assert lines[0] == "ffswap: warning: the fonts are left out"
    assert lines[1].startswith("ffswap: progress: ")
    assert lines[2:] == ["ffswap: warning: first"]


def test_a_target_cut_short_has_its_own_exit_code_and_names_the_loss(swap, library):
    library.reports(missing_frames=17, warnings=("17 frames are missing",))
    ended = swap()
    assert ended.exit_code == 6
    assert ended.stderr == (
        "ffswap: warning: 17 frames are missing\n"
        "ffswap: warning: out.mp4 ends early, as the target does\n"
    )
    assert "250 frames" in ended.stdout


def test_a_target_cut_short_in_json(swap, library):
    library.reports(missing_frames=17)
    ended = swap("--json")
    assert ended.exit_code == 6
    value = json.loads(ended.stdout)
    assert (value["complete"], value["missing_frames"]) == (False, 17)


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_prints_nothing(swap, library, event, flag):
    library.reports(warnings=("first",), missing_frames=17)
    library.events = [event(100, seconds=5.0)]
    ended = swap(flag)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (6, "", "")


def test_quiet_leaves_json_and_errors(swap, library):
    assert json.loads(swap("-q", "--json").stdout)["frames"] == 250
    library.error = ZeroDivisionError("x")
    assert swap("-q").stderr.startswith("ffswap: error: ")


def test_control_characters_of_a_name_are_shown_and_not_obeyed(swap, library):
    library.reports(output="a\x1b[2Jb\n\u202ec\udcff.mp4", warnings=("\x07 in\r \u00e9\u3000",))
    ended = swap()
    assert ended.stdout.startswith("a\\x1b[2Jb\\n\\u202ec\\udcff.mp4: ")
    assert ended.stderr == "ffswap: warning: \\x07 in\\r \u00e9\u3000\n"
