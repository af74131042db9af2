"""The store: an engine is found whole or not at all, whoever else writes, crashes or tidies up."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ffswap.engines.store
from ffswap.engines._store_files import check_plan
from ffswap.engines.key import EngineKey, GpuTarget
from ffswap.engines.store import EngineStore, Found, Miss, Removed
from ffswap.errors import CancelledError, InternalError, OutputWriteError
from tests.engines import engine_samples
from tests.engines.engine_samples import A10, H100, PLAN, install, key, manifest

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 60  # for another process to start on a busy machine
DAY_S = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def files(store: EngineStore) -> list[str]:
    """What lies in the folder, but locks."""
    return sorted(one.name for one in store.folder.iterdir() if not one.name.endswith(".lock"))


def reason(store: EngineStore, of: EngineKey | None = None) -> str:
    answer = store.find(of or key())
    assert isinstance(answer, Miss), answer
    return answer.reason


def manifest_file(store: EngineStore) -> Path:
    return store.folder / f"{key().stem}.json"


def receive(pipe: Any) -> Any:
    assert pipe.poll(PATIENCE_S)
    return pipe.recv()


def test_all_is_sorted():
    assert ffswap.engines.store.__all__ == sorted(ffswap.engines.store.__all__)


def test_what_is_installed_is_found(store: EngineStore):
    plan = install(store, key())
    assert store.find(key()) == Found(plan=plan, manifest=manifest(key()))
    assert plan.read_bytes() == PLAN
    assert files(store) == sorted([plan.name, manifest_file(store).name])
    assert json.loads(manifest_file(store).read_text("utf-8"))["source"] == "inswapper_128.onnx"


def test_looking_makes_no_folder(store: EngineStore):
    assert reason(store) == "no engine of inswapper_128 at fp16 was built"
    assert store.entries() == ()
    assert store.prune(keep=lambda _: False, dry_run=False) == ()
    assert not store.folder.exists()


def test_the_folder_is_made_with_its_parents(tmp_path: Path):
    store = EngineStore(tmp_path / "a" / "b")
    store.check_writable()
    assert list(store.folder.iterdir()) == []
    name = "timing-tensorrt-8.6.0-NVIDIA_H100_80GB_HBM3.cache"
    assert store.timing_cache(key()) == store.folder / name


def test_temporary_names_differ_and_are_free(store: EngineStore):
    names = {store.temporary(key()) for _ in range(20)}
    assert len(names) == 20
    assert all(one.parent == store.folder and not one.exists() for one in names)


def test_another_build_replaces_the_first(store: EngineStore):
    first = install(store, key())
    second = install(store, key(), b"another plan")
    assert store.find(key()) == Found(plan=second, manifest=manifest(key(), b"another plan"))
    assert not first.exists()
    assert len(files(store)) == 2


def test_the_same_plan_may_be_installed_twice(store: EngineStore):
    assert install(store, key()) == install(store, key())
    assert isinstance(store.find(key()), Found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "10.3.0"}, "stale: TensorRT 8.6.0, here is 10.3.0"),
        (
            {"gpus": (A10,)},
            "stale: GPU: built on NVIDIA H100 80GB HBM3 (9.0), here is NVIDIA A10 (8.6)",
        ),
        (
            {"driver_major": 580, "opt_level": 5},
            "stale: driver 535, here is 580; optimisation level 1, asked for is 5",
        ),
        ({"precision": "fp32"}, "no engine of inswapper_128 at fp32 was built"),
        ({"model": "inswapper"}, "no engine of inswapper at fp16 was built"),
        ({"model": "inswapper/128"}, "no engine of inswapper/128 at fp16 was built"),
    ],
)
def test_a_miss_says_what_differs(store: EngineStore, change: dict[str, Any], message: str):
    install(store, key())
    assert reason(store, key(**change)) == message


def test_the_nearest_engine_explains_a_miss(store: EngineStore):
    install(store, key(version="10.3.0", driver_major=570, batches=(1,)))
    install(store, key(driver_major=570))
    assert reason(store) == "stale: driver 570, here is 535"


def test_an_engine_built_ahead_is_found_unless_there_is_one_for_this_gpu(store: EngineStore):
    any_90 = GpuTarget(name="", capability="9.0")
    ahead = install(store, key(gpus=(any_90,), driver_major=None), b"built ahead")
    found = store.find(key())
    assert isinstance(found, Found)
    assert found.plan == ahead
    own = install(store, key(), b"built here")
    found = store.find(key())
    assert isinstance(found, Found)
    assert found.plan == own
    own.write_bytes(b"damaged...")
    found = store.find(key())
    assert isinstance(found, Found)
    assert found.plan == ahead


def edit(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def another_engine(path: Path) -> None:
    path.write_text(json.dumps(manifest(key(model="other")).as_dict()), encoding="utf-8")


DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "truncated plan": (
        lambda plan, _: plan.write_bytes(PLAN[:12]),
        "corrupt: plan has 12 bytes, manifest says 2048",
    ),
    "empty plan": (
        lambda plan, _: plan.write_bytes(b""),
        "corrupt: plan has 0 bytes, manifest says 2048",
    ),
    "flipped bit": (lambda plan, _: flip(plan), "corrupt: plan has the wrong sha256"),
    "missing plan": (lambda plan, _: plan.unlink(), "corrupt: plan is missing"),
    "garbage": (
        lambda _, path: path.write_bytes(b"\xff\x00garbage"),
        "corrupt: manifest cannot be read: it is not JSON",
    ),
    "empty manifest": (
        lambda _, path: path.write_bytes(b""),
        "corrupt: manifest cannot be read: it is not JSON",
    ),
    "cut manifest": (
        lambda _, path: path.write_bytes(path.read_bytes()[:200]),
        "corrupt: manifest cannot be read: it is not JSON",
    ),
    "endless manifest": (
        lambda _, path: path.write_bytes(b"[" * 100_000),
        "corrupt: manifest cannot be read: it is not JSON",
    ),
    "list": (
        lambda _, path: path.write_text("[]"),
        "corrupt: manifest cannot be read: it is not a table",
    ),
    "NaN": (
        lambda _, path: edit(path, lambda data: data.update(build_seconds=float("nan"))),
        "corrupt: manifest cannot be read: the manifest.build_seconds is nan; allowed: a number",
    ),
    "unknown field": (
        lambda _, path: edit(path, lambda data: data.update(extra=1)),
        "corrupt: manifest cannot be read: the manifest has a field 'extra'; allowed: key",
    ),
    "missing field": (
        lambda _, path: edit(path, lambda data: data.pop("gate")),
        "corrupt: manifest cannot be read: the manifest has no field 'gate'",
    ),
    "older schema": (
        lambda _, path: edit(path, lambda data: data["key"].update(schema=0)),
        "corrupt: manifest cannot be read: it has schema 0, this ffswap reads 2",
    ),
    "newer schema": (
        lambda _, path: edit(path, lambda data: data["key"].update(schema=3)),
        "manifest cannot be read: it has schema 3, this ffswap reads 2",
    ),
    "other engine": (
        lambda _, path: another_engine(path),
        "corrupt: manifest is of another engine, other-fp16-",
    ),
    "folder": (
        lambda _, path: into_folder(path),
        "manifest cannot be read: Is a directory",
    ),
}

LASTING = ("newer schema", "folder")
"""What may be usable later, or to another ffswap."""


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_a_miss_that_says_so(store: EngineStore, kind: str):
    damage, message = DAMAGE[kind]
    damage(install(store, key()), manifest_file(store))
    assert reason(store).startswith(message)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "folder"])
def test_damage_is_mended_by_building_again(store: EngineStore, kind: str):
    damage, _ = DAMAGE[kind]
    damage(install(store, key()), manifest_file(store))
    plan = install(store, key())
    assert store.find(key()) == Found(plan=plan, manifest=manifest(key()))
    assert len(files(store)) == 2


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind not in LASTING])
def test_damage_is_pruned(store: EngineStore, kind: str):
    damage, _ = DAMAGE[kind]
    install(store, key(model="whole"))
    whole = files(store)
    damage(install(store, key()), manifest_file(store))
    listed = [one for one in store.entries() if store.verify(one) is not None]
    assert {one.model for one in listed} == {"inswapper_128"}
    assert all(one.reason for one in store.prune(keep=lambda _: True, dry_run=False))
    assert files(store) == whole


@pytest.mark.parametrize("kind", LASTING)
def test_what_another_ffswap_may_use_is_not_pruned(store: EngineStore, kind: str):
    DAMAGE[kind][0](install(store, key()), manifest_file(store))
    before = files(store)
    (entry,) = store.entries()
    assert not entry.damaged
    assert store.prune(keep=lambda _: False, dry_run=False) == ()
    assert files(store) == before


def test_damage_beside_an_engine_does_not_hide_it(store: EngineStore):
    install(store, key())
    other = key(version="10.3.0")
    install(store, other)
    (store.folder / f"{other.stem}.json").write_bytes(b"garbage")
    assert isinstance(store.find(key()), Found)
    assert reason(store, key(opt_level=2)) == "stale: optimisation level 1, asked for is 2"
    assert reason(store, other).startswith("corrupt: manifest cannot be read")


def test_an_engine_that_is_removed_meanwhile_is_a_miss(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch
):
    install(store, key())

    def remove_first(plan: Path, of: Any) -> None:
        store.prune(keep=lambda _: False, dry_run=False)
        check_plan(plan, of)

    monkeypatch.setattr("ffswap.engines.store.check_plan", remove_first)
    assert reason(store) == "manifest has just been removed"


def test_an_engine_that_is_replaced_meanwhile_is_found(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch
):
    install(store, key())
    plans = []

    def replace_first(plan: Path, of: Any) -> None:
        monkeypatch.undo()
        plans.append(install(store, key(), b"another plan"))
        check_plan(plan, of)

    monkeypatch.setattr("ffswap.engines.store.check_plan", replace_first)
    found = store.find(key())
    assert isinstance(found, Found)
    assert [found.plan] == plans


# Writing: whole or not at all.


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_no_engine(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch, failing: int
):
    store.check_writable()
    calls = []
    real = os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputWriteError, match="disk full, nothing was written"):
        install(store, key())
    monkeypatch.undo()
    assert reason(store) == "no engine of inswapper_128 at fp16 was built"
    # What a build has written under a temporary name is the build's to remove.
    assert [name[-5:] for name in files(store)] == [".part"] * (failing == 1)
    install(store, key())
    assert isinstance(store.find(key()), Found)


def test_a_full_disk_keeps_the_engine_that_was_there(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch
):
    plan = install(store, key())

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputWriteError):
        install(store, key(), b"another plan")
    assert store.find(key()) == Found(plan=plan, manifest=manifest(key()))


def test_a_full_disk_is_found_before_the_work(store: EngineStore, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputWriteError, match="disk full"):
        store.check_writable()
    assert files(store) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_said(store: EngineStore):
    store.folder.mkdir(mode=0o500)
    with pytest.raises(OutputWriteError, match="the folder may not be written to"):
        store.check_writable()
    with (
        pytest.raises(OutputWriteError, match="the folder may not be written to"),
        store.lock(key()),
    ):
        pass


@pytest.mark.parametrize("below", ["", "engines"])
def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path, below: str):
    (tmp_path / "file").write_text("not a folder")
    store = EngineStore(tmp_path / "file" / below)
    attempts: list[Callable[[], object]] = [
        store.check_writable,
        lambda: store.temporary(key()),
        lambda: store.lock(key()).__enter__(),
        lambda: store.find(key()),
        store.entries,
        lambda: store.prune(keep=lambda _: True, dry_run=True),
    ]
    for attempt in attempts:
        with pytest.raises(OutputWriteError, match="in, a file; engines need a folder") as caught:
            attempt()
        assert caught.value.file == str(store.folder)
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize("step", ["_place_plan", "_place_manifest", "_drop_unnamed_plans"])
def test_an_install_holds_the_lock_in_every_step(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch, step: str
):
    real, free = getattr(store, step), []

    def look(*arguments: Any) -> Any:
        free.append(EngineStore(store.folder)._locks.take(key().stem))
        return real(*arguments)

    monkeypatch.setattr(store, step, look)
    install(store, key())
    assert free == [False]


def test_what_does_not_belong_together_is_not_installed(store: EngineStore):
    temporary = store.temporary(key())
    temporary.write_bytes(PLAN)
    for of, about, message in (
        (key(), manifest(key(model="other")), "the manifest of other-fp16-.* is not of inswapper"),
        (key(), manifest(key(), PLAN[:-1]), "plan has 2048 bytes, manifest says 2047"),
        (key(), manifest(key(), PLAN[::-1]), "plan has the wrong sha256"),
    ):
        with pytest.raises(InternalError, match=message):
            store.install(of, temporary, about)
    temporary.unlink()
    with pytest.raises(InternalError, match="plan is missing"):
        store.install(key(), temporary, manifest(key()))
    assert files(store) == []


def test_a_plan_without_a_manifest_is_no_engine(store: EngineStore):
    process = SPAWN.Process(target=engine_samples.die_before_the_manifest, args=(store.folder,))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 9
    assert files(store) == [manifest(key()).plan]
    assert reason(store) == "no engine of inswapper_128 at fp16 was built"
    (entry,) = store.entries()
    assert (entry.problem, entry.size_bytes) == ("plan has no manifest", len(PLAN))
    # Its lock died with it.
    plan = install(store, key())
    assert store.find(key()) == Found(plan=plan, manifest=manifest(key()))


def test_many_processes_share_a_folder(store: EngineStore, tmp_path: Path):
    end = tmp_path / "end"
    builds = 12
    writers = [
        SPAWN.Process(target=engine_samples.install_often, args=(store.folder, seed, builds))
        for seed in (1, 2)
    ]
    reports = {}
    watchers = []
    for work in (engine_samples.find_often, engine_samples.prune_often):
        reports[work], theirs = SPAWN.Pipe(duplex=False)
        watchers.append(SPAWN.Process(target=work, args=(store.folder, end, theirs)))
    for process in (*writers, *watchers):
        process.start()
    for process in writers:
        process.join(PATIENCE_S)
    end.touch()
    wrong, found = receive(reports[engine_samples.find_often])
    assert wrong == []
    assert found > 0
    assert receive(reports[engine_samples.prune_often]) == []
    for process in (*writers, *watchers):
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    last = store.find(key())
    assert isinstance(last, Found)
    assert last.manifest.plan_bytes == 2 * (1000 + builds - 1)
    assert len(files(store)) == 2


# Locks.


def test_a_lock_is_waited_for_and_the_wait_can_be_ended(store: EngineStore):
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=engine_samples.hold_lock, args=(store.folder, theirs))
    process.start()
    assert receive(ours) == "held"
    waits, cancel = [], threading.Event()

    def waiting() -> None:
        waits.append(1)
        cancel.set()

    with (
        pytest.raises(CancelledError, match="another process builds inswapper_128"),
        store.lock(key(), cancel=cancel, waiting=waiting),
    ):
        pass
    assert waits == [1]
    with store.lock(key(model="other"), waiting=lambda: waits.append(2)):
        pass
    assert waits == [1]
    removal = store.prune(keep=lambda _: False, dry_run=False)
    assert removal == ()

    # Nobody lets go of the lock but the operating system, once the process is killed.
    with store.lock(key(), waiting=process.kill, cancel=threading.Event()):
        process.join(PATIENCE_S)
    assert process.exitcode not in (0, None)


def test_a_lock_excludes_other_threads_and_lets_its_own_in(store: EngineStore):
    order = []

    def other() -> None:
        with store.lock(key(), waiting=waits.set):
            order.append("other")

    waits = threading.Event()
    thread = threading.Thread(target=other)
    with store.lock(key()):
        thread.start()
        assert waits.wait(PATIENCE_S)
        install(store, key())
        with store.lock(key()):
            order.append("own")
        order.append("own again")
    thread.join(PATIENCE_S)
    assert order == ["own", "own again", "other"]


def test_a_wait_is_said_once(store: EngineStore, monkeypatch: pytest.MonkeyPatch):
    answers, told = [True, False, False, False], []
    monkeypatch.setattr("ffswap.locks._POLL_S", 0)
    real = store._locks.take
    monkeypatch.setattr(store._locks, "take", lambda stem: answers.pop() and real(stem))
    with store.lock(key(), waiting=lambda: told.append(1)):
        pass
    assert (answers, told) == ([], [1])


def test_a_lock_is_let_go_when_the_work_fails(store: EngineStore):
    with pytest.raises(ValueError, match="failed"), store.lock(key()):
        raise ValueError("failed")
    with EngineStore(store.folder).lock(key(), waiting=lambda: pytest.fail("still held")):
        pass


# Listing and tidying up.


def test_entries_are_sorted(store: EngineStore):
    install(store, key(model="b"), built="2026-01-02T00:00:00Z")
    install(store, key(model="b", opt_level=2), built="2026-03-04T00:00:00Z")
    install(store, key(model="b", opt_level=3), built="2026-01-03T00:00:00.5+00:00")
    install(store, key(model="b", precision="fp32"))
    install(store, key(model="a"))
    install(store, key(model="c/ä"))
    entries = store.entries()
    assert [(one.model, one.precision) for one in entries] == [
        ("a", "fp16"), ("b", "fp16"), ("b", "fp16"), ("b", "fp16"), ("b", "fp32"), ("c/ä", "fp16"),
    ]  # fmt: skip
    assert [one.manifest.key.opt_level for one in entries[1:4] if one.manifest] == [2, 3, 1]
    assert all(one.problem is None and store.verify(one) is None for one in entries)
    first = entries[0]
    assert first.plan is not None
    assert first.size_bytes == first.plan.stat().st_size + first.path.stat().st_size


def test_damage_that_only_the_digest_shows_needs_verify(store: EngineStore):
    flip(install(store, key()))
    (entry,) = store.entries()
    assert entry.problem is None
    assert store.verify(entry) == "plan has the wrong sha256"
    assert entry.plan is not None
    entry.plan.unlink()
    assert store.verify(entry) == "plan is missing"


def age(path: Path, seconds: float) -> Path:
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def litter(store: EngineStore) -> tuple[set[str], set[str]]:
    """A folder of everything; the names of what is to go, and of what is to stay."""
    kept, refused = install(store, key()), install(store, key(opt_level=5), b"refused")
    orphan = install(store, key(model="orphan"))
    (store.folder / f"{key(model='orphan').stem}.json").unlink()
    cut = install(store, key(model="cut"))
    cut.write_bytes(b"cut")
    going = {
        refused.name, f"{key(opt_level=5).stem}.json", orphan.name, cut.name,
        f"{key(model='cut').stem}.json", age(store.temporary(key()), 2 * DAY_S).name,
        age(store.folder / ".inswapper.01234567.part.json", 2 * DAY_S).name,
    }  # fmt: skip
    staying = {
        kept.name, f"{key().stem}.json", age(store.temporary(key()), DAY_S / 2).name,
        age(store.folder / ".inswapper.76543210.part.json", DAY_S / 2).name,
    }  # fmt: skip
    for name in (
        "default.toml", "README.md", ".gitignore", "timing-tensorrt-8.6.0-x.cache", "net.onnx", "notes.json",
        "mine.plan", ".video.01234567.part.mp4", ".mine.part", "x-fp16-0123.json",
    ):  # fmt: skip
        staying.add(age(store.folder / name, 9 * DAY_S).name)
    return going, staying


def keep_level_1(one: Any) -> bool:
    return bool(one.key.opt_level == 1)


def test_prune_removes_what_nobody_needs_and_nothing_else(store: EngineStore):
    going, staying = litter(store)
    sizes = {name: (store.folder / name).stat().st_size for name in going}
    told = store.prune(keep=keep_level_1, dry_run=True)
    assert {one.path.name: one.size_bytes for one in told} == sizes
    assert set(files(store)) == going | staying
    assert store.prune(keep=keep_level_1, dry_run=False) == told
    assert set(files(store)) == staying
    assert {one.reason for one in told} == {
        "not kept", "plan has no manifest", "plan has 3 bytes, manifest says 2048",
        "left by a build that did not finish",
    }  # fmt: skip
    assert isinstance(store.find(key()), Found)
    assert store.prune(keep=keep_level_1, dry_run=False) == ()


def test_prune_leaves_what_is_locked_and_says_so(store: EngineStore):
    plan = install(store, key())
    part = age(store.temporary(key()), 2 * DAY_S)
    expected = {plan, manifest_file(store), part}
    with EngineStore(store.folder).lock(key()):
        told = store.prune(keep=lambda _: False, dry_run=False)
        assert all(one.in_use for one in told)
        assert {one.path for one in told} == expected
        assert all(one.exists() for one in expected)
    told = store.prune(keep=lambda _: False, dry_run=False)
    assert not any(one.in_use for one in told)
    assert isinstance(told[0], Removed)
    assert told[0].path == manifest_file(store)  # never a manifest without plan
    assert files(store) == []


def test_prune_that_may_not_remove_is_an_error(store: EngineStore, monkeypatch: pytest.MonkeyPatch):
    install(store, key())

    def refuse(_path: Path, missing_ok: bool = False) -> None:  # noqa: ARG001
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputWriteError, match="may not be written to"):
        store.prune(keep=lambda _: False, dry_run=False)


def test_a_gpu_of_the_same_kind_elsewhere_shares_the_engine(store: EngineStore):
    # Another machine with the same GPU, driver and TensorRT makes the same key.
    install(store, key())
    same = GpuTarget(name=H100.name, capability="sm90")
    assert isinstance(store.find(key(gpus=(same,))), Found)
