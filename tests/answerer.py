"""Somebody who is asked over HTTP and answers bytes that no server should."""

from __future__ import annotations

import contextlib
import functools
import gzip
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Self

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
MOST = 32 << 20
"""Bytes of an answer without end: it has one, lest a test that fails takes all memory."""


class _Handler(socketserver.StreamRequestHandler):
    server: Answerer

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        self.server.asked.append(head)
        with contextlib.suppress(OSError):
            for piece in self.server.answer(self.server):
                self.wfile.write(piece)
                self.server.sent += len(piece)


class Answerer(socketserver.ThreadingTCPServer):
    """Answers what `answer` yields; `sent` are the bytes that somebody took."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Answerer], Iterator[bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[bytes] = []
        self.sent = 0
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


def well(_: Answerer) -> Iterator[bytes]:
    """Answer an empty object."""
    yield HEAD + b"content-length: 2\r\n\r\n{}"


def flood(_: Answerer) -> Iterator[bytes]:
    """Answer without end."""
    yield HEAD + b"\r\n"
    for _piece in range(MOST >> 16):
        yield bytes(1 << 16)


def drip(server: Answerer) -> Iterator[bytes]:
    """Answer a byte now and then."""
    yield HEAD + b"\r\n"
    while not server.over.wait(0.02):
        yield b" "


@functools.cache
def _compressed() -> bytes:
    return gzip.compress(bytes(MOST), 1)


def bomb(_: Answerer) -> Iterator[bytes]:
    """Answer little that becomes much."""
    yield HEAD + b"content-encoding: gzip\r\n\r\n" + _compressed()


def elsewhere(server: Answerer) -> Iterator[bytes]:
    """Send whoever asks back to here, with a body and without."""
    status = b"302 Found" if len(server.asked) == 1 else b"307 Temporary Redirect"
    yield b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nlocation: "
    yield server.url.encode() + b"/elsewhere\r\n\r\n"
