"""Calibration sets: written and read back, and everything that can be wrong with one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ffswap.engines.calibration import (
    KNOWN,
    CalibrationRows,
    merge_rows,
    read_set,
    write_set,
)
from ffswap.errors import InputMissingError, InternalError, ModelError, OutputExistsError


def rows(count: int = 6, model: str = "net", **changes) -> CalibrationRows:
    random = np.random.default_rng(count)
    fields = {
        "model": model,
        "onnx_sha256": "ab" * 32,
        "inputs": {
            "target": random.random((count, 3, 4, 4), dtype=np.float32),
            "source": random.normal(size=(count, 5)).astype(np.float32),
        },
        "skin": ("dark", "light"),
        "pose": ("front", "side", "up"),
        "group_skin": np.arange(count) % 2,
        "group_pose": np.arange(count) % 3,
        "person": np.arange(count) // 2 + 10,
        "face_px": np.full(count, 90.5, np.float32),
        "ita": np.linspace(-40, 60, count).astype(np.float32),
        "yaw": np.zeros(count, np.float32),
        "pitch": np.zeros(count, np.float32),
    }
    return CalibrationRows(**(fields | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "new" / "set", [rows(), rows(9, "other/net")])


def test_what_is_written_is_read(folder: Path):
    back = read_set(folder, "other/net")
    wrote = rows(9, "other/net")
    assert (back.model, back.onnx_sha256, back.skin, back.pose, len(back)) == (
        "other/net", "ab" * 32, ("dark", "light"), ("front", "side", "up"), 9,
    )  # fmt: skip
    for name, array in wrote.arrays().items():
        assert back.arrays()[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays()[name], array)
    assert back.digest == wrote.digest
    assert back.digest != rows(9, "other/net", person=np.arange(9)).digest


def test_a_set_is_plain_files(folder: Path):
    assert sorted(one.name for one in folder.iterdir()) == [
        "net.npz", "other_net.npz", "set.json",
    ]  # fmt: skip
    with zipfile.ZipFile(folder / "net.npz") as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
    with np.load(folder / "net.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted([*KNOWN, "source", "target"])
    listed = json.loads((folder / "set.json").read_text())
    assert listed["schema"] == 1
    assert listed["nets"][0] == {
        "model": "net", "file": "net.npz", "onnx_sha256": "ab" * 32, "count": 6,
        "groups": {"skin": ["dark", "light"], "pose": ["front", "side", "up"]},
    }  # fmt: skip


def test_a_set_is_not_written_over(folder: Path):
    with pytest.raises(OutputExistsError):
        write_set(folder, [rows()])
    with pytest.raises(InternalError):
        write_set(folder, [rows(), rows()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onnx_sha256": "abc"}, "onnx_sha256 is 'abc'"),
        ({"model": ""}, "names no model"),
        ({"inputs": {}}, "holds no inputs"),
        ({"inputs": {"yaw": np.zeros(6)}}, "an input is called 'yaw'"),
        ({"inputs": {"x": np.zeros((5, 2))}}, "x has 5 rows, the others 6"),
        ({"inputs": {"x": np.full((6, 2), np.nan)}}, "x holds values that are not finite"),
        ({"inputs": {"x": np.zeros(6, "U3")}}, "x is <U3"),
        ({"person": np.zeros(6, np.float32)}, "person is float32"),
        ({"yaw": np.zeros((6, 1), np.float32)}, r"yaw has the shape \(6, 1\)"),
        ({"yaw": np.zeros(6, np.int64)}, "yaw is int64"),
        ({"group_skin": np.full(6, 2)}, "group_skin is from 2 to 2; allowed: 0 to 1"),
        ({"group_pose": np.full(6, -1)}, "group_pose is from -1 to -1; allowed: 0 to 2"),
    ],
)
def test_rows_that_are_not_as_they_should_be_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        rows(**changes)


def edit(folder: Path, change) -> None:
    file = folder / "set.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def again(folder: Path, **options) -> None:
    """Write the archive of `net` anew."""
    arrays = rows().arrays() | options
    np.savez(
        folder / "net.npz", **{name: array for name, array in arrays.items() if array is not None}
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: edit(f, lambda d: d.update(schema=2)), "it has schema 2, this ffswap reads 1"),
        (lambda f: edit(f, lambda d: d.update(more=1)), "has a field 'more'"),
        (lambda f: edit(f, lambda d: d["nets"][0].pop("groups")), "has no field 'groups'"),
        (lambda f: edit(f, lambda d: d["nets"][0].update(count=7)), "has 6 rows, its list says 7"),
        (lambda f: edit(f, lambda d: d["nets"][0].update(file="../net.npz")), "allowed: one beside it"),
        (lambda f: edit(f, lambda d: d["nets"].pop(0)), "was made for other/net; here it is used for net"),
        (lambda f: (f / "set.json").write_text("[1"), "it cannot be read"),
        (lambda f: (f / "set.json").write_text("[" * 200_000), "it cannot be read"),
        (lambda f: (f / "set.json").write_text(" " * (1 << 20) + "{}"), "bytes; allowed: 1048576"),
        (lambda f: (f / "net.npz").write_bytes(b"PK no"), "is no NumPy archive"),
        (lambda f: np.savez_compressed(f / "net.npz", *rows().arrays().values()), "is compressed"),
        (lambda f: again(f, person=np.array([{}] * 6)), "is no NumPy archive"),
        (lambda f: again(f, person=None), "has no array 'person'"),
        (lambda f: again(f, group_skin=np.full(6, 5)), "group_skin is from 5 to 5"),
    ],
)  # fmt: skip
def test_damage_is_said(folder: Path, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message):
        read_set(folder, "net")


def test_a_header_that_promises_more_than_there_is_is_refused(folder: Path):
    data = (folder / "net.npz").read_bytes()
    # The same length, so that the archive around it stays whole but for its checksum.
    assert data.count(b"(6, 3, 4, 4), }") == 1
    (folder / "net.npz").write_bytes(data.replace(b"(6, 3, 4, 4), }", b"(6, 3, 4, 9), }"))
    with pytest.raises(ModelError, match="is no NumPy archive"):
        read_set(folder, "net")


def test_missing_files_are_missing(folder: Path, tmp_path: Path):
    with pytest.raises(InputMissingError, match="is no folder"):
        read_set(tmp_path / "none", "net")
    (folder / "net.npz").unlink()
    with pytest.raises(InputMissingError):
        read_set(folder, "net")
    (folder / "set.json").unlink()
    with pytest.raises(InputMissingError):
        read_set(folder, "other/net")


def test_sets_are_put_together_by_the_names_of_their_groups():
    first = rows()
    second = rows(4, skin=("light", "olive"), group_skin=np.array([0, 1, 1, 0]))
    both = merge_rows([first, second])
    assert len(both) == 10
    assert both.skin == ("dark", "light", "olive")
    assert both.group_skin.tolist() == [0, 1, 0, 1, 0, 1, 1, 2, 2, 1]
    # Numbers of persons mean nothing in another set.
    assert len(set(both.person.tolist())) == 3 + 2
    np.testing.assert_array_equal(both.inputs["source"][6:], second.inputs["source"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onnx_sha256": "cd" * 32}, "are for different files of it"),
        ({"inputs": {"target": np.zeros((6, 3, 8, 8), np.float32)}}, "have different inputs"),
    ],
)
def test_sets_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        merge_rows([rows(), rows(**changes)])
