"""`ffswap inspect`, and the options of a swap that are about what its output says."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from ffswap.options import CredentialOptions, LabelOptions, Position
from ffswap.provenance.record import Claim, Signature
from tests.provenance.signed_files import authority, media, sign

SIGNATURE = Signature(
    signer="ffswap local signer",
    self_made=True,
    place="sidecar",
    file="out.mkv.c2pa",
    source_type="composite",
    timestamped=False,
)


def signed(folder: Path, suffix: str = "mp4", *, swapped: bool = True, **options) -> Path:
    output = folder / f"out.{suffix}"
    claim = Claim(swapped=swapped, generated=True, models=("mesh",))
    sign(media(folder / f"in.{suffix}"), output, claim, **options)
    return output


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "jpg"])
def test_a_swapped_file_is_told_from_an_original(run, tmp_path, suffix):
    ended = run("inspect", str(signed(tmp_path, suffix)))
    assert ended.exit_code == 10
    assert "SYNTHETIC" in ended.stdout
    assert "valid, from an unverified signer" in ended.stdout
    assert "signed by: ffswap local signer" in ended.stdout
    assert "compositeWithTrainedAlgorithmicMedia" in ended.stdout
    ended = run("inspect", str(tmp_path / f"in.{suffix}"))
    assert ended.exit_code == 0
    assert "says nothing" in ended.stdout
    assert "SYNTHETIC" not in ended.stdout


def test_credentials_of_an_unchanged_file_are_no_alarm(run, tmp_path):
    ended = run("inspect", str(signed(tmp_path, swapped=False)))
    assert ended.exit_code == 0
    assert "c2pa.transcoded" in ended.stdout


def test_a_changed_file_is_invalid(run, tmp_path):
    output = signed(tmp_path)
    data = bytearray(output.read_bytes())
    data[data.find(b"mdat") + 20] ^= 1
    output.write_bytes(data)
    ended = run("inspect", str(output))
    assert ended.exit_code == 11
    assert "changed after signing" in ended.stdout
    assert "assertion.bmffHash.mismatch" in ended.stdout


def test_json_has_all_of_it(run, tmp_path):
    ended = run("inspect", "--json", str(signed(tmp_path, "mkv")))
    assert ended.exit_code == 10
    found = json.loads(ended.stdout)
    assert set(found) == {"file", "verdict", "credentials", "mark"}
    assert found["verdict"] == "synthetic"
    assert found["mark"]["verdict"] == "no face"
    assert found["mark"]["frames"] > 0
    credentials = found["credentials"]
    assert (credentials["place"], credentials["state"]) == ("sidecar", "valid")
    assert credentials["actions"][1]["models"] == ["mesh"]
    assert credentials["parents"][0]["format"] == "video/x-matroska"


def test_json_of_a_file_that_says_nothing(run, tmp_path):
    ended = run("inspect", "--json", str(media(tmp_path / "in.png")))
    assert ended.exit_code == 0
    found = json.loads(ended.stdout)
    assert (found["verdict"], found["credentials"]) == ("nothing", None)


def test_an_authority_that_is_trusted(run, tmp_path):
    files = authority(tmp_path)
    output = signed(tmp_path, certificate=str(files.certificate), key=str(files.key))
    assert "unverified signer" in run("inspect", str(output)).stdout
    ended = run("inspect", "--trust", str(files.root), str(output))
    assert "whose authority you trust" in ended.stdout
    assert "Jane's studio, Example Films" in ended.stdout


@pytest.mark.parametrize(
    ("text", "words"), [(None, "no such file"), (b"", "is empty"), (b"hello " * 99, "no video or picture")]
)  # fmt: skip
def test_what_is_no_media_is_said(run, tmp_path, text, words):
    file = tmp_path / "file.mp4"
    if text is not None:
        file.write_bytes(text)
    ended = run("inspect", str(file))
    assert ended.exit_code == 3
    assert words in ended.stderr
    assert ended.stdout == ""


class TestSwapOptions:
    def test_a_label_reaches_the_library(self, swap, library):
        ended = swap(
            "--label", "AI-made", "--label-position", "top", "--label-size", "6",
            "--label-time", "0:01-250f", "--label-font", "f.ttf",
        )  # fmt: skip
        assert ended.exit_code == 0
        assert library.options.label == LabelOptions(
            text="AI-made",
            position="top",
            size=6.0,
            start=Position(seconds=Fraction(1)),
            end=Position(frame=250),
            font="f.ttf",
        )

    @pytest.mark.parametrize(
        ("time", "start", "end"),
        [("2-", Position(seconds=Fraction(2)), None), ("-9f", None, Position(frame=9))],
    )
    def test_a_time_may_be_open(self, swap, library, time, start, end):
        assert swap("--label", "x", "--label-time", time).exit_code == 0
        label = library.options.label
        assert label is not None
        assert (label.start, label.end) == (start, end)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--label", " "], "--label is ' '; allowed: one line of 1 to 120"),
            (["--label", "a\nb"], "--label is 'a\\nb'; allowed: one line"),
            (["--label", "x", "--label-position", "left"], "--label-position is 'left'; allowed: top"),
            (["--label", "x", "--label-size", "90"], "--label-size is 90.0; allowed: 1 to 25"),
            (["--label", "x", "--label-time", "5"], "--label-time is '5'; allowed: START-END"),
            (["--label-size", "5"], "the label has a position, size, time or font and no text"),
            (["--sign-cert", "a.pem"], "the certificate of a signer was given without its key"),
            (["--sign-tsa", "ftp://x"], "--sign-tsa is 'ftp://x'; allowed: an address"),
        ],
    )  # fmt: skip
    def test_a_bad_value_is_usage(self, swap, library, options, words):
        ended = swap(*options)
        assert ended.exit_code == 2
        assert words in ended.stderr
        assert not library.calls

    def test_the_signer_comes_from_options_or_environment(self, swap, library, monkeypatch):
        monkeypatch.setenv("FFSWAP_SIGN_CERT", "env.pem")
        monkeypatch.setenv("FFSWAP_SIGN_KEY", "env.key")
        monkeypatch.setenv("FFSWAP_SIGN_TSA", "https://tsa.example")
        assert swap().exit_code == 0
        assert library.options.credentials == CredentialOptions(
            certificate="env.pem", key="env.key", timestamp_url="https://tsa.example"
        )
        library.calls.clear()
        assert swap("--sign-cert", "a.pem", "--sign-key", "a.key").exit_code == 0
        assert library.options.credentials.certificate == "a.pem"
        library.calls.clear()
        assert swap("--no-credentials").exit_code == 0
        assert library.options.credentials == CredentialOptions(enabled=False)

    def test_the_local_signer_is_kept_where_the_environment_says(self, swap, library, monkeypatch):
        monkeypatch.setenv("FFSWAP_SIGNER_DIR", "somewhere")
        swap()
        assert library.calls[0]["options"].credentials.folder == "somewhere"
        monkeypatch.delenv("FFSWAP_SIGNER_DIR")
        monkeypatch.setenv("XDG_DATA_HOME", "/data")
        library.calls.clear()
        swap()
        assert library.calls[0]["options"].credentials.folder.endswith("signer")

    def test_the_summary_says_that_nobody_vouches_for_the_local_signer(self, swap, library):
        library.reports(credentials=SIGNATURE)
        line = "credentials: signed by ffswap local signer (unverified signer), in out.mkv.c2pa"
        assert line in swap().stdout
        said = json.loads(swap("--json").stdout)["credentials"]
        assert said["who"] == "ffswap local signer (unverified signer)"
        library.reports(credentials=replace(SIGNATURE, self_made=False, place="embedded"))
        assert "unverified" not in swap().stdout
