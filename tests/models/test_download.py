"""Downloads from a server that misbehaves: whole and right, or a sentence that says why not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from ffswap.errors import (
    CancelledError,
    DownloadError,
    InputMissingError,
    ModelError,
    OptionError,
    OutputWriteError,
)
from ffswap.models.download import Limits, _BrokenError, _Redirects, download
from ffswap.models.pull import Pulled, is_one_file, locate, pull
from ffswap.models.store import ModelStore
from tests.models import model_server
from tests.models.model_server import Server, answer, cut_off, redirect
from tests.models.store_models import BODY, CRC32, OTHER, SHA256, detector, embedded

PATH = "/v3/finder_1.onnx"
HASH = "/v3/finder_1.hash"
LIMITS = Limits(timeout_s=5, tries=3, pause_s=0.01)
NO_PROXY = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_PROXY:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files[PATH] = BODY
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def bring(server: Server, store: ModelStore):
    """Pull the model from the server, or from these sources."""

    def call(*sources: str, limits: Limits = LIMITS, known: Any = None, **more: Any) -> Pulled:
        places = sources or (server.url("/{release}/{file}"),)
        return pull(store, detector(**(known or {})), places, limits=limits, **more)

    return call


def is_right(store: ModelStore) -> bool:
    """The right file is installed, and nothing else is left."""
    names = sorted(one.name for one in store.folder.iterdir() if not one.name.endswith(".lock"))
    whole = store.verify(detector()) is None and store.place(detector()).read_bytes() == BODY
    return whole and names == ["finder.json", "finder_1.onnx"]


def rest(at: int) -> str:
    return f"bytes={at}-"


class TestWhole:
    def test_a_file_is_fetched_and_pinned(self, bring, server, store):
        seen: list[tuple[int, int | None]] = []
        pulled = bring(progress=lambda done, total: seen.append((done, total)))
        assert is_right(store)
        assert pulled.fetched
        assert (pulled.pin.origin, pulled.pin.sha256) == (server.url(PATH), SHA256)
        assert seen[0] == (0, len(BODY))
        assert seen[-1] == (len(BODY), len(BODY))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert len(seen) > 3

    def test_a_token_in_an_address_is_used_but_not_kept(self, bring, server):
        server.files = {f"{PATH}?token=1": BODY}
        assert bring(server.url(f"{PATH}?token=1")).pin.origin == server.url(PATH)

    def test_a_password_in_an_address_is_sent_but_neither_shown_nor_kept(
        self, bring, server, store
    ):
        server.faults += [redirect(server.url("/elsewhere/x.onnx"))]
        server.files["/elsewhere/x.onnx"] = BODY
        url = server.url(PATH).replace("http://", "http://anna:pass%40word@")
        assert bring(url).pin.origin == server.url(PATH)
        assert [one.login for one in server.asked] == ["Basic YW5uYTpwYXNzQHdvcmQ="] * 2 + [None]
        kept = b"".join(one.read_bytes() for one in store.folder.iterdir())
        assert b"anna" not in kept

    @pytest.mark.parametrize(
        "wrong", ["http://{}127.0.0.1:9/x.onnx", "ftp://{}x/y", "http://{}[bad", "{}"]
    )
    def test_a_password_is_in_no_message(self, bring, server, wrong):
        login = "anna:secret@"
        away = server.url("/away/").replace("http://", f"http://{login}")
        url = wrong.format(login) if "//" in wrong else away
        server.faults += [redirect(f"ftp://{login}x/y")] if wrong == "{}" else []
        with pytest.raises((DownloadError, OptionError)) as caught:
            bring(url)
        told = f"{caught.value} {caught.value.hint} {caught.value.file}"
        assert "//" in told
        assert "secret" not in told

    def test_what_is_there_is_not_fetched_again(self, bring, server):
        bring()
        before = len(server.asked)
        assert not bring().fetched
        assert len(server.asked) == before

    def test_what_is_damaged_is_fetched_again(self, bring, store):
        bring()
        store.place(detector()).write_bytes(b"damaged")
        assert bring().fetched
        assert is_right(store)

    def test_a_redirect_is_followed_with_its_conditions(self, bring, server, store):
        server.files["/elsewhere/x.onnx"] = BODY
        to = redirect(server.url("/elsewhere/x.onnx"))
        server.faults += [to, cut_off(400_000), to]
        assert bring().fetched
        assert is_right(store)
        assert server.ranges() == [None, None, rest(400_000), rest(400_000)]

    def test_a_server_that_does_not_say_the_length(self, bring, server, store):
        def unsized(handler: Any, body: bytes) -> None:
            handler.head(200, None, Connection="close")
            handler.wfile.write(body)
            handler.close_connection = True

        server.faults += [unsized]
        totals = set()
        bring(progress=lambda _, total: totals.add(total))
        assert is_right(store)
        assert totals == {None, len(BODY)}


class TestCutOff:
    def test_the_rest_is_fetched_in_the_same_run(self, bring, server, store):
        server.faults += [cut_off(500_000), cut_off(700_000)]
        bring()
        assert is_right(store)
        assert server.ranges() == [None, rest(500_000), rest(700_000)]
        assert [one.condition for one in server.asked[-2:]] == ['"first"', '"first"']

    def test_the_rest_is_fetched_in_a_later_run(self, bring, server, store):
        server.faults += [cut_off(500_000)] * 4
        with pytest.raises(DownloadError, match=f"ended after 500000 of {len(BODY)} bytes"):
            bring()
        assert store.path(detector()) is None
        server.faults.clear()
        bring()
        assert is_right(store)
        assert server.ranges()[-1] == rest(500_000)

    def test_tries_that_bring_something_are_not_counted(self, bring, server, store):
        server.faults += [cut_off(at) for at in range(100_000, 1_000_000, 100_000)]
        bring(limits=Limits(timeout_s=5, tries=2, pause_s=0.001))
        assert is_right(store)
        assert len(server.ranges()) == 10

    def test_a_server_that_ignores_ranges_sends_all(self, bring, server, store):
        server.faults += [cut_off(500_000), model_server.ignore_range]
        bring()
        assert is_right(store)
        assert server.ranges() == [None, rest(500_000)]

    def test_a_file_that_has_changed_is_fetched_from_its_beginning(self, bring, server, store):
        server.files[PATH] = OTHER
        server.faults += [cut_off(500_000)] * 4
        with pytest.raises(DownloadError):
            bring()
        server.files[PATH], server.etag = BODY, '"second"'
        server.faults.clear()
        bring()
        assert is_right(store)

    @pytest.mark.parametrize("etag", [None, 'W/"weak"'])
    def test_without_a_mark_of_its_content_it_begins_anew(self, bring, server, store, etag):
        server.etag = etag
        server.faults += [cut_off(500_000)]
        bring()
        assert is_right(store)
        assert server.ranges() == [None, None]

    def test_another_part_than_asked_for_is_not_used(self, bring, server, store):
        server.faults += [cut_off(500_000), model_server.wrong_range]
        bring()
        assert is_right(store)
        assert server.ranges() == [None, rest(500_000), None]

    def test_a_part_that_is_damaged_is_fetched_anew(self, bring, server, store):
        server.faults += [cut_off(500_000)] * 4
        with pytest.raises(DownloadError):
            bring(known={"sha256": SHA256})
        server.faults.clear()
        part = store.part(detector())
        part.write_bytes(bytes(500_000))  # a crash of the machine can leave zeros
        bring(known={"sha256": SHA256})
        assert is_right(store)
        assert server.ranges()[-2:] == [rest(500_000), None]

    def test_a_part_of_another_address_is_not_used(self, bring, server, store):
        server.faults += [cut_off(500_000)] * 4
        with pytest.raises(DownloadError):
            bring()
        server.faults.clear()
        server.files["/mirror/finder_1.onnx"] = BODY
        bring(server.url("/mirror/"))
        assert is_right(store)
        assert server.ranges()[-1] is None

    def test_a_stop_between_last_byte_and_check_costs_nothing(self, bring, server, store):
        store.folder.mkdir()
        download(server.url(PATH), store.part(detector()), limits=LIMITS)
        bring()
        assert is_right(store)
        assert len(server.ranges()) == 1

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1, "validator": 2, "total": 3}'])
    def test_what_is_remembered_of_a_part_may_be_damaged(self, bring, store, text):
        store.folder.mkdir()
        store.part(detector()).write_bytes(b"half")
        store.part(detector()).with_name(".finder.part.json").write_text(text)
        bring()
        assert is_right(store)


class TestWrong:
    def test_a_length_that_is_never_reached(self, bring, server, store):
        server.faults += [model_server.too_short] * 4
        with pytest.raises(DownloadError, match=f"ended after {len(BODY)} of {len(BODY) + 10}"):
            bring()
        assert store.path(detector()) is None

    @pytest.mark.parametrize("known", [{"sha256": SHA256}, {"crc32": CRC32}, {}])
    def test_other_bytes_than_published_are_refused(self, bring, server, store, known):
        server.files |= {PATH: OTHER, HASH: CRC32.encode()}
        with pytest.raises(ModelError) as caught:
            bring(known=known)
        wanted = SHA256 if "sha256" in known else CRC32
        assert f"wanted for finder: {wanted} (published)" in str(caught.value)
        assert server.url(PATH) in str(caught.value)
        assert store.path(detector()) is None
        assert [one for one in store.folder.iterdir() if not one.name.endswith(".lock")] == []

    def test_other_bytes_than_pinned_are_refused(self, bring, server, store):
        bring()
        store.place(detector()).unlink()
        server.files[PATH] = OTHER
        with pytest.raises(ModelError, match=rf"wanted for finder: {SHA256} \(pinned "):
            bring()

    def test_the_crc32_beside_the_file_is_asked_for_only_if_nothing_is_known(self, bring, server):
        server.files[HASH] = f"{CRC32}\n".encode()
        bring()
        assert server.paths() == [HASH, PATH]

    def test_nothing_is_asked_where_a_digest_is_known(self, bring, server):
        bring(known={"crc32": CRC32})
        assert server.paths() == [PATH]

    def test_a_hash_that_is_none_is_refused(self, bring, server):
        server.files[HASH] = b"not a hash"
        with pytest.raises(DownloadError, match=r"finder_1\.hash: does not hold 8 hexadecimal"):
            bring()

    def test_a_web_page_is_no_model(self, bring, server):
        server.faults += [model_server.web_page]
        with pytest.raises(DownloadError, match="is a web page"):
            bring(known={"sha256": SHA256})

    def test_what_is_not_onnx_is_not_pinned(self, bring, server, store):
        server.files[PATH] = b"<!doctype html>" + bytes(99)
        with pytest.raises(ModelError, match="looks like a web page"):
            bring()
        assert dict(store.pins) == {}


class TestAnswers:
    def test_what_is_not_there_is_asked_for_once(self, bring, server):
        with pytest.raises(DownloadError) as caught:
            bring(server.url("/nowhere/"))
        address = server.url("/nowhere/finder_1.onnx")
        assert f"{address}: the server answered 404 Not Found" in str(caught.value)
        assert server.paths() == ["/nowhere/finder_1.hash", "/nowhere/finder_1.onnx"]
        for word in ("--from FOLDER|FILE|URL", "ffswap models add finder"):
            assert word in (caught.value.hint or "")

    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_a_server_that_is_busy_is_asked_again(self, bring, server, store, status):
        server.faults += [answer(status)] * 2
        bring()
        assert is_right(store)

    def test_a_server_that_stays_busy_is_given_up(self, bring, server):
        server.faults += [answer(500)] * 9
        with pytest.raises(DownloadError, match="500 Internal Server Error"):
            bring()
        assert len(server.ranges()) == LIMITS.tries

    def test_a_server_that_goes_silent_is_given_up(self, bring, server):
        server.faults += [model_server.silent] * 9
        with pytest.raises(DownloadError, match=r"no answer within 0\.1 s"):
            bring(limits=Limits(timeout_s=0.1, tries=1, pause_s=0.01))

    def test_nobody_there(self, bring):
        with pytest.raises(DownloadError, match="the connection failed"):
            bring("http://127.0.0.1:9/")

    def test_no_network(self, bring, monkeypatch):
        def unknown(*_: Any, **__: Any) -> None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        monkeypatch.setattr("socket.getaddrinfo", unknown)
        with pytest.raises(DownloadError, match=r"host is not found .* is there a network"):
            bring("https://models.example.com/", known={"sha256": SHA256})

    def test_every_address_is_tried_and_told_of(self, bring, server, store):
        server.files["/bad/finder_1.onnx"] = OTHER
        wrong, gone = server.url("/bad/"), server.url("/gone/")
        with pytest.raises(ModelError) as caught:
            bring(gone, wrong, known={"sha256": SHA256})
        for word in (f"{gone}finder_1.onnx: the server answered 404", f"{wrong}finder_1.onnx: has"):
            assert word in str(caught.value)
        bring(gone, wrong, server.url(PATH), known={"sha256": SHA256})
        assert is_right(store)

    def test_a_model_without_addresses(self, store):
        with pytest.raises(DownloadError, match="no address of it is known"):
            pull(store, detector(), ())

    def test_redirects_without_end(self, bring, server):
        server.faults += [redirect(PATH)] * 99
        with pytest.raises(DownloadError, match="302"):
            bring()

    @pytest.mark.parametrize(
        ("first", "to", "allowed"),
        [("https", "http://x/a", False), ("https", "https://x/a", True), ("http", "http://x/a", True),
         ("http", "ftp://x/a", False), ("http", "file:///etc/passwd", False)],
    )  # fmt: skip
    def test_a_redirect_never_leaves_encryption(self, first, to, allowed):
        asked = Request(f"{first}://y/b")
        call = _Redirects(first).redirect_request
        arguments: tuple[Any, ...] = (asked, None, 302, "Found", {}, to)
        if allowed:
            followed = call(*arguments)
            assert followed is not None
            assert followed.full_url == to
        else:
            with pytest.raises(_BrokenError, match="redirected to"):
                call(*arguments)

    def test_a_redirect_to_a_file_is_refused(self, bring, server, tmp_path):
        server.faults += [redirect((tmp_path / "x.onnx").as_uri())]
        with pytest.raises(DownloadError, match=r"file:.* is not allowed"):
            bring()


class TestStops:
    def test_a_stop_keeps_what_is_there(self, bring, server, store):
        cancel = threading.Event()

        def progress(done: int, _: int | None) -> None:
            if done > 300_000:
                cancel.set()

        with pytest.raises(CancelledError):
            bring(progress=progress, cancel=cancel)
        there = store.part(detector()).stat().st_size
        assert 300_000 < there < len(BODY)
        bring()
        assert is_right(store)
        assert server.ranges() == [None, rest(there)]

    def test_a_stop_ends_the_pause_between_tries(self, bring, server):
        cancel = threading.Event()

        def fail_and_stop(handler: Any, body: bytes) -> None:
            cancel.set()
            answer(500)(handler, body)

        server.faults += [fail_and_stop] * 9
        with pytest.raises(CancelledError):
            bring(limits=Limits(tries=3, pause_s=3600), cancel=cancel)

    def test_a_full_disk_is_found_out_before(self, bring, monkeypatch):
        class Usage:
            free = 1000

        monkeypatch.setattr("ffswap.models.download.shutil.disk_usage", lambda _: Usage)
        with pytest.raises(OutputWriteError, match=f"{len(BODY)} bytes are to come") as caught:
            bring()
        assert "--models-dir" in (caught.value.hint or "")


class TestTwoAtOnce:
    def test_one_fetches_and_the_other_waits(self, server, store):
        waited = threading.Event()

        def slow(handler: Any, body: bytes) -> None:
            assert waited.wait(10)
            model_server.serve(handler, body)

        server.faults += [slow]
        found: list[Pulled] = []

        def work() -> None:
            own = ModelStore(store.folder)  # as another process has
            found.append(
                pull(own, detector(), [server.url(PATH)], limits=LIMITS, waiting=waited.set)
            )

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(one.fetched for one in found) == [False, True]
        assert len(server.ranges()) == 1
        assert is_right(store)


class TestLocalSources:
    @pytest.mark.parametrize("form", ["folder", "file", "folder address", "file address"])
    def test_folders_files_and_their_addresses(self, bring, server, store, tmp_path, form):
        folder = tmp_path / "a shelf"
        folder.mkdir()
        (folder / "finder_1.onnx").write_bytes(BODY)
        path = folder if "folder" in form else folder / "finder_1.onnx"
        pulled = bring(path.as_uri() if "address" in form else str(path))
        assert pulled.pin.origin == str(folder / "finder_1.onnx")
        assert is_right(store)
        assert server.asked == []

    def test_a_folder_without_the_file(self, bring, tmp_path):
        with pytest.raises(InputMissingError, match=r"finder_1\.onnx"):
            bring(str(tmp_path))

    def test_a_file_in_its_place_is_taken_if_it_is_known(self, bring, server, store):
        store.folder.mkdir()
        store.place(detector()).write_bytes(BODY)
        with pytest.raises(ModelError, match="never added") as caught:
            bring()
        assert "ffswap models add finder" in (caught.value.hint or "")
        assert not bring(known={"crc32": CRC32}).fetched
        assert is_right(store)
        assert server.asked == []

    @pytest.mark.parametrize("text", ["ftp://x/y", "https://", "http://[", "s3://bucket/x.onnx"])
    def test_other_addresses_are_refused(self, bring, text):
        with pytest.raises(OptionError, match="not an address"):
            bring(text)

    def test_embedded_models_are_not_pulled(self, store):
        with pytest.raises(OptionError, match="comes with ffswap"):
            pull(store, embedded(), ["https://example.com/"])

    @pytest.mark.parametrize(
        ("text", "address"),
        [("https://x/{release}/{file}", "https://x/v3/finder_1.onnx"),
         ("https://x/all", "https://x/all/finder_1.onnx"),
         ("https://x", "https://x/finder_1.onnx"),
         ("https://x/all/?token=1", "https://x/all/finder_1.onnx?token=1"),
         ("https://x/other.onnx", "https://x/other.onnx")],
    )  # fmt: skip
    def test_an_address_is_a_folder_unless_it_ends_in_onnx(self, text, address):
        assert locate(detector(), text) == address

    @pytest.mark.parametrize(
        ("text", "one"),
        [("https://x/a.onnx", True), ("https://x/a.onnx?b=1", True), ("https://x/a", False),
         ("https://x/{file}", False), ("mine.onnx", True), (".", False), ("file:///", False)],
    )  # fmt: skip
    def test_one_file_and_many_are_told_apart(self, text, one):
        assert is_one_file(text) is one
