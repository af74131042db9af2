"""Who signs: a signer that is made once and kept safe, or a user's certificate."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ffswap.errors import InputMissingError, SigningError
from ffswap.provenance import identity
from ffswap.provenance.identity import SELF_MADE, kept_identity, read_identity
from tests.provenance.signed_files import authority, pem, rsa_key

posix = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX systems")


def test_the_local_signer_is_made_once(tmp_path):
    first, note = kept_identity(tmp_path / "data" / "signer")
    again, _ = kept_identity(tmp_path / "data" / "signer")
    assert note is None
    assert (first.name, first.self_made, first.algorithm) == (SELF_MADE, True, "ES256")
    assert (again.chain, again.key) == (first.chain, first.key)
    assert kept_identity(tmp_path / "other")[0].chain != first.chain


@posix
def test_only_its_user_may_read_the_local_signer(tmp_path):
    old = os.umask(0)
    try:
        kept_identity(tmp_path / "signer")
    finally:
        os.umask(old)
    (file,) = (tmp_path / "signer").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_two_processes_at_once_get_the_same_signer(tmp_path):
    code = (
        "import sys, pathlib; from ffswap.provenance.identity import kept_identity\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(hash(kept_identity(pathlib.Path(sys.argv[1]))[0].chain))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "signer")]
    programs = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(3)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    said = {program.communicate()[0] for program in programs}
    assert len(said) == 1
    assert [file.name for file in (tmp_path / "signer").iterdir()] == ["signer.pem"]


def test_a_signer_that_another_process_made_meanwhile_is_taken(tmp_path, monkeypatch):
    make = identity.make_identity
    theirs = []

    def slow():
        monkeypatch.setattr(identity, "make_identity", make)
        theirs.append(kept_identity(tmp_path)[0])
        return make()

    monkeypatch.setattr(identity, "make_identity", slow)
    ours, note = kept_identity(tmp_path)
    assert note is None
    assert ours.key == theirs[0].key
    assert len(list(tmp_path.iterdir())) == 1


def test_a_signer_that_ends_soon_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_VALID_FOR", timedelta(days=20))
    old, _ = kept_identity(tmp_path)
    monkeypatch.undo()
    new, _ = kept_identity(tmp_path)
    assert new.key != old.key
    assert kept_identity(tmp_path)[0].key == new.key


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_damaged_signer_is_an_error_that_says_what_to_do(tmp_path, text):
    (tmp_path / "signer.pem").write_bytes(text)
    with pytest.raises(SigningError, match="is damaged") as caught:
        kept_identity(tmp_path)
    assert "remove it" in str(caught.value.hint)
    assert "--no-credentials" in str(caught.value.hint)


def test_a_signer_that_cannot_be_kept_is_used_once_and_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    found, note = kept_identity(tmp_path / "file" / "signer")
    assert found.self_made
    assert note is not None
    assert "could not be kept" in note


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "ED25519"),
        (rsa_key(), "PS256"),
    ],
    ids=["p256", "p384", "p521", "ed25519", "rsa"],
)
def test_the_kind_of_a_users_key_is_found(tmp_path, key, algorithm):
    files = authority(tmp_path, key)
    found = read_identity(files.certificate, files.key)
    assert (found.algorithm, found.name, found.self_made) == (algorithm, "Jane's studio", False)


def test_an_old_style_key_is_taken(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    files = authority(tmp_path, key)
    files.key.write_bytes(pem(key, serialization.PrivateFormat.TraditionalOpenSSL))
    assert b"BEGIN PRIVATE KEY" in read_identity(files.certificate, files.key).key


def test_the_key_is_not_shown(tmp_path):
    assert "PRIVATE" not in repr(kept_identity(tmp_path)[0])


def test_what_cannot_be_used_is_said(tmp_path):
    def refused(certificate: Path, key: Path, words: str) -> None:
        with pytest.raises(SigningError, match=words) as caught:
            read_identity(certificate, key)
        assert "--no-credentials" in str(caught.value.hint)

    secret = ec.generate_private_key(ec.SECP256R1())
    files = authority(tmp_path, secret)
    text = tmp_path / "text.pem"
    text.write_text("hello")
    refused(text, files.key, "holds no certificate")
    refused(files.certificate, text, "holds no private key")
    refused(files.certificate, files.certificate, "holds no private key")
    text.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    refused(files.certificate, text, "is not the key of the first certificate")
    text.write_bytes(pem(secret, password=b"secret"))
    refused(files.certificate, text, "is protected by a password")
    text.write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
    refused(files.certificate, text, "of a kind that C2PA does not know")
    refused(authority(tmp_path, secret, days=-3).certificate, files.key, "not today")
    text.write_bytes(b"")
    refused(text, files.key, "is empty")
    with pytest.raises(InputMissingError, match="no such file"):
        read_identity(tmp_path / "nothing.pem", files.key)
