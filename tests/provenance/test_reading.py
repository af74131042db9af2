"""What is read back from a file, and what is not taken for credentials."""

from __future__ import annotations

import pytest

from ffswap.errors import InputMissingError, SigningError
from ffswap.provenance.formats import sidecar_of, sniff
from ffswap.provenance.reading import read_credentials
from ffswap.provenance.record import Claim
from tests.provenance.signed_files import EMBEDDED, media, sign


def signed(folder, suffix="mp4", **claim):
    output = folder / f"out.{suffix}"
    what = Claim(**{"swapped": True, "generated": True, "models": ("mesh",), **claim})
    sign(media(folder / f"in.{suffix}"), output, what)
    return output


def test_everything_that_was_said_comes_back(tmp_path):
    found = read_credentials(signed(tmp_path, labelled=True))
    assert found is not None
    assert (found.place, found.state, found.tampered, found.problems) == (
        "embedded", "valid", False, (),
    )  # fmt: skip
    assert found.signer == "ffswap local signer"
    assert found.organisation == "self-made by ffswap, not verified by anybody"
    assert found.tool is not None
    assert found.tool.startswith("ffswap 0.")
    assert found.time is None
    opened, swap, label = found.actions
    assert opened.action == "c2pa.opened"
    assert (swap.action, swap.models, swap.own, swap.synthetic) == (
        "c2pa.edited", ("mesh",), True, True,
    )  # fmt: skip
    assert swap.when is not None
    assert swap.when.endswith("Z")
    assert "label" in str(label.description)
    assert not label.synthetic
    assert found.synthetic
    assert found.as_dict()["synthetic"] is True


@pytest.mark.parametrize("suffix", [*EMBEDDED, "mkv", "bmp"])
def test_a_file_without_any_says_nothing(tmp_path, suffix):
    assert read_credentials(media(tmp_path / f"in.{suffix}")) is None


@pytest.mark.parametrize("suffix", EMBEDDED)
def test_the_format_is_known_by_content_and_not_by_name(tmp_path, suffix):
    output = signed(tmp_path, suffix).rename(tmp_path / "out.dat")
    assert sniff(output) is not None
    found = read_credentials(output)
    assert found is not None
    assert found.state == "valid"


@pytest.mark.parametrize("suffix", ["mp4", "jpg", "png", "webp", "mkv"])
def test_no_flipped_byte_of_the_content_goes_unseen(tmp_path, suffix):
    output = signed(tmp_path, suffix)
    whole, plain = output.read_bytes(), (tmp_path / f"in.{suffix}").read_bytes()
    step = 16  # bytes that are looked for at a time
    places = []
    for start in range(64, len(plain) - step, max(step, len(plain) // 12)):
        place = whole.find(plain[start : start + step])
        places += [place + 5] if place >= 0 else []
    assert len(places) >= 4
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1
        output.write_bytes(broken)
        found = read_credentials(output)
        assert found is not None, place
        assert (found.state, found.tampered) == ("invalid", True), place
        assert found.problems


def test_changed_words_break_the_credentials(tmp_path):
    output = signed(tmp_path, "png")
    data = output.read_bytes()
    assert data.count(b"c2pa.edited") == 1
    output.write_bytes(data.replace(b"c2pa.edited", b"c2pa.cropped"[:11]))
    found = read_credentials(output)
    assert found is not None
    assert (found.state, found.tampered) == ("invalid", True)


def test_remains_of_credentials_are_no_silence(tmp_path):
    output = signed(tmp_path, "mp4")
    data = output.read_bytes()
    output.write_bytes(data.replace(b"jumb", b"junk"))
    found = read_credentials(output)
    assert found is not None
    assert (found.state, found.tampered) == ("invalid", True)


def test_a_sidecar_that_is_none_is_invalid(tmp_path):
    output = signed(tmp_path, "mkv")
    sidecar_of(output).write_bytes(b"nothing of the kind")
    found = read_credentials(output)
    assert found is not None
    assert (found.place, found.state) == ("sidecar", "invalid")


def test_the_sidecar_of_another_file_is_invalid(tmp_path):
    output = signed(tmp_path, "mkv")
    output.write_bytes(media(tmp_path / "other.mkv").read_bytes() + b"\0")
    found = read_credentials(output)
    assert found is not None
    assert (found.state, found.tampered) == ("invalid", True)


def test_what_is_inside_goes_before_what_lies_beside(tmp_path):
    output = signed(tmp_path, "png")
    sidecar_of(output).write_bytes(b"nothing of the kind")
    found = read_credentials(output)
    assert found is not None
    assert (found.place, found.state) == ("embedded", "valid")


def test_trust_wants_certificates(tmp_path):
    output = signed(tmp_path, "png")
    with pytest.raises(InputMissingError):
        read_credentials(output, tmp_path / "no.pem")
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(SigningError, match="holds no certificates"):
        read_credentials(output, tmp_path / "text.pem")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputMissingError):
        read_credentials(tmp_path / "no.mp4")
