"""The canonical face mesh, out of MediaPipe's packed assets, as a byte-stable npz.

The assets are one file without an index; the offsets are in a table of the package's own loader
script. The mesh is a ``GeometryPipelineMetadata`` message of protocol buffers; the field numbers
below are those of MediaPipe's ``geometry_pipeline_metadata.proto`` and ``mesh_3d.proto``.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["asset", "npz_bytes", "parse_geometry"]

_VERTEX_VALUES = 5  # x, y, z, u, v: the vertex type VERTEX_PT


def asset(loader: str, packed: bytes, name: str) -> bytes:
    """One file of a package's packed assets.

    Args:
        loader: text of the loader script, which calls ``loadPackage`` with a JSON table.
        packed: the packed assets.
        name: last part of the file's path in the table.

    Raises:
        ValueError: no table, or not exactly one file of that name in it, or a size that differs.
    """
    match = re.search(r'loadPackage\((\{"files":.*?\})\);', loader, re.DOTALL)
    if match is None:
        raise ValueError("the loader has no table of files")
    table = json.loads(match[1])
    if table["remote_package_size"] != len(packed):
        raise ValueError(f"assets of {len(packed)} bytes, not {table['remote_package_size']}")
    rows = [row for row in table["files"] if row["filename"].rsplit("/", 1)[-1] == name]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} files named {name} in the loader's table")
    return packed[rows[0]["start"] : rows[0]["end"]]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Unsigned base-128 number at an offset; the number and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: int for a varint, bytes for the other wire types."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire == 5:
            size = 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        yield number, data[at : at + size]
        at += size


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value


def _numbers(value: int | bytes) -> list[int]:
    """A repeated varint field, packed or not."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def parse_geometry(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a ``GeometryPipelineMetadata`` message.

    Returns:
        ``vertices`` (V, 3) float32, x to the face's left, y up, z to the viewer, in centimetres;
        ``uv`` (V, 2) float32, 0 to 1; ``triangles`` (T, 3) int32; ``procrustes_index`` (P,)
        int32 and ``procrustes_weight`` (P,) float32.

    Raises:
        ValueError: the message is not such a mesh.
    """
    values: list[bytes] = []
    corners: list[int] = []
    basis: list[tuple[int, float]] = []
    for number, value in _fields(data):
        if number == 1:  # canonical_mesh
            for part, content in _fields(_message(value)):
                if part == 3:  # vertex_buffer
                    values.append(_message(content))
                elif part == 4:  # index_buffer
                    corners += _numbers(content)
        elif number == 2:  # procrustes_landmark_basis: landmark_id, weight
            pair = dict(_fields(_message(value)))
            index = pair.get(1, 0)
            weight = np.frombuffer(_message(pair[2]), "<f4")
            basis.append((int(index), float(weight[0])))
    vertices = np.frombuffer(b"".join(values), "<f4").reshape(-1, _VERTEX_VALUES)
    triangles = np.array(corners, "<i4").reshape(-1, 3)
    arrays = {
        "vertices": vertices[:, :3],
        "uv": vertices[:, 3:],
        "triangles": triangles,
        "procrustes_index": np.array([i for i, _ in basis], "<i4"),
        "procrustes_weight": np.array([w for _, w in basis], "<f4"),
    }
    if not basis or not triangles.size or int(triangles.max()) + 1 != len(vertices):
        raise ValueError({name: array.shape for name, array in arrays.items()})
    return arrays


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """What `numpy.savez` writes, but the same bytes every time, everywhere.

    Not compressed (zlib's output differs between its versions), dated 1980, in the mapping's order.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = 0o644 << 16
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0))
            out.writestr(entry, member.getvalue())
    return archive.getvalue()
