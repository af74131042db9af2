"""A web server of one test: it serves bytes from memory, and misbehaves as it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = [
    "Asked",
    "Fault",
    "Server",
    "answer",
    "cut_off",
    "ignore_range",
    "redirect",
    "silent",
    "too_short",
    "web_page",
    "wrong_range",
]


class Asked:
    """A request as the server got it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.path = handler.path
        self.range = handler.headers.get("Range")
        self.condition = handler.headers.get("If-Range")
        self.login = handler.headers.get("Authorization")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(Asked(self))
        if self.path not in server.files:
            answer(404)(self, b"")
            return
        fault = server.faults.pop(0) if server.faults and self.path.endswith(".onnx") else serve
        fault(self, server.files[self.path])

    def head(self, status: int, length: int | None, **headers: str) -> None:
        """Status and headers; names of these with an underscore for a hyphen."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves `files` by path; for each request of an ``.onnx`` file one of `faults`, then none."""

    daemon_threads = False  # so that closing waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.etag: str | None = '"first"'
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]

    def ranges(self) -> list[str | None]:
        """Of all requests of an ``.onnx`` file."""
        return [one.range for one in self.asked if one.path.endswith(".onnx")]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has gone away

    def stop(self) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


Fault = Callable[[Handler, bytes], None]


def tags(handler: Handler) -> dict[str, str]:
    etag = handler.server.etag
    return {} if etag is None else {"ETag": etag}


def part(handler: Handler) -> tuple[int, int]:
    """Status and first byte that are asked for."""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    holds = handler.headers.get("If-Range") in (None, handler.server.etag)
    return (206, int(match[1])) if match and holds else (200, 0)


def serve(handler: Handler, body: bytes) -> None:
    """As it should be."""
    status, start = part(handler)
    if start > len(body):
        handler.head(416, 0, Content_Range=f"bytes */{len(body)}")
        return
    extra = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
    handler.head(status, len(body) - start, **extra, **tags(handler))
    handler.wfile.write(body[start:])


def cut_off(at: int) -> Fault:
    """The connection ends before this byte of the file."""

    def fault(handler: Handler, body: bytes) -> None:
        status, start = part(handler)
        extra = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        handler.head(status, len(body) - start, **extra, **tags(handler))
        handler.wfile.write(body[start:at])
        handler.close_connection = True

    return fault


def ignore_range(handler: Handler, body: bytes) -> None:
    """Everything, whatever was asked for."""
    handler.head(200, len(body), **tags(handler))
    handler.wfile.write(body)


def too_short(handler: Handler, body: bytes) -> None:
    """The server says that the file is 10 bytes longer than it is."""
    status, start = part(handler)
    total = len(body) + 10
    extra = {"Content_Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
    handler.head(status, total - start, **extra, **tags(handler))
    handler.wfile.write(body[start:])
    handler.close_connection = True


def wrong_range(handler: Handler, body: bytes) -> None:
    """A part, but not the one that was asked for."""
    handler.head(206, 5, Content_Range=f"bytes 0-4/{len(body)}", **tags(handler))
    handler.wfile.write(body[:5])


def web_page(handler: Handler, body: bytes) -> None:  # noqa: ARG001  a fault's own signature
    """What the network of a hotel answers to everything."""
    page = b"<html>Please log in</html>"
    handler.head(200, len(page), Content_Type="text/html; charset=utf-8")
    handler.wfile.write(page)


def silent(handler: Handler, body: bytes) -> None:
    """The first half, and then nothing until the test is over."""
    handler.head(200, len(body), **tags(handler))
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.server.over.wait()
    handler.close_connection = True


def answer(status: int) -> Fault:
    """An error."""

    def fault(handler: Handler, body: bytes) -> None:  # noqa: ARG001  a fault's own signature
        handler.head(status, 0)

    return fault


def redirect(to: str) -> Fault:
    """It is elsewhere."""

    def fault(handler: Handler, body: bytes) -> None:  # noqa: ARG001  a fault's own signature
        handler.head(302, 0, Location=to)

    return fault
