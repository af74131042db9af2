"""Outputs are signed as the last thing, whatever their format, and nothing half-done is left."""

from __future__ import annotations

import errno
import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import c2pa
import pytest

from ffswap.errors import CancelledError, OutputExistsError, OutputWriteError, SigningError
from ffswap.files import PendingFile
from ffswap.options import CredentialOptions
from ffswap.provenance import sdk, signing
from ffswap.provenance.formats import sidecar_of
from ffswap.provenance.reading import read_credentials
from ffswap.provenance.record import SOURCE_TYPES, Claim
from ffswap.provenance.signing import open_signer
from tests.provenance.signed_files import BESIDE, EMBEDDED, SWAPPED, authority, media, sign

# What readers of others are told; not the table of the package.
MIME = {
    "mp4": "video/mp4", "m4v": "video/mp4", "mov": "video/quicktime", "jpg": "image/jpeg",
    "png": "image/png", "webp": "image/webp", "tif": "image/tiff",
}  # fmt: skip


def read(data: bytes, kind: str, manifest: bytes | None = None) -> dict[str, Any]:
    """What c2pa's own reader says, with its own settings."""
    with c2pa.Reader(kind, io.BytesIO(data), manifest) as reader:
        found: dict[str, Any] = json.loads(reader.json())
    return found


def codes(store: dict[str, Any]) -> set[str]:
    return {one["code"] for one in store["validation_results"]["activeManifest"]["failure"]}


@pytest.mark.parametrize("suffix", EMBEDDED)
def test_the_librarys_own_reader_takes_it_and_one_flipped_byte_breaks_it(tmp_path, suffix):
    source, output = media(tmp_path / f"in.{suffix}"), tmp_path / f"out.{suffix}"
    signature = sign(source, output)
    assert (signature.place, signature.file) == ("embedded", str(output))
    store = read(output.read_bytes(), MIME[suffix])
    assert store["validation_state"] == "Valid"
    assert codes(store) == {"signingCredential.untrusted"}
    # A byte of the content, which has been copied from the input as it was.
    before, after = source.read_bytes(), bytearray(output.read_bytes())
    start = before.find(b"mdat") + 8 if b"ftyp" in before[:8] else len(before) // 2
    place = after.find(before[start : start + 24])
    assert place > 0
    after[place + 12] ^= 1
    store = read(bytes(after), MIME[suffix])
    assert store["validation_state"] == "Invalid"
    assert any(code.endswith(".mismatch") for code in codes(store))
    assert {p.name for p in tmp_path.iterdir()} == {source.name, output.name}


@pytest.mark.parametrize("suffix", BESIDE)
def test_a_sidecar_goes_with_a_format_that_holds_no_credentials(tmp_path, suffix):
    source, output = media(tmp_path / f"in.{suffix}"), tmp_path / f"out.{suffix}"
    signature = sign(source, output)
    beside = tmp_path / f"out.{suffix}.c2pa"
    assert (signature.place, signature.file) == ("sidecar", str(beside))
    data, manifest = output.read_bytes(), beside.read_bytes()
    assert data == source.read_bytes(), "the output itself stays as it was encoded"
    octets = "application/octet-stream"
    assert read(data, octets, manifest)["validation_state"] == "Valid"
    broken = bytearray(data)
    broken[len(data) // 2] ^= 1
    assert codes(read(bytes(broken), octets, manifest)) >= {"assertion.dataHash.mismatch"}


@pytest.mark.parametrize("suffix", ["mp4", "png", "mkv"])
def test_what_the_target_had_is_kept(tmp_path, suffix):
    first, second, third = (tmp_path / f"{n}.{suffix}" for n in ("one", "two", "three"))
    sign(media(tmp_path / f"in.{suffix}"), first, parent=tmp_path / f"in.{suffix}")
    sign(first, second, parent=first)
    sign(second, third, Claim(swapped=True, generated=False), parent=second)
    found = read_credentials(third)
    assert found is not None
    assert (found.state, found.manifests) == ("valid", 3)
    (parent,) = found.parents
    assert (parent.relationship, parent.signer) == ("parentOf", "ffswap local signer")
    assert parent.problems == ()
    kinds = [one.source_type for one in found.actions if one.action == "c2pa.edited"]
    assert kinds[0] == SOURCE_TYPES + "composite"
    assert kinds[1:] == [SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"] * 2


def test_a_target_in_another_container_keeps_its_history_too(tmp_path):
    sign(media(tmp_path / "in.mkv"), tmp_path / "one.mkv")
    sign(media(tmp_path / "in.mp4"), tmp_path / "two.mp4", parent=tmp_path / "one.mkv")
    found = read_credentials(tmp_path / "two.mp4")
    assert found is not None
    assert found.manifests == 2
    assert [one.format for one in found.parents] == ["video/x-matroska"]


def test_a_target_that_was_tampered_with_stays_so_in_the_history(tmp_path):
    sign(media(tmp_path / "in.png"), tmp_path / "one.png")
    data = bytearray((tmp_path / "one.png").read_bytes())
    data[data.rfind(b"IEND") - 12] ^= 1  # the last bytes of the picture
    (tmp_path / "one.png").write_bytes(data)
    sign(tmp_path / "in.png", tmp_path / "two.png", parent=tmp_path / "one.png")
    found = read_credentials(tmp_path / "two.png")
    assert found is not None
    assert found.state == "valid"
    (parent,) = found.parents
    assert any("assertion.dataHash.mismatch" in problem for problem in parent.problems)


def test_nothing_of_the_user_is_in_the_credentials(tmp_path):
    folder = tmp_path / "Jane Doe" / "private clips"
    folder.mkdir(parents=True)
    source = media(folder / "erika-mustermann.mp4")
    for name in ("jane-as-erika.mp4", "jane-as-erika.mkv"):
        signature = sign(source, folder / name)
        data = Path(signature.file).read_bytes()
        data = data[data.find(b"jumb") :]  # before it lies the video
        for word in (b"jane", b"Jane", b"erika", b"private", str(tmp_path).encode(), b"root@"):
            assert word not in data
    assert b"ffswap local signer" in data
    assert b"inswapper_128" in data


def test_the_signer_answers_for_what_is_said(tmp_path):
    sign(media(tmp_path / "in.mkv"), tmp_path / "out.mkv")
    data = (tmp_path / "out.mkv.c2pa").read_bytes()
    created = data[data.find(b"created_assertions") :]
    assert b"c2pa.actions.v2" in created[: created.find(b"c2pa.signature")]
    assert b"c2pa.ingredient.v3" in created[: created.find(b"c2pa.signature")]
    assert b"gathered_assertions" not in data


def test_no_socket_is_opened(tmp_path, monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError(f"a socket was opened: {args}")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the native library would ask there
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for suffix in ("mp4", "mkv"):
        sign(media(tmp_path / f"in.{suffix}"), tmp_path / f"out.{suffix}")
        assert read_credentials(tmp_path / f"out.{suffix}") is not None


def test_a_users_certificate_signs_and_can_be_trusted(tmp_path):
    files = authority(tmp_path)
    output = tmp_path / "out.jpg"
    signature = sign(
        media(tmp_path / "in.jpg"), output, certificate=str(files.certificate), key=str(files.key)
    )
    assert (signature.signer, signature.self_made) == ("Jane's studio", False)
    assert "unverified" not in signature.who
    found, trusted = read_credentials(output), read_credentials(output, files.root)
    assert found is not None
    assert trusted is not None
    assert (found.state, trusted.state) == ("valid", "trusted")
    assert (found.signer, found.organisation) == ("Jane's studio", "Example Films")


def test_a_certificate_that_c2pa_refuses_is_found_out_before_the_run(tmp_path):
    files = authority(tmp_path, profile=False)
    options = CredentialOptions(certificate=str(files.certificate), key=str(files.key))
    with pytest.raises(SigningError, match="cannot sign content credentials") as caught:
        open_signer(options)
    assert caught.value.file == str(files.certificate)
    assert "--no-credentials" in str(caught.value.hint)


def test_a_time_stamp_server_that_does_not_answer_is_found_out_before_the_run():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(SigningError, match="gave no time stamp") as caught:
            open_signer(CredentialOptions(timestamp_url=url))
    assert "--no-credentials" in str(caught.value.hint)


def test_without_the_library_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(SigningError, match="c2pa-python") as caught:
        sdk.load_sdk()
    assert "--no-credentials" in str(caught.value.hint)


def test_a_failure_leaves_nothing(tmp_path):
    source = tmp_path / "in.mp4"
    source.write_bytes(b"this is no mp4 file, whatever its name says")
    with pytest.raises(SigningError, match="could not be signed") as caught:
        sign(source, tmp_path / "out.mp4")
    assert "--no-credentials" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_an_interrupted_signing_leaves_nothing(tmp_path, suffix):
    source, cancel = media(tmp_path / f"in.{suffix}"), threading.Event()
    signer, _ = open_signer(CredentialOptions(), cancel)
    pending = PendingFile(tmp_path / f"out.{suffix}", overwrite=False)
    pending.temporary.write_bytes(source.read_bytes())
    cancel.set()
    with pytest.raises(CancelledError):
        signer.sign(pending, SWAPPED, source)
    pending.discard()
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    source = media(tmp_path / "in.mp4")

    def full(self: Any, data: bytes) -> int:  # noqa: ARG001  what it stands in for has it
        self.failure = OSError(errno.ENOSPC, "No space left on device")
        raise self.failure

    monkeypatch.setattr(signing._Watched, "write", full)
    with pytest.raises(OutputWriteError, match="disk full"):
        sign(source, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == [source]


class TestSidecar:
    def test_one_that_is_there_is_kept_without_leave(self, tmp_path):
        source, output = media(tmp_path / "in.mkv"), tmp_path / "out.mkv"
        sidecar_of(output).write_bytes(b"old")
        with pytest.raises(OutputExistsError):
            sign(source, output)
        assert sidecar_of(output).read_bytes() == b"old"
        assert not output.exists()

    def test_one_that_is_there_is_replaced_with_leave(self, tmp_path):
        source, output = media(tmp_path / "in.mkv"), tmp_path / "out.mkv"
        sidecar_of(output).write_bytes(b"old")
        output.write_bytes(b"old")
        sign(source, output, overwrite=True)
        found = read_credentials(output)
        assert found is not None
        assert found.state == "valid"

    def test_it_does_not_stay_alone(self, tmp_path):
        source, output = media(tmp_path / "in.mkv"), tmp_path / "out.mkv"
        signer, _ = open_signer(CredentialOptions())
        pending = PendingFile(output, overwrite=False)
        pending.temporary.write_bytes(source.read_bytes())
        signer.sign(pending, SWAPPED, source)
        output.write_bytes(b"somebody else was faster")
        with pytest.raises(OutputExistsError):
            pending.commit()
        assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}

    def test_one_of_a_file_that_is_replaced_goes(self, tmp_path):
        source, output = media(tmp_path / "in.png"), tmp_path / "out.png"
        output.write_bytes(b"old")
        sidecar_of(output).write_bytes(b"of the old")
        sign(source, output, overwrite=True)
        assert not sidecar_of(output).exists()


def test_what_was_not_swapped_is_not_called_synthetic(tmp_path):
    sign(media(tmp_path / "in.png"), tmp_path / "out.png", Claim(swapped=False, generated=True))
    found = read_credentials(tmp_path / "out.png")
    assert found is not None
    assert not found.synthetic
    assert [one.action for one in found.actions] == ["c2pa.opened", "c2pa.transcoded"]
