"""Small files to sign, certificates of users, and signing as a run does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from ffswap.files import PendingFile
from ffswap.options import CredentialOptions
from ffswap.provenance.record import Claim, Signature
from ffswap.provenance.signing import open_signer

SWAPPED = Claim(swapped=True, generated=True, models=("inswapper_128",))
EMBEDDED = ["mp4", "m4v", "mov", "jpg", "png", "webp", "tif"]
BESIDE = ["mkv", "webm", "avi", "ts", "bmp"]


def picture(path: Path) -> Path:
    x, y = np.meshgrid(np.arange(64, dtype=np.uint8), np.arange(48, dtype=np.uint8))
    Image.fromarray(np.stack([x, y, x ^ y], -1)).save(path)
    return path


def clip(path: Path) -> Path:
    codec = {".webm": "libvpx-vp9", ".ts": "libx264"}.get(path.suffix, "mpeg4")
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(4):
            rgb = np.full((48, 64, 3), 40 * i, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        output.mux(stream.encode())
    return path


def media(path: Path) -> Path:
    """A file of the kind that its suffix names."""
    pictures = {".jpg", ".png", ".webp", ".tif", ".bmp"}
    return picture(path) if path.suffix in pictures else clip(path)


def sign(
    source: Path,
    target: Path,
    claim: Claim = SWAPPED,
    *,
    parent: Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Signature:
    """Sign what is in `source` and give it the name `target`."""
    signer, _ = open_signer(CredentialOptions(**options))
    pending = PendingFile(target, overwrite=overwrite)
    try:
        pending.temporary.write_bytes(source.read_bytes())
        signature = signer.sign(pending, claim, parent or source)
        pending.commit()
    finally:
        pending.discard()
    return signature


def pem(key: Any, kind: Any = serialization.PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    lock: Any = serialization.NoEncryption()
    if password:
        lock = serialization.BestAvailableEncryption(password)
    text: bytes = key.private_bytes(serialization.Encoding.PEM, kind, lock)
    return text


@dataclass(frozen=True)
class Authority:
    """A certificate authority with one signer."""

    root: Path
    certificate: Path
    key: Path


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, text),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Films"),
        ]
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        not authority, False, False, False, False, authority, authority, False, False
    )


def authority(folder: Path, key: Any = None, *, days: int = 30, profile: bool = True) -> Authority:  # fmt: skip
    """Write the certificates of a signer called "Jane's studio"; without the profile one of a server."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    key = key or ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(timezone.utc) - timedelta(days=400)
    end = datetime.now(timezone.utc) + timedelta(days=days)

    def start(subject: str, issuer: str, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
            .public_key(public).serial_number(x509.random_serial_number())
            .not_valid_before(now).not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )  # fmt: skip

    root = (
        start("Example root", "Example root", root_key.public_key())
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(_usage(authority=True), True)
        .sign(root_key, hashes.SHA256())
    )
    use = ExtendedKeyUsageOID.EMAIL_PROTECTION if profile else ExtendedKeyUsageOID.SERVER_AUTH
    leaf = (
        start("Jane's studio", "Example root", key.public_key())
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_usage(authority=False), True)
        .add_extension(x509.ExtendedKeyUsage([use]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .sign(root_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    files = Authority(folder / "root.pem", folder / "cert.pem", folder / "key.pem")
    files.root.write_bytes(root.public_bytes(encoding))
    files.certificate.write_bytes(leaf.public_bytes(encoding) + root.public_bytes(encoding))
    files.key.write_bytes(pem(key))
    return files


def rsa_key() -> Any:
    return rsa.generate_private_key(65537, 2048)
