"""Who signs: the user with a certificate, or ffswap with one that it made for itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import InputMissingError, OutputError, OutputExistsError, SigningError
from ..files import PendingFile, check_input, write_error
from .sdk import WITHOUT

__all__ = ["SELF_MADE", "Identity", "kept_identity", "make_identity", "read_identity"]

SELF_MADE = "ffswap local signer"
_ORGANISATION = "self-made by ffswap, not verified by anybody"

# Nobody renews it, and without a time stamp a signature ends with its certificate.
_VALID_FOR = timedelta(days=3653)
_RENEWED_BEFORE = timedelta(days=30)
# Clocks of machines differ, and a certificate must not be of tomorrow.
_VALID_SINCE = timedelta(days=1)

_NAME = "signer.pem"

# What C2PA calls the signature of a key on a curve. Source: C2PA 2.1, section 13.2.
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

_Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate and its key.

    Attributes:
        chain: PEM, the signer's certificate first.
        key: PEM, PKCS #8, without a password.
        algorithm: C2PA's name of the kind of signature.
        name: of the signer.
        self_made: ffswap made it.
    """

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    name: str
    self_made: bool


def read_identity(certificate: Path, key: Path) -> Identity:
    """The signer of a user.

    Args:
        certificate: PEM, the signer's first.
        key: PEM, without a password.

    Raises:
        InputMissingError: a file is not there.
        SigningError: one cannot be used, or they do not belong together.
    """
    texts = []
    for what, path in (("a certificate in PEM", certificate), ("its private key in PEM", key)):
        try:
            texts.append(check_input(path, what, SigningError).read_bytes())  # type: ignore[arg-type]
        except InputMissingError as error:
            error.hint = f"name {what}, or leave both out: then ffswap signs with its own"
            raise
        except SigningError as error:
            error.hint = WITHOUT
            raise
        except OSError as error:
            raise _unusable(path, f"may not be read ({error.strerror})") from error
    return _parse(texts[0], texts[1], certificate, key, self_made=False)


def _unusable(path: Path, why: str) -> SigningError:
    return SigningError(why, file=path, hint=WITHOUT)


def _parse(chain: bytes, secret: bytes, first: Path, second: Path, *, self_made: bool) -> Identity:
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise _unusable(first, "holds no certificate in PEM") from error
    try:
        key = serialization.load_pem_private_key(secret, None)
    except TypeError as error:
        raise _unusable(second, "is protected by a password; give the key without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(second, "holds no private key in PEM") from error
    leaf = certificates[0]
    if not isinstance(key, _Key) or (algorithm := _algorithm(key)) is None:
        raise _unusable(second, "is of a kind that C2PA does not know; allowed: EC, RSA, Ed25519")
    if _public(key.public_key()) != _public(leaf.public_key()):
        raise _unusable(second, f"is not the key of the first certificate in {first}")
    now = datetime.now(timezone.utc)
    since, until = _validity(leaf)
    if not since <= now <= until:
        raise _unusable(first, f"is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}, not today")
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(
        chain=chain, key=pkcs8, algorithm=algorithm, name=_name(leaf), self_made=self_made
    )


def _algorithm(key: _Key) -> str | None:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return "PS256" if isinstance(key, rsa.RSAPrivateKey) else "ED25519"


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    # The properties of cryptography 42 and later; those before it are deprecated there.
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    since, until = certificate.not_valid_before, certificate.not_valid_after
    return since.replace(tzinfo=timezone.utc), until.replace(tzinfo=timezone.utc)


def _name(certificate: x509.Certificate) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := certificate.subject.get_attributes_for_oid(kind):
            return str(found[0].value)
    return "a signer without a name"


def kept_identity(folder: Path) -> tuple[Identity, str | None]:
    """The signer that ffswap made for itself: made on the first call, the same on later ones.

    Several processes may call at once: whoever comes first makes it.

    Args:
        folder: where it is kept; made if it is missing.

    Returns:
        The signer, and why it could not be kept, or None.

    Raises:
        SigningError: the file that is there is damaged.
    """
    file = folder / _NAME
    found, ended = _load(file)
    if found is not None:
        return found, None
    made = make_identity()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pending = PendingFile(file, overwrite=ended, private=True)
        try:
            pending.temporary.write_bytes(made.key + made.chain)
            pending.commit()
        finally:
            pending.discard()
    except OutputExistsError:  # another process was faster
        return _load(file)[0] or made, None
    except OutputError as error:
        return made, f"the signer of ffswap could not be kept, and a new one is used: {error}"
    except OSError as error:
        why = write_error(error, folder)
        return made, f"the signer of ffswap could not be kept, and a new one is used: {why}"
    return made, None


def _load(file: Path) -> tuple[Identity | None, bool]:
    """The signer of a file, or None, and whether that is because it ends soon or has ended."""
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None, False
    except OSError as error:
        raise _unusable(file, f"may not be read ({error.strerror})") from error
    start = text.find(b"-----BEGIN CERTIFICATE")
    if start < 0:
        raise _damaged(file)
    try:
        _, until = _validity(x509.load_pem_x509_certificates(text[start:])[0])
        if until - datetime.now(timezone.utc) < _RENEWED_BEFORE:
            return None, True
        return _parse(text[start:], text[:start], file, file, self_made=True), False
    except (ValueError, SigningError) as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> SigningError:
    return SigningError(
        "should hold the signer of ffswap, and is damaged", file=file,
        hint=f"remove it: a new one is made; or: {WITHOUT}",
    )  # fmt: skip


def make_identity() -> Identity:
    """A fresh signer. Its certificate is signed by a root whose key is thrown away at once.

    It has the profile that C2PA wants (2.1, section 14.5.1): not self-signed, for signing only.
    """
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _subject(f"{SELF_MADE}, root")
    root = (
        _certificate(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_subject(SELF_MADE), root_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    return Identity(
        chain=leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        algorithm="ES256",
        name=SELF_MADE,
        self_made=True,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    since = datetime.now(timezone.utc) - _VALID_SINCE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
