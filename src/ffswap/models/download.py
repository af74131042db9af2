"""Fetches a file over HTTP into a part file, and goes on where an earlier try stopped.

Beside ``NAME.part`` lies ``NAME.part.json`` with what the server said of the file: its address, its
length and its ETag or date. A later try asks for the rest on the condition that these still hold;
a server that does not know how sends everything, and it begins anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from .._version import __version__
from ..errors import CancelledError, DownloadError, OutputWriteError
from ..files import write_error
from ._proto import LARGEST_FILE
from ._store_files import HASH_BYTES, parse_crc32
from .logins import login_of, without_login

__all__ = ["Limits", "Progress", "discard", "download", "published_crc32"]

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and the bytes of the whole file, or None."""

_CHUNK = 1 << 18  # bytes read at a time: some ten looks a second at 20 Mbit/s
_ABSENT = (401, 403, 404, 410)  # what servers answer when there is no such file
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL = 206
_WEB_PAGE = "text/html"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long to wait for a server.

    Attributes:
        timeout_s: of silence, when connecting and between bytes.
        tries: how many in a row may bring nothing new before it is given up.
        pause_s: before the second try; it doubles with each that brings nothing new.
    """

    timeout_s: float = 20.0
    tries: int = 4
    pause_s: float = 1.0


class _BrokenError(Exception):
    """A try that failed.

    Args:
        reason: for people.
        again: another try may help.
    """

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.reason, self.again = reason, again


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a server said of a file of which the beginning is here."""

    url: str
    validator: str
    total: int | None


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted address to one that is not."""

    def __init__(self, scheme: str) -> None:
        self._allowed = ("https",) if scheme == "https" else ("http", "https")

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme.lower() not in self._allowed:
            allowed = " or ".join(self._allowed)
            shown = without_login(newurl)
            raise _BrokenError(f"redirected to {shown}; allowed: {allowed}", again=False)
        return super().redirect_request(req, fp, code, msg, headers, without_login(newurl))


def download(
    url: str,
    part: Path,
    *,
    limits: Limits,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> bool:
    """Fetch a file; what an earlier call left in `part` is not fetched again.

    The caller sees to it that nobody else writes to `part`, and compares digests afterwards.

    Args:
        url: http or https. Redirects are followed; from https only to https. A name and a password
            in it are for its own host only, and are neither shown nor kept.
        part: the file that it becomes, in a folder that is there.
        limits: how long to wait, and how often to try.
        progress: is called from this thread.
        cancel: ends it when it is set, at the latest after ``limits.timeout_s``; what is there
            stays, to go on later.

    Returns:
        Whether the file was put together from more than one try.

    Raises:
        DownloadError: the address gives no such file, or not to its end.
        OutputWriteError: the disk is full or failed.
        CancelledError: `cancel` was set.
    """
    fruitless, most = 0, _size(part)
    login, url = login_of(url), without_login(url)
    while True:
        try:
            return _fetch(url, login, part, limits, progress, cancel)
        except _BrokenError as broken:
            size = _size(part)
            fruitless = 0 if size > most else fruitless + 1
            most = max(most, size)
            if not broken.again or fruitless >= limits.tries:
                raise DownloadError(broken.reason, file=url) from broken
        pause_s = limits.pause_s * 2 ** max(fruitless - 1, 0)
        if (cancel or threading.Event()).wait(pause_s):
            raise _stopped(url)


def published_crc32(
    url: str, *, limits: Limits, cancel: threading.Event | None = None
) -> str | None:
    """The CRC-32 that lies beside a file at its address, in a ``.hash`` file; None: there is none.

    Args:
        url: of the file itself.
        limits: how long to wait, and how often to try.
        cancel: ends it when it is set.

    Raises:
        DownloadError: there is one that holds something else, or nobody answers.
        CancelledError: `cancel` was set.
    """
    login, url = login_of(url), without_login(url)
    parts = urlsplit(url)
    beside = urlunsplit(parts._replace(path=str(PurePosixPath(parts.path).with_suffix(".hash"))))
    for number in range(limits.tries):
        if cancel is not None and cancel.is_set():
            raise _stopped(beside)
        try:
            with _open(beside, {}, login, limits) as response, _network(limits):
                text = response.read(HASH_BYTES)
            break
        except HTTPError as error:
            if error.code in _ABSENT:
                return None
            broken = _refused(error)
        except _BrokenError as error:
            broken = error
        if not broken.again or number + 1 == limits.tries:
            raise DownloadError(broken.reason, file=beside) from broken
        (cancel or threading.Event()).wait(limits.pause_s * 2**number)
    crc32 = parse_crc32(text)
    if crc32 is None:
        raise DownloadError("does not hold 8 hexadecimal digits, a CRC-32", file=beside)
    return crc32


def discard(part: Path) -> None:
    """Remove a part file and what is known about it, as far as they are there."""
    part.unlink(missing_ok=True)
    _sidecar(part).unlink(missing_ok=True)


def _fetch(
    url: str,
    login: Mapping[str, str],
    part: Path,
    limits: Limits,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> bool:
    """One try; returns whether it went on from an earlier one."""
    seen, have = _seen(part, url), _size(part)
    headers = {}
    if seen is not None and have:
        if have == seen.total:  # somebody was stopped between the last byte and the check
            return True
        headers = {"Range": f"bytes={have}-", "If-Range": seen.validator}
    try:
        with _open(url, headers, login, limits) as response:
            total = _length(response)
            if response.status != _PARTIAL:
                have = 0
            elif seen is None or _range(response) != (have, seen.total):
                discard(part)
                raise _BrokenError("answered with other bytes than were asked for", again=True)
            else:
                total = seen.total
            if have == 0:
                if response.headers.get_content_type() == _WEB_PAGE:
                    raise _BrokenError("is a web page, not a model", again=False)
                _begin(part, url, response.headers, total)
            _check_size(total or 0)
            _check_space(part, total, have)
            _copy(response, part, have, total, limits, progress, cancel)
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:
            discard(part)
        raise _refused(error) from error
    return have > 0


@contextmanager
def _open(
    url: str, headers: Mapping[str, str], login: Mapping[str, str], limits: Limits
) -> Iterator[HTTPResponse]:
    """Ask for an address; where a redirect leads, nobody learns the login.

    Raises:
        HTTPError: the server answers with an error; it is closed already.
        _BrokenError: there is no answer.
    """
    scheme = urlsplit(url).scheme.lower()
    opener: OpenerDirector = build_opener(_Redirects(scheme))
    # Bytes as they are: a packed answer has another length, and no part of it can be asked for.
    always = {"User-Agent": f"ffswap/{__version__}", "Accept-Encoding": "identity"}
    try:
        request = Request(url, headers={**always, **headers})
        for name, text in login.items():
            request.add_unredirected_header(name, text)
    except ValueError as error:
        raise _BrokenError(f"is no address ({error})", again=False) from error
    with _network(limits):
        try:
            response = opener.open(request, timeout=limits.timeout_s)
        except HTTPError as error:
            error.close()
            raise
    with response:
        yield response


@contextmanager
def _network(limits: Limits) -> Iterator[None]:
    """Turn what goes wrong between here and the server into a sentence."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            raise _BrokenError(f"no answer within {limits.timeout_s:g} s", again=True) from error
        if isinstance(reason, socket.gaierror):
            said = f"its host is not found ({reason.strerror}); is there a network?"
            raise _BrokenError(said, again=False) from error
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = f"its certificate is not trusted ({reason.verify_message})"
            raise _BrokenError(said, again=False) from error
        again = not isinstance(reason, ConnectionRefusedError | ValueError)
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise _BrokenError(f"the connection failed ({said})", again=again) from error


def _refused(error: HTTPError) -> _BrokenError:
    text = " ".join(f"{error.code} {error.reason}".split())
    again = error.code >= 500 or error.code in (408, 416, 429)
    return _BrokenError(f"the server answered {text}", again=again)


def _stopped(url: str) -> CancelledError:
    return CancelledError(f"stopped while {url} was fetched")


def _length(response: HTTPResponse) -> int | None:
    """Bytes of the body, as the server says; None: it does not."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _range(response: HTTPResponse) -> tuple[int, int | None] | None:
    """(first byte, length of the whole) of an answer with a part."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if match is None:
        return None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _copy(
    response: HTTPResponse,
    part: Path,
    have: int,
    total: int | None,
    limits: Limits,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> None:
    """Append what comes to the part file."""
    try:
        file = part.open("ab")
    except OSError as error:
        raise write_error(error, part) from error
    with file:
        while total is None or have < total:
            if progress is not None:
                progress(have, total)
            if cancel is not None and cancel.is_set():
                raise _stopped(without_login(response.url))
            with _network(limits):
                chunk = response.read1(_CHUNK if total is None else min(_CHUNK, total - have))
            if not chunk:
                break
            _check_size(have + len(chunk))
            _write(file, chunk, part)
            have += len(chunk)
        _write(file, b"", part)
    if total is not None and have < total:
        raise _BrokenError(f"ended after {have} of {total} bytes", again=True)
    if progress is not None:
        progress(have, have)


def _write(file: IO[bytes], chunk: bytes, part: Path) -> None:
    """Write bytes; none: see to it that all that was written is on the disk."""
    try:
        file.write(chunk)
        if not chunk:
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(error, part) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sidecar(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _seen(part: Path, url: str) -> _Seen | None:
    """What was said of the beginning that is here; None: it cannot be used."""
    try:
        data = json.loads(_sidecar(part).read_bytes())
        seen = _Seen(**data)
    except (OSError, ValueError, TypeError):
        return None
    good = (
        seen.url == url and isinstance(seen.validator, str) and isinstance(seen.total, int | None)
    )
    return seen if good and (seen.total is None or _size(part) <= seen.total) else None


def _begin(part: Path, url: str, headers: Message, total: int | None) -> None:
    """Empty the part file, and write down what the server says of the file."""
    validator = headers.get("ETag", "")
    if not validator.startswith('"'):  # a weak one, W/"...", stands for more than one content
        validator = headers.get("Last-Modified", "")
    try:
        part.open("wb").close()
        if validator:
            text = json.dumps(asdict(_Seen(url=url, validator=validator, total=total)))
            _sidecar(part).write_text(text, encoding="utf-8")
        else:
            _sidecar(part).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, part) from error


def _check_size(size: int) -> None:
    """Refuse to fetch what is too large to be a model, or has no end."""
    if size > LARGEST_FILE:
        raise _BrokenError(f"is {size} bytes long; allowed: at most {LARGEST_FILE}", again=False)


def _check_space(part: Path, total: int | None, have: int) -> None:
    """Find out before the download whether there is room for it."""
    if total is None:
        return
    free = shutil.disk_usage(part.parent).free
    if free < total - have:
        raise OutputWriteError(
            f"{total - have} bytes are to come, and the disk has room for {free}",
            file=part.parent,
            hint="make room, or give another folder with --models-dir",
        )
