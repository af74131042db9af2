"""The store: a file is the one that was pinned or it is not used, whoever else is at work."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ffswap.errors import (
    CancelledError,
    InputMissingError,
    InternalError,
    ModelError,
    OptionError,
    OutputWriteError,
)
from ffswap.models.store import ModelStore
from tests.models.graphs import graph, node
from tests.models.store_models import (
    BODY,
    CRC32,
    OTHER,
    PAINTER,
    SHA256,
    detector,
    embedded,
    recogniser,
    swapper,
)

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 60  # for another process to start on a busy machine


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "a" / "models")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file that the user has."""
    path = tmp_path / "downloads" / "mine.onnx"
    path.parent.mkdir()
    path.write_bytes(BODY)
    return path


def files(store: ModelStore) -> list[str]:
    """What lies in the folder, but locks."""
    return sorted(one.name for one in store.folder.iterdir() if not one.name.endswith(".lock"))


def touch(path: Path) -> None:
    """Let a file look changed."""
    os.utime(path, ns=(1, 1))


def test_what_is_added_is_there(store, mine):
    pin = store.add(detector(), mine)
    assert store.path(detector()) == store.folder / "finder_1.onnx"
    assert store.place(detector()).read_bytes() == BODY
    assert mine.read_bytes() == BODY
    assert files(store) == ["finder.json", "finder_1.onnx"]
    assert (pin.file, pin.size_bytes, pin.sha256, pin.crc32) == (
        "finder_1.onnx", len(BODY), SHA256, CRC32,
    )  # fmt: skip
    assert pin.origin == str(mine)
    assert pin.added.endswith("+00:00")
    assert store.pins == {"finder": pin}
    assert store.status(detector()).status == "installed"
    assert store.verify(detector()) is None


def test_looking_makes_no_folder(store):
    assert store.path(detector()) is None
    assert store.status(detector()).status == "missing"
    assert store.verify(detector()) == "it is not installed"
    assert not store.accepted(recogniser())
    assert store.remove(detector()) is None
    assert dict(store.pins) == {}
    assert not store.folder.exists()


def test_where_links_are_not_allowed_the_file_is_copied(store, mine, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("ffswap.files.os.link", refuse)
    store.add(detector(), mine)
    assert store.place(detector()).read_bytes() == BODY
    assert not store.place(detector()).samefile(mine)
    assert files(store) == ["finder.json", "finder_1.onnx"]


@pytest.mark.parametrize(
    ("known", "given", "wanted"),
    [({"sha256": "0" * 64}, SHA256, "0" * 64), ({"crc32": "0123abcd"}, CRC32, "0123abcd")],
)
def test_a_file_that_is_not_the_published_one_is_refused(store, mine, known, given, wanted):
    with pytest.raises(ModelError) as caught:
        store.add(detector(**known), mine)
    assert given in str(caught.value)
    assert f"wanted for finder: {wanted} (published)" in str(caught.value)
    assert str(mine) in str(caught.value)
    assert files(store) == []


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"crc32": CRC32}, {"sha256": SHA256, "crc32": CRC32}])  # fmt: skip
def test_the_published_file_is_taken(store, mine, known):
    store.add(detector(**known), mine)
    assert store.path(detector(**known)) is not None


@pytest.mark.parametrize("text", [CRC32, f"{CRC32.upper()}\r\n"])
def test_the_crc32_beside_the_file_is_heeded(store, mine, text):
    mine.with_suffix(".hash").write_text(text)
    store.add(detector(), mine)
    store.remove(detector())
    mine.write_bytes(OTHER)
    with pytest.raises(ModelError, match=f"wanted for finder: {CRC32}"):
        store.add(detector(), mine)


def test_a_hash_file_that_holds_something_else_is_refused(store, mine):
    mine.with_suffix(".hash").write_text("<html>")
    with pytest.raises(ModelError, match="8 hexadecimal digits"):
        store.add(detector(), mine)
    assert files(store) == []


def test_the_file_of_first_sight_is_pinned(store, mine, tmp_path):
    first = store.add(detector(), mine)
    other = tmp_path / "other.onnx"
    other.write_bytes(OTHER)
    with pytest.raises(ModelError) as caught:
        store.add(detector(), other)
    assert f"wanted for finder: {SHA256} (pinned {first.added})" in str(caught.value)
    assert "ffswap models remove finder" in (caught.value.hint or "")
    assert store.place(detector()).read_bytes() == BODY
    store.place(detector()).unlink()  # the pin outlives the file
    with pytest.raises(ModelError, match="pinned"):
        store.add(detector(), other)
    store.remove(detector())
    store.add(detector(), other)
    assert store.place(detector()).read_bytes() == OTHER


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<html>Not found</html>", "web page"), (BODY[:-400], "cut short"), (b"PK\3\4", "zip")],
)
def test_a_file_of_which_nothing_is_known_must_be_onnx(store, mine, content, words):
    mine.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        store.add(detector(), mine)
    assert caught.value.file == str(mine)
    assert files(store) == []


@pytest.mark.parametrize("known", [{}, {"sha256": hashlib.sha256(PAINTER).hexdigest()}])
def test_a_file_that_is_another_net_is_refused(tmp_path, mine, known):
    store = ModelStore(tmp_path / "models", among=[detector(), recogniser(), swapper()])
    mine.write_bytes(PAINTER)
    with pytest.raises(ModelError) as caught:
        store.add(detector(**known), mine)
    assert "is not finder: the input source: float32 (N, 512) is one too many" in str(caught.value)
    assert (caught.value.file, caught.value.hint) == (str(mine), "this file fits: painter")
    assert files(store) == []


LARGER = replace(detector().picture, size=(640, 640))


def test_what_was_there_before_another_net_stays(store, mine):
    store.add(detector(), mine)
    record = store.folder / "finder.json"
    kept = record.read_bytes()
    store.place(detector()).unlink()
    (store.folder / "part").write_bytes(BODY)
    with pytest.raises(ModelError, match=r"is not finder: the input .* 640"):
        store.install(detector(image=LARGER), store.folder / "part", "x")
    assert record.read_bytes() == kept


def test_verify_compares_the_net(store, mine):
    store.add(detector(), mine)
    changed = detector(image=LARGER)  # as in another version of the catalogue
    assert store.path(changed) is not None
    assert "it is not finder: the input " in (store.verify(changed) or "")


def test_a_file_that_is_not_there_is_said_so(store, tmp_path):
    with pytest.raises(InputMissingError):
        store.add(detector(), tmp_path / "none.onnx")
    with pytest.raises(InputMissingError, match="folder"):
        store.add(detector(), tmp_path)


def test_another_size_or_content_is_damage(store, mine):
    store.add(detector(), mine)
    place = store.place(detector())
    place.unlink()
    place.write_bytes(BODY[:-1])
    state = store.status(detector())
    assert (state.status, store.path(detector())) == ("damaged", None)
    assert f"{len(BODY) - 1} bytes; {len(BODY)} were pinned" in (state.reason or "")
    place.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    state = store.status(detector())
    assert state.status == "damaged"
    assert f"pinned is {SHA256}" in (state.reason or "")
    assert store.verify(detector()) == state.reason
    store.add(detector(), mine)
    assert store.path(detector()) is not None


def test_damage_that_keeps_size_and_time_is_found_by_verify(store, mine):
    pin = store.add(detector(), mine)
    place = store.place(detector())
    place.unlink()
    place.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    os.utime(place, ns=(pin.mtime_ns, pin.mtime_ns))
    assert store.path(detector()) == place  # the cheap look
    assert f"pinned is {SHA256}" in (store.verify(detector()) or "")


def test_a_file_with_another_time_is_read_once(store, mine, monkeypatch):
    store.add(detector(), mine)
    touch(store.place(detector()))
    assert store.path(detector()) is not None
    monkeypatch.setattr("ffswap.models.store.file_digests", lambda *_: pytest.fail("read again"))
    assert store.path(detector()) is not None


def test_a_published_sha256_goes_before_the_pin(store, mine):
    store.add(detector(), mine)
    state = store.status(detector(sha256="1" * 64))
    assert (state.status, state.reason) == (
        "damaged", f"it has sha256 {SHA256}; published is {'1' * 64}",
    )  # fmt: skip


def test_a_file_that_was_never_added_is_not_used_and_not_touched(store):
    store.folder.mkdir(parents=True)
    store.place(detector()).write_bytes(BODY)
    assert store.status(detector()).status == "unpinned"
    assert store.path(detector()) is None
    with pytest.raises(OptionError, match="never added"):
        store.remove(detector())
    assert store.place(detector()).read_bytes() == BODY


def test_a_file_in_its_place_can_be_added(store):
    store.folder.mkdir(parents=True)
    store.place(detector()).write_bytes(BODY)
    store.add(detector(), store.place(detector()))
    assert store.path(detector()) is not None
    assert files(store) == ["finder.json", "finder_1.onnx"]


def test_adding_a_file_twice_changes_nothing(store, mine):
    store.add(detector(), mine)
    store.add(detector(), mine)
    assert store.path(detector()) is not None
    assert files(store) == ["finder.json", "finder_1.onnx"]


def test_remove_takes_all_that_is_of_the_model(store, mine):
    store.add(recogniser(), mine)
    store.accept(recogniser())
    store.part(recogniser()).write_bytes(b"half")
    assert (store.remove(recogniser()) or 0) > len(BODY)
    assert files(store) == []
    assert not store.accepted(recogniser())
    assert mine.read_bytes() == BODY


def test_licences_are_accepted_once_and_for_what_they_said(store):
    assert store.accepted(detector())  # open
    assert not store.accepted(recogniser())
    store.accept(recogniser())
    assert store.accepted(recogniser())
    assert ModelStore(store.folder).accepted(recogniser())
    assert not store.accepted(recogniser(licence="Another"))
    assert not store.accepted(recogniser(terms="unknown"))
    consent = json.loads((store.folder / "knower.json").read_text("utf-8"))["consent"]
    assert (consent["licence"], consent["vendor"]) == ("Knower-Licence", "Face Lab")


def test_consent_and_pin_do_not_displace_each_other(store, mine):
    store.accept(recogniser())
    store.add(recogniser(), mine)
    store.accept(recogniser())
    assert store.accepted(recogniser())
    assert store.path(recogniser()) is not None


@pytest.mark.parametrize(
    "text",
    ["", "[1", "[]", '{"schema": 1, "model": "other"}', '{"schema": 9, "model": "finder"}',
     '{"schema": 1, "model": "finder", "pin": {"file": "x"}}',
     '{"schema": 1, "model": "finder", "pin": 3}'],
)  # fmt: skip
def test_a_damaged_memory_is_told_of_and_cleared_by_remove(store, mine, text):
    store.add(detector(), mine)
    (store.folder / "finder.json").write_text(text)
    state = store.status(detector())
    assert state.status == "damaged"
    assert "finder.json" in (state.reason or "")
    assert dict(store.pins) == {}
    with pytest.raises(ModelError) as caught:
        store.add(detector(), mine)
    assert caught.value.hint is not None
    store.remove(detector())
    store.add(detector(), mine)
    assert store.path(detector()) is not None


def test_embedded_models_have_no_file_here(store, mine):
    assert store.status(embedded()).status == "embedded"
    assert store.path(embedded()) is None
    for call in (lambda: store.add(embedded(), mine), lambda: store.remove(embedded())):
        with pytest.raises(OptionError, match="comes with ffswap"):
            call()


def test_a_name_cannot_lead_out_of_the_folder(store, mine):
    with pytest.raises(InternalError):
        store.add(detector(name="../finder"), mine)
    assert not (store.folder.parent / "finder.json").exists()


def test_a_folder_that_is_a_file_is_said_so(mine):
    assert ModelStore(mine).status(detector()).status == "missing"
    with pytest.raises(OutputWriteError, match="models need a folder"):
        ModelStore(mine).add(detector(), mine)
    with pytest.raises(OutputWriteError, match="models need a folder"):
        ModelStore(mine / "x").accept(recogniser())


def test_a_full_disk_leaves_nothing_half(store, mine, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ffswap.models.store.os.replace", full)
    with pytest.raises(OutputWriteError, match="disk full"):
        store.add(detector(), mine)
    assert store.path(detector()) is None


def test_a_stop_while_copying_leaves_nothing(store, mine, monkeypatch):
    monkeypatch.setattr(
        "ffswap.models._store_files.os.link", lambda *_: (_ for _ in ()).throw(OSError)
    )
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        store.add(detector(), mine, cancel=cancel)
    assert files(store) == []


def hold(folder: Path, pipe: Any) -> None:
    """In another process: hold the lock until told to let go."""
    with ModelStore(folder).lock(detector()):
        pipe.send("held")
        pipe.recv()


def test_two_processes_do_not_change_a_model_at_once(store, mine):
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=hold, args=(store.folder, there))
    process.start()
    try:
        assert here.poll(PATIENCE_S)
        waited, cancel = threading.Event(), threading.Event()

        def waiting() -> None:
            waited.set()
            cancel.set()

        with pytest.raises(CancelledError), store.lock(detector(), cancel=cancel, waiting=waiting):
            pass
        assert waited.is_set()
        with store.lock(recogniser()):  # of another model
            pass
        here.send("go")
        store.add(detector(), mine)  # waits until it is free
        assert store.path(detector()) is not None
    finally:
        process.join(PATIENCE_S)
        here.close()
        there.close()


def test_weights_in_a_second_file_are_refused(store, tmp_path):
    import onnx

    model = graph(
        [node("MatMul", "x w", "y")], {"x": [1, 9]}, {"y": [1, 9]}, {"w": [[1.0] * 9] * 9}
    )
    path = tmp_path / "two.onnx"
    onnx.save(model, path, save_as_external_data=True, location="two.data", size_threshold=0)
    with pytest.raises(ModelError, match="all in one"):
        store.add(detector(), path)
