"""Reading the canonical mesh out of packed assets, and the byte-stable npz."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from tools.embedded.mesh import asset, npz_bytes, parse_geometry


def loader(size: int) -> str:
    files = [
        {"filename": "/third_party/a/mesh.binarypb", "start": 2, "end": 5},
        {"filename": "/third_party/a/net.tflite", "start": 5, "end": 9},
    ]
    table = json.dumps({"files": files, "remote_package_size": size, "package_uuid": "u"})
    return f"function loadPackage(metadata) {{}}\n    loadPackage({table});\n  }})();"


def field(number: int, wire: int, payload: bytes) -> bytes:
    head = bytes([number << 3 | wire])
    return head + (bytes([len(payload)]) if wire == 2 else b"") + payload


def message(packed: bool) -> bytes:
    """Three vertices, one triangle, one weighted landmark with the number 300 % 3 = 0."""
    floats = [struct.pack("<f", i / 2) for i in range(15)]
    if packed:
        mesh = field(3, 2, b"".join(floats)) + field(4, 2, bytes([0, 2, 1]))
    else:
        mesh = b"".join(field(3, 5, f) for f in floats)
        mesh += b"".join(field(4, 0, bytes([i])) for i in (0, 2, 1))
    basis = field(1, 0, b"\xac\x02") + field(2, 5, struct.pack("<f", 0.25))  # 300 as a varint
    short = mesh if len(mesh) < 128 else None
    size = bytes([len(mesh)]) if short else bytes([len(mesh) & 127 | 128, len(mesh) >> 7])
    return bytes([1 << 3 | 2]) + size + mesh + field(2, 2, basis) + field(3, 0, b"\x01")


def test_asset_is_found_by_name():
    assert asset(loader(9), b"012345678", "mesh.binarypb") == b"234"
    assert asset(loader(9), b"012345678", "net.tflite") == b"5678"


def test_asset_errors():
    with pytest.raises(ValueError, match="no table"):
        asset("nothing here", b"", "mesh.binarypb")
    with pytest.raises(ValueError, match="8 bytes, not 9"):
        asset(loader(9), b"01234567", "mesh.binarypb")
    with pytest.raises(ValueError, match="0 files named other"):
        asset(loader(9), b"012345678", "other")


@pytest.mark.parametrize("packed", [True, False])
def test_geometry_is_read(packed: bool):
    arrays = parse_geometry(message(packed))
    np.testing.assert_array_equal(
        np.hstack([arrays["vertices"], arrays["uv"]]), np.arange(15).reshape(3, 5) / 2
    )
    np.testing.assert_array_equal(arrays["triangles"], [[0, 2, 1]])
    np.testing.assert_array_equal(arrays["procrustes_index"], [300])
    np.testing.assert_array_equal(arrays["procrustes_weight"], [0.25])


def test_geometry_without_mesh_is_refused():
    with pytest.raises(ValueError, match="vertices"):
        parse_geometry(field(3, 0, b"\x01"))
    with pytest.raises(ValueError, match="wire type 1"):
        parse_geometry(field(1, 1, bytes(8)))


def test_npz_is_stable_and_readable(monkeypatch: pytest.MonkeyPatch):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.array([7], np.int32)}
    data = npz_bytes(arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)  # another day
    monkeypatch.setattr("sys.platform", "win32")
    assert npz_bytes(arrays) == data
    with np.load(io.BytesIO(data)) as loaded:
        assert list(loaded) == ["b", "a"]
        np.testing.assert_array_equal(loaded["b"], arrays["b"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {i.date_time[0] for i in archive.infolist()} == {1980}
